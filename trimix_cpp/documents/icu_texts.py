"""ICU messages as whole sentences, one for each case, and put together again.

`Delete {n, plural, one {# file} other {# files}}?` is two texts, "Delete {n} file?" and
"Delete {n} files?": no model has to know the syntax, and the target language has its own cases. The
translation is one argument around whole sentences, as ICU recommends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..markup import icu
from .plurals import categories, category_sources, spelled_out

_MOST = 24  # texts of one message; one with more cases goes to the models as it is
_DEEPEST = 6  # arguments within or after each other
_SELECTOR = re.compile(r"\s*(?:=\d+|[^\W\d][\w-]*)\s*\{$")


@dataclass(frozen=True)
class Case:
    """A case of an argument: its selector, and the message under it."""

    selector: str
    message: Message


@dataclass(frozen=True)
class Message:
    """A text, or an argument whose cases are messages.

    Attributes:
        text: where it has no argument with cases.
        head: where it has one, its beginning: "{n, plural, ".
        cases: of that argument, in the target language.
        counts: the name of each number that "#" stood for, within the texts.
    """

    text: str = ""
    head: str = ""
    cases: tuple[Case, ...] = ()
    counts: tuple[str, ...] = ()

    @property
    def texts(self) -> list[str]:
        """All texts, in their order."""
        if not self.head:
            return [self.text]
        return [text for case in self.cases for text in case.message.texts]

    def spelled(self, texts: list[str]) -> str:
        """The message with other texts; takes them off the front of the list."""
        if not self.head:
            text = texts.pop(0)
            for name in self.counts:
                text = text.replace(f"{{{name}}}", "#")
            return text
        cases = " ".join(f"{case.selector}{{{case.message.spelled(texts)}}}" for case in self.cases)
        return f"{self.head}{cases}}}"


def parse(text: str, target: str | None) -> Message:
    """The message that `text` is, with the plural cases of the language `target`.

    One that cannot be taken apart (a nesting of many cases, "#" of several numbers) is one text.
    """
    return _parsed(text, target, (), 0) or Message(text)


def _parsed(text: str, target: str | None, counts: tuple[str, ...], depth: int) -> Message | None:
    arguments = icu.arguments(text)
    if not arguments:
        return Message(text, counts=counts)
    if depth == _DEEPEST:
        return None
    # The one that begins first; those behind it are in what follows, and so in each case.
    first = arguments[0]
    before, after = text[: first.start], text[first.end :]
    number = first.type != "select"
    if number and counts and (first.counts or "#" in before + after):
        return None  # whose "#" is it?
    if number and first.counts and f"{{{first.name}}}" in text:
        return None  # both are there: with an offset they differ
    given: dict[str, str] = {}
    for selector, start, end in first.branches:
        branch = text[start:end]
        if number and first.counts:
            branch = _numbered(branch, first.name)
        given[selector] = before + branch + after
    if "other" not in given:
        return None
    own = (*counts, first.name) if number and first.counts else counts
    cases, size = [], 0
    for selector, source in _selectors(first.type, given, target).items():
        inner = _parsed(given[source], target, own, depth + 1)
        size += len(inner.texts) if inner else 0
        if inner is None or size > _MOST:
            return None
        cases.append(Case(selector, inner))
    head = _SELECTOR.sub(" ", text[first.start : first.branches[0][1]])
    return Message(head=head, cases=tuple(cases))


def _numbered(branch: str, name: str) -> str:
    """The text of a case with `{name}` for each `#` of its own, not of cases within it."""
    inside = [(item.start, item.end) for item in icu.arguments(branch) if item.type != "select"]
    return re.sub(
        "#",
        lambda match: "#" if any(a <= match.start() < b for a, b in inside) else f"{{{name}}}",
        branch,
    )


def _selectors(type: str, given: Mapping[str, str], target: str | None) -> dict[str, str]:
    """The cases that a translation has, each with that of the source that it is made from."""
    if type != "plural" or target is None:
        return {selector: selector for selector in given}
    named = {name: text for name, text in given.items() if not name.startswith("=")}
    exact = {name: name for name in given if name.startswith("=")}
    out = exact | category_sources(named, target)
    # "=1" says what "one" would where that is for 1 alone; both together are one too many.
    for name, number in spelled_out(target).items():
        if number in exact and name not in named:
            del out[name]
    # What the language has no case for but the source spells out, as "zero" of a programmer.
    out.update({name: name for name in named if name == "zero"})
    order = [*exact, "zero", *categories(target)]
    return {name: out[name] for name in dict.fromkeys(order) if name in out}
