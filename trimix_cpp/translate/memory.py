"""A memory of translations: what is equal is taken over, what is similar is shown to the models."""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..documents import CUT, Pair, Segment
from ..markup import without_accelerator
from .context import Context
from .faults import lost
from .recipe import MAX_SHOTS, Shot, size
from .words import words

# How many entries with rare words in common are compared letter by letter.
_CANDIDATES = 200
# Words are looked up by their beginnings, so that "file" finds "files", and "ھۆججەت" its cases.
_STEM = 4


@dataclass(frozen=True)
class Taken:
    """The translation of an equal segment, and why somebody should look at it."""

    text: str
    reasons: tuple[str, ...] = ()


_Key = tuple[str, int | None, str | None]


@dataclass(frozen=True)
class _Entry:
    source: int  # which of the files it is from, in their order
    context: str
    translation: str


class Memory:
    """Pairs of texts and translations, of several files; those that were added first go first.

    Args:
        contexts: a text under two contexts is two texts.
    """

    def __init__(self, *, contexts: bool = False) -> None:
        self._contexts = contexts
        self._sources = 0
        # By text, form and context, and by text and form alone.
        self._equal: dict[_Key, list[_Entry]] = {}
        self._best: dict[tuple[_Key, int | None], tuple[_Entry, int]] = {}
        self._shots: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._equal)

    def add(self, pairs: Iterable[Pair], *, labels: bool = False) -> int:
        """Add what a file holds; fuzzy pairs are left out. Returns the number of the file.

        `labels`: they are strings of programs, whose accelerators the models are not shown.
        """
        for pair in pairs:
            text, translation = pair.segment.text, pair.translation
            if pair.fuzzy or not translation.strip():
                continue
            entry = _Entry(self._sources, pair.segment.context, translation)
            for context in (entry.context, None):
                self._equal.setdefault((text, pair.segment.form, context), []).append(entry)
            for shot, answer in _lines(text, translation):
                if labels:
                    shot, answer = without_accelerator(shot), without_accelerator(answer)
                self._shots.setdefault(shot, answer)
        self._sources += 1
        self.__dict__.pop("_index", None)
        self._best.clear()
        return self._sources - 1

    def taken(self, segment: Segment, first: int | None = None) -> Taken | None:
        """The translation of an equal text, character for character; None if there is none.

        A plural form is equal to the same form only. Where several are found, the context decides,
        then whether it is from the file `first`, then the order. What speaks against the one that
        is taken is told with it.
        """
        key: _Key = (segment.text, segment.form, segment.context)
        same = key in self._equal
        if not same:
            key = (segment.text, segment.form, None)
        if key not in self._equal or (self._contexts and not same):
            return None
        best, count = self._chosen(key, first)
        reasons = list(lost(segment.text, best.translation, Context(segment.syntax)))
        if count > 1:
            reasons.append(f"has {count} translations in the memory: the first was taken")
        if not same and segment.context and best.context:
            reasons.append(f"was taken from another context: {best.context}")
        return Taken(best.translation, tuple(reasons))

    def _chosen(self, key: _Key, first: int | None) -> tuple[_Entry, int]:
        """The entry that is taken, and how many translations its file has of the text."""
        if (key, first) not in self._best:
            entries = self._equal[key]
            best = min(entries, key=lambda entry: entry.source != first)
            others = {entry.translation for entry in entries if entry.source == best.source}
            self._best[key, first] = best, len(others)
        return self._best[key, first]

    def similar(self, text: str) -> tuple[Shot, ...]:
        """The five pairs whose texts are most similar, the least similar one first.

        Of those that share the rarest words with it, the ones with the fewest letters to change.
        Fewer where fewer share a word with it, or are short enough for a prompt.
        """
        from rapidfuzz import fuzz, process

        texts, index = self._index
        found = index.best(text, _CANDIDATES)
        if not found:
            return ()
        folded = [texts[i].casefold() for i in found]
        scores = process.cdist([text.casefold()], folded, scorer=fuzz.ratio)[0]
        best = np.argsort(-scores, kind="stable")[:MAX_SHOTS]
        chosen = [texts[found[i]] for i in best[::-1]]
        return tuple((shot, self._shots[shot]) for shot in chosen)

    def sample(self, count: int) -> tuple[Shot, ...]:
        """`count` pairs from all over it, or all; the same ones of the same memory."""
        shots = list(self._shots.items())
        step = max(1, len(shots) // max(count, 1))
        return tuple(shots[::step][:count])

    @cached_property
    def _index(self) -> tuple[list[str], _Index]:
        texts = list(self._shots)
        return texts, _Index(texts)


class _Index:
    """Which texts have which words: rare words count for more, texts with few others too.

    A look-up reads the lists of the text's own words: a millisecond of 100,000 texts.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        lists: dict[str, array[int]] = defaultdict(lambda: array("I"))
        for i, text in enumerate(texts):
            for stem in _stems(text):
                lists[stem].append(i)
        self._lists = {stem: np.frombuffer(found, np.uint32) for stem, found in lists.items()}
        self._norms: NDArray[np.float64] = np.zeros(len(texts))
        for stem, found in self._lists.items():
            self._norms[found] += self._weight(stem)
        self._norms = np.sqrt(self._norms)

    def _weight(self, stem: str) -> float:
        return math.log(1 + len(self._norms) / len(self._lists[stem])) ** 2

    def best(self, text: str, count: int) -> list[int]:
        """The texts with the greatest cosine to `text`, by their numbers, the best first."""
        scores = np.zeros(len(self._norms))
        for stem in _stems(text):
            if stem in self._lists:
                scores[self._lists[stem]] += self._weight(stem)
        found = np.flatnonzero(scores)
        scores = scores[found] / self._norms[found]
        if len(found) > count:
            # Of equal ones the first, whatever a partition makes of them.
            least = np.partition(scores, len(found) - count)[len(found) - count]
            found, scores = found[scores >= least], scores[scores >= least]
        order = np.argsort(-scores, kind="stable")[:count]
        return [int(i) for i in found[order]]


def _stems(text: str) -> list[str]:
    """The beginnings of the words of a text, each once, in an order that a hash does not decide."""
    return sorted({word.text[:_STEM] for word in words(text.casefold())})


def _lines(text: str, translation: str) -> list[Shot]:
    """The lines of a pair that can be shown in a prompt, each with its translation."""
    lines = list(zip(text.split("\n"), translation.split("\n"), strict=False))
    if text.count("\n") != translation.count("\n"):
        return []
    pairs = [(line.strip(), answer.strip()) for line, answer in lines]
    return [(a, b) for a, b in pairs if a and b and size(a) <= CUT and size(b) <= 2 * CUT]
