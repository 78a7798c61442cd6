"""Destinations: what may be written, and what the system's refusals mean, as `ConvertError`s."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trimix_cpp import files
from trimix_cpp.errors import TrimixError, UsageError
from trimix_cpp.showing import size_text

from .errors import ConvertError


def check_destination(dst: Path, *, force: bool) -> None:
    """Refuse a destination that cannot, or must not, be written.

    Raises:
        UsageError: it names no file.
        ConvertError: else what `trimix_cpp.files.check_destination` finds.
    """
    try:
        files.check_destination(dst, force=force)
    except UsageError:
        raise
    except TrimixError as error:
        raise ConvertError(str(error)) from None


def check_space(folder: Path, need: int) -> None:
    """Raise ConvertError when fewer than `need` bytes are free in `folder`."""
    free = shutil.disk_usage(folder).free
    if free < need:
        raise ConvertError(
            f"not enough disk space in {folder}: {size_text(need)} needed, {size_text(free)} free"
        )


@contextmanager
def replacing(dst: Path) -> Iterator[Path]:
    """`trimix_cpp.files.replacing`, with one line for what the system refuses.

    Raises:
        ConvertError: the system refused to read or write (no space, no permission, …).
    """
    try:
        with files.replacing(dst) as temporary:
            yield temporary
    except OSError as error:
        raise system_error(error, dst) from error


def system_error(error: OSError, path: Path) -> ConvertError:
    """One line about an operating system's refusal while `path` was in work."""
    if error.errno == errno.ENOSPC:
        return ConvertError(f"no space left on the disk while writing {path}: nothing was kept")
    # A temporary name would mean nothing to the reader: say which file was wanted.
    named = error.filename and not str(error.filename).endswith(".tmp")
    return ConvertError(f"{error.filename if named else path}: {error.strerror or error}")
