r"""Android's string resources: `<string>`, `<plurals>` and `<string-array>` of strings.xml.

The file is that of the source language, and translations take the places of its texts. Escapes
mean what they mean to aapt2: white space is one space, and `\` stands before `'`, `"`, `@`, `?`
and itself, except between double quotes. `<xliff:g>` is kept with what it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .catalogue import Form, XmlCatalogue
from .inline import Inline, Piece, Role, Section, Tag, inline, pieces_of
from .lines import Edit
from .plurals import CATEGORIES
from .segments import Languages, Segment
from .tags import tag_of
from .xml_file import Element, attribute_span

_SYNTAX = frozenset({"java-printf-format"})
_LOCALE = "http://schemas.android.com/tools locale"
_REFERENCE = re.compile(r"\s*[@?][\w.:+*/-]+\s*")
_TOKEN = re.compile(
    r"\\u(?P<high>[dD][89abAB][0-9A-Fa-f]{2})\\u(?P<low>[dD][c-fC-F][0-9A-Fa-f]{2})"
    r'|\\u(?P<unit>[0-9A-Fa-f]{4})|\\(?P<char>.?)|(?P<quote>")|(?P<space>[ \t\n\r\f]+)',
    re.DOTALL,
)
_MEANT = {"n": "\n", "t": "\t"}
# What is escaped: white space that would be lost, and what begins a reference.
_SPECIAL = re.compile(r"[\\'\"\x00-\x1f\x7f]|(?<= ) |^ | \Z|^[@?]")
_SPELLED = {"\n": "\\n", "\t": "\\t", "\\": "\\\\", "'": "\\'", '"': '\\"', "@": "\\@", "?": "\\?"}


class AndroidStrings(XmlCatalogue):
    """A file of string resources.

    What says `translatable="false"`, references to other resources (`@string/other`) and all other
    kinds of resources are left alone. A flagged text gets a comment before it that says why.
    """

    ROOTS = ("resources",)

    def _read(self, root: Element) -> None:
        self._root = root
        self.languages = Languages(source=root.attributes.get(_LOCALE))
        before = root.inner
        for element in root.children:
            said = self._comment_between(before, element.start)
            before = element.end
            about = Segment(
                0,
                "",
                self._where(element),
                _SYNTAX,
                name=element.attributes.get("name", ""),
                comment=" ".join(said.split()),
            )
            if element.attributes.get("translatable") != "false":
                self._resource(element, about)

    def _comment_between(self, start: int, end: int) -> str:
        """The last comment there."""
        close = self._text.rfind("-->", start, end)
        begin = self._text.rfind("<!--", start, close) if close >= 0 else -1
        return self._text[begin + 4 : close] if begin >= 0 else ""

    def _resource(self, element: Element, about: Segment) -> None:
        if element.name == "string" or (
            element.name == "item" and element.attributes.get("type") == "string"
        ):
            self._string(element, about)
        elif element.name in ("string-array", "array"):
            for item in element.all("item"):
                self._string(item, about)
        elif element.name == "plurals":
            forms: dict[str, Form] = {}
            for item in element.all("item"):
                label = attribute_span(self._text, item, "quantity")
                name = self._text[slice(*label)] if label else ""
                if label and name in CATEGORIES and (text := self._meant(item)):
                    forms.setdefault(name, Form(item.start, item.end, label, item, text))
            if forms:
                self._plural(element, forms, about)

    def _string(self, element: Element, about: Segment) -> None:
        if text := self._meant(element):
            self._in_place(element, text, self._numbered(about, element, text))

    def _meant(self, element: Element) -> Inline | None:
        """What Android shows; None for a reference, and for nothing."""
        if _REFERENCE.fullmatch(self._raw(element)):
            return None
        text = inline(_unescaped(pieces_of(self._text, element, _role)))
        return text if text.text.strip() else None

    def _spelled(self, translation: str) -> str:
        # In CDATA too: some versions of aapt2 take quotes in it as quotes, all know the escapes.
        return _SPECIAL.sub(lambda match: _SPELLED.get(match[0], _unit(match[0])), translation)

    def _more_edits(self) -> Iterable[Edit]:
        span = attribute_span(self._text, self._root, "tools:locale")
        if span and self._options.target:
            yield *span, tag_of(self._options.target)


def _unit(char: str) -> str:
    return f"\\u{ord(char):04x}"


def _role(element: Element) -> Role:
    return "whole" if element.space.startswith("urn:oasis:names:tc:xliff") else "pair"


def _unescaped(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The pieces as aapt2 takes them: escapes resolved, white space outside of quotes one space."""
    quoted = begun = gap = spaced = False
    for piece in pieces:
        literal = isinstance(piece, Section)
        for part in [piece] if isinstance(piece, Tag) else _parts(piece):
            if part is _QUOTE and not literal:
                quoted = not quoted
            elif isinstance(part, _Space) and not (quoted or literal):
                gap = gap or (begun and not spaced)
            else:
                if gap:
                    yield " "
                inner = isinstance(part, Tag) and part.kind != "whole"
                begun, spaced, gap = begun or not inner, inner and (gap or spaced), False
                yield part if isinstance(part, Tag) else str(part)


class _Space(str):
    """White space that stands in the file as such."""


_QUOTE = _Space('"')  # one that is not escaped


def _parts(text: str) -> Iterator[Piece]:
    at = 0
    for match in _TOKEN.finditer(text):
        if at < match.start():
            yield text[at : match.start()]
        at = match.end()
        if match["high"]:
            yield bytes.fromhex(match["high"] + match["low"]).decode("utf-16-be")
        elif match["unit"]:
            char = chr(int(match["unit"], 16))
            yield Tag(match[0]) if "\ud800" <= char < "\ue000" else char
        elif match["quote"]:
            yield _QUOTE
        elif match["space"]:
            yield _Space(match["space"])
        else:
            yield _MEANT.get(match["char"], match["char"])
    if at < len(text):
        yield text[at:]
