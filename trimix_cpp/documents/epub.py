"""EPUB: the pages of a book by its spine, its tables of contents, its title and language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from posixpath import dirname, join, normpath
from typing import NoReturn
from urllib.parse import unquote

from ..errors import TrimixError
from ..prompts import language
from .html_text import Html
from .inline import Inline, inline, pieces_of
from .lines import Edit, edited
from .package import Package
from .segments import FormatOptions, Languages, Result, Segment
from .tags import code_of, tag_of
from .xml_file import Element, attribute_span, escape, name_in, parse, with_content

_CONTAINER = "META-INF/container.xml"
_PAGE = "application/xhtml+xml"
_NCX = "application/x-dtbncx+xml"
# Whoever protects a book says so here; obfuscated fonts stay what they are.
_PROTECTED = "META-INF/encryption.xml"
_FONTS = re.compile(r"http://(?:www\.idpf\.org/2008/embedding|ns\.adobe\.com/pdf/enc#RC)")


class Epub(Package):
    """A book. It has no mark for what is to be looked at."""

    def _look_through(self) -> None:
        if self._zip.names[:1] != ["mimetype"] or not self._zip.is_first_and_stored("mimetype"):
            self._refuse("its first member is not the mimetype, as it has to be in an EPUB")
        if self._zip.read("mimetype").strip() != b"application/epub+zip":
            self._refuse("is no EPUB, says its mimetype")
        self._refuse_protected()
        member = self._opf()
        text, encoding = self._text(member)
        opf = _Opf(text, f"{self._name} ({member})", self._options)
        self.languages = opf.languages
        self._add(member, text, encoding, opf)
        for path, kind in opf.documents():
            found = normpath(join(dirname(member), unquote(path)))
            if found not in self._zip.names:
                self._refuse(f"{member} names {found}, which is missing")
            text, encoding = self._text(found)
            where = f"{self._name} ({found})"
            if kind == _NCX:
                self._add(found, text, encoding, _Labels(text, where, self._options, ("text",)))
            else:
                parse(text, where)  # says what is wrong, if it is no XML
                self._add(found, text, encoding, Html(text, where, self._options, xml=True))
        target = self._options.target
        if target and self.segments and language(target).direction == "rtl":
            known = language(target).name
            self.notices.append(f"{self._name}: its pages run from the right, for {known}")

    def _refuse(self, why: str) -> NoReturn:
        raise TrimixError(f"{self._name}: {why}")

    def _refuse_protected(self) -> None:
        if _PROTECTED in self._zip.names:
            text, _ = self._text(_PROTECTED)
            for kind in re.findall(r"EncryptionMethod\b[^>]*?Algorithm\s*=\s*[\"']([^\"']*)", text):
                if not _FONTS.match(kind):
                    self._refuse("is protected (DRM); it cannot be read")

    def _opf(self) -> str:
        """The member that lists all others."""
        root = parse(self._text(_CONTAINER)[0], _CONTAINER)
        files = [*root.walk("rootfile")] if root else []
        if not files:
            self._refuse(f"{_CONTAINER} names no book")
        return normpath(files[0].attributes.get("full-path", ""))


class _Labels:
    """An XML file of which some elements hold a text each, as `package.Part`."""

    def __init__(
        self, text: str, name: str, options: FormatOptions, names: tuple[str, ...]
    ) -> None:
        self._text, self._options = text, options
        self._root = parse(text, name)
        self._found: list[tuple[Element, Inline]] = []
        for element in _all(self._root):
            if element.name in names:
                found = inline(pieces_of(text, element, lambda _: "whole"))
                said = re.sub(r"\s+", " ", found.text).strip()
                if any(map(str.isalpha, said)):
                    self._found.append((element, Inline(said, found.tags)))
        self.segments = [
            Segment(key, found.text, f"{name}:{text.count(chr(10), 0, element.start) + 1}")
            for key, (element, found) in enumerate(self._found)
        ]

    def render(self, results: Mapping[int, Result]) -> str:
        """See `Part`."""
        edits = [
            with_content(self._text, element, found.write(results[key].text, escape))
            for key, (element, found) in enumerate(self._found)
            if key in results and results[key].text != found.text
        ]
        return edited(self._text, [*edits, *self._more()])

    def _more(self) -> Iterator[Edit]:
        """What else changes."""
        target = self._options.target
        span = attribute_span(self._text, self._root, "xml:lang") if self._root else None
        if target and span and code_of(self._text[slice(*span)]) != language(target).code:
            yield *span, tag_of(target)


class _Opf(_Labels):
    """The list of a book's members: its title and description are texts."""

    def __init__(self, text: str, name: str, options: FormatOptions) -> None:
        super().__init__(text, name, options, ("title", "description"))
        said = [e for e in _all(self._root) if e.name == "language" and e.inner < e.end]
        self._languages = said
        self.languages = Languages(
            source=text[said[0].inner : said[0].inner_end].strip() or None if said else None
        )
        self._name = name

    def documents(self) -> list[tuple[str, str]]:
        """The pages in the order of the spine, then the tables of contents: path and type."""
        items = {
            e.attributes.get("id", ""): e.attributes for e in _all(self._root) if e.name == "item"
        }
        spine = [e.attributes.get("idref", "") for e in _all(self._root) if e.name == "itemref"]
        tables = [
            key
            for key, said in items.items()
            if said.get("media-type") == _NCX or "nav" in said.get("properties", "").split()
        ]
        found = [items[key] for key in dict.fromkeys([*spine, *tables]) if key in items]
        paths = {
            said.get("href", "").partition("#")[0]: said.get("media-type", "") for said in found
        }
        return [(path, kind) for path, kind in paths.items() if kind in (_PAGE, _NCX)]

    def _more(self) -> Iterator[Edit]:
        yield from super()._more()
        target = self._options.target
        if not target:
            return
        for element in self._languages[:1]:
            if code_of(self._text[element.inner : element.inner_end]) != language(target).code:
                yield with_content(self._text, element, tag_of(target))
        # EPUB 2 knows no such attribute.
        version = self._root.attributes.get("version", "") if self._root else ""
        if language(target).direction == "rtl" and version.startswith("3"):
            for element in _all(self._root):
                if element.name == "spine":
                    yield _turned(self._text, element)


def _turned(text: str, spine: Element) -> Edit:
    """The pages of a book turn from the left."""
    span = attribute_span(text, spine, "page-progression-direction")
    at = spine.start + 1 + len(name_in(text, spine))
    return (*span, "rtl") if span else (at, at, ' page-progression-direction="rtl"')


def _all(root: Element | None) -> Iterator[Element]:
    stack = [root] if root else []
    while stack:
        element = stack.pop()
        yield element
        stack += reversed(element.children)
