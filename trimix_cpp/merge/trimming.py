"""The k values of greatest magnitude of a tensor that never is whole in memory.

Non-negative floating-point numbers have the order of their bits read as integers. So counting by
the upper half of the bits, then by the lower half within one value of the upper, finds the k-th
greatest exactly. bfloat16 needs only the first pass: its lower half is zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .precision import Floats

Pieces = Callable[[], Iterable[Floats]]


@dataclass
class Trim:
    """Sets all but the greatest values of a tensor to zero, piece after piece in its order.

    Attributes:
        threshold: bits of the least magnitude that stays.
        left: how many values of just that magnitude still stay: the first ones.
    """

    threshold: int
    left: int

    def __call__(self, piece: Floats) -> Floats:
        """The next piece with what goes set to zero."""
        bits = _magnitude_bits(piece)
        stays = bits > self.threshold
        equal = np.flatnonzero(bits == self.threshold)[: self.left]
        stays[equal] = True
        self.left -= len(equal)
        return np.where(stays.reshape(piece.shape), piece, np.float32(0))


def find_trim(pieces: Pieces, k: int) -> Trim:
    """What keeps the `k` values of greatest magnitude of the tensor that `pieces` goes through.

    Of equal magnitudes the first ones stay. `pieces` is gone through once, or twice where float32
    numbers differ in their last 16 bits; `k` is at least 1 and at most the tensor's size.
    """
    upper = np.zeros(1 << 16, np.int64)
    coarse = True
    for piece in pieces():
        bits = _magnitude_bits(piece)
        upper += np.bincount(bits >> 16, minlength=1 << 16)
        coarse = coarse and not (bits & 0xFFFF).any()
    bucket, left = _kth(upper, k)
    if coarse:
        return Trim(bucket << 16, left)
    lower = np.zeros(1 << 16, np.int64)
    for piece in pieces():
        bits = _magnitude_bits(piece)
        lower += np.bincount(bits[bits >> 16 == bucket] & 0xFFFF, minlength=1 << 16)
    low, left = _kth(lower, left)
    return Trim(bucket << 16 | low, left)


def _magnitude_bits(piece: Floats) -> NDArray[np.uint32]:
    return np.abs(piece).ravel().view(np.uint32)


def _kth(counts: NDArray[np.int64], k: int) -> tuple[int, int]:
    """The bin that holds the k-th greatest value, and its rank within the bin, from 1."""
    at_least = np.cumsum(counts[::-1])[::-1]
    bucket = int(np.flatnonzero(at_least >= k)[-1])
    above = int(at_least[bucket] - counts[bucket])
    return bucket, k - above
