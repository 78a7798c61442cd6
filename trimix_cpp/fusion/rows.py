"""Arithmetic on rows of logits: their fusion, and their log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import TrimixError
from .roles import ALL_ROLES

Row = NDArray[np.float32]


def fuse(rows: Mapping[str, Row], coefficients: Mapping[str, float], out: Row) -> Row:
    """The fused logits of one position, written into `out`; every row has the shape [n_tokens].

    One role with coefficient 1 is copied, so (1,0), (0,1) and (0,0) give the single models' own
    logits, bit for bit. Sums run in the order of `ROLES`, in float32.

    Raises:
        TrimixError: a logit is NaN or infinite; the role is named.
    """
    roles = [role for role in ALL_ROLES if role in coefficients]
    with np.errstate(over="ignore", invalid="ignore"):  # looked for below
        np.multiply(rows[roles[0]], np.float32(coefficients[roles[0]]), out=out)
        for role in roles[1:]:
            out += rows[role] * np.float32(coefficients[role])
    if not np.isfinite(out).all():
        raise TrimixError(_name_broken(rows, roles))
    return out


def _name_broken(rows: Mapping[str, Row], roles: list[str]) -> str:
    for role in roles:
        bad = int(np.count_nonzero(~np.isfinite(rows[role])))
        if bad:
            return f"{bad} logits of {role} are not finite numbers: its file or its type is broken"
    return "the fused logits overflow: the weights are too large"


def log_softmax(row: NDArray[np.floating]) -> NDArray[np.float64]:
    """Log-probability of every entry, in float64; the row has the shape [n_tokens]."""
    shifted = row.astype(np.float64)
    shifted -= shifted.max()
    shifted -= np.log(np.exp(shifted).sum())
    return shifted
