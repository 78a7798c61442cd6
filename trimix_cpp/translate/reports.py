"""Reports to look through: source, translation and what is wrong side by side, as TSV or HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from ..files import read_text, write_json, write_text
from ..markup import find
from ..prompts import Language
from .summary import Row, Summary

_HEAD = ("where", "flags", "source", "translation", "used")
_MARK = '<meta name="generator" content="trimix-cpp translate">'
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --flag: #b3261e; --fill: #b3261e14; }
@media (prefers-color-scheme: dark) { :root { --flag: #ffb4ab; --fill: #ffb4ab1f; } }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 1.5rem; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
th, td { border-bottom: 1px solid var(--line); padding: .4rem .6rem; vertical-align: top;
  text-align: start; overflow-wrap: anywhere; }
th { position: sticky; top: 0; background: Canvas; }
th:nth-child(1) { width: 11%; } th:nth-child(4) { width: 22%; }
td.text { white-space: pre-wrap; font-size: 1.1rem; }
td.where { font-size: .85rem; opacity: .75; }
td.ttb > span { writing-mode: vertical-lr; text-orientation: mixed; max-block-size: 100%;
  block-size: max-content; max-inline-size: 18rem; display: inline-block; overflow: auto; }
tr.flagged { background: var(--fill); }
td.flags { color: var(--flag); }
s { opacity: .55; text-decoration: none; }
i { font-style: normal; opacity: .5; font-size: .8em; }
body:has(#only:checked) tbody tr:not(.flagged) { display: none; }
"""
# What a reader would not see, or what would steer the page: controls, and marks of direction.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


def write_report(
    path: Path, summary: Summary, source: Language, target: Language, whole: bool = False
) -> None:
    """Write a report in the form that the ending of `path` says: .tsv, .html, else JSON.

    The first two hold all segments, JSON those to be looked at, or with `whole` all too. Raises
    OSError.
    """
    form = path.suffix.lower()
    if form == ".tsv":
        write_text(path, tsv(summary.rows))
    elif form in (".html", ".htm"):
        write_text(path, html(summary.rows, source, target))
    else:
        write_json(summary.document(whole), path)


def is_report(path: Path) -> bool:
    """Whether a file is a report in TSV or HTML; raises OSError, TrimixError."""
    text = read_text(path)
    return text.startswith("\t".join(_HEAD) + "\n") or _MARK in text[:500]


def tsv(rows: Iterable[Row]) -> str:
    r"""A row a segment; line breaks, tabs and backslashes in a text are `\n`, `\t` and `\\`."""
    lines = [_HEAD]
    for row in rows:
        translation = row.translation or ""
        flags = "; ".join(row.reasons)
        used = "yes" if row.used else "no"
        lines.append((row.where, flags, row.source, translation, used))
    return "".join("\t".join(map(_cell, line)) + "\n" for line in lines)


def _cell(text: str) -> str:
    for char, spelled in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(char, spelled)
    return text


def html(rows: Sequence[Row], source: Language, target: Language) -> str:
    """A page that needs nothing else, for a light or a dark screen.

    Each text runs as its script does: Arabic from the right, Mongolian in columns.
    """
    flagged = sum(row.flagged for row in rows)
    heads = ("where", source.name, target.name, "flags")
    body = "\n".join(_row(row, source, target) for row in rows)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{_MARK}
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(source.name)} – {escape(target.name)}</title>
<style>{_STYLE}</style>
</head>
<body>
<p>{len(rows):,} segments, {flagged:,} to look at
<label><input type="checkbox" id="only"> show these only</label></p>
<table>
<thead><tr>{"".join(f"<th>{escape(head)}</th>" for head in heads)}</tr></thead>
<tbody>
{body}
</tbody>
</table>
</body>
</html>
"""


def _row(row: Row, source: Language, target: Language) -> str:
    kept_out = row.translation is not None and not row.used
    flags = "; ".join([*row.reasons, *(["not in the file"] if kept_out else [])])
    return (
        f'<tr{" class=flagged" if row.flagged else ""}><td class="where">{_safe(row.where)}</td>'
        f"{_text(row.source, source, True)}{_text(row.translation or '', target, row.used)}"
        f'<td class="flags">{_safe(flags)}</td></tr>'
    )


def _text(text: str, language: Language, used: bool) -> str:
    columns = language.direction == "ttb"
    shown = _isolated(text)
    shown = shown if used else f"<s>{shown}</s>"
    shown = f"<span>{shown}</span>" if columns else shown
    direction = "rtl" if language.direction == "rtl" else "ltr"
    tag = (language.aliases or (language.code,))[0] if len(language.code) == 3 else language.code
    kind = "text ttb" if columns else "text"
    return f'<td class="{kind}" lang="{escape(tag)}" dir="{direction}">{shown}</td>'


def _isolated(text: str) -> str:
    """Escaped; a placeholder keeps its direction among letters that run from the right."""
    parts, at = [], 0
    for item in find(text):
        parts += [_safe(text[at : item.start]), f'<bdi dir="ltr">{_safe(item.token)}</bdi>']
        at = item.end
    return "".join([*parts, _safe(text[at:])])


def _safe(text: str) -> str:
    """Escaped; what would not be seen is named."""
    return _HIDDEN.sub(lambda match: f"<i>U+{ord(match[0]):04X}</i>", escape(text))
