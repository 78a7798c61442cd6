"""Markdown: the text of paragraphs, headings, list items and table cells is translated.

markdown-it-py (CommonMark, with tables) says which lines hold text; the text is replaced in the
file itself, for to write Markdown from a parsed tree would give another file. Code blocks, HTML
blocks, link definitions and front matter are no segments, nor is what dialects add (`dialects`).
Code, links and emphasis within a text are sent with it and must come back (`placeholders.find` with
"markdown"), and so must the labels of links that the file defines ("label:…").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import normalizeReference
from markdown_it.token import Token

from ..markup import Line, common, unbreakable
from .lines import one_line, rewrap, split_lines, unwrap
from .segments import FormatOptions, Result, Segment

SYNTAX = frozenset({"markdown"})

_PARSER = MarkdownIt("commonmark").enable("table")
_PARSER.core.ruler.enableOnly(["normalize", "block"])  # what stands within a line is not needed
_LABEL = re.compile(r"\[([^\[\]]+)\]")
_HARD_BREAK = re.compile(r"(?: {2,}|\\)$")


@dataclass(frozen=True)
class _Span:
    """Part of a line that is text."""

    line: int
    start: int
    end: int


@dataclass(frozen=True)
class _Block:
    """A text; `kind`: "cell" of a table, "heading" after `#`, or "paragraph"."""

    kind: str
    spans: list[_Span]


class Markdown:
    """A Markdown file.

    A line break within a paragraph is a space to the model, and the translation is broken again at
    the length that the lines had; a hard break (two spaces or a backslash at the end) is kept.
    """

    def __init__(self, text: str, name: str, options: FormatOptions) -> None:
        self._lines = split_lines(text)
        bodies = [body for body, _ in self._lines]
        lines = common(bodies)
        known: dict[str, Any] = {}
        tokens = _PARSER.parse("\n".join(line.parsed for line in lines), known)
        self._blocks = _text_blocks(tokens, bodies, lines)
        labels = frozenset(known.get("references", {}))
        self.segments = []
        for key, block in enumerate(self._blocks):
            text, where = self._text(block.spans), f"{name}:{block.spans[0].line + 1}"
            self.segments.append(Segment(key, text, where, SYNTAX | _labels(text, labels)))

    def _raw(self, span: _Span) -> str:
        return self._lines[span.line][0][span.start : span.end]

    def _groups(self, spans: Sequence[_Span]) -> list[list[_Span]]:
        """The lines between hard breaks."""
        groups: list[list[_Span]] = [[]]
        for span in spans:
            groups[-1].append(span)
            if self._hard_break(span) and span is not spans[-1]:
                groups.append([])
        return groups

    def _hard_break(self, span: _Span) -> str:
        match = _HARD_BREAK.search(self._lines[span.line][0][span.start :])
        return match[0] if match else ""

    def _text(self, spans: Sequence[_Span]) -> str:
        return "\n".join(
            unwrap([self._raw(span) for span in group]) for group in self._groups(spans)
        )

    def render(self, results: Mapping[int, Result]) -> str:
        """The file with the results in their places."""
        # From the end, so that the places before a change stay where they are.
        bodies = [body for body, _ in self._lines]
        ends = [end for _, end in self._lines]
        for segment, block in zip(reversed(self.segments), reversed(self._blocks), strict=True):
            result = results.get(segment.key)
            if result is not None and result.text != segment.text:
                self._place(result.text, block, bodies, ends)
        return "".join(body + end for body, end in zip(bodies, ends, strict=True))

    def _place(self, text: str, block: _Block, bodies: list[str], ends: list[str]) -> None:
        spans = block.spans
        first, last = spans[0], spans[-1]
        new = self._broken(text, self._groups(spans)) if len(spans) > 1 else [one_line(text)]
        if block.kind == "paragraph":
            new = _as_paragraph([line.lstrip() for line in new])
        elif block.kind == "cell":
            new = [re.sub(r"(?<!\\)\|", r"\\|", line) for line in new]
        # What stands before the text: "> ", the indentation of a list.
        head = bodies[first.line][: first.start]
        next_head = bodies[spans[1].line][: spans[1].start] if len(spans) > 1 else ""
        tail = bodies[last.line][last.end :]
        lines = [(next_head if i else head) + line for i, line in enumerate(new)]
        lines[-1] += tail
        breaks = [ends[first.line]] * (len(lines) - 1) + [ends[last.line]]
        bodies[first.line : last.line + 1] = lines
        ends[first.line : last.line + 1] = breaks

    def _broken(self, text: str, groups: Sequence[Sequence[_Span]]) -> list[str]:
        """The lines of a translation, with the hard breaks of the source."""
        parts = text.split("\n")
        if len(parts) != len(groups):
            text = one_line(text)
            like = [self._raw(span) for group in groups for span in group]
            return rewrap(text, like, unbreakable(text, SYNTAX))
        lines: list[str] = []
        for part, group in zip(parts, groups, strict=True):
            lines += rewrap(part, [self._raw(span) for span in group], unbreakable(part, SYNTAX))
            lines[-1] += self._hard_break(group[-1]) if group is not groups[-1] else ""
        return lines


def _labels(text: str, known: frozenset[str]) -> frozenset[str]:
    """The labels in `text` that the file defines: `[user guide]`, `[second part][cfg]`."""
    found = {label for label in _LABEL.findall(text) if normalizeReference(label) in known}
    return frozenset(f"label:{' '.join(label.split())}" for label in found)


def _text_blocks(
    tokens: Sequence[Token], bodies: Sequence[str], lines: Sequence[Line]
) -> list[_Block]:
    """Where the text of each inline token stands; one that is not found is left out."""
    blocks: list[_Block] = []
    at = (0, 0)  # line, column: how far the search has come
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type != "inline" or token.map is None or not token.content.strip():
            continue
        kind = "paragraph"
        if before is not None and before.type in ("td_open", "th_open"):
            kind = "cell"
        elif before is not None and before.markup.startswith("#"):
            kind = "heading"
        spans = _located(token, bodies, lines, at if kind == "cell" else None)
        if spans:
            blocks.append(_Block(kind, spans))
            at = (spans[-1].line, spans[-1].end)
    return blocks


def _located(
    token: Token, bodies: Sequence[str], lines: Sequence[Line], after: tuple[int, int] | None
) -> list[_Span] | None:
    """The lines of a token's content in the file: at the end of theirs; a cell, `after` another."""
    assert token.map is not None
    spans = []
    for i, content in enumerate(token.content.split("\n")):
        line = token.map[0] + i
        if line >= len(bodies):
            return None
        body = bodies[line][: lines[line].end]
        if after is not None:
            start = body.find(content, after[1] if after[0] == line else 0)
        else:
            # A heading may end in "#"s. What else follows a text is white space.
            match = re.search(rf"{re.escape(content.rstrip())}(?=\s*(?:\s#+\s*)?$)", body)
            start = match.start() if match else -1
        if start < 0:
            return None
        spans.append(_Span(line, start, start + len(content.rstrip())))
    return _trimmed(spans, bodies)


def _trimmed(spans: Sequence[_Span], bodies: Sequence[str]) -> list[_Span]:
    """Without the backslash of a hard break, which is put back, as spaces at the end are."""
    out = list(spans)
    for i, span in enumerate(spans[:-1]):
        text = bodies[span.line][span.start : span.end]
        out[i] = _Span(span.line, span.start, span.end - (1 if text.endswith("\\") else 0))
    return out


def _as_paragraph(lines: Sequence[str]) -> list[str]:
    """Lines that Markdown reads as one paragraph: on one line, or escaped, if need be."""
    for tried in (list(lines), [" ".join(lines)]):
        if _is_paragraph(tried):
            return tried
    line = " ".join(lines)
    mark = re.match(r"\s*(?:\d{1,9}(?=[.)]))?", line)
    at = mark.end() if mark else 0
    return [f"{line[:at]}\\{line[at:]}"]


def _is_paragraph(lines: Sequence[str]) -> bool:
    tokens = _PARSER.parse("\n".join(lines))
    return [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
