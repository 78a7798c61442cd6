"""Weights, their coefficients, and the fusion of logits rows. Pure NumPy.

The general formula is Eq. 1 of the paper with a free gamma; with gamma = alpha it is Eq. 5:

    L = alpha * L_large + beta * L_cpt + (1 - alpha - beta) * L_base
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .errors import TrimixError

ROLES = ("large", "cpt", "base", "large_base")
# A model that is no part of the fusion, and only drafts tokens for it.
DRAFT = "draft"
ALL_ROLES = (*ROLES, DRAFT)
# Coefficients come from decimal fractions: 1 - 0.1 - 0.9 is 0 for a user, not 2.8e-17.
_DECIMALS = 12

Row = NDArray[np.float32]


@dataclass(frozen=True)
class Weights:
    """alpha and beta of Eq. 5; gamma of Eq. 1 where it is not alpha (needs `large_base`).

    Raises:
        TrimixError: a weight is not a finite number.
    """

    alpha: float
    beta: float
    gamma: float | None = None

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise TrimixError(f"{name} is {value}: weights are finite numbers")

    @cached_property
    def coefficients(self) -> dict[str, float]:
        """Role -> coefficient, roles with coefficient 0 left out: they are never evaluated."""
        gamma = self.alpha if self.gamma is None else self.gamma
        values = {
            "large": self.alpha,
            "cpt": self.beta,
            "base": 1 - self.beta - gamma,
            "large_base": gamma - self.alpha,
        }
        rounded = {role: round(value, _DECIMALS) for role, value in values.items()}
        return {role: value for role, value in rounded.items() if value}

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """The roles in use, in the order of `ROLES`."""
        return tuple(self.coefficients)

    def __str__(self) -> str:
        gamma = "" if self.gamma is None else f", gamma {self.gamma:g}"
        return f"alpha {self.alpha:g}, beta {self.beta:g}{gamma}"


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


METHODS = (
    "trimix", "proxy", "contrastive", "large", "cpt", "base",
    "no-task", "no-language", "no-scaling",
)  # fmt: skip


def method_weights(
    method: str, weights: Weights, *, strength: float = 0.5
) -> tuple[Weights, Plausibility | None]:
    """The coefficients and the mask of one of `METHODS`, given TriMix's own `weights`.

    `proxy` is Proxy Tuning (alpha = beta = 1), `contrastive` Contrastive Decoding of cpt against
    base with `strength`; `no-…` leave one vector of Eq. 1 out (Table 7): without the task or the
    scaling vector the logits of `large_base` are needed.
    """
    alpha, beta = weights.alpha, weights.beta
    gamma = alpha if weights.gamma is None else weights.gamma
    chosen = {
        "trimix": weights,
        "proxy": Weights(1, 1),
        "contrastive": Weights(0, 1 + strength),
        "large": Weights(1, 0),
        "cpt": Weights(0, 1),
        "base": Weights(0, 0),
        "no-task": Weights(0, beta, gamma),
        "no-language": Weights(alpha, 0, weights.gamma),
        "no-scaling": Weights(alpha, beta, 0),
    }[method]
    return chosen, Plausibility("cpt") if method == "contrastive" else None


def parse_weights(text: str) -> Weights:
    """`"0.3,0.9"` -> Weights; a third number is gamma.

    Raises:
        TrimixError: not two or three finite numbers.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not 2 <= len(numbers) <= 3 or not all(map(math.isfinite, numbers)):
        raise TrimixError(f"weights are two numbers, alpha,beta (such as 0.1,0.9), not {text!r}")
    return Weights(*numbers)


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


def keep_plausible(row: Row, judge: Row, threshold: float) -> Row:
    """Set the entries of `row` to -inf that are implausible by the logits `judge`, in place.

    Plausible is what has at least `threshold` times the probability of `judge`'s best token; that
    token itself always is. Both have the shape [n_tokens].
    """
    row[judge < judge.max() + np.float32(math.log(threshold))] = -np.inf
    return row


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
