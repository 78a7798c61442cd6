"""The bytes of a GGUF header, with bounds of our own, before the C library sees the file.

A malformed file can abort the process inside llama.cpp, where Python catches nothing. So every
count, length, type and offset is checked here against the size of the file; `checks` looks at what
the values mean. The format: `docs/gguf.md` in ggml.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import Any

from ..errors import ModelFileError
from ..showing import one_line
from .header import ARRAY, SCALARS, STRING, Array, Header, TensorInfo
from .types import BY_NUMBER

MAX_KEYS = 1 << 16
MAX_TENSORS = 1 << 17
MAX_DIMS = 4
MAX_NAME = 64
MAX_KEY = 1024
MAX_HEADER = 1 << 28

# Keys of adapters and of the further parts of a split model: llama.cpp asserts their types.
_ASSERTED_TYPES = {
    "general.type": 8,
    "adapter.type": 8,
    "adapter.lora.alpha": 6,
    "split.no": 2,
}


class _Cursor:
    """A position in the mapped file; every read is checked against its end."""

    def __init__(self, data: mmap.mmap | bytes, path: Path) -> None:
        self.data, self.path, self.pos, self.end = data, path, 0, len(data)

    def fail(self, what: str) -> ModelFileError:
        return broken_file(self.path, what)

    def take(self, size: int, what: str) -> int:
        """Step over `size` bytes and return where they begin."""
        start = self.pos
        if size < 0 or size > self.end - start:
            raise self.fail(f"the file ends inside {what}")
        if start + size > MAX_HEADER:
            raise self.fail("an absurdly long header")
        self.pos = start + size
        return start

    def number(self, fmt: str, what: str) -> Any:
        return struct.unpack_from(fmt, self.data, self.take(struct.calcsize(fmt), what))[0]

    def string(self, what: str) -> bytes:
        length = self.number("<Q", what)
        start = self.take(length, what)
        return bytes(self.data[start : start + length])

    def text(self, what: str) -> str:
        try:
            return self.string(what).decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail(f"{what} is not UTF-8") from None

    def array(self, what: str) -> Array:
        kind = self.number("<I", what)
        count = self.number("<Q", what)
        if kind in SCALARS:
            size = struct.calcsize(SCALARS[kind])
            start = self.take(count * size, what)
        elif kind == STRING:
            start = self.pos
            if count > (self.end - start) // 8:
                raise self.fail(f"{what} claims {count} strings")
            unpack, data = struct.Struct("<Q").unpack_from, self.data
            pos, end = start, self.end
            for _ in range(count):
                if pos + 8 > end:
                    raise self.fail(f"the file ends inside {what}")
                pos += 8 + unpack(data, pos)[0]
                if pos > end:
                    raise self.fail(f"the file ends inside {what}")
            self.pos = start
            self.take(pos - start, what)
        else:
            raise self.fail(f"{what} has element type {kind}")
        return Array(kind, count, bytes(self.data[start : self.pos]))

    def value(self, what: str) -> Any:
        kind = self.number("<I", what)
        if kind in SCALARS:
            return self.number(SCALARS[kind], what)
        if kind == STRING:
            return self.text(what)
        if kind == ARRAY:
            return self.array(what)
        raise self.fail(f"{what} has value type {kind}")


def parse_file(path: Path) -> Header:
    """Read one file; what its values mean is not checked.

    Raises:
        ModelFileError: no such file, a folder, not GGUF, truncated, or a bound is broken.
    """
    try:
        if path.is_dir():
            raise ModelFileError(f"{path}: is a folder, not a GGUF file")
        if path.exists() and not path.is_file():  # opening a FIFO would wait for its writer
            raise ModelFileError(f"{path}: is no regular file, which a GGUF file must be")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise ModelFileError(f"{path}: is empty; download or convert the file again")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _parse(_Cursor(data, path))
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path}: cannot be read ({error})") from None


def broken_file(path: Path, what: str) -> ModelFileError:
    """The error about a file in which `what` is wrong."""
    return ModelFileError(
        f"{path}: broken GGUF file ({one_line(what)}); download or convert the file again"
    )


def _parse(cursor: _Cursor) -> Header:
    if cursor.end < 4 or bytes(cursor.data[:4]) != b"GGUF":
        raise ModelFileError(f"{cursor.path}: not a GGUF file (it does not begin with 'GGUF')")
    cursor.pos = 4
    version = cursor.number("<I", "the version")
    if version not in (2, 3):
        hint = "big-endian" if version in (2 << 24, 3 << 24) else f"version {version}"
        raise ModelFileError(f"{cursor.path}: {hint} GGUF is not supported; convert the model anew")
    n_tensors = cursor.number("<Q", "the tensor count")
    n_keys = cursor.number("<Q", "the key count")
    if n_tensors > MAX_TENSORS or n_keys > MAX_KEYS:
        raise cursor.fail(f"it claims {n_tensors} tensors and {n_keys} keys")
    metadata = _metadata(cursor, n_keys)
    alignment = metadata.get("general.alignment", 32)
    _check_alignment(cursor, alignment)
    tensors = _tensors(cursor, n_tensors)
    data_offset = -(-cursor.pos // alignment) * alignment
    _check_tensors(cursor, tensors, data_offset, alignment)
    return Header(cursor.path, version, metadata, tensors, data_offset, cursor.end)


def _metadata(cursor: _Cursor, n_keys: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for index in range(n_keys):
        key = cursor.text(f"the name of key {index}")
        # For llama.cpp a NUL ends the name, which would then be another key than is checked here.
        if not key or len(key) > MAX_KEY or "\0" in key:
            raise cursor.fail(f"the name of key {index} is empty, too long or holds a NUL")
        if key in metadata:
            raise cursor.fail(f"the key {key!r} stands twice")
        kind = struct.pack("<I", _ASSERTED_TYPES.get(key, 0))
        if key in _ASSERTED_TYPES and cursor.data[cursor.pos : cursor.pos + 4] != kind:
            raise cursor.fail(f"{key} is of another type than it must be")
        metadata[key] = cursor.value(key)
    return metadata


def _tensors(cursor: _Cursor, n_tensors: int) -> tuple[TensorInfo, ...]:
    tensors, names = [], set()
    for index in range(n_tensors):
        name = cursor.text(f"the name of tensor {index}")
        if len(name.encode()) >= MAX_NAME or name in names or "\0" in name:
            raise cursor.fail(f"the name of tensor {index} is too long, twice there or has a NUL")
        names.add(name)
        n_dims = cursor.number("<I", name)
        if not 1 <= n_dims <= MAX_DIMS:
            raise cursor.fail(f"{name} has {n_dims} dimensions")
        shape = tuple(cursor.number("<Q", name) for _ in range(n_dims))
        kind = cursor.number("<I", name)
        offset = cursor.number("<Q", name)
        tensors.append(TensorInfo(name, shape, kind, offset, _nbytes(cursor, name, shape, kind)))
    return tuple(tensors)


def _nbytes(cursor: _Cursor, name: str, shape: tuple[int, ...], kind: int) -> int:
    if kind not in BY_NUMBER:
        raise cursor.fail(f"{name} has the unknown tensor type {kind}")
    entry = BY_NUMBER[kind]
    values = 1
    for dim in shape:
        values *= dim
        if not 0 < values < 1 << 62:
            raise cursor.fail(f"{name} has the shape {list(shape)}")
    if shape[0] % entry.block:
        raise cursor.fail(f"rows of {name} are no multiple of {entry.block}")
    return entry.nbytes(values)


def _check_tensors(
    cursor: _Cursor, tensors: tuple[TensorInfo, ...], data_offset: int, alignment: int
) -> None:
    room = cursor.end - data_offset
    for tensor in tensors:
        if tensor.offset % alignment or tensor.offset + tensor.nbytes > room:
            raise cursor.fail(
                f"the weights of {tensor.name} lie outside the file: it is truncated or damaged"
            )


def _check_alignment(cursor: _Cursor, alignment: Any) -> None:
    # llama.cpp maps the file and asserts that a tensor begins at a multiple of 32 bytes.
    if (
        not isinstance(alignment, int)
        or not 32 <= alignment <= 1 << 20
        or alignment & alignment - 1
    ):
        raise cursor.fail("general.alignment is no power of two from 32 on")
