"""Which tokens may come at all: the control tokens' share, and the plausible ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import TrimixError
from .roles import ROLES
from .rows import Row, log_softmax


@dataclass(frozen=True)
class Plausibility:
    """Contrastive decoding's mask: which tokens may come at all (Li et al. 2023).

    Attributes:
        role: whose distribution decides.
        threshold: tokens under `threshold` times its best probability may not.

    Raises:
        TrimixError: an unknown role, or a threshold that is not above 0 and at most 1.
    """

    role: str = "cpt"
    threshold: float = 0.1

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise TrimixError(f"plausibility by {self.role!r}: roles are {', '.join(ROLES)}")
        if not 0 < self.threshold <= 1:
            raise TrimixError(
                f"the plausibility threshold is above 0 and at most 1, not {self.threshold}"
            )


def keep_plausible(row: Row, judge: Row, threshold: float) -> Row:
    """Set the entries of `row` to -inf that are implausible by the logits `judge`, in place.

    Plausible is what has at least `threshold` times the probability of `judge`'s best token; that
    token itself always is. Both have the shape [n_tokens].
    """
    row[judge < judge.max() + np.float32(math.log(threshold))] = -np.inf
    return row


def control_from_large(fused: Row, large: Row, control: NDArray[np.bool_], out: Row) -> Row:
    """Log-probabilities with the control tokens' share taken from `large`, written into `out`.

    P(v) = P_large(v) for a control token v, else (1 - P_large(control)) * P_fused(v | no control).
    base and cpt have often never seen `<|im_end|>`; under the fused distribution alone a chat
    would not end. All arrays have the shape [n_tokens]; `out` may be `fused`.
    """
    if not control.any() or control.all():
        np.copyto(out, fused)
        return out
    log_large = log_softmax(large)
    rest_large = log_large[~control]
    top = rest_large.max()
    log_rest = top + np.log(np.exp(rest_large - top).sum())  # log(1 - P_large(control))
    log_fused = log_softmax(fused[~control])
    out[~control] = log_fused + log_rest
    out[control] = log_large[control]
    return out
