"""Cuts long text at sentence ends, and lines at line breaks, so that all can be joined again."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..characters import starts
from ..documents import TSHEG, UNSPACED, split_lines
from ..markup import unbreakable

_CLOSING = "\"'”’»›)\\]}」』】）〉》"
# Sentence ends. Latin, Greek, Cyrillic, Arabic, Ethiopic and Armenian have a space after them; the
# danda of India, the khan of Khmer and the section signs of Burmese nearly always.
# A run is looked at from its beginning only, so that a million dots are not a million runs.
_STOPS = ".!?…؟۔܀-܂։।॥។៕။።፧፨᠃᠉"
_STOP_AND_SPACE = rf"(?<![{_STOPS}])[{_STOPS}]+[{_CLOSING}]*(?=\s)"
# Chinese and Japanese have none. Tibetan writes a shad, or two with a space between.
_STOP = rf"[。！？｡]+[{_CLOSING}]*|[།-༔](?:[ \u00a0]*[།-༔])*"
_SENTENCE = re.compile(rf"(?:{_STOP_AND_SPACE}|{_STOP})\s*")
# Clause ends, where a sentence alone is too long. In Tibetan a space may stand for a shad.
_CLAUSE = re.compile(rf"[,;:،؛፣፤፥᠂᠄၊][{_CLOSING}]*\s+|[、，；：]\s*|\s[-–—]+\s+|(?<=[ༀ-ྼ])\s+")
_WORD = re.compile(rf"\s+|{TSHEG}")
# A full stop after these ends no sentence, nor does it after a single letter or before lower case.
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'“‘])(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|cf|al|approx|No|Nos|Fig|Vol|"
    r"pp?|ch|ed|eds|resp|incl|Inc|Ltd|Co|Gen|Col|Lt|Sgt|Rev|Hon|[^\W\d_])\.$"
)
# What may stand before the text of a line: spaces, the dash of a speaker, list marks, notes of a
# song, SubStation commands, line breaks of HTML, who speaks in WebVTT.
_MARK = re.compile(r"\s*(?:(?:[-–—•*♪♫]|\d{1,3}[.)])\s+|\{\\[^{}]*\}|<br\s*/?>|<v[ .][^<>]*>)?\s*")
_SHELLS = 8  # tags and marks around each other that are taken off
_OPEN_TAG = re.compile(r"<(\d+|[A-Za-z][\w:-]*)(?:[.\s][^<>]*)?(?<!/)>")


@dataclass(frozen=True)
class Part:
    """A part of a text.

    Attributes:
        text: what is to be translated; empty where only the separator is of interest.
        separator: what stands between it and the next: spaces, line breaks. It is kept.
    """

    text: str
    separator: str


def split(text: str, limit: int, size: Callable[[str], int] = len) -> list[Part]:
    """`text` in parts of at most `limit` (characters, or what `size` counts: tokens).

    A line is a part of its own, without the white space around it, the list mark before it
    ("- ", "1. ") and tags that enclose all of it. One beyond `limit` is cut
    at sentence ends into as few parts as they allow; a sentence beyond it at a clause end, else
    between words, else (no spaces at all) between characters. It is never cut inside a character
    (a grapheme cluster) or a placeholder, be it longer than `limit`.

    `join` of the parts, or of their translations, is the text again.

    Raises:
        ValueError: `limit` is less than 1.
    """
    if limit < 1:
        raise ValueError(f"limit {limit} is less than 1")
    parts: list[Part] = []
    for body, end in split_lines(text):
        start, stop = _shelled(body)
        if start:
            parts.append(Part("", body[:start]))
        parts += _parts(body[start:stop], limit, size)
        last = parts.pop()
        parts.append(Part(last.text, last.separator + body[stop:] + end))
    return parts


def join(parts: Sequence[Part], translations: Sequence[str] | None = None) -> str:
    """The text of parts, or of their translations, with the separators of the parts.

    A sentence end that had no space after it (Chinese, Tibetan) gets one in a translation whose
    parts would otherwise run together.

    Raises:
        ValueError: there are not as many translations as parts.
    """
    if translations is None:
        return "".join(part.text + part.separator for part in parts)
    out: list[str] = []
    for i, (part, translation) in enumerate(zip(parts, translations, strict=True)):
        out += [translation, part.separator]
        cut = part.text and not part.separator and i + 1 < len(parts)
        if cut and _runs_on(part.text) and translation and not _runs_on(translation):
            out.append(" ")
    return "".join(out)


def _runs_on(text: str) -> bool:
    """Its end is in a script (Chinese, Tibetan, Thai) that has no space after it."""
    char = text.rstrip(_CLOSING)[-1:]
    return UNSPACED.match(char) is not None or "\u0f00" <= char <= "\u0fff"


def _shelled(line: str) -> tuple[int, int]:
    """Where the text of a line begins and ends, without what `split` leaves out."""
    start, stop = 0, len(line)
    for _ in range(_SHELLS):
        stop = start + len(line[start:stop].rstrip())
        mark = _MARK.match(line, start, stop)
        if mark and mark.end() > start:
            start = mark.end()
            continue
        tag = _OPEN_TAG.match(line, start, stop)
        close = f"</{tag[1]}>" if tag else ""
        if tag is None or not line.endswith(close, tag.end(), stop):
            return start, stop
        if re.search(rf"</?{re.escape(tag[1])}\b", line[tag.end() : stop - len(close)]):
            return start, stop
        start, stop = tag.end(), stop - len(close)
    return start, stop


def _parts(line: str, limit: int, size: Callable[[str], int]) -> list[Part]:
    """Like `split`, of a line without white space around it."""
    if not line:
        return [Part("", "")]
    if size(line) <= limit:
        return [Part(line, "")]
    whole = set(starts(line))
    for start, end in unbreakable(line):
        whole.difference_update(range(start + 1, end))
    parts = []
    for part in _packed(line, limit, size, whole, 0, _levels()):
        body = part.rstrip()
        parts.append(Part(body, part[len(body) :]))
    return parts


_Cuts = Callable[[str], Iterator[int]]


def _levels() -> list[_Cuts]:
    return [_sentence_ends, _ends_of(_CLAUSE), _ends_of(_WORD), lambda text: iter(range(len(text)))]


def _packed(
    text: str,
    limit: int,
    size: Callable[[str], int],
    whole: set[int],
    offset: int,
    levels: list[_Cuts],
) -> Iterator[str]:
    """`text`, which stands at `offset` of its line, in parts within `limit`, by the first level.

    It may be cut at the places `whole` of the line. As much as fits goes into a part; what does
    not fit alone is cut by the next level.
    """
    if not levels:
        yield text
        return
    places = [
        at
        for at in levels[0](text)
        if 0 < at < len(text) and offset + at in whole and not text[at].isspace()
    ]
    begin = 0
    ends = [*places, len(text)]
    while begin < len(text):
        best = _longest(text, begin, ends, limit, size)
        if best is None:
            first = ends[bisect_right(ends, begin)]
            yield from _packed(text[begin:first], limit, size, whole, offset + begin, levels[1:])
            begin = first
        else:
            yield text[begin:best]
            begin = best


def _longest(
    text: str, begin: int, ends: list[int], limit: int, size: Callable[[str], int]
) -> int | None:
    """The last of `ends` up to which `text` from `begin` fits; None if not even the first does."""
    best = None
    for i in range(bisect_right(ends, begin), len(ends)):
        if size(text[begin : ends[i]].strip()) > limit:
            break
        best = ends[i]
    return best


def _sentence_ends(text: str) -> Iterator[int]:
    for match in _SENTENCE.finditer(text):
        stop = match[0].rstrip()
        if stop == ".":
            before = text[max(0, match.start() - 12) : match.start() + 1]
            after = text[match.end() : match.end() + 1]
            if after.islower() or _ABBREVIATION.search(before):
                continue
        yield match.end()


def _ends_of(pattern: re.Pattern[str]) -> _Cuts:
    return lambda text: (match.end() for match in pattern.finditer(text))
