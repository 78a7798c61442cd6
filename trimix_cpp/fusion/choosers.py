"""How alpha and beta are chosen without labelled data (section 2.3 of the paper).

A `Chooser` takes the logits of one prompt as they stream by during its evaluation, and then names
the weights: by the prompt's perplexity on a grid (PPL), by the same without a grid (continuous),
or by the entropy of the first generated token (ENT). All pure NumPy, on arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from .arrays import Doubles, Ids, Row, Rows
from .grid import (
    DEFAULT_GRID,
    NO_SCALING,
    NO_TASK,
    TRIMIX,
    Grid,
    GridScore,
    Plane,
    affine,
    log_partition,
    require_tokens,
)
from .optimum import Optimum
from .rows import check_finite, log_softmax
from .weights import Weights

__all__ = [
    "DEFAULT_GRID",
    "NO_SCALING",
    "NO_TASK",
    "TRIMIX",
    "Chooser",
    "EntChooser",
    "Grid",
    "GridScore",
    "Optimum",
    "Plane",
    "PplChooser",
    "PplOptChooser",
    "divergence",
    "grid_entropies",
    "log_partition",
]


class Chooser(Protocol):
    """Chooses the weights of one prompt from the logits of its evaluation."""

    @property
    def roles(self) -> tuple[str, ...]:
        """Whose rows it needs."""

    @property
    def every_position(self) -> bool:
        """False where the last position's rows are enough: `add` need not be called."""

    def add(self, rows: Mapping[str, Rows], targets: Ids) -> None:
        """A chunk: rows[role][i] (float32 [n, n_tokens]) predict targets[i]; views, valid now only.

        Raises:
            TrimixError: a logit is NaN or infinite.
        """

    def choose(self, last: Mapping[str, Row]) -> Weights:
        """The weights; `last` are the rows [n_tokens] that predict the first generated token.

        Raises:
            TrimixError: the prompt gave nothing to choose by, or a logit is NaN or infinite.
        """


class PplChooser:
    """The pair of a grid under which the prompt is least perplexing; its `score` can be read."""

    every_position = True

    def __init__(self, grid: Grid = DEFAULT_GRID) -> None:
        self.score = GridScore(grid)
        self.roles = grid.roles

    def add(self, rows: Mapping[str, Rows], targets: Ids) -> None:
        """See `Chooser`."""
        self.score.add(rows, targets)

    def choose(self, last: Mapping[str, Row]) -> Weights:
        """See `Chooser`; `last` is not looked at."""
        return self.score.grid.weights(*self.score.best)


class PplOptChooser:
    """The pair of [0, 1] x [0, 1] under which the prompt is least perplexing."""

    every_position = True

    def __init__(self, plane: Plane = TRIMIX) -> None:
        self.optimum = Optimum(plane)
        self.roles = self.optimum.grid.roles

    def add(self, rows: Mapping[str, Rows], targets: Ids) -> None:
        """See `Chooser`."""
        self.optimum.add(rows, targets)

    def choose(self, last: Mapping[str, Row]) -> Weights:
        """See `Chooser`; `last` is not looked at."""
        require_tokens(self.optimum.n_tokens)
        alpha, beta, _ = self.optimum.find()
        return self.optimum.grid.plane.weights(round(alpha, 6), round(beta, 6))


class EntChooser:
    """The pair of a grid under which the first generated token has the least entropy."""

    every_position = False

    def __init__(self, grid: Grid = DEFAULT_GRID) -> None:
        self.grid = grid
        self.roles = grid.roles

    def add(self, rows: Mapping[str, Rows], targets: Ids) -> None:
        """See `Chooser`; the prompt itself does not count."""

    def choose(self, last: Mapping[str, Row]) -> Weights:
        """See `Chooser`."""
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
