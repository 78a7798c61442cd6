"""What a translation must carry over though it is no placeholder: numbers, options, answer keys."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from . import icu
from .arguments import lost_or_invented
from .placeholders import find

# Digits of any script, grouped by threes with spaces, or with points and commas.
_NUMBER = re.compile(r"\d{1,3}(?:[ \u00a0\u2009\u202f]\d{3})+(?!\d)|\d+(?:[.,'’٫٬]\d+)*")
# What a text may say in a word where its source has none, or the other way about: "two", "hundred".
_WORDS = frozenset({*map(str, range(13)), "100", "1000"})
# "-k" and "-name" behind a space or a bracket. At the beginning of a text a dash may be a speaker's
# ("-I know."), unless columns, a value or a comma follow.
_OPTION = re.compile(
    r"(?:(?<=[\s(\[{\"'|,/«“‘])|^(?=-\S+(?:(?: \S+)?(?:\s\s|\t)|$)|-\S+[,=\[<]|--))"
    r"(?:--[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?|-[A-Za-z](?![A-Za-z])|-[a-z][a-z0-9-]*[a-z0-9])"
)
# Keys that a program reads: [y/n], (Y/n/q), [yes/no]. "(n/a)" and "(s/he)" are words.
_ANSWERS = re.compile(
    r"\[[A-Za-z?](?:[/|][A-Za-z?])+\]|\((?![Nn]/[Aa]\))[A-Za-z?](?:/[A-Za-z?])+\)"
    r"|[\[(][Yy]es/[Nn]o(?:/\w+)*[\])]"
)
# What a list of keys begins with: "a : all kinds of data".
_KEY = re.compile(r"^[a-z0-9](?=\s+[:=]\s)")

_NUMBERED_TAG = re.compile(r"<(/?)(\d+)>")
_LABEL = re.compile(r"\[([^\[\]]+)\]")
_BRACKET = re.compile(
    r"\\.|(?<!`)(?P<ticks>`+)(?!`).{1,500}?(?<!`)(?P=ticks)(?!`)|[\[\]]", re.DOTALL
)


def lost(source: str, translation: str, syntax: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """What `translation` loses or invents of `source`, each a phrase; () if nothing.

    Placeholders as `arguments.lost_or_invented` has it, numbered tags nested as they were; numbers,
    in the digits of any script and grouped in any way; options ("-k", "--keep");
    keys and answers that a program reads ("[y/n]").
    """
    rest, ours = _without_placeholders(source, syntax), _without_placeholders(translation, syntax)
    reasons = list(lost_or_invented(source, translation, syntax))
    if not reasons and _unnested(source) != _unnested(translation):
        reasons.append("nests the tags otherwise")
    for pattern in (_OPTION, _ANSWERS, _KEY):
        want, have = Counter(pattern.findall(rest)), Counter(pattern.findall(ours))
        for word, gone, come in (("loses", want, have), ("invents", have, want)):
            reasons += [f"{word} {', '.join(gone - come)}"] if gone - come else []
    if "markdown" in syntax:
        reasons += _links(source, translation, syntax)
    if not icu.arguments(source):  # its cases are each language's own
        reasons += _numbers(rest, ours)
    return tuple(reasons)


def _unnested(text: str) -> list[str]:
    """The numbered tags, `<1>` and `</1>`, that are no pairs within one another."""
    left: list[str] = []
    for slash, number in _NUMBERED_TAG.findall(text):
        if slash and left and left[-1] == number:
            left.pop()
        else:
            left.append(slash + number)
    return left


def _without_placeholders(text: str, syntax: frozenset[str]) -> str:
    parts, at = [], 0
    for item in find(text, syntax):
        # A Qt translation may have "%50" for "50%".
        kept = item.token[1:] if re.fullmatch(r"%\d+", item.token) else ""
        parts += [text[at : item.start], f"\ufffc{kept}"]
        at = item.end
    return "".join([*parts, text[at:]])


def _links(source: str, translation: str, syntax: frozenset[str]) -> list[str]:
    """Labels that the file defines must be there, however their links are written."""
    want, have = _labels(source), _labels(translation)
    known = {flag[6:].casefold() for flag in syntax if flag.startswith("label:")}
    lost = [label for label in want - have if label in known]
    reasons = [f"loses the link [{', '.join(lost)}]"] if lost else []
    if _paired(source) and not _paired(translation):
        reasons.append("has a bracket without its pair")
    return reasons


def _labels(text: str) -> Counter[str]:
    return Counter(" ".join(label.split()).casefold() for label in _LABEL.findall(text))


def _paired(text: str) -> bool:
    depth = 0
    for match in _BRACKET.finditer(text):
        depth += {"[": 1, "]": -1}.get(match[0], 0)
        if depth < 0:
            return False
    return depth == 0


def _numbers(source: str, translation: str) -> list[str]:
    want, have = _NUMBER.findall(source), _NUMBER.findall(translation)
    if _runs(source) == _runs(translation) or _digits(" ".join(want)) == _digits(" ".join(have)):
        return []
    gone = Counter(map(_digits, want)) - Counter(map(_digits, have))
    made = Counter(map(_digits, have)) - Counter(map(_digits, want))
    made = Counter({digits: n for digits, n in made.items() if digits not in _WORDS})
    reasons = []
    for word, numbers, spelled in (("loses", gone, want), ("invents", made, have)):
        shown = [number for number in dict.fromkeys(spelled) if _digits(number) in numbers]
        reasons += [f"{word} the number {', '.join(shown[:5])}"] if shown else []
    return reasons


def _runs(text: str) -> Counter[str]:
    return Counter(map(_digits, re.findall(r"\d+", text)))


def _digits(text: str) -> str:
    """The digits of `text`, as 0 to 9."""
    return "".join(str(unicodedata.digit(char)) for char in text if char.isdecimal())
