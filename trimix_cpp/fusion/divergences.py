"""How far one distribution is from another, in the figures of `llama-perplexity --kl-divergence`.

Pure NumPy. The formulas and the names are those of llama.cpp's tools/perplexity/perplexity.cpp;
"base" in a name is the distribution that is compared with, "Q" the quantized one. Here both sides
come as float32 logits and everything after is float64, where llama-perplexity keeps one side in
16 bits and leaves out probabilities below exp(-16).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from .arrays import Doubles, Ids, Mask, Rows
from .rows import log_softmax

_QUANTILES = (99.9, 99.0, 95.0, 90.0, 50.0, 10.0, 5.0, 1.0, 0.1)
_P_QUANTILES = (99.9, 99.0, 95.0, 90.0, 75.0, 50.0, 25.0, 10.0, 5.0, 1.0, 0.1)
# Entries of a block in float64: it and its exponentials stay within tens of megabytes.
BLOCK = 1 << 20


@dataclass(frozen=True)
class Positions:
    """What two distributions say of some positions: one-dimensional arrays of equal length.

    Attributes:
        nll_base, nll: -ln P of the token that follows, by the one and by the other, in nats.
        kld: KL(base || Q) in nats.
        p_diff: P_Q - P_base of the token that follows.
        same_top: both have the same likeliest token (the lowest id of several).
        n_bytes: UTF-8 bytes of the token that follows.
        n_bad: positions with a logit that is not finite on either side; they are in no array.
    """

    nll_base: Doubles
    nll: Doubles
    kld: Doubles
    p_diff: Doubles
    same_top: Mask
    n_bytes: NDArray[np.int64]
    n_bad: int = 0

    def __len__(self) -> int:
        return len(self.kld)

    @staticmethod
    def joined(parts: Iterable[Positions]) -> Positions:
        """The positions of all parts, one after the other; raises ValueError without any."""
        found = list(parts)
        names = [field.name for field in fields(Positions) if field.name != "n_bad"]
        arrays = {name: np.concatenate([getattr(part, name) for part in found]) for name in names}
        return Positions(**arrays, n_bad=sum(part.n_bad for part in found))


class Judge:
    """Compares distributions with one that stays: `base`, logits of shape [n, n_tokens].

    Args:
        base: float32 rows; a few at a time (`blocks`), for they are held in float64.
        targets: the token that follows each, [n].
        n_bytes: its bytes, [n].
    """

    def __init__(self, base: Rows, targets: Ids, n_bytes: NDArray[np.int64]) -> None:
        self.targets, self.n_bytes = targets, n_bytes
        self.finite: Mask = np.asarray(np.isfinite(base).all(axis=1))
        self.log_p = log_softmax(np.where(self.finite[:, None], base, np.float32(0)))
        self.p = np.exp(self.log_p)
        self.top = base.argmax(axis=1)

    def compare(self, rows: Rows) -> Positions:
        """`rows`, of the shape of `base`, against it."""
        good = self.finite & np.isfinite(rows).all(axis=1)
        kept = slice(None) if good.all() else good
        log_p, p = self.log_p[kept], self.p[kept]
        log_q = log_softmax(rows[kept])
        at = np.arange(len(log_q)), self.targets[kept]
        # The sum is never negative, but its rounding may be, by 1e-17.
        kld = np.maximum(np.einsum("ij,ij->i", p, log_p - log_q), 0)
        return Positions(
            nll_base=-log_p[at],
            nll=-log_q[at],
            kld=kld,
            p_diff=np.exp(log_q[at]) - p[at],
            same_top=self.top[kept] == rows[kept].argmax(axis=1),
            n_bytes=self.n_bytes[kept],
            n_bad=int(np.count_nonzero(~good)),
        )


def blocks(n_rows: int, n_tokens: int) -> list[slice]:
    """Slices of `n_rows` rows, each of which holds about `BLOCK` entries."""
    height = max(1, BLOCK // n_tokens)
    return [slice(top, top + height) for top in range(0, n_rows, height)]


@dataclass(frozen=True)
class Figure:
    """A number with its standard error; NaN where it has none."""

    value: float
    error: float = math.nan


def figures(positions: Positions) -> dict[str, Figure]:
    """Every figure of llama-perplexity by its name there, and bits per byte of both sides.

    Figures of Δp and "Same top p" are in percent.

    Raises:
        ValueError: no position.
    """
    if not len(positions):
        raise ValueError("figures of no position")
    found = _perplexities(positions)
    mean, error = _mean(positions.kld)
    found["Mean KLD"] = Figure(mean, error)
    found |= _spread("KLD", positions.kld, _QUANTILES)
    mean, error = _mean(positions.p_diff)
    found["Mean Δp"] = Figure(100 * mean, 100 * error)
    found |= _spread("Δp", 100 * positions.p_diff, _P_QUANTILES)
    square, error = _mean(positions.p_diff**2)
    rms = math.sqrt(square)
    found["RMS Δp"] = Figure(100 * rms, 100 * error / (2 * rms) if rms else 0.0)
    same = float(positions.same_top.mean())
    error = math.sqrt(same * (1 - same) / (len(positions) - 1)) if len(positions) > 1 else math.nan
    found["Same top p"] = Figure(100 * same, 100 * error)
    return found


def _perplexities(positions: Positions) -> dict[str, Figure]:
    """Perplexities and bits per byte: errors by linear propagation from those of the mean nll."""
    log, log_error = _mean(positions.nll)
    base, base_error = _mean(positions.nll_base)
    n = len(positions)
    product = float((positions.nll * positions.nll_base).mean())
    covariance = (product - log * base) / (n - 1) if n > 1 else math.nan
    ratio = log - base
    ratio_error = _root(log_error**2 + base_error**2 - 2 * covariance)
    ppl, ppl_base = _exp(log), _exp(base)
    ppl_error, ppl_base_error = ppl * log_error, ppl_base * base_error
    shared = 2 * ppl * ppl_base * covariance
    both = log_error * base_error
    n_bytes = max(int(positions.n_bytes.sum()), 1)
    # The errors of the mean nll, as bits over the bytes of the text.
    bits = n / n_bytes / math.log(2)
    return {
        "Mean PPL(Q)": Figure(ppl, ppl_error),
        "Mean PPL(base)": Figure(ppl_base, ppl_base_error),
        "Cor(ln(PPL(Q)), ln(PPL(base)))": Figure(100 * covariance / both if both else math.nan),
        "Mean ln(PPL(Q)/PPL(base))": Figure(ratio, ratio_error),
        "Mean PPL(Q)/PPL(base)": Figure(_exp(ratio), _exp(ratio) * ratio_error),
        "Mean PPL(Q)-PPL(base)": Figure(
            ppl - ppl_base, _root(ppl_error**2 + ppl_base_error**2 - shared)
        ),
        "Bits per byte (Q)": Figure(bits * log, bits * log_error),
        "Bits per byte (base)": Figure(bits * base, bits * base_error),
    }


def _spread(name: str, values: Doubles, quantiles: tuple[float, ...]) -> dict[str, Figure]:
    ordered = np.quantile(values, [part / 100 for part in quantiles])
    found = {f"Maximum {name}": Figure(float(values.max()))}
    for part, value in zip(quantiles, ordered, strict=True):
        found["Median " + name if part == 50 else f"{part:.1f}% {name}"] = Figure(float(value))
    return found | {f"Minimum {name}": Figure(float(values.min()))}


def _mean(values: Doubles) -> tuple[float, float]:
    """(mean, its standard error); the error of a single value is NaN."""
    n = len(values)
    mean = float(values.mean())
    return mean, float(values.std()) / math.sqrt(n - 1) if n > 1 else math.nan


def _root(square: float) -> float:
    """The root of what only rounding makes negative."""
    return math.sqrt(max(square, 0.0)) if not math.isnan(square) else math.nan


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
