"""What a translation must carry over: placeholders, markup, escapes, accelerators, addresses.

A list of patterns finds them in any text, so that no format has to say what its strings hold. The
patterns leave alone what only looks like one: "50% done", "a & b", "3 < 4", "R&D", "snake_case".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

# Only in Markdown, and first there: code, where links go, images, emphasis.
_MARKDOWN = r"""
        (?P<ticks>`+)(?!`).{1,500}?(?<!`)(?P=ticks)(?!`)      # code
        | \]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)?(?:\s+(?:"[^"]*"|'[^']*'))?\)   # where a link goes
        | \]\[[^\[\]]*\] | !\[
        | <[A-Za-z][A-Za-z0-9+.-]+:[^<>\s]*>
        | \*+(?=\S) | (?<=\S)\*+ | ~~ | (?<!\w)_+(?=[^\W_]) | (?<=[^\W_])_+(?!\w)"""
# Kinds, tried in this order at every place. A kind that begins with "_" is no placeholder: it
# takes up text in which others would be found wrongly.
_KINDS = {
    # ASCII only: a suffix of the language may follow at once.
    "address": r"""
        (?:https?|ftp|file)://(?=[A-Za-z0-9\[%{/])
          [A-Za-z0-9._~:/?\#\[\]@!$&'()*+,;=%{}-]*[A-Za-z0-9/\#=&_}-]
        | \bwww\.[A-Za-z0-9-]+\.[A-Za-z0-9./?=&%_-]*[A-Za-z0-9/]
        | (?<![\w.+-])[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}""",
    "tag": r"""
        <!--.{0,500}?-->
        | </?[A-Za-z][\w:.-]*\s*/?>
        | <[A-Za-z][\w:.-]*(?:\s+[\w:.-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+))+\s*/?>
        | <v(?:\.[\w.-]+)?\s[^<>]+>                 # WebVTT: who speaks
        | <\d{1,3}:[\d:.]+>                         # WebVTT: from when on
        | \{\\[^{}]*\}                              # SubStation commands in SRT: {\an8}""",
    "entity": r"&(?:[A-Za-z][A-Za-z0-9.]*|\#[0-9]+|\#[xX][0-9A-Fa-f]+);",
    "brace": r"""
        \{\{[^{}]*\}\}
        | [$\#%]\{[^{}]*\}
        | \$\([A-Za-z_]\w*\) | \$\[[A-Za-z_]\w*\]
        | \{[A-Za-z0-9_.\[\]-]*(?:![rsa])?(?::[^{}\s]*)?\}
        | \{\s*\w+\s*,\s*(?:plural|select|selectordinal|number|date|time)\b""",
    "dollar": r"\$[A-Za-z_]\w*\$? | (?<![\w$])\$\d\b(?![.,]\d)",
    "_percentage": r"(?<![%\w$])\d(?:[\d.,]{0,15}\d)?(?:\s?|\u00a0|\u202f)%(?![%\d({])",
    "printf": r"""
        %\([^()\s]+\)[-+\#0]*\d*(?:\.\d+)?[A-Za-z]
        | %[1-9]\d?[diouxXeEfFgGcsp](?![A-Za-z])    # not Qt's %1 with a word after it
        | %(?:\d+\$)?(?:[-+\#0']+\d*|\*)?(?:\.(?:\d+|\*)|\d+\.(?:\d+|\*))?(?:hh?|ll?|[Lqjzt])?
          (?:[diouxXeEfFgGaAcsp@]|n(?![A-Za-z]))
        | %\d+\$[A-Za-z](?![A-Za-z])
        | %%""",
    "percent": r"""
        %L?\d{1,2}(?!\d)                            # Qt: %1
        | %[A-Z][A-Z0-9_]{2,}%?                     # LibreOffice: %PRODUCTNAME
        | %[-_^\#]?[A-Za-z](?![A-Za-z])             # strftime: %B""",
    "escape": r"\\(?:[ntr\"\\]|u[0-9A-Fa-f]{4})",
    "break": r"\n",
    "tab": r"\t",
}


def _compiled(kinds: Mapping[str, str]) -> re.Pattern[str]:
    either = "|".join(f"(?P<{kind}>{pattern}\n)" for kind, pattern in kinds.items())
    return re.compile(either, re.VERBOSE | re.DOTALL)


_FOUND = _compiled(_KINDS)
_FOUND_IN_MARKDOWN = _compiled({"markdown": _MARKDOWN, **_KINDS})
# Only with the flag c-format: a space is a flag too, "% d".
_C_FORMAT = re.compile(
    r"%(?:\d+\$)?[-+#0 ']*(?:\d+|\*)?(?:\.\d+)?(?:hh?|ll?|[Lqjzt])?[diouxXeEfgGcs]"
)
# Marks of a keyboard accelerator: GTK's "_", Qt's and Windows' "&", LibreOffice's "~". Only "&" is
# looked for inside a word ("E&xit"): a "_" there is mostly part of a name.
_ACCELERATOR = re.compile(r"(?<![A-Z&\w])&(?=\w)|(?<=[a-z])&(?=[a-z])|(?<=\b[A-Z])&(?=[a-z])"
                          r"|(?<![\w_])_(?=[^\W_])|(?<![\w~/])~(?=[^\W\d_])")  # fmt: skip
# Elements of HTML and WebVTT. Another "<word>" counts only if "</word>" stands in the text too:
# help texts are full of "<value>", which translators translate.
_ELEMENT = re.compile(
    r"a|abbr|b|big|blockquote|br|c|center|code|dd|div|dl|dt|em|font|h[1-6r]|i|img|kbd|lang|li|"
    r"link|ol|p|pre|q|rt|ruby|s|samp|small|span|strong|su[bp]|table|t[dhrt]|u|ul|var|wbr",
    re.IGNORECASE,
)
_BARE_TAG = re.compile(r"<([A-Za-z][\w:.-]*)\s*>")
_VERSION = re.compile(
    r"[vV]?\d+(?:[._]\d+)+(?:[-+~.]?(?:alpha|beta|rc|pre|dev|git)\d*(?:\.\d+)*|[-+~]\d+(?:\.\d+)*)*"
)
_PATH = re.compile(r"(?:~|\.{1,2}|[A-Za-z]:)?(?:[/\\][\w.+@-]+){2,}[/\\]?|--[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Found:
    """A placeholder in a text."""

    kind: str
    token: str
    start: int
    end: int


def find(text: str, syntax: frozenset[str] = frozenset()) -> list[Found]:
    """The placeholders of `text`, from left to right, accelerators apart.

    `syntax` holds gettext's format flags (`Segment.syntax`): "c-format" also finds "% d", and
    with "no-c-format" and its like a percent sign or brace is text. "markdown" adds its markup.
    """
    return list(_find(text, syntax))


def _find(text: str, syntax: frozenset[str]) -> Iterator[Found]:
    ignored = _switched_off(syntax)
    at = 0
    pattern = _FOUND_IN_MARKDOWN if "markdown" in syntax else _FOUND
    while match := pattern.search(text, at):
        kind, start, end = str(match.lastgroup), match.start(), match.end()
        at = end
        if "c-format" in syntax and kind == "_percentage":
            sign = text.index("%", start)
            spaced = _C_FORMAT.match(text, sign)
            kind, start, end = "printf", sign, spaced.end() if spaced else end
            at = end
            if not spaced:
                continue
        if kind == "tag" and not _is_markup(text[start:end], text):
            continue
        if not kind.startswith("_") and kind not in ignored:
            yield Found(kind, text[start:end], start, end)


def _is_markup(tag: str, text: str) -> bool:
    bare = _BARE_TAG.fullmatch(tag)
    if bare is None:
        return True
    name = re.split(r"[.:]", bare[1])[0]
    return _ELEMENT.fullmatch(name) is not None or f"</{bare[1]}" in text


def _switched_off(syntax: frozenset[str]) -> set[str]:
    off: set[str] = set()
    for flag, kinds in (
        ("no-c-format", {"printf", "percent"}),
        ("no-python-format", {"printf", "percent"}),
        ("no-qt-format", {"percent"}),
        ("no-kde-format", {"percent"}),
        ("no-python-brace-format", {"brace"}),
    ):
        if flag in syntax:
            off |= kinds
    return off


def placeholders(text: str, syntax: frozenset[str] = frozenset()) -> Counter[str]:
    """How often each placeholder stands in `text`; see `find`."""
    return Counter(found.token for found in find(text, syntax))


def lost_or_invented(
    source: str, translation: str, syntax: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """What is wrong with the placeholders of `translation`, each a phrase; () if nothing is.

    Every placeholder must come as often as in `source`, in any order; but of several unnumbered
    ones (`%s`, `%d`) the types must come in the same order, for arguments are taken one by one.
    C's numbered form (`%2$s`) may stand for them. One accelerator mark (`&`, `_`, `~`) of the
    source must stand before some letter, or appended as in "(&O)"; a second one is wrong. A "_"
    inside a word ("Righ_t", "file_name") may be either, so its loss goes unseen.
    Line breaks and tabs count as well.
    """
    wanted, got = find(source, syntax), find(translation, syntax)
    got = _numbered_as_plain(wanted, got)
    want_count, got_count = _tokens(wanted), _tokens(got)
    # "50%" is written "%50" in some languages; that is no "%50" of Qt.
    for number in re.findall(r"(\d+)\s?%", source):
        if f"%{number}" not in want_count:
            got_count.pop(f"%{number}", None)
    reasons = [f"loses {_shown(lost)}" for lost in [want_count - got_count] if lost]
    reasons += [f"invents {_shown(made)}" for made in [got_count - want_count] if made]
    if not reasons and _order(wanted) != _order(got):
        reasons.append(f"changes the order of {' '.join(_order(wanted))}")
    mark, new = accelerator(source), _accelerators(translation)
    if mark is not None and len(new) != 1:
        reasons.append(f"{'loses' if not new else 'doubles'} the accelerator {mark.token}")
    elif mark is None and new and source.count(new[0].token[0]) != 1:
        reasons.append(f"invents an accelerator {new[0].token}")
    return tuple(reasons)


def _tokens(found: list[Found]) -> Counter[str]:
    return Counter(item.token for item in found)


def _shown(tokens: Counter[str]) -> str:
    names = {"\n": "a line break", "\t": "a tab"}
    return ", ".join(
        names.get(token, token) + (f" ({count} times)" if count > 1 else "")
        for token, count in tokens.items()
    )


def _plain(found: list[Found]) -> list[Found]:
    """The conversions that take the next argument each, dates' (`%B`) among them."""
    return [
        item
        for item in found
        if item.kind in ("printf", "percent")
        and item.token != "%%"
        and not re.match(r"%\(|%\d+\$|%L?\d|%[A-Z]{2}", item.token)
    ]


def _order(found: list[Found]) -> list[str]:
    """The conversions of `printf` in their order; none in a date, whose parts have names."""
    plain = _plain(found)
    dated = any(item.kind == "percent" for item in plain)
    return [] if dated else [item.token for item in plain]


def _numbered_as_plain(wanted: list[Found], got: list[Found]) -> list[Found]:
    """`got` with `%2$s` as the plain conversion whose argument it takes, and in that order."""
    plain = [item.token for item in _plain(wanted)]
    numbers = {item: int(m[1]) for item in got if (m := re.match(r"%(\d+)\$", item.token))}
    ordered = sorted(numbers, key=lambda item: numbers[item])
    as_plain = [re.sub(r"^%\d+\$", "%", item.token) for item in ordered]
    one_each = sorted(numbers.values()) == list(range(1, len(plain) + 1))
    mixed = any(re.match(r"%\d+\$", item.token) for item in wanted)
    if not plain or as_plain != plain or not one_each or mixed:
        return got
    rest = [item for item in got if item not in numbers]
    return [replace(item, token=token) for item, token in zip(ordered, plain, strict=True)] + rest


def passes_through(text: str) -> bool:
    """There is nothing to translate: no letters but in placeholders and addresses.

    Numbers, signs, version strings, paths and long options ("--help") pass too, and what is empty.
    """
    bare = text.strip()
    if not any(char.isalpha() for char in bare):
        return True
    if _VERSION.fullmatch(bare) or _PATH.fullmatch(bare):
        return True
    rest = list(bare)
    for found in find(bare):
        rest[found.start : found.end] = " " * (found.end - found.start)
    return not any(char.isalpha() for char in rest)


@dataclass(frozen=True)
class Accelerator:
    """The keyboard accelerator of a label.

    Attributes:
        mark: `&`, `_` or `~`.
        key: the letter after it, in upper case.
        plain: the label without the mark.
    """

    mark: str
    key: str
    plain: str

    @property
    def token(self) -> str:
        """The mark and its letter, as it is appended to labels: "&O"."""
        return self.mark + self.key


def accelerator(text: str) -> Accelerator | None:
    """The accelerator of `text`, if it has exactly one."""
    found = _accelerators(text)
    if len(found) != 1:
        return None
    at = found[0].start
    return Accelerator(text[at], text[at + 1].upper(), text[:at] + text[at + 1 :])


def append_accelerator(label: str, accelerator: Accelerator) -> str:
    """`label` with the accelerator as other scripts than Latin have it: "ئاچ(&O)".

    It goes before "...", "…" or a colon at the end.
    """
    match = re.search(r"\s*(?:\.\.\.|…|[:：])?\s*$", label)
    at = match.start() if match else len(label)
    return f"{label[:at]}({accelerator.token}){label[at:]}"


def _accelerators(text: str) -> list[Found]:
    taken = [(item.start, item.end) for item in find(text)]
    return [
        Found("accelerator", text[match.start() : match.start() + 2], match.start(), match.end())
        for match in _ACCELERATOR.finditer(text)
        if not any(start <= match.start() < end for start, end in taken)
    ]
