"""Text files: UTF-8, with the line named that is not."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from ..errors import TrimixError
from .atomic import replacing

# What is read whole is held in memory: a device or a disk image is no text.
_MOST_BYTES = 1 << 30


def read_bytes(path: Path) -> bytes:
    """What is in the file.

    Raises:
        TrimixError: more than a GiB.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return read_stream(file, str(path))


def read_stream(file: BinaryIO, name: str) -> bytes:
    """What is left in it; `name` is what the message calls it.

    Raises:
        TrimixError: more than a GiB.
        OSError: it cannot be read.
    """
    data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise TrimixError(f"{name}: has more than a GiB, which is too much to be read whole")
    return data


def read_text(path: Path) -> str:
    """The text of the file, a byte order mark left out.

    Raises:
        TrimixError: it cannot be read, or is not UTF-8; the line is named.
    """
    try:
        return decode_utf8(read_bytes(path), str(path))
    except OSError as error:
        raise TrimixError(f"{path}: cannot be read: {error.strerror or error}") from None


def decode_utf8(data: bytes, name: str) -> str:
    """`data` as text, a byte order mark left out; `name` is what the message calls it.

    Raises:
        TrimixError: it is not UTF-8; the line is named.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Where the mark was cut off, positions count from behind it.
        at = error.start + (len(data) - len(error.object))
        line = data.count(b"\n", 0, at) + 1
        raise TrimixError(f"{name}: line {line} is not UTF-8; save it as UTF-8") from None


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """Write `text` as UTF-8, as it is, whole or not at all; `private` as `replacing` has it.

    Raises:
        TrimixError: it has a lone surrogate, as names of files that are not UTF-8 have.
        OSError: the system refused to write.
    """
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        shown = ascii(text[max(error.start - 20, 0) : error.end])
        raise TrimixError(f"{path}: {shown} cannot be written as UTF-8") from None
    with replacing(path, private=private) as temporary:
        temporary.write_bytes(data)
