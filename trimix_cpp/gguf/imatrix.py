"""Importance matrices: for each weight matrix the mean square of every input, as llama.cpp has it.

Quantization spends its precision where the inputs are large. The files are those of llama-imatrix
(tools/imatrix/imatrix.cpp): GGUF, or the older binary format, which is read only.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import TrimixError
from ..files import check_regular, replacing
from .header import Header
from .reader import read_tables
from .types import F32

_SUMS, _COUNTS = ".in_sum2", ".counts"
_DATASETS, _CHUNKS, _CHUNK_SIZE = "imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"
# Bounds of the old format, far beyond any model, which says nothing about itself.
_MAX_ENTRIES, _MAX_NAME, _MAX_VALUES = 1 << 17, 1 << 10, 1 << 28

Floats = NDArray[np.float32]


class ImatrixError(TrimixError):
    """An importance matrix is broken, does not fit, or cannot be computed."""


@dataclass(frozen=True)
class Entry:
    """What one weight matrix, or a stack of them (experts), was given.

    Attributes:
        sums: float32 [n_matrices, n_columns], squares of the inputs, summed over tokens.
        counts: float32 [n_matrices], tokens.
    """

    sums: Floats
    counts: Floats

    def means(self) -> Floats:
        """float32 [n_matrices * n_columns]: what llama.cpp quantizes with; 1 without a token."""
        seen = self.counts > 0
        counts = np.where(seen, self.counts, 1)[:, None]
        means: Floats = np.where(seen[:, None], self.sums / counts, np.float32(1)).ravel()
        return means


@dataclass(frozen=True)
class ImportanceMatrix:
    """Entries by the name of their tensor, the names of the texts, and how much was read.

    Attributes:
        n_chunks: chunks of text; 0 where the file does not say.
        chunk_size: tokens of a chunk; 0 where the file does not say.
    """

    entries: Mapping[str, Entry]
    datasets: tuple[str, ...]
    n_chunks: int
    chunk_size: int


def read_imatrix(path: Path) -> ImportanceMatrix:
    """Read an importance matrix in either format.

    Raises:
        ImatrixError: no such file, or no sound importance matrix.
        TrimixError: a device or a FIFO.
        ModelFileError: a GGUF file whose bounds are broken.
    """
    try:
        check_regular(path)
        with open(path, "rb") as file:
            is_gguf = file.read(4) == b"GGUF"
        found = _read_gguf(path) if is_gguf else _read_old(path)
    except OSError as error:
        raise ImatrixError(f"{path}: {error.strerror or error}") from None
    if not found.entries:
        raise ImatrixError(f"{path}: holds no importance matrix")
    for name, entry in found.entries.items():
        if not (np.isfinite(entry.sums).all() and np.isfinite(entry.counts).all()):
            raise ImatrixError(f"{path}: the entry {name!r} is not finite; make the file again")
    return found


def _read_gguf(path: Path) -> ImportanceMatrix:
    header = read_tables(path)
    if header.metadata.get("general.type") != "imatrix":
        raise ImatrixError(f"{path}: is a GGUF file, but no importance matrix")
    parts = {_SUMS: dict[str, Floats](), _COUNTS: dict[str, Floats]()}
    for tensor in header.tensors:
        for suffix, found in parts.items():
            if tensor.name.endswith(suffix):
                if tensor.type != F32:
                    raise ImatrixError(f"{path}: {tensor.name} is not F32; make the file again")
                found[tensor.name[: -len(suffix)]] = np.fromfile(
                    path, np.float32, tensor.nbytes // 4, offset=header.data_offset + tensor.offset
                )
    sums, counts = parts[_SUMS], parts[_COUNTS]
    if odd := sorted(set(sums) ^ set(counts)):
        raise ImatrixError(f"{path}: {odd[0]} has no sums or no counts; make the file again")
    entries = {}
    for name in sorted(sums):
        if sums[name].size % counts[name].size:
            raise ImatrixError(f"{path}: sums and counts of {name} differ in shape")
        entries[name] = Entry(sums[name].reshape(counts[name].size, -1), counts[name])
    return ImportanceMatrix(entries, _datasets(header), *_chunks(header))


def _datasets(header: Header) -> tuple[str, ...]:
    return tuple(name.decode("utf-8", "replace") for name in header.strings(_DATASETS) or ())


def _chunks(header: Header) -> tuple[int, int]:
    values = [header.metadata.get(key) for key in (_CHUNKS, _CHUNK_SIZE)]
    n_chunks, size = (value if isinstance(value, int) else 0 for value in values)
    return n_chunks, size


def _read_old(path: Path) -> ImportanceMatrix:
    """The format of before 2025: little-endian, a count, then entries of means times calls."""
    data, pos = path.read_bytes(), 0

    def take(fmt: str, most: int) -> int:
        nonlocal pos
        if pos + 4 > len(data):
            raise ImatrixError(f"{path}: is no importance matrix, or is cut off")
        (value,) = struct.unpack_from(fmt, data, pos)
        pos += 4
        if not 0 <= value <= most:
            raise ImatrixError(f"{path}: is no importance matrix, or is damaged")
        return int(value)

    def take_bytes(size: int) -> bytes:
        nonlocal pos
        if size > len(data) - pos:
            raise ImatrixError(f"{path}: is no importance matrix, or is cut off")
        pos += size
        return data[pos - size : pos]

    entries = {}
    for _ in range(take("<i", _MAX_ENTRIES)):
        name = take_bytes(take("<i", _MAX_NAME)).decode("utf-8", "replace")
        calls = take("<i", 1 << 30)
        sums = np.frombuffer(take_bytes(4 * take("<i", _MAX_VALUES)), "<f4").astype(np.float32)
        # Without calls the values are means already (tools/quantize/quantize.cpp).
        entries[name] = Entry(sums[None], np.asarray([max(calls, 1)], np.float32))
    if pos == len(data):
        return ImportanceMatrix(entries, (), 0, 0)
    n_chunks = take("<i", 1 << 30)
    dataset = take_bytes(take("<i", 1 << 16)).decode("utf-8", "replace")
    return ImportanceMatrix(entries, (dataset,) if dataset else (), n_chunks, 0)


def write_imatrix(path: Path, matrix: ImportanceMatrix) -> None:
    """Write `matrix` as llama-imatrix does; `path` appears whole or not at all.

    Raises:
        OSError: the system refused to write.
    """
    import gguf

    with replacing(path) as temporary:
        writer = gguf.GGUFWriter(temporary, "none")
        # It holds no model, and names no architecture.
        del writer.kv_data[0][gguf.Keys.General.ARCHITECTURE]
        writer.add_string("general.type", "imatrix")
        writer.add_array(_DATASETS, list(matrix.datasets))
        writer.add_uint32(_CHUNKS, matrix.n_chunks)
        writer.add_uint32(_CHUNK_SIZE, matrix.chunk_size)
        for name, entry in sorted(matrix.entries.items()):
            # A single matrix is written with one dimension, as ggml does.
            single = len(entry.counts) == 1
            writer.add_tensor(name + _SUMS, entry.sums[0] if single else entry.sums)
            writer.add_tensor(name + _COUNTS, entry.counts if single else entry.counts[:, None])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
