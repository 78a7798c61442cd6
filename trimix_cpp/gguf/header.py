"""What stands before the weights of a GGUF file, and the questions that are asked of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .types import FLOATS, file_type_name, tensor_type_name

# GGUF value types -> struct format of one value (8 is a string, 9 an array).
SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
STRING, ARRAY = 8, 9


@dataclass(frozen=True)
class Array:
    """An array of the metadata, still in file order: `raw` bytes, element type, element count."""

    type: int
    count: int
    raw: bytes = field(repr=False)

    def strings(self) -> list[bytes]:
        """The elements of a string array, as undecoded bytes."""
        if self.type != STRING:
            raise ValueError("not an array of strings")
        out, pos = [], 0
        for _ in range(self.count):
            (length,) = struct.unpack_from("<Q", self.raw, pos)
            out.append(self.raw[pos + 8 : pos + 8 + length])
            pos += 8 + length
        return out

    def numbers(self) -> NDArray[Any]:
        """The elements of a numeric array, shape [count], in the file's own dtype."""
        if self.type == STRING:
            raise ValueError("not an array of numbers")
        return np.frombuffer(self.raw, dtype=np.dtype(SCALARS[self.type]))


@dataclass(frozen=True)
class TensorInfo:
    """One tensor: `shape` fastest first, as ggml has it; ggml `type`; offset in the data; bytes."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int
    nbytes: int


@dataclass(frozen=True)
class Header:
    """What stands before the weights: metadata, tensor table, and where the weights begin."""

    path: Path
    version: int
    metadata: dict[str, Any]
    tensors: tuple[TensorInfo, ...]
    data_offset: int
    file_size: int

    @property
    def architecture(self) -> str:
        """`general.architecture`, e.g. "qwen2"."""
        return str(self.metadata["general.architecture"])

    def strings(self, key: str) -> list[bytes] | None:
        """The string array under `key`, or None."""
        value = self.metadata.get(key)
        return value.strings() if isinstance(value, Array) and value.type == STRING else None

    def numbers(self, key: str) -> NDArray[Any] | None:
        """The numeric array under `key`, or None."""
        value = self.metadata.get(key)
        return value.numbers() if isinstance(value, Array) and value.type != STRING else None

    def value(self, name: str, default: Any = None) -> Any:
        """What stands under `<architecture>.name`, unchecked."""
        return self.metadata.get(f"{self.architecture}.{name}", default)

    def number(self, name: str, default: int = 0) -> int:
        """The whole number `<architecture>.name`, or the greatest of its array; at least 0."""
        layers = self._array(name)
        if layers is not None:
            return max(int(np.max(layers)), 0) if layers.size else default
        value = self.value(name)
        return max(value, 0) if isinstance(value, int) else default

    def per_layer(self, name: str, default: int = 0) -> tuple[int, ...]:
        """The same for each of `block_count` layers; an array is cut, or filled up with 0."""
        n_layer, layers = self.number("block_count"), self._array(name)
        if layers is None:
            return (self.number(name, default),) * n_layer
        found = [max(int(layer), 0) for layer in layers[:n_layer]]
        return tuple(found + [0] * (n_layer - len(found)))

    def _array(self, name: str) -> NDArray[Any] | None:
        numbers = self.numbers(f"{self.architecture}.{name}")
        return numbers if numbers is not None and numbers.dtype.kind in "iub" else None

    @property
    def n_vocab(self) -> int:
        """Entries of the vocabulary; 0 where there is none."""
        return getattr(self.metadata.get("tokenizer.ggml.tokens"), "count", 0)

    @property
    def is_quantized(self) -> bool:
        """Whether some matrix is of another type than F32, F16 and BF16."""
        return any(t.type not in FLOATS for t in self.tensors if len(t.shape) > 1)

    @property
    def has_float_matrices(self) -> bool:
        """Whether some matrix is F32, F16 or BF16."""
        return any(t.type in FLOATS for t in self.tensors if len(t.shape) > 1)

    @property
    def type_name(self) -> str:
        """The type that the file says it is of; if it says nothing, that of all its matrices.

        A question mark where that is no name.
        """
        number = self.metadata.get("general.file_type")
        if number is not None:
            return file_type_name(number) or "?"
        found = {tensor.type for tensor in self.tensors if len(tensor.shape) > 1}
        return (tensor_type_name(found.pop()) if len(found) == 1 else None) or "?"
