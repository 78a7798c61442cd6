"""Who looks at the rows of a prompt while it is evaluated: to score it, or to choose weights by it.

All pure NumPy, on arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from .arrays import Ids, Row, Rows
from .rows import fuse, log_softmax
from .weights import Weights


class Observer(Protocol):
    """Looks at one prompt, once, from its first wanted position to its end."""

    @property
    def roles(self) -> tuple[str, ...]:
        """Whose rows it needs."""

    def first(self, n_prompt: int) -> int:
        """The first position whose rows it wants; `n_prompt` - 1 is the last of the prompt."""

    def add(self, at: int, rows: Mapping[str, Rows], targets: Ids) -> None:
        """A chunk, in order: rows[role][i] (float32 [n, n_tokens]) stand at position `at` + i.

        They predict targets[i], the prompt's next token, and are views, valid now only. A target
        of -1 is a token that one of the roles lacks: nothing is to be scored there.

        Raises:
            TrimixError: a logit is NaN or infinite.
        """

    def end(self, last: Mapping[str, Row]) -> Weights | None:
        """The prompt's last rows [n_tokens], which predict the first generated token.

        Returns the weights to generate with, None to leave them as they are; of a text's observers
        only its chooser is listened to.

        Raises:
            TrimixError: a logit is NaN or infinite.
        """


Choosing = Callable[[int], Observer]
"""Makes what chooses the weights of one prompt, by its tokens after a position."""


class LogProbs:
    """Log-probabilities of a prompt's tokens under the fusion.

    Args:
        weights: of the fusion.
        start: the first position whose row counts: the tokens after it are scored.

    Attributes:
        values: of each scored token, in nats; -inf for one that a role lacks.
        greedy: whether each is the likeliest there.
    """

    def __init__(self, weights: Weights, start: int = 0) -> None:
        self._coefficients, self._start = weights.coefficients, start
        self.roles = weights.roles
        self.values: list[float] = []
        self.greedy: list[bool] = []

    def first(self, n_prompt: int) -> int:
        """See `Observer`."""
        return self._start

    def add(self, at: int, rows: Mapping[str, Rows], targets: Ids) -> None:
        """See `Observer`."""
        for i, target in enumerate(targets.tolist()):
            if target < 0:
                self.values.append(-np.inf)
                self.greedy.append(False)
                continue
            row = fuse({role: own[i] for role, own in rows.items()}, self._coefficients)
            self.values.append(float(log_softmax(row)[target]))
            self.greedy.append(int(np.argmax(row)) == target)

    def end(self, last: Mapping[str, Row]) -> Weights | None:
        """See `Observer`; what follows the prompt is no part of it."""
        return None
