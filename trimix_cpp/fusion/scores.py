"""How likely a token was where it was picked: under the fusion, and to each role alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .arrays import Ids, Row, Rows
from .rows import fuse, log_softmax
from .sampling import top_k
from .weights import Weights


@dataclass(frozen=True)
class Scored:
    """A token, and the likeliest ones in its place; natural logarithms of probabilities.

    Attributes:
        token: its id.
        logprob: its own.
        top: (id, logprob) of the likeliest, best first.
        roles: role -> id -> (logit, logprob) of that role alone, for the token and `top`.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()
    roles: Mapping[str, Mapping[int, tuple[float, float]]] = field(default_factory=dict)


def score(row: Row, token: int, n_top: int, roles: Mapping[str, Row] | None = None) -> Scored:
    """What `row`, logits [n_tokens], gives a token; `roles` has each role's own row."""
    logprobs = log_softmax(row)
    best = top_k(row, n_top).tolist() if n_top else []
    shown, by_role = dict.fromkeys((token, *best)), {}
    for role, own in (roles or {}).items():
        its = log_softmax(own)
        by_role[role] = {each: (float(own[each]), float(its[each])) for each in shown}
    top = tuple((each, float(logprobs[each])) for each in best)
    return Scored(token, float(logprobs[token]), top, by_role)


class PromptScores:
    """An `Observer` of a whole prompt: `values` are its tokens' scores, from the second one on.

    Args:
        weights: of the fusion.
        n_top: likeliest tokens in the place of each.
    """

    def __init__(self, weights: Weights, n_top: int = 0) -> None:
        self._coefficients, self._n_top = weights.coefficients, n_top
        self.roles = weights.roles
        self.values: list[Scored] = []

    def first(self, n_prompt: int) -> int:
        """See `Observer`: all of it."""
        return 0

    def add(self, at: int, rows: Mapping[str, Rows], targets: Ids) -> None:
        """See `Observer`."""
        for i, target in enumerate(np.asarray(targets).tolist()):
            row = fuse({role: own[i] for role, own in rows.items()}, self._coefficients)
            self.values.append(score(row, target, self._n_top))

    def end(self, last: Mapping[str, Row]) -> Weights | None:
        """See `Observer`; what follows the prompt is no part of it."""
        return None
