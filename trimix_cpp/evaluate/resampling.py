"""Bootstrap intervals and paired tests (Koehn 2004), on sums of statistics."""

from __future__ import annotations

import numpy as np

from .metrics import Doubles, score
from .tasks import Metric

SAMPLES = 1000


def resampled(statistics: Doubles, metric: Metric, *, seed: int = 0) -> Doubles:
    """The scores of `SAMPLES` bootstrap samples of the items: [SAMPLES].

    The same items are drawn for every method, since only their number and the seed decide: scores
    of two methods at one place are a pair.

    Args:
        statistics: of the items, [n_items, n_sums].
        metric: what their sums mean.
        seed: of the draws.
    """
    n = len(statistics)
    rng = np.random.default_rng(seed)
    scores = np.empty(SAMPLES)
    for i in range(SAMPLES):  # one at a time: a matrix of all draws may be large
        counts = np.bincount(rng.integers(0, n, n), minlength=n)
        scores[i] = score(counts @ statistics, n, metric)
    return scores


def interval(scores: Doubles, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of bootstrap scores."""
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def p_value(one: Doubles, other: Doubles, difference: float) -> float:
    """How often chance makes a difference as large as the one that was seen, either way.

    The differences of paired bootstrap scores, shifted so that their mean is none, stand for
    chance; as in sacrebleu, the observed one is counted among them.
    """
    differences = one - other
    chance = np.abs(differences - differences.mean())
    return float((np.count_nonzero(chance >= abs(difference)) + 1) / (len(chance) + 1))
