"""How alpha and beta are chosen without labelled data (section 2.3 of the paper).

A chooser is an `Observer` of one prompt's logits, from position `start` on, that names the weights
at its end: by the prompt's perplexity on a grid (PPL), by the same without a grid (continuous), or
by the entropy of the first generated token (ENT). All pure NumPy, on arrays.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .arrays import Doubles, Ids, Row, Rows
from .grid import (
    DEFAULT_GRID,
    TRIMIX,
    Grid,
    GridScore,
    Plane,
    affine,
)
from .optimum import Optimum
from .rows import check_finite, log_softmax
from .weights import Weights


class PplChooser:
    """The pair of a grid under which the prompt is least perplexing; its `score` can be read."""

    def __init__(self, start: int = 0, grid: Grid = DEFAULT_GRID) -> None:
        self.score, self._start = GridScore(grid), start
        self.roles = grid.roles

    def first(self, n_prompt: int) -> int:
        """See `Observer`."""
        return self._start

    def add(self, at: int, rows: Mapping[str, Rows], targets: Ids) -> None:
        """See `Observer`."""
        self.score.add(rows, targets)

    def end(self, last: Mapping[str, Row]) -> Weights | None:
        """See `Observer`: None where there was nothing to choose by; `last` is not looked at."""
        return self.score.grid.weights(*self.score.best) if self.score.n_tokens else None


class PplOptChooser:
    """The pair of [0, 1] x [0, 1] under which the prompt is least perplexing."""

    def __init__(self, start: int = 0, plane: Plane = TRIMIX) -> None:
        self.optimum, self._start = Optimum(plane), start
        self.roles = self.optimum.grid.roles

    def first(self, n_prompt: int) -> int:
        """See `Observer`."""
        return self._start

    def add(self, at: int, rows: Mapping[str, Rows], targets: Ids) -> None:
        """See `Observer`."""
        self.optimum.add(rows, targets)

    def end(self, last: Mapping[str, Row]) -> Weights | None:
        """See `Observer`: None where there was nothing to choose by; `last` is not looked at."""
        if not self.optimum.n_tokens:
            return None
        alpha, beta, _ = self.optimum.find()
        return self.optimum.grid.plane.weights(round(alpha, 6), round(beta, 6))


class EntChooser:
    """The pair of a grid under which the first generated token has the least entropy."""

    def __init__(self, start: int = 0, grid: Grid = DEFAULT_GRID) -> None:
        self.grid = grid
        self.roles = grid.roles

    def first(self, n_prompt: int) -> int:
        """See `Observer`: wherever it starts, the prompt itself does not count."""
        return n_prompt - 1

    def add(self, at: int, rows: Mapping[str, Rows], targets: Ids) -> None:
        """See `Observer`; never called."""

    def end(self, last: Mapping[str, Row]) -> Weights | None:
        """See `Observer`."""
        return self.grid.weights(*self.grid.best(grid_entropies(last, self.grid)))


def grid_entropies(last: Mapping[str, Row], grid: Grid = DEFAULT_GRID) -> Doubles:
    """Entropy in nats under every pair, float64 [n_alpha, n_beta], of rows [n_tokens].

    Computed directly, in float64: a prompt has one such position.

    Raises:
        TrimixError: a logit is NaN or infinite; the role is named.
    """
    check_finite(last, grid.roles)
    offset, u, w = affine(last, grid)
    result = np.empty(grid.shape)
    for i, j in np.ndindex(grid.shape):
        logits = offset + grid.alphas[i] * u + grid.betas[j] * w
        log_p = log_softmax(logits)
        result[i, j] = -np.exp(log_p) @ log_p
    return result


def divergence(row: Row, reference: Row) -> float:
    """KL(row || reference) in nats, of the distributions of two logits rows [n_tokens].

    With `large` and `cpt` against `base`, at the first generated token: Table 6 of the paper.

    Raises:
        TrimixError: a logit is NaN or infinite.
    """
    rows = {"the row": row, "the reference": reference}
    check_finite(rows, rows)
    log_p, log_q = log_softmax(row), log_softmax(reference)
    return max(0.0, float(np.exp(log_p) @ (log_p - log_q)))
