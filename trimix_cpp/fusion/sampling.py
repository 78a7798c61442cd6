"""From a row of logits to a token: penalties, filters, and noise that is a function. Pure NumPy.

The filters and their order are llama.cpp's (common/sampling.cpp): repeat penalty, top-k, top-p,
min-p, temperature, draw. The draw is by the Gumbel-max trick with noise that depends on nothing
but (seed, position, token): the same text comes out whatever the batch, and a speculative
decoder that draws ahead draws the same token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import TrimixError
from .arrays import Doubles, Row
from .rows import log_softmax

_MASK = 2**64 - 1


@dataclass(frozen=True)
class Sampler:
    """Settings of one sequence, named and ranged as llama.cpp's flags.

    Attributes:
        temperature: 0 is greedy.
        top_k: how many best tokens stay; 0 keeps all.
        top_p: the least set of best tokens whose probabilities reach it stays; 1 keeps all.
        min_p: tokens under `min_p` times the best probability go; 0 keeps all.
        repeat_penalty: divides positive and multiplies negative logits of recent tokens; 1 is off.
        repeat_last_n: how many tokens are recent; 0 is off, -1 is all of the context.
        seed: of the noise; 0 is a seed like any other.
        bias: (token, what is added to its logit), before everything else.
    """

    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    repeat_last_n: int = 64
    seed: int = 0
    bias: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        checks = {
            "--temp must be 0 or more": 0 <= self.temperature < float("inf"),
            "--top-k must be 0 or more": self.top_k >= 0,
            "--top-p must be between 0 and 1": 0 <= self.top_p <= 1,
            "--min-p must be between 0 and 1": 0 <= self.min_p <= 1,
            "--repeat-penalty must be above 0": 0 < self.repeat_penalty < float("inf"),
            "--repeat-last-n must be -1 or more": self.repeat_last_n >= -1,
            "--seed must be between 0 and 2^64 - 1": 0 <= self.seed <= _MASK,
        }
        for message, good in checks.items():
            if not good:
                raise TrimixError(message)

    def pick(self, logits: Row, recent: Sequence[int], position: int) -> int:
        """The token for `position`; `logits` has the shape [n_tokens] and is left as it was.

        `recent` is the sequence so far, prompt included; ties go to the lowest id.
        """
        logits = penalise(biased(logits, self.bias), self._window(recent), self.repeat_penalty)
        if self.temperature == 0:
            return int(np.argmax(logits))
        tokens = self.keep(logits)
        noisy = logits[tokens].astype(np.float64) / self.temperature
        noisy += gumbel_noise(self.seed, position, tokens)
        return int(tokens[np.argmax(noisy)])

    def _window(self, recent: Sequence[int]) -> Sequence[int]:
        if self.repeat_penalty == 1 or self.repeat_last_n == 0:
            return ()
        return recent if self.repeat_last_n < 0 else recent[-self.repeat_last_n :]

    def keep(self, logits: Row) -> NDArray[np.int64]:
        """The token ids that the filters leave, in ascending order."""
        tokens = top_k(logits, self.top_k)
        tokens = tokens[top_p(logits[tokens], self.top_p)]
        tokens = tokens[min_p(logits[tokens], self.min_p)]
        return np.sort(tokens)


def biased(logits: Row, bias: Sequence[tuple[int, float]]) -> Row:
    """Logits with something added to those of some tokens."""
    if not bias:
        return logits
    out: Row = logits.copy()
    for token, value in bias:
        out[token] += np.float32(value)
    return out


def penalise(logits: Row, recent: Sequence[int], penalty: float) -> Row:
    """Logits with those of `recent` tokens made less likely; each token once."""
    if penalty == 1 or len(recent) == 0:
        return logits
    tokens = np.unique(np.asarray(recent, np.int64))
    out: Row = logits.copy()
    values = out[tokens]
    out[tokens] = np.where(values > 0, values / np.float32(penalty), values * np.float32(penalty))
    return out


def top_k(logits: Row, k: int) -> NDArray[np.int64]:
    """Ids of the `k` highest logits, best first; of equal ones the lowest ids."""
    n = len(logits)
    if 0 < k < n:
        least = np.partition(logits, n - k)[n - k]
        tokens = np.flatnonzero(logits >= least)
    else:
        tokens = np.arange(n)
    order = np.argsort(-logits[tokens], kind="stable")
    best: NDArray[np.int64] = tokens[order][: k or n]
    return best


def top_p(sorted_logits: Row, p: float) -> slice:
    """How much of descending logits to keep so that their probabilities reach `p`; at least one."""
    if p >= 1:
        return slice(None)
    reached = int(np.searchsorted(np.cumsum(np.exp(log_softmax(sorted_logits))), p))
    return slice(min(reached, len(sorted_logits) - 1) + 1)


def min_p(sorted_logits: Row, p: float) -> slice:
    """How much of descending logits has at least `p` times the first one's probability."""
    if p <= 0:
        return slice(None)
    least = float(sorted_logits[0]) + np.log(p)
    return slice(max(1, int(np.count_nonzero(sorted_logits >= least))))


def gumbel_noise(seed: int, position: int, tokens: NDArray[np.integer]) -> Doubles:
    """Standard Gumbel noise, one value a token: a pure function of (seed, position, token).

    Counter-based: the finalizer of SplitMix64 (Steele, Lea & Flood 2014) on a key of seed and
    position, and a counter made of the token's id.
    """
    key = np.uint64(_mix_int(_mix_int(seed) ^ position))
    with np.errstate(over="ignore"):
        bits = _mix(key + tokens.astype(np.uint64) * np.uint64(_GOLDEN))
    # 53 bits into the open interval (0, 1), so that both logarithms are finite.
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return np.asarray(-np.log(-np.log(uniform)))


_GOLDEN = 0x9E3779B97F4A7C15
_M1 = 0xBF58476D1CE4E5B9
_M2 = 0x94D049BB133111EB


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(_M1)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(_M2)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


def _mix_int(z: int) -> int:
    z = (z + _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * _M1) & _MASK
    z = ((z ^ (z >> 27)) * _M2) & _MASK
    return z ^ (z >> 31)
