"""What may be written, found out before the work; and what a path really names."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..errors import TrimixError, UsageError


def real_path(path: Path) -> Path:
    """`path` with every link followed, absolute; what is not there yet may be named too.

    Raises:
        OSError: links that lead in a circle. (`Path.resolve` raises a RuntimeError of its own.)
    """
    real = Path(os.path.realpath(path))
    if real.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return real


def is_stream(path: Path) -> bool:
    """Whether `path` is there and is written into, not replaced: a device, a FIFO, a socket.

    `/dev/stdout` and `/proc/self/fd/1` count whatever they lead to.
    """
    try:
        status = path.stat()
    except OSError:
        return False
    regular = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    return not regular or _is_systems(path)


def check_regular(path: Path, *, piped: bool = False) -> None:
    """Find out whether `path` can be read to its end: a device has none, a FIFO may never have one.

    What is not there, and a folder, are for whoever reads it to tell. `piped`: what a shell hands
    over (`/dev/fd/63`) will do.

    Raises:
        TrimixError: it is there, and no regular file.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    handed = piped and stat.S_ISFIFO(mode) and _is_systems(path)
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or handed):
        raise TrimixError(f"{path}: is no regular file, but a device, a FIFO or a socket")


def _is_systems(path: Path) -> bool:
    """Whether it lies in /dev or /proc, wherever it leads from there."""
    within = Path(os.path.realpath(path.absolute().parent)).parts[1:2]
    return os.name == "posix" and within in (("dev",), ("proc",))


def check_destination(
    path: Path,
    *,
    force: bool = False,
    ours: Callable[[Path], bool] | None = None,
    advice: str = "choose another name, or overwrite with --force",
) -> None:
    """Find out, before any work, whether a file may and can be written to `path`.

    What is no regular file, a device or a FIFO, is written into and needs no leave.

    Args:
        path: as the user named it.
        force: the user wants what is there overwritten.
        ours: whether the file that is there was made by the same command, and may be replaced.
        advice: what to do where a file is in the way.

    Raises:
        UsageError: it names no file.
        TrimixError: it is a folder, its folder is missing or may not be written, or a file is there
            that must not be overwritten.
    """
    try:
        _check(path, force, ours, advice)
    except OSError as error:
        raise TrimixError(f"{path}: {error.strerror or error}") from None


def _check(path: Path, force: bool, ours: Callable[[Path], bool] | None, advice: str) -> None:
    if "\0" in str(path):
        raise UsageError(f"{str(path)!r} cannot be a file's name")
    if path == Path():
        raise UsageError("the name of the file to write is empty, or the current folder's")
    if is_stream(path):
        if stat.S_ISSOCK(path.stat().st_mode):
            raise TrimixError(f"{path} is a socket: choose another name")
        return
    if path.is_dir():
        raise TrimixError(f"{path} is a folder: name the file to write, e.g. {path / 'name'}")
    real = real_path(path)
    if not real.parent.is_dir():
        raise TrimixError(
            f"{path} cannot be written: {path.parent} is not a folder; create it first"
        )
    if os.path.lexists(path) and not force and not (ours is not None and ours(path)):
        raise TrimixError(f"{path} exists already: {advice}")
    if not os.access(real.parent, os.W_OK | os.X_OK):
        raise TrimixError(f"{path}: its folder may not be written into")
    if real.exists() and not os.access(real, os.W_OK):
        raise TrimixError(f"{path} is write-protected: choose another name")
    with suppress(FileNotFoundError):
        real.lstat()  # a name that is too long is an error of its own
