"""The lane of a role whose vocabulary is larger than the alphabet (`fusion.pushforward`)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..fusion import EXACT, Hypothesis, Pruning, Row, Rows
from .branches import Branches
from .feeds import Feed

if TYPE_CHECKING:
    from .trio import Trio

# Positions that can be gone back to without reading the text anew: drafts go back as far.
_REMEMBERED = 20
PRUNED = Pruning()


class EnlargedLane:
    """A role that reads and speaks tokens of its own, and gives rows over the alphabet. See `Lane`.

    Up to the first position whose row is wanted it reads the text in its own tokens, as its
    tokenizer makes them. From there on it follows the text letter by letter, by hypotheses. Rows
    depend on the text and on where that was, and not on what the caches had.

    Args:
        trio: its contexts.
        role: loaded.
        slot: of the text.
    """

    def __init__(self, trio: Trio, role: str, slot: int) -> None:
        self._trio, self._role = trio, role
        self._enlarged = trio.alignment.enlarged[role]
        self._push = self._enlarged.pushforward
        self._pruning = EXACT if trio.options.exact_vocabulary else PRUNED
        self._branches = Branches(trio, role, trio.slots(role, slot))
        self.cached = 0
        self._start = 0
        # The prompt in the role's own tokens, and how many of them each number of letters needs.
        self._prompt: list[int] = []
        self._needed = [0]
        # Letters read -> hypotheses, each with its row.
        self._states: dict[int, list[Hypothesis]] = {}
        self._hypotheses: list[Hypothesis] = []
        self._at = self._first_row = 0
        self._rows: list[Row] = []
        # Rows of batches that came before the last one, and what that is fed.
        self._early: list[Rows] = []
        self._last: list[Feed] = []

    def begin(self, tokens: Sequence[int], start: int, own: Sequence[int] | None = None) -> None:
        """See `Lane`."""
        self._start = start
        self._prompt, self._needed = self._enlarged.read(tokens[: start + 1])
        self._states.clear()
        self._branches.keep([self._prompt])
        self._recount(start)

    def settle(self) -> None:
        """See `Lane`: all that it has may be of use."""

    def length(self, tokens: Sequence[int]) -> int:
        """See `Lane`."""
        return self._trio.length((self._role,), tokens)

    def _recount(self, most: int) -> None:
        """Count the letters, up to `most`, whose tokens the caches have; the last are read anew."""
        known = self._branches.known(self._prompt[:-1])
        self.cached = min(bisect_right(self._needed, known) - 1, most)

    def reach(self, tokens: Sequence[int], room: int) -> int:
        """See `Lane`: in its own tokens while it reads, then a letter for each."""
        if not room:
            return self.cached
        end = self._start + 1
        if self.cached >= end:
            return min(self.cached + room, len(tokens))
        reached = self._needed[self.cached] + room
        far = bisect_right(self._needed, reached) - 1
        if far == end:
            far += reached - self._needed[end]
        return min(max(far, self.cached + 1), len(tokens))

    def feeds(self, tokens: Sequence[int], end: int, n_rows: int) -> list[Feed]:
        """See `Lane`. All but the last position are evaluated here and now."""
        self._rows, self._first_row = [], end - n_rows + 1
        read = self._start + 1
        if end < read:
            path, self._at = self._prompt[: self._needed[end]], 0
            self._branches.keep([self._prompt])
            if self._branches.known(path) == len(path):
                return []
            return self._evaluate([path], 0)
        if self.cached < read:
            self._branches.keep([self._prompt])
            self._hypotheses, self._at = [Hypothesis((), 0.0)], read
            coming = self._evaluate([self._prompt])
        else:
            self._hypotheses, self._at = self._states[self.cached], self.cached
            coming = []
        while self._at < end:
            if self._at not in self._states:
                self._take(self._decode(coming))
            coming = self._say(tokens[self._at])
        return coming

    def rows(self, logits: Rows) -> Rows:
        """See `Lane`."""
        if self._at > self._start and self._at not in self._states:
            self._take(logits)
        if not self._rows:
            return np.empty((0, self._trio.n_tokens), np.float32)
        return np.stack(self._rows)

    def rewind(self, length: int) -> int:
        """See `Lane`."""
        for at in [at for at in self._states if at > length]:
            del self._states[at]
        if self._states:
            self.cached = max(self._states)
        else:
            self._recount(min(length, self._start))
        self._at = 0
        return self.cached

    def copy(self, other: EnlargedLane, length: int) -> None:
        """See `Lanes.copy`; what it has of a text is known when that begins."""
        self._branches.copy(other._branches)

    def _say(self, letter: int) -> list[Feed]:
        """Go on by a letter; what is to be evaluated for its row."""
        found, _ = self._push.push(self._hypotheses, letter, self._pruning, self._follows)
        self._hypotheses = found or self._forced(letter)
        self._at += 1
        wanted = [one for one in self._hypotheses if one.row is None]
        self._branches.keep([self._path(one) for one in self._hypotheses])
        return self._evaluate([self._path(one) for one in wanted])

    def _forced(self, letter: int) -> list[Hypothesis]:
        """The hypotheses where none allows the letter: it is said all the same, in own tokens."""
        waiting = [one for one in self._hypotheses if not one.pending]
        likeliest = [max(self._hypotheses, key=lambda one: one.weight)]
        return [
            Hypothesis((*one.own, *self._enlarged.read((*one.pending, letter))[0]), one.weight)
            for one in waiting or likeliest
        ]

    def _follows(self, own: tuple[int, ...]) -> bool:
        # The prompt's end is where the user stopped: any token may follow it.
        return len(own) < 2 or self._enlarged.follows(own[-2], own[-1])

    def _path(self, hypothesis: Hypothesis) -> list[int]:
        return [*self._prompt, *hypothesis.own]

    def _evaluate(self, paths: Sequence[Sequence[int]], n_logits: int = 1) -> list[Feed]:
        """What evaluates the ends of paths; all but the last batch of it is evaluated at once."""
        self._early = []
        self._last, left = self._branches.batch(paths, n_logits)
        while left:
            self._early.append(self._decode(self._last))
            self._last, left = self._branches.batch(left, n_logits)
        return self._last

    def _decode(self, feeds: list[Feed]) -> Rows:
        if not feeds:
            return np.empty((0, 0), np.float32)
        logits: Rows = self._trio.decode({self._role: feeds})[self._role].copy()
        self._branches.fed(feeds)
        return logits

    def _take(self, logits: Rows) -> None:
        """The rows of the hypotheses that had none; what they say together, if it is wanted."""
        self._branches.fed(self._last)
        rows = iter([row for own in (*self._early, logits) for row in own])
        self._hypotheses = [
            one if one.row is not None else self._push.evaluated(one, next(rows))
            for one in self._hypotheses
        ]
        self._states[self._at] = self._hypotheses
        for at in [at for at in self._states if self._start + 1 < at < self._at - _REMEMBERED]:
            del self._states[at]
        if self._at >= self._first_row:
            self._rows.append(self._push.row(self._hypotheses, self._pruning))
