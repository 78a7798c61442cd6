"""Read a GGUF header with bounds of our own, before the C library sees the file.

A malformed file can abort the process inside llama.cpp, where Python catches nothing. So every
count, length, type and offset is checked here against the size of the file; `gguf_checks` looks at
what the values mean. The format: `docs/gguf.md` in ggml.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFileError
from .checks import MalformedError, check_header

MAX_KEYS = 1 << 16
MAX_TENSORS = 1 << 17
MAX_DIMS = 4
MAX_NAME = 64
MAX_KEY = 1024
MAX_HEADER = 1 << 28

# GGUF value types -> struct format of one value (8 is a string, 9 an array).
_SCALARS = {
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
_STRING, _ARRAY = 8, 9

# Keys of adapters and of the further parts of a split model: llama.cpp asserts their types.
_ASSERTED_TYPES = {
    "general.type": 8,
    "adapter.type": 8,
    "adapter.lora.alpha": 6,
    "split.no": 2,
}

# ggml tensor types -> (values a block, bytes a block); ggml.c, `type_traits`.
_BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    9: (32, 36),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
    16: (256, 66),
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    20: (32, 18),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    29: (256, 56),
    30: (1, 2),
    34: (256, 54),
    35: (256, 66),
    39: (32, 17),
    40: (64, 36),
    41: (128, 18),
    42: (64, 18),
}


@dataclass(frozen=True)
class Array:
    """An array of the metadata, still in file order: `raw` bytes, element type, element count."""

    type: int
    count: int
    raw: bytes = field(repr=False)

    def strings(self) -> list[bytes]:
        """The elements of a string array, as undecoded bytes."""
        if self.type != _STRING:
            raise ValueError("not an array of strings")
        out, pos = [], 0
        for _ in range(self.count):
            (length,) = struct.unpack_from("<Q", self.raw, pos)
            out.append(self.raw[pos + 8 : pos + 8 + length])
            pos += 8 + length
        return out

    def numbers(self) -> NDArray[Any]:
        """The elements of a numeric array, shape [count], in the file's own dtype."""
        if self.type == _STRING:
            raise ValueError("not an array of numbers")
        return np.frombuffer(self.raw, dtype=np.dtype(_SCALARS[self.type]))


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
        return value.strings() if isinstance(value, Array) and value.type == _STRING else None

    def numbers(self, key: str) -> NDArray[Any] | None:
        """The numeric array under `key`, or None."""
        value = self.metadata.get(key)
        return value.numbers() if isinstance(value, Array) and value.type != _STRING else None


class _Cursor:
    """A position in the mapped file; every read is checked against its end."""

    def __init__(self, data: mmap.mmap | bytes, path: Path) -> None:
        self.data, self.path, self.pos, self.end = data, path, 0, len(data)

    def fail(self, what: str) -> ModelFileError:
        return _broken(self.path, what)

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
        if kind in _SCALARS:
            size = struct.calcsize(_SCALARS[kind])
            start = self.take(count * size, what)
        elif kind == _STRING:
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
        if kind in _SCALARS:
            return self.number(_SCALARS[kind], what)
        if kind == _STRING:
            return self.text(what)
        if kind == _ARRAY:
            return self.array(what)
        raise self.fail(f"{what} has value type {kind}")


def read_header(path: str | Path) -> Header:
    """Read and check the header of the GGUF file at `path`.

    Raises:
        ModelFileError: no such file, a folder, not GGUF, truncated, or any bound is broken.
    """
    header = _open(Path(path))
    try:
        # The tensors of all parts count, so the parts come first.
        header = _with_parts(header)
        if not isinstance(header.metadata.get("general.architecture"), str):
            raise MalformedError("it does not name its architecture")
        check_header(header)
    except MalformedError as problem:
        raise _broken(header.path, str(problem)) from None
    return header


def read_tables(path: str | Path) -> Header:
    """As `read_header`, for GGUF files that hold no model, such as importance matrices.

    Bounds are checked, what the values mean is not; `architecture` may be missing.
    """
    return _open(Path(path))


def _broken(path: Path, what: str) -> ModelFileError:
    # Names from the file are shown without what could break the line or steer a terminal.
    shown = "".join(char if char.isprintable() else "?" for char in what)
    return ModelFileError(f"{path}: broken GGUF file ({shown}); download or convert the file again")


def _open(path: Path) -> Header:
    """Read one file; what its values mean is not checked."""
    try:
        if path.is_dir():
            raise ModelFileError(f"{path}: is a folder, not a GGUF file")
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
    if kind not in _BLOCKS:
        raise cursor.fail(f"{name} has the unknown tensor type {kind}")
    block, size = _BLOCKS[kind]
    values = 1
    for dim in shape:
        values *= dim
        if not 0 < values < 1 << 62:
            raise cursor.fail(f"{name} has the shape {list(shape)}")
    if shape[0] % block:
        raise cursor.fail(f"rows of {name} are no multiple of {block}")
    return values // block * size


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


def _with_parts(header: Header) -> Header:
    """The header of a model in one file, or with the tensors of its other files too.

    llama.cpp opens the other files by itself, so they are checked here as well.
    """
    count = header.metadata.get("split.count", 0)
    if not isinstance(count, int) or count < 2:
        return header
    first = f"-00001-of-{count:05}.gguf"
    if not header.path.name.endswith(first):
        raise ModelFileError(f"{header.path}: name the first part of a split model, *{first}")
    tensors, stem = list(header.tensors), header.path.name[: -len(first)]
    for number in range(2, count + 1):
        part = _open(header.path.with_name(f"{stem}-{number:05}-of-{count:05}.gguf"))
        if part.metadata.get("split.no") != number - 1:
            raise ModelFileError(f"{part.path}: is not part {number} of the split model")
        tensors += part.tensors
    return replace(header, tensors=tuple(tensors))
