"""Apple's .stringsdict: messages with plural forms, and with variants by width or device.

A property list in XML. The file is that of the source language, and translations take the places
of its texts; of plural forms there are those of the target language, and "zero" where it stands.
"""

from __future__ import annotations

from collections.abc import Iterator

from .catalogue import Form, XmlCatalogue
from .plurals import CATEGORIES
from .segments import Segment
from .xml_file import Element

_SYNTAX = frozenset({"objc-format"})
_TYPE = "NSStringFormatSpecTypeKey"
_NO_TEXT = frozenset({_TYPE, "NSStringFormatValueTypeKey"})


class StringsDict(XmlCatalogue):
    """A .stringsdict, or a .strings file that is a property list in XML."""

    ROOTS = ("plist",)
    ZERO = True

    def _read(self, root: Element) -> None:
        for whole in root.all("dict"):
            for key, value in self._members(whole):
                self._message(key, value, self._raw(key))

    def _members(self, element: Element) -> Iterator[tuple[Element, Element]]:
        """The keys of a dictionary, each with its value."""
        key = None
        for child in element.children:
            if child.name == "key":
                key = child
            elif key is not None:
                yield key, child
                key = None

    def _message(self, key: Element, value: Element, name: str) -> None:
        about = Segment(0, "", self._where(key), _SYNTAX, name=name)
        if value.name == "string" and self._raw(key) not in _NO_TEXT:
            if self._raw(value).strip():
                text = self._inline(value)
                self._in_place(value, text, self._numbered(about, value, text))
        elif value.name == "dict":
            members = list(self._members(value))
            forms = {
                self._raw(label): Form(
                    label.start, one.end, (label.inner, label.inner_end), one, self._inline(one)
                )
                for label, one in members
                if one.name == "string" and self._raw(label) in CATEGORIES
            }
            rest = [(label, other) for label, other in members if self._raw(label) not in forms]
            if forms:
                self._plural(value, forms, about)
            for label, other in rest:
                self._message(label, other, f"{name}.{self._raw(label)}")
