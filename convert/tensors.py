"""Tensors on their way into a GGUF file: where the values come from, and what is done to them.

Nothing here is whole in memory: a tensor passes in pieces of whole rows, and a transformation says
how many rows it needs to see together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .checkpoint import StoredTensor

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Transform:
    """A function of a tensor's rows that keeps their shape.

    Attributes:
        apply: takes an array [rows, ...], float16 or float32, and returns one of the same shape.
        rows: `apply` needs multiples of so many rows, beginning at the tensor's first.
    """

    apply: Callable[[Array], Array]
    rows: int = 1


def interleave_halves(head_dim: int) -> Transform:
    """From rotation in halves to rotation in neighbouring pairs, within each head of q or k.

    Hugging Face's Llama rotates row i with row i + head_dim / 2, llama.cpp's with row i + 1
    (`LlamaModel.permute` in `conversion/llama.py`).
    """

    def apply(rows: Array) -> Array:
        heads = rows.reshape(-1, 2, head_dim // 2, *rows.shape[1:])
        return np.asarray(heads.swapaxes(1, 2).reshape(rows.shape))

    return Transform(apply, head_dim)


def _plus_one(rows: Array) -> Array:
    return np.asarray(rows.astype(np.float32, copy=False) + np.float32(1))


# Gemma's norms multiply by 1 + weight; llama.cpp multiplies by what the file holds.
PLUS_ONE = Transform(_plus_one)


@dataclass(frozen=True)
class GeneratedTensor:
    """A float32 tensor that no checkpoint holds."""

    values: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions as NumPy has them."""
        return self.values.shape

    def chunks(self, rows: int = 1) -> Iterator[Array]:
        """The whole in one piece: these are small."""
        yield self.values


@dataclass(frozen=True)
class OutputTensor:
    """A tensor of the GGUF file: its name there, its source, and what is done to its rows."""

    name: str
    source: StoredTensor | GeneratedTensor
    transform: Transform | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions as NumPy has them: a matrix is [rows, columns]."""
        return self.source.shape

    def chunks(self) -> Iterator[Array]:
        """Yield the tensor in pieces [rows, ...] of whole rows, float16 or float32, in order.

        Raises:
            TrimixError: the source's file ended early.
        """
        if self.transform is None:
            yield from self.source.chunks()
            return
        for piece in self.source.chunks(self.transform.rows):
            yield self.transform.apply(piece)
