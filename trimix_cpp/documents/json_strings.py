"""JSON files whose strings are translated in their places: i18next, Chrome's, Flutter's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import TrimixError
from .icu_texts import Message, parse
from .json_text import Json, Member, Value, added, removed
from .lines import Edit, edited
from .plurals import CATEGORIES, categories, category_sources
from .segments import FormatOptions, Languages, Result, Segment
from .tags import code_of, tag_of


@dataclass(frozen=True)
class _Slot:
    """A string, and the segments that it is made from.

    Attributes:
        value: the string in the file.
        message: its text, or its texts where it is an ICU message with cases.
        first: the key of its first segment.
        after, name: where `value` is another form's: the member after which the new one comes.
    """

    value: Value
    message: Message
    first: int
    after: Member | None = None
    name: str = ""


@dataclass(frozen=True)
class _Group:
    """Forms of one message: their slots, and those that the target language has not."""

    owner: Value
    slots: Sequence[_Slot]
    gone: Sequence[Member]


class JsonStrings:
    """A JSON object, some strings of which are translated; a subclass says which, in `_collect`.

    Attributes:
        segments: what is to be translated.
        languages: that the file names.
    """

    COMMENTS = False  # the format has them

    def __init__(self, text: str, name: str, options: FormatOptions) -> None:
        self._json = Json(text, name, comments=self.COMMENTS)
        self._name, self._options = name, options
        self._target = code_of(options.target)
        self.languages = Languages()
        self.segments: list[Segment] = []
        self._slots: list[_Slot] = []
        self._groups: list[_Group] = []
        if self._json.root.kind != "object":
            raise self._error(self._json.root.start, "a JSON object is needed, {...}")
        self._collect(self._json.root)

    def _collect(self, root: Value) -> None:
        raise NotImplementedError

    def _error(self, at: int, what: str) -> TrimixError:
        return TrimixError(f"{self._name}: line {self._json.line(at)}: {what}")

    def _slot(
        self, value: Value, name: str, comment: str = "", form: int | None = None,
        icu: bool = False, after: Member | None = None, new: str = "",
    ) -> _Slot | None:  # fmt: skip
        """A slot for a string, with its segments; None where there is nothing to translate."""
        where = f"{self._name}:{self._json.line(value.start)}"
        text = self._json.meaning(value, f"{self._name}: line {self._json.line(value.start)}")
        if not text.strip():
            return None
        message = parse(text, self._options.target and self._target) if icu else Message(text)
        first = len(self.segments)
        for each in message.texts:
            key = len(self.segments)
            self.segments.append(
                Segment(key, each, where, name=name, comment=" ".join(comment.split()), form=form)
            )
        return _Slot(value, message, first, after, new)

    def _string(self, value: Value, name: str, comment: str = "", icu: bool = False) -> None:
        """A string that is translated in its place."""
        if slot := self._slot(value, name, comment, icu=icu):
            self._slots.append(slot)

    def _forms(self, owner: Value, path: str, base: str, forms: Mapping[str, Member]) -> None:
        """A message of several members, one a plural category, as the target language has them."""
        own = categories(self._target) if self._target else tuple(forms)
        texts = {category: member.value.text for category, member in forms.items()}
        sources = (
            category_sources(texts, self._target)
            if self._target
            else {name: name for name in forms}
        )
        if "zero" in forms:  # for 0 in any language
            sources["zero"] = "zero"
        slots = []
        for category in (name for name in CATEGORIES if name in sources):
            source = forms[sources[category]]
            there = forms.get(category)
            slot = self._slot(
                source.value if there is None or sources[category] != category else there.value,
                f"{path}{base}_{category}",
                form=own.index(category) if category in own else None,
                after=forms["other"] if there is None else None,
                new=f"{base}_{category}",
            )
            if slot and there is not None:
                slot = _Slot(there.value, slot.message, slot.first)
            slots += [slot] if slot else []
        gone = [member for category, member in forms.items() if category not in sources]
        self._groups.append(_Group(owner, slots, gone))

    def render(self, results: Mapping[int, Result]) -> str:
        """The file with the results; what has none stays."""
        edits = [edit for slot in self._slots for edit in self._edits(slot, results)]
        gone: dict[int, tuple[Value, list[Member]]] = {}
        for group in self._groups:
            found = [edit for slot in group.slots for edit in self._edits(slot, results)]
            if found:
                edits += found
                gone.setdefault(id(group.owner), (group.owner, []))[1].extend(group.gone)
        edits += [edit for owner, members in gone.values() for edit in removed(owner, members)]
        if edits:
            edits += self._head()
        return edited(self._json.text, edits)

    def _edits(self, slot: _Slot, results: Mapping[int, Result]) -> Iterator[Edit]:
        own = slot.message.texts
        keys = range(slot.first, slot.first + len(own))
        texts = [results[key].text if key in results else text
                 for key, text in zip(keys, own, strict=True)]  # fmt: skip
        if texts == own and (slot.after is None or not any(key in results for key in keys)):
            return
        spelled = self._json.spelled(slot.message.spelled(texts))
        if slot.after is not None:
            yield added(self._json, slot.after, slot.name, spelled)
        else:
            yield slot.value.start, slot.value.end, spelled

    def _head(self) -> Iterator[Edit]:
        """What else changes in a file that is translated."""
        return iter(())


class I18next(JsonStrings):
    """i18next: every string at any depth; `key_one` and `key_other` are forms of one message."""

    def _collect(self, root: Value) -> None:
        entries = [member.value for member in root.members]
        if entries and all(_is_string(entry.get("message")) for entry in entries):
            raise self._error(
                root.start, "looks like an extension's messages.json: say --format chrome"
            )
        self._walk(root, "")

    def _walk(self, value: Value, path: str) -> None:
        if value.kind == "string":
            self._string(value, path, icu=True)
        for i, item in enumerate(value.items):
            self._walk(item, f"{path}.{i}" if path else str(i))
        forms = _plural_forms(value.members)
        done = {id(member) for group in forms.values() for member in group.values()}
        begun = set()
        for member in value.members:
            base = member.name.rpartition("_")[0]
            if id(member) not in done:
                self._walk(member.value, f"{path}.{member.name}" if path else member.name)
            elif base not in begun:
                begun.add(base)
                self._forms(value, f"{path}." if path else "", base, forms[base])


def _plural_forms(members: Sequence[Member]) -> dict[str, dict[str, Member]]:
    """Which members are plural forms, by the name without the category.

    Forms are two or more strings, "other" among them. Those of ordinals (`key_ordinal_one`) have
    categories of their own and are no such forms.
    """
    found: dict[str, dict[str, Member]] = {}
    for member in members:
        base, _, category = member.name.rpartition("_")
        ordinal = base.endswith("_ordinal")
        if category in CATEGORIES and base and not ordinal and member.value.kind == "string":
            found.setdefault(base, {})[category] = member
    return {base: forms for base, forms in found.items() if "other" in forms and len(forms) > 1}


def _is_string(value: Value | None) -> bool:
    return value is not None and value.kind == "string"


class Chrome(JsonStrings):
    """An extension's messages.json: the `message` of every entry."""

    COMMENTS = True

    def _collect(self, root: Value) -> None:
        for member in root.members:
            message = member.value.get("message")
            if message is None or message.kind != "string":
                raise self._error(member.start, f'{member.name!r} has no string "message"')
            self._string(message, member.name, member.value.string("description"))


class Arb(JsonStrings):
    """Flutter's ARB: every string whose name does not begin with "@", as an ICU message."""

    def _collect(self, root: Value) -> None:
        self._locale = root.get("@@locale")
        if self._locale is not None and self._locale.kind == "string":
            self.languages = Languages(source=self._locale.text)
        notes = {
            member.name[1:]: member.value.string("description")
            for member in root.members
            if member.name.startswith("@")
        }
        for member in root.members:
            if not member.name.startswith("@") and member.value.kind == "string":
                self._string(member.value, member.name, notes.get(member.name, ""), icu=True)

    def _head(self) -> Iterator[Edit]:
        """`@@locale` becomes the target's."""
        locale, target = self._locale, self._options.target
        if locale is not None and locale.kind == "string" and target:
            yield locale.start, locale.end, self._json.spelled(tag_of(target, "_"))
