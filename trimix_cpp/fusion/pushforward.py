"""A model with more tokens than the alphabet, as a distribution over the alphabet. Pure NumPy.

Each of its tokens t is a string d(t) over the alphabet; most are one letter, the further ones are
longer. A text over the alphabet may then come of several sequences of its tokens, and the last one
may reach beyond the text. So what it has said so far is a set of hypotheses: tokens that are
complete (`own`), and letters since then (`pending`) that a longer token begins with. The next
letter v has the probability

    p(v) = sum_h w_h * p_h(tokens t with d(t) = pending_h v ...)   divided by the same for all v,

where w_h is the probability of the hypothesis' own tokens. That is exact (the pushforward of the
model's distribution by d) as long as no hypothesis is dropped.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .arrays import Doubles, Ids, Row

_BEYOND = 1 << 31


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """One way in which the model may have said the text.

    Attributes:
        own: its complete tokens, the model's ids.
        weight: log of their probability, less a constant that all hypotheses of a text share.
        pending: letters after them.
        row: the model's logits after `own`, float32 [n_vocab]; None until they are evaluated.
        total: log of the sum of their exponentials, of tokens that take part.
    """

    own: tuple[int, ...]
    weight: float
    pending: tuple[int, ...] = ()
    row: Row | None = None
    total: float = math.nan


@dataclass(frozen=True)
class Pruning:
    """Which hypotheses are dropped.

    Attributes:
        least: those with less than this share of the probability of all. Where every hypothesis is
            in the middle of a token, this share is divided evenly among all letters: so the other
            roles may still bring one that no hypothesis allows.
        most: all but so many of the likeliest.
        canonical: closed ones whose last token the tokenizer would not have made there.
    """

    least: float = 1e-4
    most: int = 4
    canonical: bool = True


EXACT = Pruning(1e-9, 1 << 16, False)
"""Drops only what float32 does not see."""


class Pushforward:
    """The map d of one model's tokens, and what follows from it for rows of its logits.

    Args:
        strings: d(t) for every id of the model; empty for what takes no part (padding, control
            tokens that the alphabet lacks).
        n_tokens: letters of the alphabet.

    Attributes:
        columns: for each letter the token that is just it, int32 [n_tokens], -1 for none.
    """

    def __init__(self, strings: Sequence[tuple[int, ...]], n_tokens: int) -> None:
        self.columns: Ids = np.full(n_tokens, -1, np.int32)
        others = []
        for token, string in enumerate(strings):
            if len(string) == 1 and self.columns[string[0]] < 0:
                self.columns[string[0]] = token
            elif string:
                others.append((string, token))
        others.sort()
        self._keys = [string for string, _ in others]
        self._tokens: Ids = np.array([token for _, token in others], np.int32)
        longest = max(map(len, self._keys), default=0)
        self._letters: Ids = np.full((len(others), longest + 1), -1, np.int32)
        for row, string in zip(self._letters, self._keys, strict=True):
            row[: len(string)] = string
        self._lacked = np.flatnonzero(self.columns < 0)
        single = self.columns[self.columns >= 0]
        self._taking_part = np.concatenate([single, self._tokens])

    def evaluated(self, hypothesis: Hypothesis, row: Row) -> Hypothesis:
        """The hypothesis with its logits, float32 [n_vocab], which are copied."""
        total = _log_sum(row[self._taking_part])
        own, weight, pending = hypothesis.own, hypothesis.weight, hypothesis.pending
        return Hypothesis(own, weight, pending, row.copy(), total)

    def closing(self, string: tuple[int, ...]) -> list[int]:
        """The tokens that are just this string."""
        found = []
        if len(string) == 1 and self.columns[string[0]] >= 0:
            found.append(int(self.columns[string[0]]))
        at = bisect_left(self._keys, string)
        while at < len(self._keys) and self._keys[at] == string:
            found.append(int(self._tokens[at]))
            at += 1
        return found

    def _longer(self, string: tuple[int, ...]) -> slice:
        """Where the tokens stand that begin with `string` and are longer, in sorted order."""
        if string and (string[0] >= len(self.columns)):
            return slice(0, 0)
        low = bisect_left(self._keys, (*string, -1))
        return slice(low, bisect_left(self._keys, (*string, _BEYOND), low))

    def begun(self, hypothesis: Hypothesis, pending: tuple[int, ...]) -> float:
        """Log of the probability that the next token begins with `pending` and is longer."""
        assert hypothesis.row is not None
        logits = hypothesis.row[self._tokens[self._longer(pending)]]
        return _log_sum(logits) - hypothesis.total

    def _following(self, hypothesis: Hypothesis) -> Doubles:
        """Logits [n_tokens] of the next letter, in the scale of the model's own; -inf for none."""
        row, pending = hypothesis.row, hypothesis.pending
        assert row is not None
        out: Doubles = np.full(len(self.columns), -np.inf)
        if not pending:
            out = row[self.columns].astype(np.float64)
            out[self._lacked] = -np.inf
        where = self._longer(pending)
        logits = row[self._tokens[where]].astype(np.float64)
        if not len(logits) or np.isneginf(top := logits.max()):
            return out
        letters = self._letters[where, len(pending)]
        starts = np.flatnonzero(np.diff(letters, prepend=-1))
        with np.errstate(divide="ignore", invalid="ignore"):  # NaN is told of by `fuse`
            sums = np.log(np.add.reduceat(np.exp(logits - top), starts)) + top
            out[letters[starts]] = np.logaddexp(out[letters[starts]], sums)
        return out

    def row(self, hypotheses: Sequence[Hypothesis], pruning: Pruning = EXACT) -> Row:
        """Logits of the next letter, float32 [n_tokens], in the scale of the likeliest hypothesis.

        One hypothesis that waits for nothing, and further tokens that never come: then they are the
        model's own, bit for bit. Letters that are no token of the model have the least logit.
        """
        first = max(hypotheses, key=lambda one: one.weight)
        out = self._following(first)
        for one in hypotheses:
            if one is not first:
                shift = one.weight - one.total - first.weight + first.total
                out = np.logaddexp(out, self._following(one) + shift)
        if all(one.pending for one in hypotheses):
            least = _log_sum(out) + math.log(pruning.least / len(out))
            with np.errstate(invalid="ignore"):
                out = np.logaddexp(out, least)  # NaN stays, and is told of
        if len(self._lacked):
            out[self._lacked] = np.inf
            out[self._lacked] = out.min()
        return out.astype(np.float32)

    def push(
        self,
        hypotheses: Sequence[Hypothesis],
        letter: int,
        pruning: Pruning = EXACT,
        canonical: Callable[[tuple[int, ...]], bool] = lambda _own: True,
    ) -> tuple[list[Hypothesis], float]:
        """The hypotheses after one more letter, and the share of the probability that was dropped.

        Closed ones have no row yet. `canonical` says of a hypothesis' own tokens whether the
        tokenizer could have made the last two. None are left where none allows the letter.

        What is dropped moves the next row by no more than its share (in total variation), and by
        `pruning.least` where every hypothesis that is left is in the middle of a token.
        """
        found: list[tuple[float, Hypothesis]] = []
        lost = -math.inf
        for one in hypotheses:
            assert one.row is not None
            string = (*one.pending, letter)
            begun = one.weight + self.begun(one, string)
            if begun > -math.inf:
                found.append((begun, Hypothesis(one.own, one.weight, string, one.row, one.total)))
            for token in self.closing(string):
                weight = one.weight + float(one.row[token]) - one.total
                closed = Hypothesis((*one.own, token), weight)
                if weight == -math.inf:
                    continue
                if pruning.canonical and not canonical(closed.own):
                    lost = float(np.logaddexp(lost, weight))
                else:
                    found.append((weight, closed))
        if not found:
            return [], 0.0
        found.sort(key=lambda each: -each[0])
        log_sum = _log_sum(np.array([mass for mass, _ in found]))
        kept = [
            (mass, one)
            for mass, one in found[: pruning.most]
            if math.exp(mass - log_sum) >= pruning.least
        ]
        held = _log_sum(np.array([mass for mass, _ in kept]))
        dropped = 1.0 - math.exp(held - float(np.logaddexp(log_sum, lost)))
        return [
            Hypothesis(one.own, one.weight - held, one.pending, one.row, one.total)
            for _, one in kept
        ], max(dropped, 0.0)


def _log_sum(values: NDArray[np.floating]) -> float:
    """The log of the sum of the exponentials; -inf for none."""
    top = float(values.max(initial=-np.inf))
    if math.isinf(top):
        return top
    return top + math.log(np.exp(values - values.dtype.type(top)).sum(dtype=np.float64))
