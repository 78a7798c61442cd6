"""Likelihoods of possible answers, under many fusions at once, from one pass over a prompt.

Observers of texts that generate nothing: pure NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..fusion import Ids, Plausibility, Row, Rows, Weights, fuse, keep_plausible


@dataclass(frozen=True)
class Fusion:
    """A fixed fusion: its weights, and contrastive decoding's mask if it has one."""

    weights: Weights
    plausibility: Plausibility | None = None

    @property
    def roles(self) -> tuple[str, ...]:
        """Whose rows it needs."""
        judge = (self.plausibility.role,) if self.plausibility else ()
        return tuple(dict.fromkeys((*self.weights.roles, *judge)))

    def look(self, rows: Mapping[str, Row], tokens: Sequence[int]) -> tuple[list[float], int]:
        """Log-probabilities of `tokens`, in nats, by the rows [n_tokens] of one position.

        Also the likeliest token there.

        Raises:
            TrimixError: a logit is NaN or infinite; the role is named.
        """
        row = fuse(rows, self.weights.coefficients)
        if self.plausibility:
            keep_plausible(row, rows[self.plausibility.role], self.plausibility.threshold)
        wide = row.astype(np.float64)
        top = wide.max()
        log_sum = top + np.log(np.exp(wide - top).sum())
        return [float(wide[token] - log_sum) for token in tokens], int(np.argmax(row))


class Looker:
    """Looks at a prompt's end and keeps nothing: the prompt is evaluated, that is all.

    Args:
        roles: those that evaluate it.
    """

    def __init__(self, roles: tuple[str, ...]) -> None:
        self.roles = roles

    def first(self, n_prompt: int) -> int:
        """See `Observer`."""
        return n_prompt - 1

    def add(self, at: int, rows: Mapping[str, Rows], targets: Ids) -> None:
        """See `Observer`."""

    def end(self, last: Mapping[str, Row]) -> Weights | None:
        """See `Observer`."""
        return None


class Endings(Looker):
    """Log-likelihoods of a prompt's own end, followed by each of some tokens.

    Args:
        fusions: under which; the prompt is evaluated once for all.
        start: the tokens after this position count; the prompt's last one: none of its own.
        lasts: tokens that may follow the prompt.

    Attributes:
        values: [fusion][last], in nats.
        greedy: the same, whether greedy decoding would say just that.
    """

    def __init__(self, fusions: Sequence[Fusion], start: int, lasts: Sequence[int]) -> None:
        super().__init__(tuple(dict.fromkeys(role for own in fusions for role in own.roles)))
        self.fusions, self.start, self.lasts = fusions, start, lasts
        self.values: list[list[float]] = []
        self.greedy: list[list[bool]] = []
        self._before = [0.0] * len(fusions)
        self._greedy = [True] * len(fusions)

    def first(self, n_prompt: int) -> int:
        """See `Observer`."""
        return self.start

    def add(self, at: int, rows: Mapping[str, Rows], targets: Ids) -> None:
        """See `Observer`."""
        for i, target in enumerate(targets.tolist()):
            if target < 0:
                continue
            one = {role: own[i] for role, own in rows.items()}
            for j, fusion in enumerate(self.fusions):
                (value,), best = fusion.look(one, [target])
                self._before[j] += value
                self._greedy[j] &= best == target

    def end(self, last: Mapping[str, Row]) -> Weights | None:
        """See `Observer`."""
        for fusion, before, greedy in zip(self.fusions, self._before, self._greedy, strict=True):
            values, best = fusion.look(last, self.lasts)
            self.values.append([before + value for value in values])
            self.greedy.append([greedy and token == best for token in self.lasts])
        return None
