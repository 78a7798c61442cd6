"""What Markdown's dialects add to CommonMark: which lines are no text, and which marks frame text.

Hugo, Jekyll, MkDocs, MyST, Docusaurus, GitHub, Obsidian and Pandoc all read Markdown with lines of
their own. A CommonMark parser takes those for paragraphs; it is therefore given lines in which they
are blank, or something that it knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# A line of nothing but these: shortcodes, templates, comments, attributes, tags of components.
_PAIRS = {"{{{": "}}}", "{{": "}}", "{%": "%}", "{#": "#}", "<%": "%>", "{/*": "*/}"}
_TEMPLATE = "|".join(
    rf"{re.escape(a)}(?:(?!{re.escape(b)}).)*{re.escape(b)}" for a, b in _PAIRS.items()
)
_OPAQUE = re.compile(
    rf"""\s*(?:(?:{_TEMPLATE})(?:\s|{_TEMPLATE})*
    | :{{2,}}.*                                     # ::: note, ::leaf[…], :::
    | \{{[:\#.][^{{}}]*\}}                          # {{: .note}}, {{#id}}
    | </?(?:[A-Z][\w.]*)?(?:\s[^<>]*)?/?>           # <Tabs value={{x}}>, <>
    | \([^()\s]+\)=                                 # (target)=
    | \[TOC\] | \[\[_TOC_\]\] | --8<--.* | \\newpage | \\pagebreak
    )\s*""",
    re.VERBOSE,
)
_IMPORT = re.compile(r"""import\s(?:[\w*{][^'"]*\sfrom\s+)?['"][^'"]+['"];?\s*""")
_EXPORT = re.compile(r"export\s+(?:const|let|var|default|function|class|async|\{|\*)")
# Blocks from one line to another: what opens them, and what closes them.
_BLOCKS = [
    (re.compile(r"\s*\$\$"), re.compile(r".*\$\$\s*$")),
    (re.compile(r"\s*\\\[\s*$"), re.compile(r"\s*\\\]\s*$")),
    *(
        (
            re.compile(rf"\s*{re.escape(a)}(?!.*{re.escape(b)}.*\S)"),
            re.compile(rf".*{re.escape(b)}\s*$"),
        )
        for a, b in {"{{<": ">}}", "{{%": "%}}", **_PAIRS}.items()
    ),
]
# Templates that frame code, or a comment.
_CODE = re.compile(
    r"\s*\{[{%][<%]?-?\s*"
    r"(highlight|code(?:block)?|comment|mermaid|math|katex|plantuml|graphviz)\b.*[%}]\}\s*"
)
_LATEX = re.compile(r"\s*\\begin\{(\w+\*?)\}")
_FENCE = re.compile(r"\s*(?:>\s*)*(`{3,}|~{3,})")
# MkDocs: the text that follows is indented by four spaces, as that of a list's item.
_ADMONITION = re.compile(r"""(\s*)(?:(?:!!!|\?\?\?\+?)\s+\w|===[!+]?\s+").*""")
_COMMENT = "<!---->"
_ITEM = f"-   {_COMMENT}"
# What stands before a line's own: quotation marks, and the mark of a list's item.
_BEFORE = re.compile(r"(\s*(?:>\s?)*)((?:[-*+]|\d{1,9}[.)])\s+)?")
# Marks before a text, and what stands for them.
_MARKS = [
    (re.compile(r"((?:\s*>)+\s?)\[![\w-]+\][+-]?\s*$"), r"\1"),  # > [!NOTE]
    (re.compile(r"((?:\s*>)+\s?)\[![\w-]+\][+-]?\s*"), r"\1# "),  # > [!NOTE] Title
    (re.compile(r"(\s*(?:>\s?)*(?:[-*+]|\d{1,9}[.)])\s+)\[[ xX]\]\s+"), r"\1"),  # - [x]
    (re.compile(r"(\s{0,3})\[\^[^\[\]\s]+\]:[ \t]+"), r"\1-   "),  # [^1]:
    (re.compile(r"(\s{0,3}):[ \t]+"), r"\1-   "),  # a definition under its term
    (re.compile(r"(\s{0,3})\*\[[^\[\]]+\]:[ \t]+"), r"\1"),  # *[HTML]:
]
# Attributes behind a text: {#id}, {: .note}, {/* #id */}.
_ATTRIBUTES = re.compile(r"\{(?:[:#.][^{}]*|/\*[^{}]*\*/)\}")
_MOST = 200  # lines of such a block; what is not closed by then was none


@dataclass(frozen=True)
class Line:
    """A line of Markdown.

    Attributes:
        parsed: what a parser of CommonMark should read in its place.
        end: where what may be text ends in the line itself.
    """

    parsed: str
    end: int


def common(bodies: Sequence[str]) -> list[Line]:
    """The lines without what CommonMark does not know. Front matter is blank too."""
    blank = set(range(_front_matter(bodies)))
    blank |= set(_blocks(bodies, len(blank)))
    return [Line("", 0) if i in blank else _framed(body) for i, body in enumerate(bodies)]


def _framed(body: str) -> Line:
    bare = body.rstrip()
    at = bare.rfind("{") if bare.endswith("}") else -1
    end = len(body)
    if at >= 0 and _ATTRIBUTES.fullmatch(bare, at):
        end = len(body[:at].rstrip())
    if admonition := _ADMONITION.fullmatch(body):
        return Line(admonition[1] + _ITEM, 0)
    before = _BEFORE.match(body)
    if before and before[0].strip() and _OPAQUE.fullmatch(body, before.end()):
        return Line(before[0] + (_COMMENT if before[2] else ""), 0)
    parsed = body[:end]
    for mark, stands in _MARKS:
        parsed = mark.sub(stands, parsed, count=1) if mark.match(parsed) else parsed
    return Line(parsed, end)


def _front_matter(bodies: Sequence[str]) -> int:
    """How many lines of settings stand at the top: YAML, TOML, or a JSON object."""
    first = bodies[0].rstrip() if bodies else ""
    closed = {"---": ("---", "..."), "+++": ("+++",), ";;;": (";;;",)}.get(first, ())
    if closed:
        ends = (i for i, body in enumerate(bodies[1:], 1) if body.rstrip() in closed)
        return next(ends, -1) + 1
    if first.startswith("{"):
        text = "\n".join(bodies)
        try:
            end = json.JSONDecoder(parse_int=len, parse_float=len).raw_decode(text)[1]
        except (ValueError, RecursionError):
            return 0
        return text.count("\n", 0, end) + 1
    return 0


def _blocks(bodies: Sequence[str], at: int) -> Iterator[int]:
    """The lines that are no text, from line `at` on; fenced code is left to the parser."""
    while at < len(bodies):
        body = bodies[at]
        stop = at + 1
        if found := _framed_code(bodies, at):
            yield from range(at, found)
            stop = found
        elif fence := _FENCE.match(body):
            closed = re.compile(rf"\s*(?:>\s*)*{re.escape(fence[1][0])}{{{len(fence[1])},}}\s*$")
            stop = _after(bodies, at + 1, closed) or len(bodies)
        elif _OPAQUE.fullmatch(body) or _IMPORT.fullmatch(body):
            yield at
        elif _EXPORT.match(body):
            stop = _after(bodies, at, re.compile(r"\s*$")) or len(bodies)
            yield from range(at, stop)
        elif found := _block(bodies, at):
            yield from range(at, found)
            stop = found
        at = stop


def _framed_code(bodies: Sequence[str], at: int) -> int:
    """The line after the code that a template on line `at` frames; 0 if it frames none."""
    begin = _CODE.fullmatch(bodies[at])
    if begin is None:
        return 0
    closed = re.compile(rf"\s*\{{[{{%][<%]?-?\s*(?:end|/)\s*{begin[1]}\b")
    return _after(bodies, at + 1, closed, _MOST)


def _block(bodies: Sequence[str], at: int) -> int:
    """The line after the block that line `at` opens; 0 if it opens none."""
    body = bodies[at]
    if latex := _LATEX.match(body):
        return _after(bodies, at, re.compile(rf".*\\end\{{{re.escape(latex[1])}\}}\s*$"), _MOST)
    for opened, closed in _BLOCKS:
        if match := opened.match(body):
            if closed.match(body, match.end()):
                return at + 1
            return _after(bodies, at + 1, closed, _MOST)
    return 0


def _after(
    bodies: Sequence[str], at: int, pattern: re.Pattern[str], most: int | None = None
) -> int:
    """The line after the first one from `at` on that matches; 0 if none (of `most`) does."""
    stop = len(bodies) if most is None else min(at + most, len(bodies))
    return next((i + 1 for i in range(at, stop) if pattern.match(bodies[i])), 0)
