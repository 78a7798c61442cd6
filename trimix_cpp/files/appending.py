"""A file that grows by whole lines, whatever ends the process or the machine.

A line counts once its line break is there. A kill or a full disk may leave a torn one at the end,
a power failure zeros: whoever goes on reads the whole lines, and cuts off what follows them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import TrimixError
from .closing import Closing

# Lines reach the system at once and the disk at most this much later, if others follow: a power
# failure costs no more than that.
_SYNC_SECONDS = 0.2


class LineFile(Closing):
    """A file that is open for further lines, made if there is none; one process has it at a time.

    Raises:
        OSError: the system refused.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._synced = path, 0.0
        is_new = not path.exists()
        self._file = open(path, "ab+", buffering=0)  # noqa: SIM115
        if is_new:
            with suppress(OSError):  # its name is to last too; not every system can say so
                folder = os.open(path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)

    def append(self, line: bytes) -> None:
        """Write a line, and its line break; raises TrimixError where the disk is full, or worse."""
        rest = memoryview(line + b"\n")
        with self._told():
            while rest:  # a disk that fills up takes a part
                rest = rest[self._file.write(rest) or 0 :]
        if time.monotonic() - self._synced >= _SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Return when everything is on the disk; raises TrimixError as `append` does."""
        with self._told():
            os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def cut(self, length: int) -> None:
        """Leave the first `length` bytes alone; raises OSError."""
        self._file.truncate(length)

    def close(self) -> None:
        """Close the file; harmless when done twice."""
        self._file.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrimixError(
                f"{self.path}: {error.strerror or error}; what is in it is kept: the same command "
                "goes on from there"
            ) from None


def whole_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Each line of a file, read from its start, that has its end: where that is, and the line."""
    end = 0
    for line in file:
        if not line.endswith(b"\n"):
            return
        end += len(line)
        yield end, line[:-1]


def begins_with(file: BinaryIO, start: bytes, *, zeros: bool = False) -> bool:
    """Whether a file begins so, or is what is left of such a beginning; it is at its start after.

    A part of it may be there, and zeros behind that; with `zeros` these alone too.
    """
    data = file.read(len(start))
    if data != start:
        data += file.read()
    file.seek(0)
    if data == start:
        return True
    return start.startswith(data.rstrip(b"\0")) and (zeros or data[:1] in (b"", start[:1]))
