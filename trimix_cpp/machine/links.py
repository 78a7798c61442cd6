"""A file of another program becomes one of ours: a link where the disk has one, else a copy."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from ..files import read_sha256
from ..files.atomic import temporary_name
from ..showing import Progress

# `ioctl` that makes a file share the blocks of another (linux/fs.h).
_FICLONE = 0x40049409


def take_over(
    source: Path, destination: Path, sha256: str, progress: Progress | None = None
) -> bool:
    """Make `destination` a file with the contents of `source`, if these have the hash `sha256`.

    A hard link where one can be made, blocks in common where the file system can share them, a
    copy elsewhere; `source` stays as it is. What is read is what was taken, so that a file that
    changes meanwhile is noticed.

    Args:
        source: a file of another program; it may be gone, or change at any time.
        destination: in an existing folder of ours; it appears whole or not at all.
        sha256: in hexadecimal.
        progress: called with (bytes read, bytes in all).

    Returns:
        Whether it was taken; if not, nothing is left behind.
    """
    temporary = destination.with_name(temporary_name(destination.name))
    try:
        _take(source.resolve(strict=True), temporary)
        before = _state(temporary)
        shown = (lambda done: progress(done, before[0])) if progress else None
        if read_sha256(temporary, shown) != sha256 or _state(temporary) != before:
            return False
        os.replace(temporary, destination)
        return True
    except OSError:
        return False
    finally:
        with suppress(OSError):
            temporary.unlink()


def _take(source: Path, temporary: Path) -> None:
    try:
        os.link(source, temporary)
    except OSError:  # another disk, or one without links
        if not _share_blocks(source, temporary):
            shutil.copyfile(source, temporary)


def _share_blocks(source: Path, temporary: Path) -> bool:
    """Whether `temporary` was made of the blocks of `source`; Linux's btrfs and XFS can."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        with open(source, "rb") as ours, open(temporary, "xb") as theirs:
            fcntl.ioctl(theirs.fileno(), _FICLONE, ours.fileno())
        return True
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        return False


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
