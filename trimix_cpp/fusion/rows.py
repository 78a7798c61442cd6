"""Arithmetic on rows of logits: their fusion, and their log-probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import TrimixError
from .arrays import Doubles, Rows
from .roles import ALL_ROLES


def fuse(
    rows: Mapping[str, Rows],
    coefficients: Mapping[str, float],
    out: Rows | None = None,
    *,
    check: bool = True,
) -> Rows:
    """The fused logits, float32 of the rows' shape [..., n_tokens], in `out` where it is given.

    One role with coefficient 1 is copied, so (1,0), (0,1) and (0,0) give the single models' own
    logits, bit for bit. Sums run in the order of `ROLES`, in float32. Without `check` logits that
    are not finite stay so, for the caller to count.

    Raises:
        TrimixError: a logit is NaN or infinite; the role is named.
    """
    roles = [role for role in ALL_ROLES if role in coefficients]
    with np.errstate(over="ignore", invalid="ignore"):  # looked for below
        out = np.multiply(rows[roles[0]], np.float32(coefficients[roles[0]]), out=out)
        for role in roles[1:]:
            out += rows[role] * np.float32(coefficients[role])
    if check and not np.isfinite(out).all():
        check_finite(rows, roles)
        raise TrimixError("the fused logits overflow: the weights are too large")
    return out


def check_finite(rows: Mapping[str, Rows], roles: Iterable[str]) -> None:
    """Raises TrimixError where a logit of one of `roles` is NaN or infinite; the role is named."""
    for role in roles:
        if bad := int(np.count_nonzero(~np.isfinite(rows[role]))):
            raise TrimixError(
                f"{bad} logits of {role} are not finite numbers: its file or its type is broken"
            )


def log_softmax(rows: NDArray[np.floating]) -> Doubles:
    """Log-probability of every entry, in float64; rows have the shape [..., n_tokens]."""
    wide = rows.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return wide
