"""Rows of logits instead of a text: how likely a continuation is, and the fused rows themselves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..decoding import Decoder, Text, common_length
from ..errors import UsageError
from ..fusion import LogProbs, Observer, Rows, Weights, fuse
from .results import Score


class FusedRows:
    """Keeps the fused rows of a whole prompt: `rows` is float32 [n_prompt, n_tokens] at its end."""

    def __init__(self, weights: Weights) -> None:
        self._coefficients = weights.coefficients
        self.roles = weights.roles
        self.rows: Rows = np.empty((0, 0), np.float32)
        self._n_prompt = 0

    def first(self, n_prompt: int) -> int:
        """See `Observer`: all of it."""
        self._n_prompt = n_prompt
        return 0

    def add(self, at: int, rows: Mapping[str, Rows], targets: object) -> None:
        """See `Observer`."""
        n_rows, n_tokens = next(iter(rows.values())).shape
        if not self.rows.size:
            self.rows = np.empty((self._n_prompt, n_tokens), np.float32)
        fuse(rows, self._coefficients, self.rows[at : at + n_rows])

    def end(self, last: Mapping[str, Rows]) -> Weights | None:
        """See `Observer`: the last row is one of them."""
        self.add(self._n_prompt - 1, {role: row[None] for role, row in last.items()}, ())
        return None


def look(decoder: Decoder, tokens: list[int], weights: Weights, observer: Observer) -> None:
    """Let `observer` see the rows of a text; nothing is generated. Raises what is wrong with it."""
    text = Text(tokens, weights, max_tokens=0, observers=(observer,))
    for done in decoder.run([text]):
        done.raise_error()


def score(decoder: Decoder, context: list[int], whole: list[int], weights: Weights) -> Score:
    """How likely what `whole` has beyond `context` is; a token that spans both counts.

    Raises:
        UsageError: nothing stands before it.
        ContextFullError: it does not fit.
    """
    start = common_length(context, whole)
    if not start:
        raise UsageError("score needs a context: no token stands before the first one")
    tokens = whole[start:]
    if not tokens:
        return Score((), (), True)
    seen = LogProbs(weights, start - 1)
    look(decoder, whole, weights, seen)
    return Score(tuple(tokens), tuple(seen.values), all(seen.greedy))
