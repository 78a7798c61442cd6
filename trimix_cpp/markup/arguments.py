"""Whether a translation has the placeholders of its source, however it spells them.

One argument has several spellings: `%s` and `%1$s`, `%1` and `%L1`, `%5d` and `%d`, `{}` and `{0}`,
`{x!r}` and `{x}`, `$x` and `${x}`, `<br/>` and `<br />`. A placeholder is therefore compared by
what it stands for (`_meaning`), and shown as it is spelled.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from . import icu
from .accelerators import accelerator, accelerators
from .placeholders import KINDS, Placeholder, find, scan

_Meaning = tuple[object, ...]
_Named = tuple[_Meaning, str]  # what a placeholder stands for, and how it is spelled

# %[position]flags, width and precision[size]conversion; the position of C, or of Delphi.
_PRINTF = re.compile(
    r"%(?:(?P<at>\d{1,9})[$:])?[-+#0 ',]*(?P<width>\d+|\*)?(?:\.(?P<digits>\d+|\*)?)?"
    r"(?P<size>hh?|ll?|[Lqjzt])?(?P<type>[tT][A-Za-z]|[A-Za-z@])"
)
_BY_NAME = re.compile(r"%(?:\((?P<a>.+)\)|<(?P<b>\w+)>)[-+#0]*\d*(?:\.\d+)?(?P<type>[A-Za-z]?)")
# Conversions that take the same argument.
_TYPES = {
    **dict.fromkeys("di", "int"),
    **dict.fromkeys("ouxX", "unsigned"),
    **dict.fromkeys("eEfFgGaA", "double"),
}
_BRACE = re.compile(r"\{\s*([\w.\[\]-]*)\s*(?:![rsa])?(?:[:,][^{}]*)?\}")
# A text with so many parts of a date is a form of dates, and each language has its own.
_WHOLE_DATE = 3
_SHELL = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def lost_or_invented(
    source: str,
    translation: str,
    syntax: frozenset[str] = frozenset(),
    kinds: frozenset[str] = KINDS,
    categories: frozenset[str] | None = None,
) -> tuple[str, ...]:
    """What is wrong with the placeholders of `translation`, each a phrase; () if nothing is.

    Looked at are those of `kinds`; `categories` are the target language's, for ICU's plurals.

    Every placeholder must come as often as in `source`, in any order; but of several unnumbered
    ones (`%s`, `%d`) the types must come in the same order, for arguments are taken one by one.
    Numbered ones (`%2$s`, `{1}`) may stand for them, and a number, width or flag may be put in or
    left out. Line breaks and tabs count as well. Of ICU's arguments the cases must be there; what
    stands in them must come at all.
    """
    wanted = [item for item in find(source, syntax) if item.kind in kinds]
    got = [item for item in find(translation, syntax) if item.kind in kinds]
    if _is_whole_date(wanted) and _is_whole_date(got):
        wanted, got = ([item for item in items if not _plain(item)] for items in (wanted, got))
    reasons = list(icu.wrong(source, translation, categories)) if "icu" in kinds else []
    want, have = _compared(source, translation, wanted, got)
    have = _without_percentages(have, want, source, syntax)
    lost, made = _beyond(want, have), _beyond(have, want)
    reasons += [f"loses {_shown(lost)}"] if lost else []
    reasons += [f"invents {_shown(made)}"] if made else []
    order, theirs = _order(wanted), _order(got)
    moved = [meaning for meaning, _ in order] != [meaning for meaning, _ in theirs]
    if moved and not reasons and not _numbered([*wanted, *got]):
        reasons.append(f"changes the order of {' '.join(token for _, token in order)}")
    return tuple(reasons)


def wrong_accelerator(source: str, translation: str) -> list[str]:
    """What is wrong with the accelerator of `translation`, a phrase, if anything is.

    One mark (`&`, `_`, `~`) of the source must stand before some letter, or appended as in "(&O)";
    a second one is wrong. A "_" inside a word ("Righ_t", "file_name") may be either, so its loss
    goes unseen.
    """
    mark, new = accelerator(source), accelerators(translation)
    if mark is not None and len(new) != 1:
        return [f"{'loses' if not new else 'doubles'} the accelerator {mark.token}"]
    if mark is None and new and source.count(new[0].token[0]) != 1:
        return [f"invents an accelerator {new[0].token}"]
    return []


def _compared(
    source: str, translation: str, wanted: list[Placeholder], got: list[Placeholder]
) -> tuple[list[_Named], list[_Named]]:
    """What both texts have, to be compared; numbered where one of them numbers."""
    both = [*wanted, *got]
    numbered, indexed = _numbered(both), any(_index(item) for item in both)
    dated = not numbered and any(_is_date(item) for item in both)  # Mozilla's %S is no second
    out = []
    for text, items in ((source, wanted), (translation, got)):
        named = list(_meanings(items, numbered, indexed, dated))
        out.append(_once_in_cases(text, items, named))
    return out[0], out[1]


def _meanings(
    items: Iterable[Placeholder], numbered: bool, indexed: bool, dated: bool
) -> Iterable[_Named]:
    """What each stands for. Plain conversions take one argument after the other, stars theirs."""
    arguments = fields = 0
    for item in items:
        if item.kind == "icu":
            continue
        if item.token == "{}" and indexed:
            yield ("brace", str(fields)), item.token
            fields += 1
        elif (match := _plain(item)) and not (dated and not match["width"]):
            arguments += 1 + [match["width"], match["digits"]].count("*")
            place = arguments if numbered else None
            yield ("printf", place, *_type(match)), item.token
        else:
            yield _meaning(item), item.token


def _meaning(item: Placeholder) -> _Meaning:
    token = item.token
    if item.kind in ("printf", "percent"):
        if match := re.fullmatch(r"%L?(\d+|n)", token):
            return ("qt", match[1])
        if match := _BY_NAME.fullmatch(token):
            type = _TYPES.get(match["type"], match["type"]) if match["a"] else ""
            return ("named", match["a"] or match["b"], type)
        if token != "%%" and (match := _PRINTF.fullmatch(token)) and match["at"]:
            return ("printf", int(match["at"]), *_type(match))
        return ("percent", re.sub(r"^%[-_^#](?=[A-Za-z]$)", "%", token))
    if item.kind == "brace" and (match := _BRACE.fullmatch(token)):
        return ("brace", match[1])
    if item.kind in ("brace", "dollar") and (match := _SHELL.fullmatch(token)):
        return ("shell", match[1] or match[2])
    if item.kind == "colon":  # Laravel: ":Name" begins with a capital letter
        return ("colon", token.lower())
    if token.startswith("%{"):
        return ("named", token[2:-1], "")
    if item.kind in ("tag", "template", "brace"):
        bare = re.sub(r"\s+", " ", token)
        return (item.kind, re.sub(r"(?<=[{<%=]) | (?=[}>%/])", "", bare))
    return (item.kind, token)


def _type(match: re.Match[str]) -> tuple[str, str]:
    return match["size"] or "", _TYPES.get(match["type"], match["type"])


def _plain(item: Placeholder) -> re.Match[str] | None:
    """A conversion that takes the next argument; None for all others."""
    if item.kind not in ("printf", "percent") or item.token == "%%":
        return None
    if re.fullmatch(r"%L?(?:\d+|n)", item.token):
        return None
    match = _PRINTF.fullmatch(item.token)
    return match if match and not match["at"] else None


def _is_date(item: Placeholder) -> bool:
    """A part of a date, `%B`: those have names, and come in any order."""
    return item.kind == "percent" and _plain(item) is not None


def _is_whole_date(items: list[Placeholder]) -> bool:
    return sum(map(bool, map(_plain, items))) >= _WHOLE_DATE and any(map(_is_date, items))


def _numbered(items: Iterable[Placeholder]) -> bool:
    return any(
        item.kind == "printf" and (match := _PRINTF.fullmatch(item.token)) and match["at"]
        for item in items
    )


def _index(item: Placeholder) -> bool:
    match = _BRACE.fullmatch(item.token) if item.kind == "brace" else None
    return match is not None and match[1].isdecimal()


def _order(items: list[Placeholder]) -> list[_Named]:
    """The plain conversions as they come; none where a date is among them."""
    if any(_is_date(item) for item in items):
        return []
    return [((*_type(match),), item.token) for item in items if (match := _plain(item))]


def _once_in_cases(text: str, items: list[Placeholder], named: list[_Named]) -> list[_Named]:
    """What stands in the cases of ICU's arguments counts once, for languages differ in cases."""
    inside = [(a, b) for argument in icu.arguments(text) for _, a, b in argument.branches]
    if not inside:
        return named
    begin, end = min(a for a, _ in inside), max(b for _, b in inside)
    places = (item.start for item in items if item.kind != "icu")
    out: list[_Named] = []
    seen: set[_Meaning] = set()
    for (meaning, token), place in zip(named, places, strict=True):
        if begin <= place < end:
            if meaning in seen:
                continue
            seen.add(meaning)
        out.append((meaning, token))
    return out


def _without_percentages(
    have: list[_Named], want: list[_Named], source: str, syntax: frozenset[str]
) -> list[_Named]:
    """Without Qt's `%50` where the source says "50%": some languages write "%50"."""
    spelled = [item.token for item in scan(source, syntax) if item.kind == "_percentage"]
    shares = {("qt", re.sub(r"\D.*", "", token)) for token in spelled}
    shares.difference_update(meaning for meaning, _ in want)
    return [item for item in have if item[0] not in shares]


def _beyond(items: list[_Named], others: list[_Named]) -> Counter[str]:
    """How often each spelling stands in `items` beyond what `others` have."""
    left = Counter(meaning for meaning, _ in others)
    out: Counter[str] = Counter()
    for meaning, token in items:
        left[meaning] -= 1
        out[token] += left[meaning] < 0
    return +out


def _shown(tokens: Counter[str]) -> str:
    names = {"\n": "a line break", "\t": "a tab"}
    return ", ".join(
        names.get(token, token) + (f" ({count} times)" if count > 1 else "")
        for token, count in tokens.items()
    )
