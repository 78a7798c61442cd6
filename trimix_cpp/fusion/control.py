"""Which tokens may come at all: the control tokens' share, and the plausible ones."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .rows import Row, log_softmax


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
