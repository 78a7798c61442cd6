"""What a translation must carry over though it is no placeholder: numbers, options, keys, labels.

Each check takes (source, translation, context) and gives phrases, none if all is well.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable

from ..markup import find, icu, without
from .context import Context

# Digits of any script, grouped by threes with spaces, or with points and commas.
_NUMBER = re.compile(r"\d{1,3}(?:[ \u00a0\u2009\u202f]\d{3})+(?!\d)|\d+(?:[.,'’٫٬]\d+)*")
# What a text may say in a word where its source has none, or the other way about: "two", "hundred".
_WORDS = frozenset({*map(str, range(13)), "100", "1000"})
# "-k" and "-name" behind a space or a bracket. At the beginning of a text a dash may be a speaker's
# ("-I know."), unless columns, a value or a comma follow.
_OPTION = re.compile(
    r"(?:(?<=[\s(\[{\"'|,/«“‘])|^(?=-\S+(?:(?: \S+)?(?:\s\s|\t)|$)|-\S+[,=\[<]|--))"
    r"(?:--[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?|-[A-Za-z]\d*(?![A-Za-z0-9])|-[a-z][a-z0-9-]*[a-z0-9])"
)
# Keys that a program reads: [y/n], (Y/n/q), [yes/no]. "(n/a)" and "(s/he)" are words.
_ANSWERS = re.compile(
    r"\[[A-Za-z?](?:[/|][A-Za-z?])+\]|\((?![Nn]/[Aa]\))[A-Za-z?](?:/[A-Za-z?])+\)"
    r"|[\[(][Yy]es/[Nn]o(?:/\w+)*[\])]"
)
# What a list of keys begins with: "a : all kinds of data".
_KEY = re.compile(r"^[a-z0-9](?=\s+[:=]\s)")

_NUMBERED_TAG = re.compile(r"<(/?)(\d+)>")
# Only with a letter, digit or F-key: other keys' names are translated.
_COMBINATION = re.compile(
    r"(?<![\w+-])(?:(?:Ctrl|Control|Alt|AltGr|Shift|Meta|Super|Cmd|Command|Win)\s?[+-]\s?){1,4}"
    r"(?:F\d{1,2}|[A-Za-z0-9])(?![\w+-])",
    re.IGNORECASE,
)
_HELD = {"CONTROL": "Ctrl", "COMMAND": "Cmd"}
_LABEL = re.compile(r"\[([^\[\]]+)\]")
_BRACKET = re.compile(
    r"\\.|(?<!`)(?P<ticks>`+)(?!`).{1,500}?(?<!`)(?P=ticks)(?!`)|[\[\]]", re.DOTALL
)


def options(source: str, translation: str, context: Context) -> list[str]:
    """Options of command lines: "-k", "--keep"."""
    texts = [without(text, context.syntax) for text in (source, translation)]
    counts = [Counter(_OPTION.findall(text)) for text in texts]
    for text, own, others in zip(texts, counts, reversed(counts), strict=True):
        # A dash that begins a text may be a speaker's, but not where the other has the option.
        first = _OPTION.match(f" {text}", 1)
        if first and not _OPTION.match(text) and others[first[0]]:
            own[first[0]] += 1
    return _told(*counts)


def answers(source: str, translation: str, context: Context) -> list[str]:
    """Keys and answers that a program reads: "[y/n]", "a : all of them"."""
    found = _differing(_ANSWERS.findall, source, translation, context)
    return found + _differing(_KEY.findall, source, translation, context)


def keys(source: str, translation: str, context: Context) -> list[str]:
    """Combinations of keys: "Ctrl+S", "Alt-F4"; names of keys such as "Enter" are translated."""
    return _differing(_combinations, source, translation, context)


def labels(source: str, translation: str, context: Context) -> list[str]:
    """Labels of Markdown that the file defines must be there, however their links are written."""
    known = {flag[6:].casefold() for flag in context.syntax if flag.startswith("label:")}
    if not known:
        return []
    gone = _labels(source) - _labels(translation)
    lost = [label for label in gone if label in known]
    return [f"loses the link [{', '.join(lost)}]"] if lost else []


def brackets(source: str, translation: str, context: Context) -> list[str]:
    """Markdown's brackets stand in pairs."""
    if "markdown" in context.syntax and _paired(source) and not _paired(translation):
        return ["has a bracket without its pair"]
    return []


def nesting(source: str, translation: str, context: Context) -> list[str]:
    """Numbered tags stand within one another as they did."""
    return ["nests the tags otherwise"] if _unnested(source) != _unnested(translation) else []


def numbers(source: str, translation: str, context: Context) -> list[str]:
    """Numbers, in the digits of any script and grouped in any way."""
    if icu.arguments(source):  # its cases are each language's own
        return []
    rest, ours = (_without_placeholders(text, context.syntax) for text in (source, translation))
    return _numbers(rest, ours)


def _differing(
    of: Callable[[str], list[str]], source: str, translation: str, context: Context
) -> list[str]:
    return _told(*(Counter(of(without(text, context.syntax))) for text in (source, translation)))


def _told(want: Counter[str], have: Counter[str]) -> list[str]:
    pairs = (("loses", want - have), ("invents", have - want))
    return [f"{word} {', '.join(items)}" for word, items in pairs if items]


def _combinations(text: str) -> list[str]:
    """Each with its modifiers in one order, and one spelling."""
    out = []
    for match in _COMBINATION.finditer(text):
        *held, key = re.split(r"\s?[+-]\s?", match[0].upper())
        out.append("+".join([*sorted(_HELD.get(name, name.title()) for name in held), key]))
    return out


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
