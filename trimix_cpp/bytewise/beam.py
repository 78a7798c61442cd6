"""A model over tokens as a model over bytes: a beam over the tokenizations of a text.

The next byte's distribution is the sum over all tokenizations of the bytes so far, the last token
of which may reach beyond them (Vieira et al., ICML 2025, arXiv 2412.03719). A hypothesis is a row
of whole tokens and a place within the next one. With a byte each goes on; where a token ends there,
a hypothesis *closes*, and only then the model is asked what comes after that token.

Closings with little weight are not asked for. They wait: if the next byte is one that the others
hardly expect, they are asked for after all. A text's bytes, and the hypotheses, are few; nothing
here depends on how long the text is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import TrimixError
from ..fusion import Row
from .spelling import END, N_SYMBOLS, Node, Spelling
from .stems import Stem, Tokenize, canonical, common_stem, reread
from .utf8 import unfinished

# The least probability of a symbol: fusion can overrule it, as no infinity could be.
_LEAST = 1e-8


@dataclass(frozen=True)
class Pruning:
    """Which hypotheses are followed.

    Attributes:
        width: at most so many at once; None for all.
        threshold: those with a smaller share of the probability are left out.
        canonical: of those that end with the same byte only the one that the tokenizer gives is
            kept, where it is among them.
    """

    width: int | None = 6
    threshold: float = 1e-3
    canonical: bool = True


class Hypothesis(NamedTuple):
    """Whole tokens, and a place within the next one.

    Attributes:
        stem: the whole tokens.
        node: where within the next one.
        weight: log-probability of the whole tokens, against the others'.
        mass: log-probability of all that goes on from here.
    """

    stem: Stem
    node: Node
    weight: float
    mass: float


class Beam:
    """Where a text stands. It is never changed: `push` gives a `Step` to the next one.

    Args:
        spelling: the vocabulary.
        pruning: what is left out.
        start: the end of the prompt, with what comes `after` it.

    Attributes:
        live: the hypotheses whose stems were asked for.
        waiting: closings that were not.
    """

    def __init__(self, spelling: Spelling, pruning: Pruning, start: Stem) -> None:
        self.spelling, self.pruning = spelling, pruning
        self.live: tuple[Hypothesis, ...] = (Hypothesis(start, spelling.root, 0.0, 0.0),)
        self.waiting: tuple[Hypothesis, ...] = ()
        # All hypotheses have it in common, and spell these bytes after it.
        self._trunk, self._tail = start, b""

    @property
    def best(self) -> Stem:
        """The whole tokens of the likeliest hypothesis that was asked for."""
        return max(self.live, key=lambda each: each.mass).stem

    def log_probabilities(self) -> Row:
        """Of each next symbol, the bytes and the end; float32 [257].

        What waits is shared out evenly. Nothing is less likely than 1e-8.
        """
        total = np.zeros(N_SYMBOLS)
        for stem, node, _, mass in self.live:
            assert stem.after is not None
            shares = np.append(node.masses(stem.after.tokens), 0.0)
            if node is self.spelling.root:
                shares[END] = stem.after.end
            total += math.exp(mass) * (shares / shares.sum())
        total += sum(math.exp(each.mass) for each in self.waiting) / N_SYMBOLS
        total /= total.sum()
        row: Row = np.log(np.maximum(total, _LEAST)).astype(np.float32)
        return row

    def push(self, byte: int, tokenize: Tokenize) -> Step:
        """Go on with a byte; the model may have to be asked first."""
        tail = self._tail + bytes((byte,))
        opened, closed = list[Hypothesis](), list[Hypothesis]()
        for each in self.live:
            if node := each.node.child(byte):
                found = _followed(each, node, self._closings(each.stem, node))
                opened += found[0]
                closed += found[1]
        known = _log_sum(each.mass for each in (*opened, *closed))
        # What waited may have all of its weight in this byte: nobody knows yet.
        least = known + _log(self.pruning.threshold)
        called = [each for each in self.waiting if each.mass > least]
        called = sorted(called, key=lambda each: -each.mass)[: self.pruning.width]
        node = self.spelling.root.child(byte)
        if not (opened or closed or called):
            # Nothing goes on so: begin with the tokenizer's own reading of the text.
            stem, rest = reread(self._trunk, tail, self.spelling, tokenize)
            alone = Hypothesis(stem, self.spelling.root, 0.0, 0.0)
            called, closed = ([alone], []) if rest else ([], [alone])
            node = self.spelling.find(rest)
        elif self.pruning.canonical and len(closed) > 1 and not unfinished(tail):
            tokens = canonical(self._trunk, tail, self.spelling, tokenize)
            closed = [e for e in closed if e.stem.tokens(self._trunk) == tokens] or closed
        assert node is not None, "every byte is a token"
        calls = [(each, self._closings(each.stem, node)) for each in called]
        return Step(self, tail, (opened, closed), node, calls)

    def _closings(self, stem: Stem, node: Node) -> list[Hypothesis]:
        """Those that end a token at `node`; what they weigh comes later."""
        ids = self.spelling.ids[node.leaves.start : node.leaves.stop].tolist()
        return [Hypothesis(Stem(stem, token), self.spelling.root, 0.0, 0.0) for token in ids]

    def _after(
        self, live: Sequence[Hypothesis], waiting: Sequence[Hypothesis], tail: bytes
    ) -> Beam:
        """The beam with these hypotheses, when this one has gone on to `tail`."""
        total = _log_sum(each.mass for each in (*live, *waiting))
        if not math.isfinite(total):
            raise TrimixError("nothing that it says fits the text: its file is broken")
        beam = Beam(self.spelling, self.pruning, self._trunk)
        beam.live = tuple(_scaled(each, total) for each in live)
        beam.waiting = tuple(_scaled(each, total) for each in waiting)
        beam._trunk = common_stem(each.stem for each in (*live, *waiting))
        spelt = [self.spelling.pieces[token] for token in beam._trunk.tokens(self._trunk)]
        beam._tail = tail[sum(map(len, spelt)) :]
        return beam


class Step:
    """A byte on the way: first the model is asked what comes after the stems that are `wanted`.

    Attributes:
        wanted: each comes after one that was asked for, perhaps through others of which nothing is
            to be known.
    """

    def __init__(
        self,
        before: Beam,
        tail: bytes,
        found: tuple[list[Hypothesis], list[Hypothesis]],
        node: Node,
        calls: list[tuple[Hypothesis, list[Hypothesis]]],
    ) -> None:
        self._before, self._tail, self._node, self._calls = before, tail, node, calls
        opened, closed = found
        kept = _kept([*opened, *closed], before.pruning)
        asked = [each for each in closed if id(each) in kept]
        self._live = [*(each for each in opened if id(each) in kept), *asked]
        self._waiting = [each for each in closed if id(each) not in kept]
        self.wanted: list[Stem] = [each.stem for each in asked]
        for each, closings in calls:
            # It may close with this byte: asking for that too saves a second batch.
            self.wanted += [each.stem, *(closing.stem for closing in closings)]

    def finish(self) -> Beam:
        """The next beam, when every wanted stem's `after` is known; what is not is left out.

        Raises:
            TrimixError: what a model said makes no sense.
        """
        live = [each for each in self._live if each.stem.after]
        for each, closings in self._calls:
            if each.stem.after:
                opened, closed = _followed(each, self._node, closings)
                live += opened + [closing for closing in closed if closing.stem.after]
        live = sorted(live, key=lambda each: -each.mass)[: self._before.pruning.width]
        return self._before._after(live, self._waiting, self._tail)


def _followed(
    each: Hypothesis, node: Node, closings: Sequence[Hypothesis]
) -> tuple[list[Hypothesis], list[Hypothesis]]:
    """What becomes of a hypothesis that comes to `node`: it is within a longer token, or one ends.

    `closings` are those that end, in the order of the node's leaves.
    """
    assert each.stem.after is not None, "nobody asked what comes after it"
    tokens = each.stem.after.tokens
    mass = each.weight + _log(node.mass(tokens))
    opened = [each._replace(node=node, mass=mass)] if mass > -math.inf else []
    weights = [each.weight + _log(float(tokens[leaf])) for leaf in node.leaves]
    closed = [
        closing._replace(weight=weight, mass=weight)
        for closing, weight in zip(closings, weights, strict=True)
        if weight > -math.inf
    ]
    return opened, closed


def _kept(found: Sequence[Hypothesis], pruning: Pruning) -> set[int]:
    """Which are followed, by `id`; the likeliest always is."""
    ordered = sorted(found, key=lambda each: -each.mass)
    least = _log_sum(each.mass for each in found) + _log(pruning.threshold)
    kept = [each for each in ordered[: pruning.width] if each.mass >= least]
    return {id(each) for each in (kept or ordered[:1])}


def _scaled(each: Hypothesis, total: float) -> Hypothesis:
    return each._replace(weight=each.weight - total, mass=each.mass - total)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _log_sum(values: Iterable[float]) -> float:
    """The log of the sum of exp; -inf of nothing."""
    found = list(values)
    top = max(found, default=-math.inf)
    return top + math.log(sum(math.exp(value - top) for value in found)) if top > -math.inf else top
