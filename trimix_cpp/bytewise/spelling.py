"""A vocabulary in the order of its bytes: which tokens may come where some bytes are known."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import TrimixError
from ..fusion import Doubles, Ids, Row

END = 256
"""The symbol after the bytes 0 to 255: the text ends."""

N_SYMBOLS = 257

# Bytes that stand in no text: UTF-8 has no use for them.
_NEVER = frozenset((0xC0, 0xC1, *range(0xF5, 0x100)))


@dataclass(frozen=True)
class Distribution:
    """What comes after some tokens.

    Attributes:
        tokens: probability of each token that has bytes, in their order; float64 [n].
        end: that of all tokens that end the text.
    """

    tokens: Doubles
    end: float


class Node:
    """The tokens that begin with some bytes: a range of the vocabulary, sorted by bytes.

    Attributes:
        leaves: of these the ones that are just these bytes; several where a byte has two tokens.
    """

    __slots__ = ("_bytes", "_children", "_depth", "_longer", "_spelling", "leaves")

    def __init__(self, spelling: Spelling, low: int, high: int, depth: int) -> None:
        self._spelling, self._depth = spelling, depth
        first = low
        while first < high and spelling.lengths[first] == depth:
            first += 1
        self.leaves, self._longer = range(low, first), slice(first, high)
        self._bytes = spelling.bytes_at(first, high, depth)
        self._children: dict[int, Node | None] = {}

    def child(self, byte: int) -> Node | None:
        """The tokens that go on with `byte`; None where there is none."""
        if byte not in self._children:
            low, high = np.searchsorted(self._bytes, (byte, byte + 1)).tolist()
            first = self._longer.start
            self._children[byte] = (
                Node(self._spelling, first + low, first + high, self._depth + 1)
                if low < high
                else None
            )
        return self._children[byte]

    def mass(self, tokens: Doubles) -> float:
        """The probability of the longer tokens, which are not over here."""
        return float(tokens[self._longer].sum())

    def masses(self, tokens: Doubles) -> Doubles:
        """The same by their next byte, float64 [256]."""
        return np.bincount(self._bytes, tokens[self._longer], 256).astype(np.float64)


class Spelling:
    """The tokens of a vocabulary that have bytes, sorted by them.

    Args:
        pieces: the bytes of every token; empty where it has none, as control tokens.
        ends: ids that end a text.

    Attributes:
        pieces: as given.
        ids: the id of each token that has bytes, in their order; int32 [n].
        lengths: how many bytes each has, int64 [n].
        root: all of them.

    Raises:
        TrimixError: a byte that texts have is no token; some texts could not be told.
    """

    def __init__(self, pieces: Sequence[bytes], ends: Collection[int]) -> None:
        self.pieces = pieces
        self._ends = np.array(sorted(ends), np.int32)
        ordered = sorted(
            (token for token, piece in enumerate(pieces) if piece and token not in ends),
            key=pieces.__getitem__,
        )
        self.ids: Ids = np.array(ordered, np.int32)
        self.lengths: NDArray[np.int64] = np.array([len(pieces[t]) for t in ordered], np.int64)
        self._starts = np.cumsum(self.lengths) - self.lengths
        self._data = np.frombuffer(b"".join(pieces[token] for token in ordered), np.uint8)
        self.root = Node(self, 0, len(ordered), 0)
        for byte in range(256):
            child = self.root.child(byte)
            if byte not in _NEVER and not (child and child.leaves):
                raise TrimixError(f"no token spells the byte 0x{byte:02X}")

    def bytes_at(self, low: int, high: int, depth: int) -> NDArray[np.uint8]:
        """The byte at `depth` of the tokens in a range that have one there, ascending."""
        found: NDArray[np.uint8] = self._data[self._starts[low:high] + depth]
        return found

    def read(self, logits: Row) -> Distribution:
        """The distribution that a role's own logits [n_vocab] are.

        Tokens that neither have bytes nor end the text cannot come; the others share their part.
        A logit that is NaN or infinite makes everything NaN, which `fuse` tells of.
        """
        wide = logits[self.ids].astype(np.float64)
        ends = logits[self._ends].astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            top = np.maximum(wide.max(), ends.max(initial=-np.inf))
            np.exp(wide - top, out=wide)
            end = float(np.exp(ends - top).sum())
            total = float(wide.sum()) + end
            wide /= total
            return Distribution(wide, end / total)

    def find(self, data: bytes) -> Node | None:
        """The tokens that begin with `data`; None where there is none."""
        node: Node | None = self.root
        for byte in data:
            node = node.child(byte) if node else None
        return node

    def longest(self, data: bytes) -> int:
        """The longest token that `data` begins with."""
        node, found = self.root, -1
        for byte in data:
            child = node.child(byte)
            if child is None:
                break
            node = child
            if node.leaves:
                found = int(self.ids[node.leaves[0]])
        return found
