"""ICU MessageFormat: arguments that hold text, `{n, plural, one {# file} other {# files}}`.

Their selectors are structure, what stands in their inner braces is text with placeholders of its
own. Braces are paired once for a whole text, so that the work is linear in its length.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass

_HEAD = re.compile(
    r"\{\s*(?P<name>\w+)\s*,\s*(?P<type>plural|select|selectordinal)\s*,\s*(?:offset:\s*\d+\s+)?"
)
_SELECTOR = re.compile(r"\s*(=\d+|[^\W\d][\w-]*)\s*\{")
_SPACE = re.compile(r"\s*")
_BRACE = re.compile(r"'[{}][^']*'|[{}]")  # an apostrophe before a brace quotes
CATEGORIES = frozenset({"zero", "one", "two", "few", "many", "other"})


@dataclass(frozen=True)
class Argument:
    """An argument with texts to choose from.

    Attributes:
        name, type: `n` and `plural` of `{n, plural, …}`.
        start, end: where it stands.
        branches: selector, and where its text begins and ends; in order.
        counts: its texts show the number, `#`.
    """

    name: str
    type: str
    start: int
    end: int
    branches: tuple[tuple[str, int, int], ...]
    counts: bool

    @property
    def structure(self) -> list[tuple[int, int]]:
        """The parts that are no text, as ranges: up to the first text, between texts, the end."""
        starts = [self.start, *(end for _, _, end in self.branches)]
        ends = [*(start for _, start, _ in self.branches), self.end]
        return list(zip(starts, ends, strict=True))

    @property
    def cases(self) -> frozenset[str]:
        """The selectors that a translation has too; plural categories are a language's own."""
        selectors = frozenset(selector for selector, _, _ in self.branches)
        return selectors if self.type == "select" else selectors - (CATEGORIES - {"other"})

    @property
    def plurals(self) -> frozenset[str]:
        """Its plural categories; those of ordinals are others."""
        selectors = frozenset(selector for selector, _, _ in self.branches)
        return selectors & CATEGORIES if self.type == "plural" else frozenset()


def arguments(text: str) -> list[Argument]:
    """The arguments with texts in `text`, those within others too, in the order of their starts."""
    heads = list(_HEAD.finditer(text))
    if not heads:
        return []
    closing = _pairs(text)
    signs = [at for at, char in enumerate(text) if char == "#"]
    found = (_argument(text, head, closing, signs) for head in heads)
    return [argument for argument in found if argument]


def _pairs(text: str) -> dict[int, int]:
    """Where each opening brace is closed."""
    pairs: dict[int, int] = {}
    opened: list[int] = []
    for match in _BRACE.finditer(text):
        if match[0] == "{":
            opened.append(match.start())
        elif match[0] == "}" and opened:
            pairs[opened.pop()] = match.start()
    return pairs


def _argument(
    text: str, head: re.Match[str], closing: dict[int, int], signs: list[int]
) -> Argument | None:
    end = closing.get(head.start())
    if end is None:
        return None
    branches: list[tuple[str, int, int]] = []
    at = head.end()
    while selector := _SELECTOR.match(text, at, end):
        stop = closing.get(selector.end() - 1)
        if stop is None:
            return None
        branches.append((selector[1], selector.end(), stop))
        at = stop + 1
    if not branches or not _SPACE.fullmatch(text, at, end):
        return None
    counts = any(bisect_left(signs, a) < bisect_left(signs, b) for _, a, b in branches)
    return Argument(head["name"], head["type"], head.start(), end + 1, tuple(branches), counts)


def wrong(source: str, translation: str, categories: frozenset[str] | None = None) -> Iterator[str]:
    """What is wrong with the arguments of a translation, each a phrase.

    Every argument must be there with its type, with `other`, with the same selectors where they
    are words of the program (`select`, `=0`), and show its number where the source does. Plural
    cases must be of `categories`, those of the target language, if they are known.
    """
    left: dict[tuple[str, str], deque[Argument]] = defaultdict(deque)
    for argument in arguments(translation):
        left[argument.name, argument.type].append(argument)
    for argument in arguments(source):
        name = f"{{{argument.name}, {argument.type}}}"
        same = left[argument.name, argument.type]
        if not same:
            yield f"loses {name}"
            continue
        like = same.popleft()
        if argument.cases != like.cases:
            yield f"changes the cases of {name}: {', '.join(sorted(argument.cases ^ like.cases))}"
        strange = like.plurals - categories if categories else frozenset()
        if strange:
            yield f"has cases in {name} that the language has not: {', '.join(sorted(strange))}"
        if argument.counts and not like.counts:
            yield f"loses # in {name}"
    for (name, type), more in left.items():
        if more:
            yield f"invents {{{name}, {type}}}"
