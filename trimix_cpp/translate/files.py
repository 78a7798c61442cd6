"""The files of a translation: what is read, what is written, and who may write it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ..errors import TrimixError, UsageError
from ..files import replacing

STREAM = Path("-")


def read(path: Path) -> bytes:
    """The bytes of a file, or of standard input for `-`; raises OSError."""
    return sys.stdin.buffer.read() if path == STREAM else path.read_bytes()


def check_paths(source: Path, output: Path, **others: Path | None) -> None:
    """Refuse an output that cannot be, and any two names for one file.

    `others` are further files, by the option that names them.

    Raises:
        UsageError: two are one file.
        TrimixError: the output's folder is missing, or the output is one.
    """
    seen = {} if source == STREAM else {source.resolve(): "the input"}
    for option, path in {"o": output, **others}.items():
        if path in (None, STREAM):
            continue
        dashes = "-" if len(option) == 1 else "--"
        taken = seen.setdefault(path.resolve(), f"{dashes}{option}")
        if taken != f"{dashes}{option}":
            raise UsageError(f"{path}: is {taken}; name another file with {dashes}{option}")
    if output == STREAM:
        return
    if output.is_dir():
        raise TrimixError(f"{output}: is a folder; name a file with -o")
    if not output.parent.is_dir():
        raise TrimixError(f"{output.parent}: there is no such folder")


def holds(output: Path, data: bytes) -> bool:
    """Whether the output is there and is `data`."""
    try:
        return output != STREAM and output.read_bytes() == data
    except OSError:
        return False


def refuse_existing(output: Path) -> None:
    """Raises TrimixError where the output is there."""
    if output != STREAM and os.path.lexists(output):
        raise TrimixError(f"{output}: is there already; --force overwrites it")


@contextmanager
def sole_writer(paths: list[Path]) -> Iterator[None]:
    """Hold the locks of `paths`, files beside them; they go when the process ends, however it ends.

    Raises:
        TrimixError: another process holds one.
    """
    from filelock import FileLock, Timeout

    with ExitStack() as held:
        for path in dict.fromkeys(path.absolute() for path in paths):
            lock = path.with_name(path.name + ".lock")
            try:
                held.enter_context(FileLock(lock, timeout=0))
            except Timeout:
                raise TrimixError(
                    f"{path}: another process is writing it; wait for that, or stop it"
                ) from None
            # While it is held: whoever waits on a removed file finds out and opens a new one.
            held.callback(_remove, lock)
        yield


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def write(output: Path, data: bytes) -> None:
    """Let the output appear, whole, or go to standard output for `-`; raises OSError."""
    if output == STREAM:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    with replacing(output) as temporary:
        temporary.write_bytes(data)
