"""What makes drafts right more often, and what the text itself suggests."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..fusion import Row
from .policy import SIZES
from .text import Text

# The most drafts of a round that are tried.
MOST_DRAFTS = SIZES[-1] - 1
# How fast an offset follows, and how much of it is added: both by trying (docs/performance.md).
_OFFSET_RATE, _OFFSET_PART = 0.1, 0.75
_NGRAMS = (4, 3, 2)


@dataclass
class Offset:
    """What fusion adds to a drafter's logits on average, whatever the text.

    Part of what the other roles say is the same everywhere: tokens of other languages that they
    favour, an end that they avoid. A draft that has it added is right more often.
    """

    row: Row | None = None

    def add_to(self, drafted: Row) -> Row:
        """The drafter's logits, as fused ones are likely to be; shape [n_tokens]."""
        return drafted if self.row is None else drafted + self.row

    def note(self, fused: Row, drafted: Row) -> None:
        """One more position: what was sampled from, and the drafter's own logits."""
        difference = fused - drafted
        mean = difference.mean()
        if not np.isfinite(mean):  # tokens that never come
            difference[~np.isfinite(difference)] = 0.0
            mean = difference.mean()
        difference -= mean  # a constant changes no choice
        difference *= _OFFSET_PART
        if self.row is None or len(self.row) != len(difference):
            self.row = np.zeros_like(difference)
        difference -= self.row
        difference *= _OFFSET_RATE
        self.row += difference


@dataclass
class Lookup:
    """How the text went on after its last few tokens when they stood there before."""

    guesses: list[int] = field(default_factory=list)
    _ends: dict[tuple[int, ...], int] = field(default_factory=dict)
    _text: Text | None = None
    _seen: int = 0

    def find(self, text: Text) -> bool:
        """Look for the longest known ending of its tokens; `guesses` then holds what followed."""
        tokens = text.tokens
        if text is not self._text or len(tokens) < self._seen:
            self._ends.clear()
            self._text, self._seen = text, 0
        # The ending itself is left out: it would find itself.
        for end in range(max(self._seen, 1), len(tokens)):
            for n in _NGRAMS:
                if n <= end:
                    self._ends[tuple(tokens[end - n : end])] = end
        self._seen = len(tokens)
        self.guesses = []
        for n in _NGRAMS:
            found = self._ends.get(tuple(tokens[-n:])) if len(tokens) >= n else None
            if found is not None:
                self.guesses = tokens[found : found + MOST_DRAFTS]
                break
        return bool(self.guesses)
