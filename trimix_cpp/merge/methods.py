"""Ways to merge, as functions of arrays; any shape, all of one shape.

TIES (Yadav et al. 2023) and task arithmetic (Ilharco et al. 2023) add to a base what other models
have learned since; `linear` is the weighted mean of models. The numbers are mergekit's, whose
defaults the paper took: `round` stands after each operation where PyTorch would round to the type.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from .precision import Floats, Round

# Method -> whether weights are normalized unless it is said otherwise.
METHODS = {"ties": True, "task-arithmetic": False, "linear": True}


def merge_deltas(
    method: str,
    base: Floats,
    deltas: Sequence[Floats],
    weights: Sequence[float],
    *,
    normalize: bool,
    scale: float,
    round: Round,
) -> Floats:
    """The base with the weighted `deltas` added, by "ties" or "task-arithmetic".

    TIES elects a sign for each number, that of the weighted sum (plus where it is zero), and leaves
    out the deltas of the other sign. With `normalize` the weights of what is left count as shares
    of their sum: a delta that is alone comes in full, whatever its weight. `scale` is lambda.
    """
    shares = round(np.asarray(weights, np.float32))
    parts = [round(delta * share) for delta, share in zip(deltas, shares, strict=True)]
    mixed = round(_sum(parts))
    if method == "ties":
        elected = mixed >= 0
        agree = [np.where(elected, part > 0, part < 0) for part in parts]
        mixed = round(_sum([part * on for part, on in zip(parts, agree, strict=True)]))
        divisor = round(_sum([on * share for on, share in zip(agree, shares, strict=True)]))
        divisor[divisor == 0] = 1
    else:
        divisor = round(_sum(list(shares[:, None])))
        divisor[np.abs(divisor) < 1e-8] = 1
    if normalize:
        mixed = round(mixed / divisor)
    if scale != 1:
        mixed = round(mixed * np.float32(scale))
    return round(base + mixed)


def linear(models: Sequence[Floats], weights: Sequence[float], *, normalize: bool) -> Floats:
    """The weighted sum, in float32; with `normalize` divided by the weights' sum: the mean."""
    numbers = [np.float32(weight) for weight in weights]
    total = _sum([model * number for model, number in zip(models, numbers, strict=True)])
    return total / np.float32(sum(numbers)) if normalize else total


def _sum(arrays: Sequence[Floats]) -> Floats:
    return reduce(np.add, arrays)
