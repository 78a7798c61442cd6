"""Xcode's string catalogues: the target language's `localizations` are filled in.

Of a string's localization the forms are those of the source: plural categories as the target
language has them, devices as they are. A flagged one gets the state `needs_review`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import TrimixError
from .json_text import Json, Member, Value, added, dumped, style_of
from .lines import Edit, edited
from .plurals import categories, category_sources
from .segments import FormatOptions, Languages, Pair, Result, Segment
from .tags import code_of, tag_of

_REVIEW = "needs_review"
_SYNTAX = frozenset({"objc-format"})


@dataclass
class _Entry:
    """A string of the catalogue, and the localization that it is to have.

    Attributes:
        member: the string.
        plan: what the localization is made of; its leaves are keys of segments.
        old: the localization that is there.
        keys: of the segments that are sent.
    """

    member: Member
    plan: dict[str, Any]
    old: Member | None
    keys: list[int] = field(default_factory=list)


class XcStrings:
    """An .xcstrings file.

    Sent are strings without a localization in the target language, and forms whose state is
    `new` or that are empty; with `fuzzy` those that need a review. Those with `shouldTranslate`
    false and those that are stale are left alone.
    """

    def __init__(self, text: str, name: str, options: FormatOptions) -> None:
        self._json = Json(text, name)
        self._name, self._fuzzy = name, options.fuzzy
        root = self._json.root
        strings = root.get("strings")
        source = root.string("sourceLanguage")
        if strings is None and not text.strip():
            strings, source = Value("object", 0), "en"  # an empty file stays empty
        if root.kind != "object" or strings is None or strings.kind != "object" or not source:
            raise TrimixError(
                f"{name}: line 1: no string catalogue: it has sourceLanguage and strings"
            )
        self.languages = Languages(source=source)
        self._source, self._target = source, options.target
        self._code = code_of(options.target)
        self.segments: list[Segment] = []
        self.pairs: list[Pair] = []
        self._texts: dict[int, str] = {}  # translations that stay, by key
        self._states: dict[int, str] = {}
        self._key = 0
        self._style = style_of(self._json)
        self._entries = [entry for member in strings.members if (entry := self._entry(member))]

    def _entry(self, member: Member) -> _Entry | None:
        string = member.value
        refused = string.get("shouldTranslate")
        if string.kind != "object" or (refused is not None and self._raw(refused) == "false"):
            return None
        if string.string("extractionState") == "stale" or not member.name.strip():
            return None
        localizations = string.get("localizations") or Value("object", 0)
        source = localizations.get(self._source)
        old = next(
            (each for each in localizations.members
             if self._code and each.value.kind == "object" and code_of(each.name) == self._code),
            None,
        )  # fmt: skip
        if old is not None and old.name == self._source:
            return None
        source = source if source is not None and source.members else None
        parts = {each.name for each in source.members} if source else {"stringUnit"}
        if old is not None and old.value.members and parts != {m.name for m in old.value.members}:
            return None  # somebody translated it into other forms
        where = f"{self._name}:{self._json.line(member.start)}"
        entry = _Entry(member, {}, old)
        before = len(self.segments)
        entry.plan = self._plan(source, old.value if old else None, member, where)
        entry.keys = [segment.key for segment in self.segments[before:]]
        return entry

    def _raw(self, value: Value) -> str:
        return self._json.text[value.start : value.end]

    def _plan(
        self, source: Value | None, old: Value | None, member: Member, where: str,
        form: int | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """What a localization, or a variation of one, consists of: as `source`, in the target's
        plural forms. A leaf is the key of its segment.
        """  # noqa: D205
        if source is None:
            return {"stringUnit": self._leaf(member.name, old, member, where, form)}
        plan: dict[str, Any] = {}
        for part in source.members:
            value = part.value
            there = old.get(part.name) if old is not None else None
            if part.name == "stringUnit":
                text = self._json.meaning(value.get("value") or value, where)
                plan[part.name] = self._leaf(text, old, member, where, form)
            elif part.name == "substitutions":
                plan[part.name] = {
                    each.name: self._plan(each.value, there and there.get(each.name), member, where)
                    for each in value.members
                }
            elif part.name == "variations":
                plan[part.name] = {
                    kind.name: self._variations(kind, there and there.get(kind.name), member, where)
                    for kind in value.members
                }
            else:
                plan[part.name] = value  # argNum, formatSpecifier
        return plan

    def _variations(
        self, kind: Member, old: Value | None, member: Member, where: str
    ) -> dict[str, Any]:
        given = {each.name: each.value for each in kind.value.members}
        sources = {name: name for name in given}
        own: tuple[str, ...] = ()
        if kind.name == "plural" and self._code and given:
            own = categories(self._code)
            texts = {name: (each.get("stringUnit") or each).string("value")
                     for name, each in given.items()}  # fmt: skip
            zero = {"zero": "zero"} if "zero" in given else {}
            sources = zero | category_sources(texts, self._code)
        plan: dict[str, Any] = {
            name: self._plan(
                given[source], old.get(name) if old is not None else None, member, where,
                own.index(name) if name in own else None,
            )
            for name, source in sources.items()
        }  # fmt: skip
        kept = old.members if old is not None else []
        return plan | {each.name: each.value for each in kept if each.name not in plan}

    def _leaf(
        self, text: str, old: Value | None, member: Member, where: str, form: int | None
    ) -> int:
        """The key of a text, which is sent, or has a translation that stays."""
        key = self._key
        self._key += 1
        comment = " ".join(member.value.string("comment").split())
        segment = Segment(key, text, where, _SYNTAX, name=member.name, comment=comment, form=form)
        unit = old.get("stringUnit") if old is not None else None
        done = unit.string("value") if unit is not None else ""
        state = unit.string("state") if unit is not None else ""
        self._texts[key], self._states[key] = (done, state) if done else (text, "new")
        if done and state != "new":
            self.pairs.append(Pair(segment, done, state == _REVIEW))
        again = state == "new" or (self._fuzzy and state == _REVIEW)
        if text.strip() and (not done or again):
            self.segments.append(segment)
        return key

    def render(self, results: Mapping[int, Result]) -> str:
        """The catalogue with the results; strings without any are left as they are."""
        edits: list[Edit] = []
        for entry in self._entries:
            if self._target and any(key in results for key in _leaves(entry.plan)):
                edits += self._edits(entry, results)
        return edited(self._json.text, edits)

    def _edits(self, entry: _Entry, results: Mapping[int, Result]) -> Iterator[Edit]:
        def filled(plan: Any) -> Any:
            if isinstance(plan, int):
                result = results.get(plan)
                if result is None:
                    return {"state": self._states[plan] or "new", "value": self._texts[plan]}
                state = _REVIEW if result.flagged else "translated"
                return {"state": state, "value": result.text}
            return {name: filled(each) for name, each in plan.items()} if isinstance(
                plan, dict) else plan  # fmt: skip

        new, string = filled(entry.plan), entry.member.value
        localizations = string.get("localizations")
        name = tag_of(str(self._target))
        if entry.old is not None:
            value = entry.old.value
            yield value.start, value.end, self._dumped(new, 4)
        elif localizations is not None and localizations.members:
            yield self._inserted(localizations, name, self._dumped(new, 4), 4)
        else:
            whole = self._dumped({name: new}, 3)
            if localizations is not None:
                yield localizations.start, localizations.end, whole
            elif string.members:
                yield self._inserted(string, "localizations", whole, 3)
            else:
                yield string.start, string.end, self._dumped({"localizations": {name: new}}, 2)

    def _inserted(self, owner: Value, name: str, value: str, depth: int) -> Edit:
        """A new member where the alphabet has it, as Xcode writes them."""
        before = [member for member in owner.members if member.name < name]
        if before:
            return added(self._json, before[-1], name, value)
        first, style = owner.members[0].start, self._style
        space = style.end + style.indent * depth or " "
        return first, first, f"{self._json.spelled(name)}{style.colon}{value},{space}"

    def _dumped(self, value: Any, depth: int) -> str:
        return dumped(self._json, value, self._style, depth)


def _leaves(plan: Any) -> Iterator[int]:
    if isinstance(plan, int):
        yield plan
    elif isinstance(plan, dict):
        for each in plan.values():
            yield from _leaves(each)
