"""What the formats of localizers that are XML share: texts found, and put back where they stood."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import TrimixError
from ..prompts import language
from .inline import Inline, Role, inline, pieces_of
from .lines import Edit, edited, one_line
from .plurals import category_sources
from .segments import FormatOptions, Languages, Pair, Result, Segment
from .tags import code_of, tag_of
from .xml_file import Element, allowed, comment, escape, parse, with_attributes, with_content

NOTE = "trimix-cpp: "  # what a remark of ours begins with

_INDENT = 200  # characters; a longer line is not looked at for each of its elements
_CDATA = re.compile(r"(\s*<!\[CDATA\[).*?(\]\]>\s*)", re.DOTALL)
_DECLARED = re.compile(r"""<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)""")
_Found = Mapping[int, Result]  # results by key


@dataclass(frozen=True)
class Form:
    """One form of a message that has several.

    Attributes:
        start, end: of all that it is in the file.
        label: where its category's name stands.
        holder: the element whose content it is.
        text: that content.
    """

    start: int
    end: int
    label: tuple[int, int]
    holder: Element
    text: Inline


class XmlCatalogue:
    """An XML file that holds texts; a subclass says which, in `_read`.

    Attributes:
        segments: what is to be translated.
        pairs: what is translated already.
        languages: that the file names.
    """

    ROOTS: tuple[str, ...] = ()  # what the root element may be called
    ZERO = False  # a plural form "zero" is for 0 in any language

    def __init__(self, text: str, name: str, options: FormatOptions) -> None:
        self._text, self._name, self._options = text, name, options
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self._line_end = "\r\n" if "\r\n" in text else "\n"
        said = _DECLARED.match(text)
        self._declared = said.span(1) if said else None
        # In a CDATA section there are no references for characters that a code page has not.
        self._unicode = said is None or said[1].lower().startswith("utf")
        self._keys = 0
        self._edits: list[tuple[Sequence[int], Callable[[_Found], Iterable[Edit]]]] = []
        self.segments: list[Segment] = []
        self.pairs: list[Pair] = []
        self.languages = Languages()
        root = parse(text, name)
        if root is None:
            return
        if root.name not in self.ROOTS:
            known = " or ".join(f"<{one}>" for one in self.ROOTS)
            raise TrimixError(
                f"{self._where(root)}: <{root.name}> where {known} is expected; "
                f"--format names another format"
            )
        self._read(root)

    def _read(self, root: Element) -> None:
        """Collect segments and pairs, and say what results change (`_place`)."""
        raise NotImplementedError

    def render(self, results: Mapping[int, Result]) -> str:
        """The file with the results in their places."""
        edits: list[Edit] = []
        for keys, place in self._edits:
            found = {key: results[key] for key in keys if key in results}
            if found:
                edits += place(found)
        if edits:
            edits += self._more_edits()
        _, _, written = (self._options.encoding or "").partition(":")
        if written and self._declared:
            edits.append((*self._declared, written))
        return edited(self._text, dict.fromkeys(edits))  # a file's own is told by each of its units

    def _more_edits(self) -> Iterable[Edit]:
        """What else changes where anything does."""
        return ()

    def _place(self, keys: Sequence[int], edits: Callable[[_Found], Iterable[Edit]]) -> None:
        """`edits` of the results that `keys` have is what changes in the file."""
        self._edits.append((keys, edits))

    def _where(self, element: Element) -> str:
        return f"{self._name}:{bisect_left(self._breaks, element.start) + 1}"

    @property
    def _target(self) -> str:
        """The code of the target language; "" where nobody has said it."""
        return language(self._options.target).code if self._options.target else ""

    def _inline(
        self, element: Element, role: Callable[[Element], Role] = lambda _: "pair"
    ) -> Inline:
        return inline(pieces_of(self._text, element, role))

    def _escape(self, text: str) -> str:
        return escape(text)

    def _raw(self, element: Element) -> str:
        return self._text[element.inner : element.inner_end]

    def _spelled(self, translation: str) -> str:
        """The translation with the escapes that the format has besides XML's."""
        return translation

    def _written(self, text: Inline, translation: str, raw: str) -> str:
        """The translation as content of an element, in CDATA where `raw`, its source, is."""
        section = _CDATA.fullmatch(raw) if self._unicode else None
        section = section if raw.count("]]>") == 1 else None
        translation = self._spelled(translation)
        if section:
            bare = text.write(translation, allowed)
            content = section[1] + bare.replace("]]>", "]]]]><![CDATA[>") + section[2]
        else:
            content = text.write(translation, self._escape)
        return re.sub(r"(?<!\r)\n", self._line_end, content)

    def _numbered(self, about: Segment, element: Element, text: Inline) -> Segment:
        """`about`, with a key, the text, and the place of `element`."""
        return replace(about, key=self._new_key(), text=text.text, where=self._where(element))

    def _new_key(self) -> int:
        self._keys += 1
        return self._keys - 1

    def _in_place(self, element: Element, text: Inline, segment: Segment) -> None:
        """The result replaces the content of `element`; a comment before it says what is wrong."""
        self.segments.append(segment)

        def edits(found: _Found) -> Iterator[Edit]:
            result = found[segment.key]
            if result.text != text.text:
                content = self._written(text, result.text, self._raw(element))
                yield with_content(self._text, element, content)
            yield from self._remark(element, found)

        self._place((segment.key,), edits)

    def _plural(self, whole: Element, forms: Mapping[str, Form], segment: Segment) -> None:
        """A message with forms by CLDR's category: those of the target language take their places.

        `segment` is what is said of each of them; "zero" stays where Apple's systems take it.
        """
        texts = {name: form.text.text for name, form in forms.items()}
        made = category_sources(texts, self._target) if self._target else {n: n for n in forms}
        if "zero" in forms and self.ZERO:
            made = {"zero": "zero", **made}
        keys = {}
        for i, (category, source) in enumerate(made.items()):
            keys[category] = self._new_key()
            if texts[source].strip():
                text = replace(segment, key=keys[category], text=texts[source], form=i)
                self.segments.append(text)

        def edits(found: _Found) -> Iterator[Edit]:
            last = list(forms.values())[-1]
            for category, source in made.items():
                form, result = forms.get(category, forms[source]), found.get(keys[category])
                content = None
                if result and (category != source or result.text != texts[source]):
                    content = self._written(
                        forms[source].text, result.text, self._raw(forms[source].holder)
                    )
                parts = [] if content is None else [with_content(self._text, form.holder, content)]
                if category in forms:
                    yield from parts
                else:
                    copy = self._copy(form, [(*form.label, category), *parts])
                    yield last.end, last.end, self._break_at(last.start) + copy
            for category, form in forms.items():
                if category not in made:
                    yield form.start - len(self._break_at(form.start)), form.end, ""
            yield from self._remark(whole, found)

        self._place(tuple(keys.values()), edits)

    def _copy(self, form: Form, edits: Iterable[Edit]) -> str:
        """All that a form is in the file, with edits of it."""
        at = form.start
        return edited(self._text[at : form.end], ((a - at, b - at, new) for a, b, new in edits))

    def _remark(self, element: Element, found: _Found) -> Iterator[Edit]:
        """A comment on a line of its own before `element`, with the reasons of flagged results."""
        if reasons := reasons_of(found):
            start = element.start
            yield start, start, comment(NOTE + reasons) + (self._break_at(start) or " ")

    def _names_target(self, element: Element, attribute: str, like: str = "-") -> Iterator[Edit]:
        """Where `element` names no target language, or another one, it names this."""
        target = self._options.target
        if target and code_of(element.attributes.get(attribute)) != self._target:
            yield with_attributes(self._text, element, {attribute: tag_of(target, like)})

    def _break_at(self, at: int) -> str:
        """The line break and indentation before `at`; "" where other things stand on its line."""
        line = bisect_left(self._breaks, at)
        begin = self._breaks[line - 1] + 1 if line else 0
        if not begin or at - begin > _INDENT or self._text[begin:at].strip():
            return ""
        return self._text[begin - (2 if self._text.endswith("\r\n", 0, begin) else 1) : at]


def reasons_of(found: _Found) -> str:
    """Why somebody should look at results, in one line; "" if nobody has to."""
    flagged = (result for result in found.values() if result.flagged)
    return one_line("; ".join(dict.fromkeys(reason for one in flagged for reason in one.reasons)))
