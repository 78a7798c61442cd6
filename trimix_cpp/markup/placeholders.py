"""Where a text has what its translation must carry over: placeholders, markup, escapes, addresses.

A list of patterns finds them in any text, so that no format has to say what its strings hold. The
patterns leave alone what only looks like one: "50% done", "a & b", "3 < 4", "R&D", "snake_case".
Each is tried at a place in time that does not depend on the length of the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import chain

from . import icu

# Only in Markdown, and first there: code, where links go, images, emphasis, and what its dialects
# add: footnotes, identifiers of headings, wiki links, formulas, Hugo's shortcodes, alerts, tasks,
# who or what is cited.
_MARKDOWN = r"""
        (?<!`)(?P<ticks>`+)(?!`).{1,500}?(?<!`)(?P=ticks)(?!`)      # code
        | \]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)?(?:\s+(?:"[^"]{0,500}"|'[^']{0,500}'))?\)
        | \]\[[^\[\]]+\] | !?\[\[[^\[\]]+\]\] | !\[
        | \[\^[^\[\]\s]+\]:? | ^\[[ xX]\]\ | ^\[![A-Za-z]+\]
        | \{[:\#.][^{}\n]*\}
        | \$\$.{1,500}?\$\$ | (?<![\w$\\])\$(?=[^\s$])[^$\n]{0,200}[^\s$\\]\$(?![\w$])
        | \\\([^\n]{1,200}?\\\) | (?<![\w@/.])@[A-Za-z][\w:-]*
        | \{\{[<%].{0,500}?[%>]\}\}
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
        | (?<![\w.%+-])[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}""",
    "template": r"""
        <%(?!>).{0,500}?%> | <\?(?:php|=).{0,500}?\?>       # ERB and its like, PHP
        | \{%[-+~]?\s*\w[^{}]{0,500}?%\}                    # Jinja, Liquid
        | \{\{\{[^{}]*\}\}\} | \{\{[^{}]*\}\}
        | \$t\([^()]*\)                                     # i18next""",
    "tag": r"""
        <!--.{0,500}?-->
        | </?\d+\s*/?>                                      # i18next: <0>text</0>
        | </?[A-Za-z][\w:.-]*\s*/?>
        | <[A-Za-z][\w:.-]*(?:\s+[\w:.-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+))+\s*/?>
        | <v(?:\.[\w.-]+)?\s[^<>]+>                         # WebVTT: who speaks
        | <\d{1,3}:[\d:.]+>                                 # WebVTT: from when on
        | \{\\[^{}]*\}                                      # SubStation commands in SRT: {\an8}""",
    "entity": r"&(?:[A-Za-z][A-Za-z0-9.]*|\#[0-9]+|\#[xX][0-9A-Fa-f]+);",
    "brace": r"""
        [$\#%]\{[^{}]*\}
        | \$\([A-Za-z_]\w*\) | \$\[[A-Za-z_]\w*\]
        | \{[A-Za-z0-9_.\[\]-]*(?:![rsa])?(?::[^{}\s]*)?\}
        | \{\s*[A-Za-z0-9_]+\s*\}
        | \{\s*\w+\s*,\s*(?:number|date|time|spellout|ordinal|duration)\b[^{}]*\}
        | \{\s*\w+\s*,\s*(?:plural|select|selectordinal|choice)\b      # not whole, or choices""",
    "dollar": r"\$[A-Za-z_]\w*\$? | (?<![\w$])\$\d\b(?![.,]\d)",
    "_percentage": r"(?<![%\w$])\d(?:[\d.,]{0,15}\d)?(?:\s?|\u00a0|\u202f)%(?![%\d({])",
    "printf": r"""
        %\([^()\s]+\)[-+\#0]*\d*(?:\.\d+)?[A-Za-z]
        | %<(?![biups]>)[A-Za-z_]\w*>[-+\#0]*\d*(?:\.\d+)?[A-Za-z]?     # Ruby; gettext: %<PRId64>
        | %[1-9]\d?[diouxXeEfFgGcsp](?![A-Za-z])            # not Qt's %1 with a word after it
        | %(?:\d+\$)?\#@[^@\s]{1,80}@                        # Apple: a variable of .stringsdict
        | %\d+[$:][-+\#0',]*\d*(?:\.\d+)?(?:hh?|ll?|[Lqjzt])?[A-Za-z@](?![A-Za-z])
        | %(?:\d+[$:])?(?:[-+\#0',]+\d*|\*)?(?:\.(?:\d+|\*)|\d+\.(?:\d+|\*))?(?:hh?|ll?|[Lqjzt])?
          (?:[diouxXeEfFgGaAcsp@]|n(?![A-Za-z]))
        | %\d+\$(?:[tT])?[A-Za-z](?![A-Za-z])
        | %%""",
    "percent": r"""
        %L?\d{1,2}(?!\d)                                    # Qt: %1
        | %[A-Z][A-Z0-9_]{2,}%?                             # LibreOffice: %PRODUCTNAME
        | %[-_^\#]?[A-Za-z](?![A-Za-z])                     # strftime: %B""",
    "escape": r"\\(?:[ntr\"\\]|u[0-9A-Fa-f]{4})",
    "break": r"\n",
    "tab": r"\t",
    "control": r"\x1b\[[0-9;]*[A-Za-z] | [\x00-\x08\x0b\x0c\x0e-\x1f\x7f]",
}


# Symfony and Windows; where a catalogue has C's or Python's formats, it is "%c" and a word.
_NAMED = r"%[A-Za-z_][A-Za-z_.-]{2,40}%(?![A-Za-z(\d])"
# Laravel, by its flag alone: elsewhere ":name" is a word after a colon.
_COLON = r"(?<![\w:]):[A-Za-z_]\w*"
# Within a case of an ICU plural.
_COUNT = r"\#"
KINDS = frozenset(kind for kind in _KINDS if kind[0] != "_")
KINDS |= {"markdown", "named", "colon", "count", "icu"}


@cache
def _pattern(markdown: bool, named: bool, colon: bool, count: bool) -> re.Pattern[str]:
    kinds = {"markdown": _MARKDOWN} if markdown else {}
    kinds |= {"named": _NAMED} if named else {}
    kinds |= {"colon": _COLON} if colon else {}
    kinds |= {"count": _COUNT} if count else {}
    kinds |= _KINDS
    either = "|".join(f"(?P<{kind}>{pattern}\n)" for kind, pattern in kinds.items())
    return re.compile(either, re.VERBOSE | re.DOTALL)


# Only with the flag c-format: a space is a flag too, "% d".
_C_FORMAT = re.compile(
    r"%(?:\d+\$)?[-+#0 ']*(?:\d+|\*)?(?:\.\d+)?(?:hh?|ll?|[Lqjzt])?[diouxXeEfgGcs]"
)
# Elements of HTML and WebVTT. Another "<word>" counts only if "</word>" stands in the text too:
# help texts are full of "<value>", which translators translate.
_ELEMENT = re.compile(
    r"a|abbr|b|big|blockquote|br|c|center|code|dd|div|dl|dt|em|font|h[1-6r]|i|img|kbd|lang|li|"
    r"link|ol|p|pre|q|rt|ruby|s|samp|small|span|strong|su[bp]|table|t[dhrt]|u|ul|var|wbr",
    re.IGNORECASE,
)
_BARE_TAG = re.compile(r"</?([A-Za-z\d][\w:.-]*)\s*>")
_VERSION = re.compile(
    r"[vV]?\d+(?:[._]\d+)+(?:[-+~.]?(?:alpha|beta|rc|pre|dev|git)\d*(?:\.\d+)*|[-+~]\d+(?:\.\d+)*)*"
)
_PATH = re.compile(
    r"(?:~|\.{1,2}|[A-Za-z]:)?(?:[/\\][\w.+@-]+){2,}[/\\]?|--[a-z][a-z0-9-]*|-[A-Za-z0-9?]"
)
_OFF = {
    "no-c-format": {"printf", "percent"},
    "no-python-format": {"printf", "percent"},
    "no-qt-format": {"percent"},
    "no-kde-format": {"percent"},
    "no-python-brace-format": {"brace"},
}


@dataclass(frozen=True)
class Placeholder:
    """A placeholder in a text."""

    kind: str
    token: str
    start: int
    end: int


def find(text: str, syntax: frozenset[str] = frozenset()) -> list[Placeholder]:
    """The placeholders of `text`, from left to right, accelerators apart.

    `syntax` holds gettext's format flags (`Segment.syntax`): "c-format" also finds "% d", and
    with "no-c-format" and its like a percent sign or brace is text. "laravel-format" finds ":name",
    "markdown" adds its markup, "icu-case" the number sign of ICU's plurals.
    The parts of an ICU argument that are no text are of the kind "icu". Labels that the file
    defines ("label:…") are no placeholders: another text may lead to them.
    """
    return list(_found(text, syntax))


@lru_cache(maxsize=64)  # each check of a segment looks at the same two texts
def _found(text: str, syntax: frozenset[str]) -> tuple[Placeholder, ...]:
    off = set(chain.from_iterable(_OFF[flag] for flag in syntax if flag in _OFF))
    labels = {flag[6:].casefold() for flag in syntax if flag.startswith("label:")}
    return tuple(
        item
        for item in scan(text, syntax)
        if item.kind[0] != "_" and item.kind not in off and not _leads_to(item, labels)
    )


def _leads_to(item: Placeholder, labels: set[str]) -> bool:
    return item.token.startswith("][") and " ".join(item.token[2:-1].split()).casefold() in labels


def scan(text: str, syntax: frozenset[str]) -> Iterator[Placeholder]:
    """What the patterns find, with what is no placeholder though it looks like one ("_…")."""
    formats = any(flag.endswith("-format") and not flag.startswith("no-") for flag in syntax)
    pattern = _pattern(
        "markdown" in syntax, not formats, "laravel-format" in syntax, "icu-case" in syntax
    )
    closed = frozenset(re.findall(r"</([A-Za-z\d][\w:.-]*)", text))
    structure = iter(sorted(part for item in icu.arguments(text) for part in item.structure))
    part = next(structure, None)
    at = 0
    while match := pattern.search(text, at):
        if part is not None and part[0] <= match.start():
            yield Placeholder("icu", text[part[0] : part[1]], *part)
            at, part = part[1], next(structure, None)
            continue
        kind, start, end = str(match.lastgroup), match.start(), match.end()
        at = end
        if "c-format" in syntax and kind == "_percentage":
            sign = text.index("%", start)
            spaced = _C_FORMAT.match(text, sign)
            kind, start, end = "printf", sign, spaced.end() if spaced else end
            at = end
            if not spaced:
                continue
        if kind == "tag" and not _is_markup(text[start:end], closed):
            continue
        yield Placeholder(kind, text[start:end], start, end)
    while part is not None:
        yield Placeholder("icu", text[part[0] : part[1]], *part)
        part = next(structure, None)


def _is_markup(tag: str, closed: frozenset[str]) -> bool:
    bare = _BARE_TAG.fullmatch(tag)
    if bare is None or tag.startswith("</") or re.match(r"<\d+:", tag):
        return True
    name = re.split(r"[.:]", bare[1])[0]
    return _ELEMENT.fullmatch(name) is not None or bare[1] in closed


def without(text: str, syntax: frozenset[str] = frozenset()) -> str:
    """`text` with U+FFFC in the place of every placeholder."""
    parts, at = [], 0
    for item in find(text, syntax):
        parts += [text[at : item.start], "\ufffc"]
        at = item.end
    return "".join([*parts, text[at:]])


def unbreakable(text: str, syntax: frozenset[str] = frozenset()) -> list[tuple[int, int]]:
    """The ranges of `text` that stay on one line and in one piece: placeholders, ICU arguments.

    In their order; none is within another.
    """
    whole = [(item.start, item.end) for item in icu.arguments(text)]
    ranges = sorted([*whole, *((item.start, item.end) for item in find(text, syntax))],
                    key=lambda range: (range[0], -range[1]))  # fmt: skip
    out: list[tuple[int, int]] = []
    for start, end in ranges:
        if not out or start >= out[-1][1]:
            out.append((start, end))
    return out


def placeholders(text: str, syntax: frozenset[str] = frozenset()) -> Counter[str]:
    """How often each placeholder stands in `text`; see `find`."""
    return Counter(found.token for found in find(text, syntax))


def passes_through(text: str, syntax: frozenset[str] = frozenset()) -> bool:
    """There is nothing to translate: no letters but in placeholders and addresses.

    Numbers, signs, version strings, paths and options ("--help", "-k") pass too, and what is empty.
    """
    bare = text.strip()
    if not any(char.isalpha() for char in bare):
        return True
    if _VERSION.fullmatch(bare) or _PATH.fullmatch(bare):
        return True
    rest = list(bare)
    for found in find(bare, syntax):
        rest[found.start : found.end] = " " * (found.end - found.start)
    return not any(char.isalpha() for char in rest)
