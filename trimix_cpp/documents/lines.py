"""Lines and the breaks between them: kept, joined where a sentence runs on, and broken again."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

_BREAK = re.compile(r"(\r\n|\n|\r)")
# Scripts that put no space between words, where joined lines get none: Thai, Lao, Burmese, Khmer,
# Chinese and Japanese.
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\uffef]")
TSHEG = "་"  # Tibetan: between syllables; a line may break after it

Edit = tuple[int, int, str]  # start, end, and what stands there instead


def split_lines(text: str) -> list[tuple[str, str]]:
    r"""The lines of `text`, each with its own ending (`\n`, `\r\n`, `\r`, or none at the end).

    Other line separators of Unicode are characters like any other. Joined again, it is `text`.
    """
    parts = _BREAK.split(text)
    if parts[-1] == "":
        parts.pop()
    else:
        parts.append("")
    return list(zip(parts[::2], parts[1::2], strict=True))


def ended(bodies: Sequence[str], like: Sequence[str]) -> str:
    """Lines with the ends that those had whose place they take: the last one the last one's.

    Where they are more, the end of the last but one goes on.
    """
    inner = [end or "\n" for end in like[:-1]] or [like[-1] or "\n"]
    ends = [inner[min(i, len(inner) - 1)] for i in range(len(bodies) - 1)]
    return "".join(body + end for body, end in zip(bodies, [*ends, like[-1]], strict=True))


def edited(text: str, edits: Iterable[Edit]) -> str:
    """`text` with all of the edits, of which no two overlap; those at one place in their order."""
    out, at = [], 0
    for start, end, new in sorted(edits, key=lambda edit: edit[:2]):
        out += [text[at:start], new]
        at = end
    return "".join([*out, text[at:]])


def one_line(text: str) -> str:
    """`text` with a space for each run of line breaks, for places that hold one line."""
    return re.sub(r"[\r\n]+", " ", text)


def unwrap(lines: Sequence[str]) -> str:
    """Lines that belong together, as one: a space between them, where the script has spaces.

    No space follows a tsheg or a hyphen inside a word.
    """
    parts: list[str] = []
    for line in lines:
        part = line.strip() if parts else line.rstrip()
        before = parts[-1] if parts else ""
        if before and part:
            unspaced = UNSPACED.match(before[-1]) and UNSPACED.match(part[0])
            hyphenated = before[-1] == "-" and before[-2:-1].isalpha()
            parts += [] if unspaced or hyphenated or before[-1] == TSHEG else [" "]
        parts += [part] if part else []
    return "".join(parts)


def rewrap(text: str, like: Sequence[str], keep: Sequence[tuple[int, int]] = ()) -> list[str]:
    """`text`, one line, in lines no longer than the longest of `like`, indented as they are.

    Broken at spaces only, never inside the ranges of `keep`. Lines of one are one line.
    """
    if len(like) < 2:
        return [text]
    indent = like[1][: len(like[1]) - len(like[1].lstrip())]
    width = max(map(len, like))
    lines: list[str] = []
    start = end = 0
    for place in [*_spaces(text, keep), len(text)]:
        room = width - (len(indent) if lines else 0)
        if place - start > room and end > start:
            lines.append(text[start:end])
            start = end + 1
        end = place
    lines.append(text[start:])
    bare = [lines[0].rstrip(" "), *(line.strip(" ") for line in lines[1:])]
    return [bare[0], *(indent + line for line in bare[1:] if line)]


def rebreak(text: str, count: int, keep: Sequence[tuple[int, int]] = ()) -> list[str]:
    """`text` in `count` lines of about one length; in fewer, where it has too few places.

    Lines break at a space or after a tsheg, never inside the ranges of `keep` (markup), which do
    not count for the length.
    """
    hidden = _inside(len(text), keep)
    shown = [0, *accumulate(0 if inside else 1 for inside in hidden)]
    places = [
        i
        for i in range(1, len(text))
        if (text[i] == " " or text[i - 1] == TSHEG)
        and not (hidden[i] and hidden[i - 1] == hidden[i])
    ]
    cuts: list[int] = []
    for k in range(1, count):
        left = places[bisect_right(places, cuts[-1]) if cuts else 0 :]
        if not left:
            break
        cuts.append(min(left, key=lambda place: abs(shown[place] - shown[-1] * k / count)))
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    return [part.strip(" ") for part in parts]


def _spaces(text: str, keep: Sequence[tuple[int, int]]) -> list[int]:
    """Where the spaces are that a line may break at."""
    hidden = _inside(len(text), keep)
    return [i for i, char in enumerate(text) if char == " " and not hidden[i]]


def _inside(length: int, keep: Sequence[tuple[int, int]]) -> list[int]:
    """For each character the range that it stands in, from 1; 0 for none."""
    out = [0] * length
    for number, (start, end) in enumerate(keep, 1):
        out[start:end] = [number] * (end - start)
    return out
