"""DOCX: the paragraphs of a Word document, its headers, footers, notes, comments, text boxes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import TrimixError
from ..prompts import language
from .package import Package
from .word_xml import WordXml
from .xml_file import parse

_MAIN = re.compile(r"[\w./+-]*wordprocessingml\.document\.main\+xml")
_MORE = ("header", "footer", "footnotes", "endnotes", "comments")
_ORDER = {f"wordprocessingml.{name}+xml": i for i, name in enumerate(_MORE, 1)}


class Docx(Package):
    """A Word document. It has no mark for what is to be looked at."""

    def _look_through(self) -> None:
        found = sorted(self._texts())
        if not found or found[0][0]:
            raise TrimixError(f"{self._name}: is no Word document (.docx)")
        for order, member in found:
            text, encoding = self._text(member)
            where = self._name if not order else f"{self._name} ({member.rpartition('/')[2]})"
            self._add(member, text, encoding, WordXml(text, where, self._options))
        target = self._options.target
        if target and self.segments and language(target).direction == "rtl":
            self.notices.append(
                f"{self._name}: translated paragraphs and the pages run from the right, for "
                f"{language(target).name}"
            )

    def _texts(self) -> Iterator[tuple[int, str]]:
        """The members that hold texts, the document first, as the list of contents has them."""
        member = "[Content_Types].xml"
        root = parse(self._text(member)[0], member)
        for entry in root.all("Override") if root else ():
            kind, path = (entry.attributes.get(key, "") for key in ("ContentType", "PartName"))
            path = path.removeprefix("/")
            if _MAIN.fullmatch(kind):
                yield 0, path
            order = _ORDER.get(kind.partition("openxmlformats-officedocument.")[2])
            if order and path in self._zip.names:
                yield order, path
