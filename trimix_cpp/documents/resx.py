"""RESX of .NET: the strings of `<data>`; files, images and typed values are left alone.

The file is that of the source language, and translations take the places of its texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .catalogue import NOTE, XmlCatalogue, reasons_of
from .lines import Edit
from .segments import Result, Segment
from .xml_file import Element, escape, with_content

_SYNTAX = frozenset({"csharp-format"})


class Resx(XmlCatalogue):
    """A file of resources. What is to be looked at says why in its `<comment>`.

    What has a type or a MIME type is no string; names with `>>` are of a form's designer, and a
    comment with `{Locked}` says that nothing is to be translated.
    """

    ROOTS = ("root",)

    def _read(self, root: Element) -> None:
        self._comments: dict[int, Element] = {}  # by where their values stand
        for data in root.all("data"):
            name, value = data.attributes.get("name", ""), data.child("value")
            said = data.child("comment")
            comment = " ".join(self._inline(said).text.split()) if said else ""
            typed = {"type", "mimetype"} & data.attributes.keys() or name.startswith(">>")
            if value is None or typed or "{Locked}" in comment:
                continue
            if said:
                self._comments[value.start] = said
            text = self._inline(value)
            if text.text.strip():
                about = Segment(0, "", "", _SYNTAX, name=name, comment=comment)
                self._in_place(value, text, self._numbered(about, data, text))

    def _remark(self, element: Element, found: Mapping[int, Result]) -> Iterator[Edit]:
        if why := reasons_of(found):
            reasons = escape(NOTE + why)
            comment = self._comments.get(element.start)
            if comment is None:
                new = f"{self._break_at(element.start) or ' '}<comment>{reasons}</comment>"
                yield element.end, element.end, new
            else:
                said = self._raw(comment)
                yield with_content(self._text, comment, f"{said}{self._line_end}{reasons}")
