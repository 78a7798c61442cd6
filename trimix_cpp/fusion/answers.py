"""Weights by the answers that a prompt already has: those of its exemplars (`ppl-answers`).

The perplexity of a whole prompt is mostly that of its instructions and questions, often in another
language than the answers. What is to come is an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .arrays import Ids, Row, Rows
from .grid import DEFAULT_GRID, Grid, GridScore
from .weights import Weights


class AnswersChooser:
    """The pair of a grid under which the answers in a prompt are likeliest: an `Observer`.

    Args:
        spans: of the answers: (position of the first token, that behind the last one), in order.
        grid: the pairs.
        score: of answers in other prompts, which count too.

    Attributes:
        score: of the answers' tokens.
    """

    def __init__(
        self,
        spans: Sequence[tuple[int, int]],
        grid: Grid = DEFAULT_GRID,
        score: GridScore | None = None,
    ) -> None:
        self.spans, self.score = spans, score or GridScore(grid)
        self.roles = grid.roles

    def first(self, n_prompt: int) -> int:
        """See `Observer`: the row before the first answer predicts its first token."""
        return max(self.spans[0][0] - 1, 0) if self.spans else n_prompt - 1

    def add(self, at: int, rows: Mapping[str, Rows], targets: Ids) -> None:
        """See `Observer`."""
        positions = np.arange(at + 1, at + 1 + len(targets))
        wanted = np.zeros(len(targets), np.bool_)
        for start, end in self.spans:
            wanted |= (positions >= start) & (positions < end)
        if wanted.any():
            kept = {role: rows[role][wanted] for role in self.roles}
            self.score.add(kept, targets[wanted])

    def end(self, last: Mapping[str, Row]) -> Weights | None:
        """See `Observer`: None where the prompt has no answer; `last` is not looked at."""
        return self.score.grid.weights(*self.score.best) if self.score.n_tokens else None


class ByAnswers:
    """A `Choosing` by the answers in a prompt, for those who know where they stand."""

    def __init__(self, grid: Grid = DEFAULT_GRID) -> None:
        self.grid = grid

    def __call__(self, start: int) -> AnswersChooser:
        """What chooses where no answer is known: nothing is chosen."""
        return self.of(())

    def of(
        self, spans: Sequence[tuple[int, int]], score: GridScore | None = None
    ) -> AnswersChooser:
        """What chooses the weights of a prompt with answers in these spans, and of those scored."""
        return AnswersChooser(spans, self.grid, score)
