"""TMX, a translation memory: its pairs are read; what lacks the target language is translated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .catalogue import XmlCatalogue
from .inline import Role
from .lines import Edit
from .segments import Languages, Pair, Result, Segment
from .tags import code_of, tag_of
from .xml_file import XML, Element, name_in, with_content

_WHOLE = frozenset({"ph", "it", "ut", "x"})


class Tmx(XmlCatalogue):
    """A translation memory of any number of languages, of which two count."""

    ROOTS = ("tmx",)

    def _read(self, root: Element) -> None:
        header = root.child("header")
        said = header.attributes.get("srclang") if header else None
        if self._options.source is None and said != "*all*":
            # It holds other directions too, so that another language is no contradiction.
            self.languages = Languages(source=said)
        source = code_of(self._options.source or self.languages.source)
        for unit in root.walk("tu"):
            self._unit(unit, source)

    def _unit(self, unit: Element, source: str | None) -> None:
        texts: dict[str, tuple[Element, Element]] = {}
        for variant in unit.all("tuv"):
            seg, said = variant.child("seg"), variant.attributes
            code = code_of(said.get(f"{XML} lang", said.get("lang")))
            if seg is not None and code is not None:
                texts.setdefault(code, (variant, seg))
        if source not in texts:
            return
        variant, seg = texts[source]
        text = self._inline(seg, _role)
        if not text.text.strip():
            return
        about = Segment(
            0, "", "",
            name=unit.attributes.get("tuid", ""),
            context=self._said(unit, "prop"),
            comment=self._said(unit, "note"),
        )  # fmt: skip
        segment = self._numbered(about, unit, text)
        done = texts.get(self._target)
        if done:
            translation = self._inline(done[1], _role).numbered_as(text)
            self.pairs.append(Pair(segment, translation))
        else:
            self.segments.append(segment)

        def edits(found: Mapping[int, Result]) -> Iterator[Edit]:
            content = self._written(text, found[segment.key].text, self._raw(seg))
            if done:
                yield with_content(self._text, done[1], content)
                return
            tuv, inner = name_in(self._text, variant), name_in(self._text, seg)
            gap = self._break_at(variant.start)
            tag = tag_of(self._options.target or "")
            new = f'{gap}<{tuv} xml:lang="{tag}"><{inner}>{content}</{inner}></{tuv}>'
            last = list(unit.all("tuv"))[-1]
            yield last.end, last.end, new

        self._place((segment.key,), edits)

    def _said(self, unit: Element, name: str) -> str:
        """Properties that tell equal texts apart, or notes, in one line."""
        found = (
            element
            for element in unit.all(name)
            if name != "prop" or re.search("context|msgctxt", element.attributes.get("type", ""))
        )
        return " ".join(" ".join(self._inline(element).text for element in found).split())


def _role(element: Element) -> Role:
    if element.name in ("bpt", "ept"):
        return ("open" if element.name == "bpt" else "close"), element.attributes.get("i")
    return "whole" if element.name in _WHOLE else "pair"
