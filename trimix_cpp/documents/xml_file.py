"""XML files, read to find where things stand in them; they are edited, never written anew.

expat says where elements begin and end. It opens nothing that the file names, expands no entities
in texts, and reads as deep as `_DEPTH`; so what a file costs grows with its length alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from ..errors import TrimixError
from .lines import Edit, edited

XML = "http://www.w3.org/XML/1998/namespace"

_DEPTH = 100
_ENTITY = 256  # characters of an entity's value; attributes may hold any number of it
_REFERENCE = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9A-Fa-f]+);)")
_TAG = re.compile(r"""<[^"'>]*(?:"[^"]*"[^"'>]*|'[^']*'[^"'>]*)*>""")
_TAG_NAME = re.compile(r"<[^\s/>]+")
_ATTRIBUTE = re.compile(r"""\s+([^\s=/>]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(eq=False, slots=True)
class Element:
    """An element, and where it stands.

    Attributes:
        name: without its prefix.
        space: its namespace; "" if it has none.
        attributes: their values by name, a namespace and a space before it where it has one.
        start, end: of all of it.
        inner, inner_end: of its content; both are `end` for an empty-element tag.
        children: the elements right within it.
    """

    name: str
    space: str
    attributes: Mapping[str, str]
    start: int
    inner: int
    inner_end: int = -1
    end: int = -1
    children: list[Element] = field(default_factory=list)

    def child(self, name: str) -> Element | None:
        """The first child of that name in its own namespace."""
        return next(self.all(name), None)

    def all(self, *names: str) -> Iterator[Element]:
        """The children of these names in its own namespace."""
        return (e for e in self.children if e.name in names and e.space == self.space)

    def walk(self, *names: str) -> Iterator[Element]:
        """Everything of these names below it, in the order of the file."""
        for element in self.children:
            if element.name in names and element.space == self.space:
                yield element
            yield from element.walk(*names)


def parse(text: str, name: str) -> Element | None:
    """The root of the XML document `text`, of the file `name`; None where the file is blank.

    Raises:
        TrimixError: it is not well-formed, or holds what is not taken from a stranger: entities
            that are files or made of others, elements in `_DEPTH` others. The line says where.
    """
    return _Reader(text, name).root if text.strip() else None


class _Reader:
    """Elements from expat's events; places in bytes of UTF-8 become places in the text."""

    def __init__(self, text: str, name: str) -> None:
        self._text, self._name = text, name
        self._data = text.encode("utf-8")
        self._ascii = len(self._data) == len(text)
        self._byte = self._char = 0
        self._open: list[Element] = []
        self.root: Element | None = None
        # The encoding is named here because the file's own declaration is of how it was on disk.
        self._parser = parser = expat.ParserCreate("utf-8", " ")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.EntityDeclHandler = self._entity
        parser.DefaultHandler = lambda _: None  # with it, entities in texts are not expanded
        try:
            parser.Parse(self._data, True)
        except expat.ExpatError as error:
            why = expat.ErrorString(error.code)
            raise TrimixError(f"{name}: line {error.lineno}: not well-formed XML: {why}") from None

    def _place(self) -> int:
        at = self._parser.CurrentByteIndex
        if self._ascii:
            return at
        self._char += len(self._data[self._byte : at].decode("utf-8"))
        self._byte = at
        return self._char

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) == _DEPTH:
            self._refuse(f"elements within {_DEPTH} others")
        start = self._place()
        match = _TAG.match(self._text, start)
        assert match is not None
        space, _, local = name.rpartition(" ")
        element = Element(local, space, attributes, start, match.end())
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def _end(self, _: str) -> None:
        place, element = self._place(), self._open.pop()
        if self._text.startswith("/>", element.inner - 2):
            element.inner_end = element.end = element.inner
        else:
            element.inner_end, element.end = place, self._text.index(">", place) + 1

    def _entity(self, name: str, parameter: bool, value: str | None, *_: str | None) -> None:
        if parameter or value is None:
            self._refuse(f"the entity {name} is a file or a part of the DTD, which is not read")
        if len(value) > _ENTITY or _REFERENCE.search(value):
            self._refuse(
                f"the entity {name} is long or made of others; write out what it stands for"
            )

    def _refuse(self, why: str) -> NoReturn:
        raise TrimixError(f"{self._name}: line {self._parser.CurrentLineNumber}: {why}")


def inner_first(
    root: Element | None, wanted: Callable[[Element], bool], gone: Callable[[Element], bool]
) -> Iterator[Element]:
    """The elements that are wanted, those within others before these; nothing of what is gone."""
    stack = [(root, False)] if root else []
    while stack:
        element, done = stack.pop()
        if done:
            yield element
            continue
        if gone(element):
            continue
        if wanted(element):
            stack.append((element, True))
        stack += [(child, False) for child in reversed(element.children)]


def allowed(text: str) -> str:
    """`text` without the characters that XML cannot hold."""
    return _FORBIDDEN.sub("", text)


def escape(text: str) -> str:
    """`text` as the content of an element; characters that XML cannot hold are left out."""
    text = allowed(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", "&#13;")


def comment(text: str) -> str:
    """A comment that says `text`."""
    return f"<!-- {re.sub('-(?=-|$)', '- ', allowed(text))} -->"


def name_in(text: str, element: Element) -> str:
    """The name of `element` as the file spells it, with its prefix."""
    match = _TAG_NAME.match(text, element.start)
    assert match is not None
    return match[0][1:]


def attribute_span(text: str, element: Element, name: str) -> tuple[int, int] | None:
    """Where the value of an attribute stands, by its name as the file spells it."""
    for match in _attributes(text, element):
        if match[1] == name:
            return match.span(2 if match[2] is not None else 3)
    return None


def with_attributes(text: str, element: Element, changes: Mapping[str, str | None]) -> Edit:
    """Set attributes of `element`, by their names in the file, or take them out (None)."""
    return element.start, element.inner, _changed_tag(text, element, changes)


def with_content(
    text: str, element: Element, content: str, changes: Mapping[str, str | None] | None = None
) -> Edit:
    """Replace the content of `element` by `content`, which is XML, and set attributes."""
    if element.inner < element.end and not changes:
        return element.inner, element.inner_end, content
    tag = _changed_tag(text, element, changes or {})
    if element.inner < element.end:
        return element.start, element.inner_end, tag + content
    tag = tag.removesuffix("/>").rstrip()
    return element.start, element.end, f"{tag}>{content}</{name_in(text, element)}>"


def _attributes(text: str, element: Element) -> Iterator[re.Match[str]]:
    at = element.start + 1 + len(name_in(text, element))
    while match := _ATTRIBUTE.match(text, at):
        at = match.end()
        yield match


def _changed_tag(text: str, element: Element, changes: Mapping[str, str | None]) -> str:
    tag, base = text[element.start : element.inner], element.start
    edits, left = [], dict(changes)
    end = 1 + len(name_in(text, element))
    for match in _attributes(text, element):
        end = match.end() - base
        if match[1] in left:
            value = left.pop(match[1])
            span = match.span(0 if value is None else 2 if match[2] is not None else 3)
            new = "" if value is None else _quoted(value)
            edits.append((span[0] - base, span[1] - base, new))
    more = (f' {name}="{_quoted(value)}"' for name, value in left.items() if value is not None)
    return edited(tag, [*edits, (end, end, "".join(more))])


def _quoted(value: str) -> str:
    return escape(value).replace('"', "&quot;").replace("'", "&#39;").replace("\n", "&#10;")
