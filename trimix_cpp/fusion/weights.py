"""Weights, their coefficients, and the paper's methods as weights.

The general formula is Eq. 1 of the paper with a free gamma; with gamma = alpha it is Eq. 5:

    L = alpha * L_large + beta * L_cpt + (1 - alpha - beta) * L_base
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..errors import TrimixError
from .roles import ROLES

# Coefficients come from decimal fractions: 1 - 0.1 - 0.9 is 0 for a user, not 2.8e-17.
_DECIMALS = 12
_NAMES = ("alpha", "beta", "gamma")
_HUGE = 1e300  # infinite, or an integer that float() would refuse


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
        for name in _NAMES:
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

    @property
    def numbers(self) -> tuple[float, ...]:
        """alpha, beta, and gamma where it is not alpha: what a file keeps in a list."""
        pair = (self.alpha, self.beta)
        return pair if self.gamma is None else (*pair, self.gamma)

    def as_json(self) -> dict[str, float]:
        """The same by name."""
        return dict(zip(_NAMES, self.numbers, strict=False))

    @classmethod
    def of(cls, numbers: object) -> Weights:
        """From what `numbers` or `as_json` gave, as a file or a document brings it.

        Raises:
            ValueError: not two or three finite numbers, alpha and beta among them.
        """
        if isinstance(numbers, Mapping):
            if not {"alpha", "beta"} <= numbers.keys() <= set(_NAMES):
                raise ValueError("weights hold alpha and beta")
            numbers = [numbers[name] for name in _NAMES if name in numbers]
        if not isinstance(numbers, (list, tuple)) or len(numbers) not in (2, 3):
            raise ValueError("weights are [alpha, beta]")
        if not all(type(number) in (int, float) and abs(number) < _HUGE for number in numbers):
            raise ValueError("weights are finite numbers")
        return cls(*map(float, numbers))

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
        return Weights.of([float(part) for part in text.split(",")])
    except ValueError:
        message = f"weights are two numbers, alpha,beta (such as 0.1,0.9), not {text!r}"
        raise TrimixError(message) from None
