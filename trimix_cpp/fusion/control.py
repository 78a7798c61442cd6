"""Which tokens may come at all: the control tokens' share, and the plausible ones."""

from __future__ import annotations

import math

import numpy as np

from .arrays import Ids, Mask, Row


def keep_plausible(row: Row, judge: Row, threshold: float) -> Row:
    """Set the entries of `row` to -inf that are implausible by the logits `judge`, in place.

    Plausible is what has at least `threshold` times the probability of `judge`'s best token; that
    token itself always is. Both have the shape [n_tokens].
    """
    row[judge < judge.max() + np.float32(math.log(threshold))] = -np.inf
    return row


def control_from_large(fused: Row, large: Row, control: Mask, out: Row) -> Row:
    """Logits with the control tokens' share taken from `large`, written into `out`.

    P(v) = P_large(v) for a control token v, else (1 - P_large(control)) * P_fused(v | no control).
    base and cpt have often never seen `<|im_end|>`; under the fused distribution alone a chat
    would not end. All arrays have the shape [n_tokens]; `out` may be `fused`.

    The other tokens keep their fused logits, which penalties and filters then act on as ever. A
    mask on `fused` does not bind control tokens; where it leaves nothing else, one of them comes.
    """
    np.copyto(out, fused)
    tokens = np.flatnonzero(control).astype(np.int32)
    if not 0 < len(tokens) < len(control):
        return out
    rest = _log_sum(fused, tokens)
    out[tokens] = large[tokens] - _log_sum(large, tokens) + (rest if np.isfinite(rest) else 0.0)
    return out


def _log_sum(row: Row, without: Ids) -> float:
    """The log of the sum of exp(row) over all tokens but these; -inf where they are masked."""
    others = row.copy()
    others[without] = -np.inf
    top = others.max()
    if np.isneginf(top):
        return -math.inf
    others -= top
    return float(top) + math.log(np.exp(others, out=others).sum(dtype=np.float64))
