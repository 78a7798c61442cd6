"""XLIFF 1.2, 2.0 and 2.1: what has no translation yet is sent, and gets a target with its state.

A unit that is cut into segments gets a target for each. Codes within a text (`<g>`, `<x/>`,
`<ph>`, `<pc>`, ...) are tags to the models, and all of them are in the target.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .catalogue import NOTE, XmlCatalogue, reasons_of
from .inline import Inline, Role
from .lines import Edit, edited
from .segments import FormatOptions, Languages, Pair, Result, Segment
from .xml_file import XML, Element, escape, name_in, with_attributes, with_content

_TOOL = NOTE.rstrip(": ")
_VERSION = re.compile(r"""<(?:[\w.-]+:)?xliff\b[^<>]*?\sversion\s*=\s*["']([^"']*)""")
# States of a target in 1.2: none yet; nothing is to change; somebody is to look at it.
_NONE_YET = frozenset({"new", "needs-translation"})
_CLOSED = frozenset({"final", "signed-off"})
_REVIEW = "needs-review-translation"
_TO_LOOK_AT = frozenset(
    {_REVIEW, "needs-review-adaptation", "needs-review-l10n", "needs-adaptation", "needs-l10n"}
)
_SUBSTATE = f"{_TOOL}:review"


def open_xliff(text: str, name: str, options: FormatOptions) -> XmlCatalogue:
    """The file, read as the version that it says."""
    said = _VERSION.search(text)
    kind = Xliff2 if said and said[1].startswith("2") else Xliff1
    return kind(text, name, options)


@dataclass(frozen=True)
class _Text:
    """A text that has a translation of its own.

    Attributes:
        key: of its segment; None where there is nothing to translate.
        source: the element that holds it.
        target: the one that holds its translation, if there is one.
        text: what the source holds.
    """

    key: int | None
    source: Element
    target: Element | None
    text: Inline


class _Xliff(XmlCatalogue):
    ROOTS = ("xliff",)
    UNIT = ""

    def _units(
        self, element: Element, sent: bool = True, context: str = ""
    ) -> Iterator[tuple[Element, str]]:
        """The units below `element` that are to be translated, and the names of their groups."""
        for child in element.children:
            if child.space == element.space and child.name not in ("header", "skeleton"):
                its = child.attributes.get("translate")
                here = sent if its is None else its != "no"
                if child.name != self.UNIT:
                    name = child.attributes.get("resname", child.attributes.get("name", ""))
                    inner = " ".join(filter(None, (context, name)))
                    yield from self._units(child, here, inner)
                elif here:
                    yield child, context

    def _role(self, element: Element) -> Role:
        raise NotImplementedError

    def _collect(
        self, about: Segment, source: Element, target: Element | None, *,
        none_yet: bool, fuzzy: bool, closed: bool,
    ) -> _Text:  # fmt: skip
        """A text: sent if it has no translation (`none_yet`), or if it is fuzzy and asked for;
        never where it is `closed`.
        """  # noqa: D205
        text = self._inline(source, self._role)
        if not text.text.strip():
            return _Text(None, source, target, text)
        segment = self._numbered(about, source, text)
        done = self._inline(target, self._role).numbered_as(text) if target else ""
        if done.strip() and not none_yet:
            self.pairs.append(Pair(segment, done, fuzzy))
        if not closed and (not done.strip() or none_yet or (fuzzy and self._options.fuzzy)):
            self.segments.append(segment)
        return _Text(segment.key, source, target, text)

    def _target_edit(
        self, target: Element | None, after: Element, content: str, changes: Mapping[str, str]
    ) -> Edit:
        """The target with its content and attributes; a new one after `after`."""
        if target is not None:
            return with_content(self._text, target, content, changes)
        name = re.sub(r"(?:seg-)?source$", "target", name_in(self._text, after))
        kept = {"xml:space": after.attributes.get(f"{XML} space")}
        attributes = "".join(
            f' {key}="{value}"' for key, value in {**kept, **changes}.items() if value
        )
        new = f"{self._break_at(after.start)}<{name}{attributes}>{content}</{name}>"
        return after.end, after.end, new


class Xliff1(_Xliff):
    """XLIFF 1.2. Targets get `state="translated"`, those to look at "needs-review-translation" and
    a note; all say that they are a machine's (`state-qualifier="mt-suggestion"`).
    """  # noqa: D205

    UNIT = "trans-unit"

    def _read(self, root: Element) -> None:
        for file in root.all("file"):
            if self.languages == Languages():
                said = file.attributes
                self.languages = Languages(said.get("source-language"), said.get("target-language"))
            for unit, context in self._units(file):
                source = unit.child("source")
                if source is not None:
                    self._unit(file, unit, source, context)

    def _role(self, element: Element) -> Role:
        name, said = element.name, element.attributes
        if name in ("bx", "bpt", "ex", "ept"):
            key = (name[-1] == "x", said.get("rid", said.get("id")))
            return ("open" if name[0] == "b" else "close"), key
        protected = name == "mrk" and said.get("mtype") == "protected"
        return "whole" if protected or name in ("x", "ph", "it") else "pair"

    def _unit(self, file: Element, unit: Element, source: Element, context: str) -> None:
        said, target = unit.attributes, unit.child("target")
        characters = said.get("maxwidth", "") if said.get("size-unit") == "char" else ""
        about = Segment(
            0, "", "",
            name=said.get("resname", said.get("id", "")),
            longest=int(characters) if re.fullmatch(r"\d{1,6}", characters) else 0,
            context=context,
            comment=" ".join(" ".join(self._notes(unit.all("note"))).split()),
        )  # fmt: skip
        state = target.attributes.get("state", "") if target else ""
        cut = unit.child("seg-source")
        theirs: Mapping[str, Element | None] = _segments(target) if target else {}
        # A target in one piece is the translation of all, however the source is cut.
        in_one = target is not None and not theirs and self._raw(target).strip()
        parts = _segments(cut) if cut and not in_one else {}
        whole = cut if cut and parts else source
        if not parts:
            parts, theirs = {"": source}, {"": target}
        texts = [
            self._collect(
                about, part, theirs.get(mid), none_yet=state in _NONE_YET,
                fuzzy=state in _TO_LOOK_AT,
                closed=said.get("approved") == "yes" or state in _CLOSED,
            )
            for mid, part in parts.items()
        ]  # fmt: skip

        def edits(found: Mapping[int, Result]) -> Iterator[Edit]:
            contents = [self._content(text, found) for text in texts]
            content = self._around(whole, texts, contents) if whole is cut else contents[0] or ""
            reasons = reasons_of(found)
            new = _REVIEW if reasons else "translated"
            new = "needs-translation" if None in contents else new
            changes = {"state": new, "state-qualifier": "mt-suggestion"}
            after = cut or source
            yield self._target_edit(target, after, content, changes)
            for note in unit.all("note"):
                if note.attributes.get("from") == _TOOL:
                    yield note.start - len(self._break_at(note.start)), note.end, ""
            if reasons:
                at, name = (target or after).end, name_in(self._text, after)
                name = re.sub(r"(?:seg-)?source$", "note", name)
                gap = self._break_at(after.start)
                yield at, at, f'{gap}<{name} from="{_TOOL}">{escape(reasons)}</{name}>'
            yield from self._names_target(file, "target-language")

        self._place([text.key for text in texts if text.key is not None], edits)

    def _content(self, text: _Text, found: Mapping[int, Result]) -> str | None:
        """What the target of a text holds; None where it has none."""
        if text.key is not None and text.key in found:
            return self._written(text.text, found[text.key].text, self._raw(text.source))
        if text.target and self._raw(text.target).strip():
            return self._raw(text.target)
        return self._raw(text.source) if text.key is None else None

    def _around(
        self, whole: Element, texts: Sequence[_Text], contents: Sequence[str | None]
    ) -> str:
        """A source that is cut into segments, with these contents in them."""
        base = whole.inner
        edits = [
            with_content(self._text, text.source, content or "")
            for text, content in zip(texts, contents, strict=True)
        ]
        return edited(self._raw(whole), ((a - base, b - base, new) for a, b, new in edits))

    def _notes(self, notes: Iterator[Element]) -> Iterator[str]:
        return (self._inline(note).text for note in notes if note.attributes.get("from") != _TOOL)


class Xliff2(_Xliff):
    """XLIFF 2. Segments become "translated"; those to look at stay "initial", with a `subState` of
    ours and a note of the unit.
    """  # noqa: D205

    UNIT = "unit"

    def _read(self, root: Element) -> None:
        self.languages = Languages(root.attributes.get("srcLang"), root.attributes.get("trgLang"))
        for unit, context in self._units(root):
            self._unit(root, unit, context)

    def _role(self, element: Element) -> Role:
        name, said = element.name, element.attributes
        if name in ("sc", "sm") and said.get("isolated") != "yes":
            return "open", (name[1:], said.get("id"))
        if name in ("ec", "em") and "startRef" in said:
            return "close", (name[1:], said["startRef"])
        kept = name == "mrk" and said.get("translate") == "no"
        return "whole" if kept or name in ("ph", "cp", "sc", "ec", "em") else "pair"

    def _unit(self, root: Element, unit: Element, context: str) -> None:
        notes = unit.child("notes")
        said = [
            self._inline(note).text
            for note in (notes.all("note") if notes else ())
            if note.attributes.get("category") != _TOOL
        ]
        about = Segment(
            0, "", "",
            name=unit.attributes.get("name", unit.attributes.get("id", "")),
            context=context,
            comment=" ".join(" ".join(said).split()),
        )  # fmt: skip
        texts: dict[int, tuple[Element, _Text]] = {}
        for segment in unit.all("segment"):
            source, target = segment.child("source"), segment.child("target")
            if source is None:
                continue
            state = segment.attributes.get("state")
            text = self._collect(
                about, source, target, none_yet=False, fuzzy=state == "initial",
                closed=state in ("reviewed", "final"),
            )  # fmt: skip
            if text.key is not None:
                texts[text.key] = segment, text

        def edits(found: Mapping[int, Result]) -> Iterator[Edit]:
            for key, result in found.items():
                segment, text = texts[key]
                content = self._written(text.text, result.text, self._raw(text.source))
                yield self._target_edit(text.target, text.source, content, {})
                state = "initial" if result.flagged else "translated"
                ours = {"subState": _SUBSTATE if result.flagged else None}
                yield with_attributes(self._text, segment, {"state": state, **ours})
            yield from self._note_edits(unit, notes, reasons_of(found))
            yield from self._names_target(root, "trgLang")

        self._place(list(texts), edits)

    def _note_edits(self, unit: Element, notes: Element | None, why: str) -> Iterator[Edit]:
        """Our note says why now, or is gone."""
        there = list(notes.all("note")) if notes else []
        ours = [note for note in there if note.attributes.get("category") == _TOOL]
        if notes and not why and len(ours) == len(notes.children):
            ours = [notes]  # it may not be empty
        for old in ours:
            yield old.start - len(self._break_at(old.start)), old.end, ""
        if not why:
            return
        prefix = name_in(self._text, unit).removesuffix("unit")
        note = f'<{prefix}note category="{_TOOL}">{escape(why)}</{prefix}note>'
        if notes is not None and notes.children:
            last = notes.children[-1]
            yield last.end, last.end, self._break_at(last.start) + note
            return
        first = next(unit.all("originalData", "segment", "ignorable"))
        at, gap = first.start, self._break_at(first.start)
        yield at, at, f"<{prefix}notes>{note}</{prefix}notes>{gap}"


def _segments(whole: Element) -> dict[str, Element]:
    """The segments that a source or target is cut into, by their `mid`; none is in another."""
    found: dict[str, Element] = {}
    for element in whole.children:
        if element.name == "mrk" and element.attributes.get("mtype") == "seg":
            found.setdefault(element.attributes.get("mid", ""), element)
        else:
            for mid, inner in _segments(element).items():
                found.setdefault(mid, inner)
    return found
