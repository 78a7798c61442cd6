"""ODT: the paragraphs and headings of a text document, its headers, footers and notes."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..errors import TrimixError
from ..prompts import language
from .inline import Inline, Piece, Role, Tag, inline, pieces_of
from .lines import Edit, edited
from .package import Package
from .segments import FormatOptions, Result, Segment
from .tags import tag_of
from .xml_file import Element, escape, inner_first, name_in, parse, with_attributes

_TEXT = "urn:oasis:names:tc:opendocument:xmlns:text:1.0"
_STYLE = "urn:oasis:names:tc:opendocument:xmlns:style:1.0"
_FO = "urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0"
_MIMES = (
    b"application/vnd.oasis.opendocument.text",
    b"application/vnd.oasis.opendocument.text-template",
)
_AROUND = frozenset({"span", "a", "meta", "ruby", "ruby-base"})
# What stays before or behind a text when it stands at its edge.
_SILENT = re.compile(
    r"<[\w.-]*:?(?:bookmark[\w-]*|reference-mark[\w-]*|soft-page-break|tab|line-break|s|note|change"
    r"[\w-]*|annotation[\w-]*|frame|toc-mark[\w-]*|alphabetical-index-mark[\w-]*|user-index-mark"
    r"[\w-]*)[\s/>]|<!--"
)
_PROTECTED = "META-INF/manifest.xml"


class Odt(Package):
    """A text document. It has no mark for what is to be looked at."""

    def _look_through(self) -> None:
        names = self._zip.names
        if "mimetype" not in names or self._zip.read("mimetype").strip() not in _MIMES:
            raise TrimixError(f"{self._name}: is no text document of OpenDocument (.odt)")
        if _PROTECTED in names and "encryption-data" in self._text(_PROTECTED)[0]:
            raise TrimixError(f"{self._name}: is encrypted; take its password off first")
        for member in ("content.xml", "styles.xml"):
            if member in names:
                text, encoding = self._text(member)
                where = self._name if member == "content.xml" else f"{self._name} ({member})"
                self._add(member, text, encoding, OdfXml(text, where, self._options))
        target = self._options.target
        if target and self.segments and language(target).direction == "rtl":
            known = language(target).name
            self.notices.append(f"{self._name}: its paragraphs run from the right, for {known}")


class OdfXml:
    """A part, as `package.Part`.

    Attributes:
        segments: its paragraphs and headings that have letters, those of notes and frames among
            them.
    """

    def __init__(self, text: str, name: str, options: FormatOptions) -> None:
        self._text, self._target = text, options.target
        self._root = parse(text, name)
        self._idle = frozenset(_idle_styles(self._root))
        self._found: list[tuple[Element, Inline]] = []  # the inner ones first
        for element in inner_first(self._root, _is_paragraph, _is_gone):
            _, found, _ = self._read(element, lambda start, end: text[start:end])
            if any(map(str.isalpha, re.sub(r"</?\d+/?>", "", found.text))):
                self._found.append((element, found))
        order = sorted(range(len(self._found)), key=lambda i: self._found[i][0].start)
        self._keys = {i: key for key, i in enumerate(order)}
        self.segments = [
            Segment(key, self._found[i][1].text, f"{name}, text {key + 1}")
            for key, i in enumerate(order)
        ]

    def render(self, results: Mapping[int, Result]) -> str:
        """See `Part`."""
        edits: list[Edit] = []
        for i, (element, found) in enumerate(self._found):
            result = results.get(self._keys[i])
            if result is None or result.text == found.text:
                continue
            # What has changed within it, in notes and frames, is part of what is written now.
            first = len(edits)
            while first and edits[first - 1][0] >= element.inner:
                first -= 1
            within = edits[first:]
            before, text, behind = self._read(element, _with_edits(self._text, within))
            prefix = name_in(self._text, element).rpartition(":")[0]
            content = text.write(result.text, _speller(prefix and f"{prefix}:"))
            edits[first:] = [(element.inner, element.inner_end, before + content + behind)]
        return edited(self._text, [*edits, *self._language_edits()])

    def _read(self, element: Element, raw: _Raw) -> tuple[str, Inline, str]:
        """The text of a paragraph, and markup before and behind it."""
        pieces = [*_merged(pieces_of(self._text, element, self._role, raw))]
        first, last = 0, len(pieces)
        while first < last and _stays(pieces[first]):
            first += 1
        while last > first and _stays(pieces[last - 1]):
            last -= 1
        before = "".join(p.raw for p in pieces[:first] if isinstance(p, Tag))
        behind = "".join(p.raw for p in pieces[last:] if isinstance(p, Tag))
        found = inline(
            re.sub("[ \t\n]+", " ", p) if isinstance(p, str) else p for p in pieces[first:last]
        )
        return before, Inline(found.text.strip(" "), found.tags), behind

    def _role(self, element: Element) -> Role:
        if element.space != _TEXT or element.name not in _AROUND:
            return "whole"
        if element.name == "span" and element.attributes.get(f"{_TEXT} style-name") in self._idle:
            return "through"
        return "pair"

    def _language_edits(self) -> Iterator[Edit]:
        """Styles name the language, and paragraphs, tables and pages run in its direction."""
        if not self._target or not self._root:
            return
        mode = "rl-tb" if language(self._target).direction == "rtl" else "lr-tb"
        for element, default in _properties(self._root):
            prefix = name_in(self._text, element).rpartition(":")[0] + ":"
            changes: dict[str, str | None] = {}
            has = element.attributes.get(f"{_STYLE} writing-mode")
            turns = has in ("lr-tb", "rl-tb", "lr", "rl") or (mode == "rl-tb" and default)
            if element.name != "text-properties" and turns and has != mode:
                changes[f"{prefix}writing-mode"] = mode
            if element.name == "text-properties" and default:
                names = {f"{_FO} language": "fo:", f"{_STYLE} language-complex": prefix}
                for key, its in names.items():
                    if key in element.attributes:
                        end = key.partition("language")[2]
                        changes[f"{its}language{end}"] = tag_of(self._target).partition("-")[0]
                        changes[f"{its}country{end}"] = "none"
            if changes:
                yield with_attributes(self._text, element, changes)


_Raw = Callable[[int, int], str]


def _with_edits(text: str, edits: Sequence[Edit]) -> _Raw:
    """What stands at a place, edits of it done."""
    starts = [edit[0] for edit in edits]

    def raw(start: int, end: int) -> str:
        inner = edits[bisect_left(starts, start) : bisect_left(starts, end)]
        return edited(text[start:end], ((a - start, b - start, new) for a, b, new in inner))

    return raw


def _is_gone(element: Element) -> bool:
    return element.space == _TEXT and element.name == "tracked-changes"


def _is_paragraph(element: Element) -> bool:
    """A paragraph or a heading."""
    named = element.space == _TEXT and element.name in ("p", "h")
    return named and element.inner < element.end


def _idle_styles(root: Element | None) -> Iterator[str]:
    """Styles that a program made to tell who wrote what when: they look like nothing."""
    for styles in root.children if root else ():
        for style in styles.children if styles.name == "automatic-styles" else ():
            said = [key for child in style.children for key in child.attributes]
            parent = f"{_STYLE} parent-style-name" in style.attributes
            is_text = style.attributes.get(f"{_STYLE} family") == "text" and not parent
            if is_text and all(key.endswith("rsid") for key in said):
                yield style.attributes.get(f"{_STYLE} name", "")


def _properties(root: Element) -> Iterator[tuple[Element, bool]]:
    """Properties of styles, and whether they are those that hold where no other do."""
    stack = [(root, False)]
    while stack:
        element, default = stack.pop()
        if element.space == _STYLE and element.name.endswith("-properties"):
            yield element, default
        default = element.space == _STYLE and (
            element.name == "page-layout"
            or (
                element.name == "default-style"
                and element.attributes.get(f"{_STYLE} family") == "paragraph"
            )
        )
        stack += [(child, default) for child in reversed(element.children)]


def _merged(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Spans of one style that follow one another are one."""
    held: Tag | None = None  # a close that may be none
    same: dict[object, object] = {}
    opened: dict[object, str] = {}
    for piece in pieces:
        if isinstance(piece, str) and not piece:
            continue
        if isinstance(piece, Tag) and piece.kind == "open":
            if held is not None and opened[held.key] == piece.raw and "span" in piece.raw:
                same[piece.key], held = held.key, None
                continue
            opened[piece.key] = piece.raw
        if held is not None:
            yield held
            held = None
        if isinstance(piece, Tag) and piece.kind == "close":
            held = Tag(piece.raw, "close", same.get(piece.key, piece.key))
            continue
        yield piece
    if held is not None:
        yield held


def _stays(piece: Piece) -> bool:
    """White space that is none at the edge of a paragraph, or silent markup."""
    if isinstance(piece, str):
        return not piece.strip(" \t\n")
    return piece.kind == "whole" and bool(_SILENT.match(piece.raw))


def _speller(prefix: str) -> Callable[[str], str]:
    """What writes a text: spaces, tabs and line breaks are elements with the `prefix`."""

    def spelled(text: str) -> str:
        text = re.sub("(?<= ) +", lambda match: f"<{prefix}s/>" * len(match[0]), escape(text))
        return text.replace("\t", f"<{prefix}tab/>").replace("\n", f"<{prefix}line-break/>")

    return spelled
