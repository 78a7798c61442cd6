"""Numbers of a checkpoint's type, held as float32: every one of these types fits into it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Round = Callable[[Floats], Floats]

# The types that a merged checkpoint may have, by their names in safetensors.
DTYPES = ("BF16", "F16", "F32")


def bf16_bits(values: Floats) -> NDArray[np.uint16]:
    """The nearest bfloat16 numbers, as their 16 bits; ties go to the even one.

    Beyond the greatest number it is infinity. NaN must not be among the `values`.
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return np.asarray((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


def _to_bf16(values: Floats) -> Floats:
    return (bf16_bits(values).astype(np.uint32) << 16).view(np.float32)


def _to_f16(values: Floats) -> Floats:
    with np.errstate(over="ignore"):  # infinity is looked for where a tensor is written
        return values.astype(np.float16).astype(np.float32)


# Float32 numbers to the nearest ones of the type. Arithmetic in such a type, as PyTorch has it, is
# float32 arithmetic that is rounded after every operation.
ROUND: dict[str, Round] = {"BF16": _to_bf16, "F16": _to_f16, "F32": lambda values: values}


def encode(values: Floats, dtype: str) -> bytes:
    """`values`, which the type represents, as a safetensors file holds them."""
    if dtype == "BF16":
        return bf16_bits(values).astype("<u2").tobytes()
    return values.astype("<f2" if dtype == "F16" else "<f4").tobytes()
