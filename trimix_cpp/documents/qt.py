"""Qt's translation sources, .ts: what is unfinished and empty is sent.

A translated message is finished; one that somebody should look at is `type="unfinished"` and has a
`<translatorcomment>` that says why. Vanished and obsolete messages are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from .catalogue import NOTE, XmlCatalogue, reasons_of
from .inline import Role
from .lines import Edit
from .segments import Languages, Pair, Result, Segment
from .xml_file import Element, escape, name_in, with_content

_SYNTAX = frozenset({"qt-format"})
_GONE = frozenset({"vanished", "obsolete"})
# How many forms lupdate 5.15 writes for a language, where that is not two. Those of the second line
# it does not know.
_ONE_FORM = (
    "mya zho dzo ind jpn jav kor zsm gaz pes sun tha bod tur vie yor tat "
    "mai sat ibo nya ceb ilo war min mvf khk tyv bua sah ary arz"
)
_FORMS = {"arb": 6, "rus": 3, "ukr": 3, "san": 3, "div": 3}


class QtTs(XmlCatalogue):
    """A .ts file. `%n` messages have as many forms as Qt has for the target language."""

    ROOTS = ("TS",)

    def _read(self, root: Element) -> None:
        self._root = root
        said = root.attributes
        self.languages = Languages(said.get("sourcelanguage"), said.get("language"))
        for context in root.walk("context"):
            name = context.child("name")
            for message in context.all("message"):
                self._message(message, self._inline(name).text if name else "")
        for message in root.all("message"):
            self._message(message, "")

    def _escape(self, text: str) -> str:
        # As lupdate spells it, so that its next run changes nothing.
        return escape(text).replace('"', "&quot;").replace("'", "&apos;")

    def _message(self, message: Element, context: str) -> None:
        source, target = message.child("source"), message.child("translation")
        kind = target.attributes.get("type") if target else None
        varied = target is not None and target.attributes.get("variants") == "yes"
        if source is None or kind in _GONE or varied:
            return
        text = self._inline(source, _role)
        if not text.text.strip():
            return
        told = [self._said(message, name) for name in ("comment", "extracomment")]
        remark = self._said(message, "translatorcomment")
        about = Segment(
            0, "", "", _SYNTAX,
            name=message.attributes.get("id", ""),
            context=" ".join(filter(None, (context, told[0]))),
            comment=" ".join(filter(None, (told[1], remark.partition(NOTE)[0].strip()))),
        )  # fmt: skip
        numerus = message.attributes.get("numerus") == "yes"
        forms = self._forms(target) if numerus else [target]
        keys = []
        for i, form in enumerate(forms):
            segment = self._numbered(about, message, text)
            segment = replace(segment, form=i if numerus else None)
            keys.append(segment.key)
            done = self._inline(form, _role).numbered_as(text) if form else ""
            if done.strip():
                self.pairs.append(Pair(segment, done, kind == "unfinished"))
            if not done.strip() or (kind == "unfinished" and self._options.fuzzy):
                self.segments.append(segment)

        def edits(found: Mapping[int, Result]) -> Iterator[Edit]:
            contents = []
            for key, form in zip(keys, forms, strict=True):
                there = self._raw(form) if form else ""
                translation = found[key].text if key in found else ""
                new = self._written(text, translation, self._raw(source))
                contents.append(new if key in found else there)
            why = reasons_of(found)
            unfinished = any(result.flagged for result in found.values()) or "" in contents
            content = self._numerus(target, source, contents) if numerus else contents[0]
            changes = {"type": "unfinished" if unfinished else None}
            if target is None:
                name = re.sub("source$", "translation", name_in(self._text, source))
                kind = ' type="unfinished"' if unfinished else ""
                gap = self._break_at(source.start)
                new = f"{gap}<{name}{kind}>{content}</{name}>"
                at = message.children[-1].end
                yield at, at, self._comment(source, why) + new
            else:
                yield from self._remarks(message, target, why)
                yield with_content(self._text, target, content, changes)

        self._place(keys, edits)

    def _said(self, message: Element, name: str) -> str:
        found = message.child(name)
        return " ".join(self._inline(found).text.split()) if found else ""

    def _forms(self, target: Element | None) -> list[Element | None]:
        """The forms that the target language has, with what is there of each."""
        there: list[Element | None] = list(target.all("numerusform")) if target else []
        if not self._target:
            return there or [None]
        count = 1 if self._target in _ONE_FORM.split() else _FORMS.get(self._target, 2)
        return (there + [None] * count)[:count]

    def _numerus(self, target: Element | None, source: Element, contents: Sequence[str]) -> str:
        outer = self._break_at(target.start if target else source.start)
        first = target.children[0] if target and target.children else None
        inner = self._break_at(first.start) if first else outer and outer + "    "
        forms = (f"{inner}<numerusform>{content}</numerusform>" for content in contents)
        return "".join(forms) + outer

    def _comment(self, near: Element, why: str) -> str:
        gap = self._break_at(near.start)
        name = "translatorcomment"
        return f"{gap}<{name}>{NOTE}{self._escape(why)}</{name}>" if why else ""

    def _remarks(self, message: Element, target: Element, why: str) -> Iterator[Edit]:
        """What is wrong, in the translator's comment; an earlier remark of ours goes."""
        remark = message.child("translatorcomment")
        if remark is None:
            if why:
                at = target.start - len(self._break_at(target.start))
                yield at, at, self._comment(target, why)
            return
        theirs, _, _ = self._raw(remark).partition(NOTE)
        theirs = theirs.rstrip() if NOTE in self._raw(remark) else theirs
        ours = NOTE + self._escape(why) if why else ""
        if theirs or ours:
            said = (self._line_end if theirs and ours else "").join((theirs, ours))
            if said != self._raw(remark):
                yield with_content(self._text, remark, said)
        else:
            yield remark.start - len(self._break_at(remark.start)), remark.end, ""

    def _more_edits(self) -> Iterator[Edit]:
        yield from self._names_target(self._root, "language", "_")


def _role(element: Element) -> Role:
    return "whole"
