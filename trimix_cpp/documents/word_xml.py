"""A part of a Word document: its paragraphs are texts, what is formatted alike is one run.

Formatting is flat in Word: each run names all that it is. Here the formatting that most of a
paragraph has is its text's, and what differs from it is within a numbered tag.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from itertools import groupby
from typing import Literal

from ..prompts import language
from .inline import Inline, Piece, Tag, inline
from .lines import Edit, edited
from .segments import FormatOptions, Result, Segment
from .tags import tag_of
from .word_properties import Format, format_of, run_properties, turned
from .xml_file import Element, escape, inner_first, name_in, parse

_SPACES = frozenset({
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    "http://purl.oclc.org/ooxml/wordprocessingml/main",
})  # fmt: skip
# What encloses runs within a paragraph.
_AROUND = frozenset({"hyperlink", "ins", "moveTo", "smartTag", "customXml", "sdt", "dir", "bdo"})
# What is left out where a text changes: it speaks of the source.
_DROPPED = frozenset({"proofErr", "lastRenderedPageBreak"})
# Deleted text, and what was before a change.
_GONE = frozenset({"del", "moveFrom", "pPrChange"})
# What stays before or behind a text when it stands at its edge.
_SILENT = re.compile(
    r"(?:comment|move\w*)Range\w*|bookmark\w+|perm\w+|tab|br|cr|drawing|pict|object|"
    r"AlternateContent|\w+Ref(?:erence)?|\w*[sS]eparator|del|moveFrom"
)
_LONGEST_FIELD = 200  # runs
_MARK = re.compile("\0([0-9]+)\0")


@dataclass(frozen=True)
class _Item:
    """What a tag stands for.

    Attributes:
        kind: a run's formatting that begins or ends; markup around runs; markup as it is.
        spans: where its markup stands.
        format: of the runs that follow.
        silent: it may stay at the edge of a text.
    """

    kind: Literal["format", "end", "open", "close", "whole"]
    spans: tuple[tuple[int, int], ...] = ()
    format: Format = ()
    silent: bool = False


_Part = tuple[str | _Item, Format]  # a text, or markup, and how it is formatted


@dataclass(frozen=True)
class _Paragraph:
    """A paragraph with letters: its text, what its tags stand for, and markup at its edges."""

    element: Element
    inline: Inline
    items: Sequence[_Item]
    format: Format
    before: Sequence[_Item]
    behind: Sequence[_Item]


class WordXml:
    """A part, as `package.Part`.

    Attributes:
        segments: its paragraphs that have letters, those of text boxes among them.
    """

    def __init__(self, text: str, name: str, options: FormatOptions) -> None:
        self._text = text
        self._target = options.target
        self._from_right = bool(options.target and language(options.target).direction == "rtl")
        root = parse(text, name)
        self._prefix = name_in(text, root).rpartition(":")[0] + ":" if root else ""
        self._prefix = self._prefix if self._prefix != ":" else ""
        self._places: list[Element | _Paragraph] = []  # by where they end: the inner ones first
        for element in inner_first(root, _is_changed, _is_gone):
            if element.name != "p":
                self._places.append(element)
            elif paragraph := self._paragraph(element):
                self._places.append(paragraph)
        found = [one for one in self._places if isinstance(one, _Paragraph)]
        found.sort(key=lambda paragraph: paragraph.element.start)
        self._keys = {id(paragraph): key for key, paragraph in enumerate(found)}
        self.segments = [
            Segment(key, paragraph.inline.text, f"{name}, text {key + 1}")
            for key, paragraph in enumerate(found)
        ]

    def render(self, results: Mapping[int, Result]) -> str:
        """See `Part`."""
        if all(result.text == self.segments[key].text for key, result in results.items()):
            return self._text
        edits: list[Edit] = []
        for place in self._places:
            if isinstance(place, Element):
                if self._from_right:
                    edits.append(turned(self._text, place, self._prefix))
                continue
            result = results.get(self._keys[id(place)])
            if result is None or result.text == place.inline.text:
                continue
            # What has changed within it, in text boxes, is part of what is written now.
            properties = _properties(place.element, "pPr")
            start = properties.end if properties else place.element.inner
            first = len(edits)
            while first and edits[first - 1][0] >= start:
                first -= 1
            within = sorted(edits[first:], key=lambda edit: edit[:2])
            head = ""
            if self._from_right and properties is None:
                head = f"<{self._prefix}pPr><{self._prefix}bidi/></{self._prefix}pPr>"
            content = head + self._written(place, result.text, within)
            edits[first:] = [(start, place.element.inner_end, content)]
            if self._from_right and properties:
                edits.append(turned(self._text, properties, self._prefix))
                edits[-2:] = sorted(edits[-2:])
        return edited(self._text, edits)

    def _paragraph(self, element: Element) -> _Paragraph | None:
        parts = [*_merged(self._parts(element))]
        if not any(any(map(str.isalpha, part)) for part, _ in parts if isinstance(part, str)):
            return None
        first, last = 0, len(parts)
        while _stays(parts[first][0]):
            first += 1
        while _stays(parts[last - 1][0]):
            last -= 1
        items: list[_Item] = []
        base, pieces = _numbered(parts[first:last], items)
        before = [part for part, _ in parts[:first] if isinstance(part, _Item)]
        behind = [part for part, _ in parts[last:] if isinstance(part, _Item)]
        return _Paragraph(element, inline(pieces), items, base, before, behind)

    def _parts(self, element: Element) -> Iterator[_Part]:
        """Texts and markup of a paragraph or of what encloses runs, with their formatting."""
        children, at = element.children, 0
        while at < len(children):
            child, at = children[at], at + 1
            known = child.space in _SPACES
            if known and (child.name == "pPr" or child.name in _DROPPED):
                continue
            if known and child.name == "r":
                end = self._field(children, at - 1)
                if not end:
                    yield from self._run(child)
                    continue
                at = end
                yield _Item("whole", ((child.start, children[end - 1].end),)), ()
                continue
            inner: Element | None = child
            if child.name == "sdt":
                inner = _properties(child, "sdtContent")
            if known and child.name in _AROUND and inner and inner.inner < inner.end:
                yield _Item("open", ((child.start, inner.inner),)), ()
                yield from self._parts(inner)
                yield _Item("close", ((inner.inner_end, child.end),)), ()
            else:
                silent = bool(_SILENT.fullmatch(child.name))
                yield _Item("whole", ((child.start, child.end),), silent=silent), ()

    def _field(self, children: Sequence[Element], at: int) -> int:
        """Where a field ends that begins in the run at a place, if programs fill it in; else 0.

        What a link shows is text, and so is what is within a field that ends elsewhere.
        """
        if not any(part.name == "fldChar" for part in children[at].children):
            return 0
        depth, code = 0, ""
        for end in range(at, min(len(children), at + _LONGEST_FIELD)):
            for part in children[end].children if children[end].name == "r" else ():
                if part.name == "fldChar":
                    kind = next((v for n, v in part.attributes.items() if n.endswith("Type")), "")
                    depth += (kind == "begin") - (kind == "end")
                elif part.name == "instrText" and not code.strip():
                    code = self._text[part.inner : part.inner_end]
            if depth <= 0:
                link = code.split()[:1] == ["HYPERLINK"]
                return 0 if end == at or link else end + 1
        return 0

    def _run(self, run: Element) -> Iterator[_Part]:
        """The texts of a run, and what else it holds, in runs of its own."""
        properties = _properties(run, "rPr")
        format = format_of(self._text, properties)
        span = (properties.start, properties.end) if properties else (run.inner, run.inner)
        content = [e for e in run.children if e is not properties and e.name not in _DROPPED]
        for is_text, group in groupby(content, lambda e: e.space in _SPACES and e.name == "t"):
            found = [*group]
            if is_text:
                yield "".join(map(self._said, found)), format
                continue
            inner = ((e.start, e.end) for e in found)
            spans = ((run.start, run.inner), span, *inner, (run.inner_end, run.end))
            silent = all(_SILENT.fullmatch(e.name) for e in found)
            yield _Item("whole", spans, silent=silent), ()

    def _said(self, element: Element) -> str:
        raw = self._text[element.inner : element.inner_end]
        raw = re.sub(r"<!--.*?-->|<\?.*?\?>", "", raw, flags=re.DOTALL)
        raw = re.sub(r"<!\[CDATA\[(.*?)\]\]>", lambda m: escape(m[1]), raw, flags=re.DOTALL)
        return re.sub(r"[\r\n\t]+", " ", unescape(raw))

    def _written(self, paragraph: _Paragraph, translation: str, edits: Sequence[Edit]) -> str:
        """The content of a paragraph, with its translation."""
        starts = [edit[0] for edit in edits]

        def raw(item: _Item) -> str:
            out = []
            for a, b in item.spans:
                inner = edits[bisect_left(starts, a) : bisect_left(starts, b)]
                out.append(edited(self._text[a:b], ((s - a, e - a, new) for s, e, new in inner)))
            return "".join(out)

        formats = [paragraph.format]
        content = [raw(item) for item in paragraph.before]
        for i, part in enumerate(_MARK.split(paragraph.inline.write(translation, escape))):
            if not i % 2:
                content.append(self._new_run(part, formats[-1]))
                continue
            item = paragraph.items[int(part)]
            if item.kind in ("format", "open"):
                formats.append(item.format)
            elif item.kind in ("end", "close"):
                formats.pop()
            content.append(raw(item))
        return "".join([*content, *map(raw, paragraph.behind)])

    def _new_run(self, text: str, format: Format) -> str:
        """A run that says `text`, which is escaped already."""
        if not text:
            return ""
        p = self._prefix
        tag = tag_of(self._target) if self._target else ""
        out = [run_properties(format, p, tag, self._from_right)]
        for part in re.split("([\n\t])", text):
            if part in ("\n", "\t"):
                out.append(f"<{p}br/>" if part == "\n" else f"<{p}tab/>")
            elif part:
                out.append(f'<{p}t xml:space="preserve">{part}</{p}t>')
        return f"<{p}r>{''.join(out)}</{p}r>"


def _is_gone(element: Element) -> bool:
    return element.space in _SPACES and element.name in _GONE


def _is_changed(element: Element) -> bool:
    """A paragraph, or properties of a table or a section."""
    return element.space in _SPACES and element.name in ("p", "tblPr", "sectPr")


def _properties(element: Element, name: str) -> Element | None:
    return next((e for e in element.children if e.name == name and e.space in _SPACES), None)


def _stays(part: str | _Item) -> bool:
    return not part if isinstance(part, str) else part.silent


def _merged(parts: Iterator[_Part]) -> Iterator[_Part]:
    """Texts that follow one another and are formatted alike are one."""
    for key, group in groupby(parts, lambda p: p[1] if isinstance(p[0], str) else None):
        if key is None:
            yield from group
        else:
            yield "".join(str(part) for part, _ in group), key


def _numbered(parts: Sequence[_Part], items: list[_Item]) -> tuple[Format, list[Piece]]:
    """The formatting of a text, and its pieces; their tags are numbers of `items`."""
    bases = _bases(parts)

    def tag(item: _Item, kind: Literal["open", "close", "whole"], key: object = None) -> Tag:
        items.append(item)
        return Tag(f"\0{len(items) - 1}\0", kind, key)

    pieces: list[Piece] = []
    open = [(bases[-1], object())]
    for i, (part, format) in enumerate(parts):
        if isinstance(part, str):
            if format == open[-1][0]:
                pieces.append(part)
                continue
            key = object()
            pieces.append(tag(_Item("format", format=format), "open", key))
            pieces += [part, tag(_Item("end"), "close", key)]
        elif part.kind == "open":
            open.append((bases[i], object()))
            item = _Item("open", part.spans, bases[i])
            pieces.append(tag(item, "open", open[-1][1]))
        elif part.kind == "close":
            pieces.append(tag(part, "close", open.pop()[1]))
        else:
            pieces.append(tag(part, "whole"))
    return bases[-1], pieces


def _bases(parts: Sequence[_Part]) -> dict[int, Format]:
    """The formatting that most letters have, of the text (-1) and of what is enclosed."""
    out: dict[int, Format] = {}
    stack: list[tuple[int, Counter[Format]]] = [(-1, Counter())]
    for i, (part, format) in enumerate(parts):
        if isinstance(part, str):
            stack[-1][1][format] += len(part)
        elif part.kind == "open":
            stack.append((i, Counter()))
        elif part.kind == "close":
            at, counted = stack.pop()
            out[at] = counted.most_common(1)[0][0] if counted else ()
    counted = stack[0][1]
    out[-1] = counted.most_common(1)[0][0] if counted else ()
    return out
