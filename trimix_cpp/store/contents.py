"""What the store has put into a folder: a list in it, and the removal of what the list names.

A name is on the list before its file is there, so whatever a pull that was killed has left is ours
by the list, and nothing else is. Links are removed as links; a folder is never gone into.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from ..errors import TrimixError
from ..files import as_type, read_json, write_json
from .names import is_file_name

_LIST = ".contents.json"
# What a file is called until it is whole, by `files.replacing` and while it is downloaded.
_UNFINISHED = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp|(.+)\.part")


def is_ours(folder: Path) -> bool:
    """Whether the store made the folder; a link to a folder it did not make."""
    kept = folder / _LIST
    return not folder.is_symlink() and kept.is_file() and not kept.is_symlink()


def expect(folder: Path, names: Iterable[str]) -> None:
    """Make the folder, and put names on its list; raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / _LIST
    if kept.is_symlink() or kept.is_fifo():  # written through, it would change a file elsewhere
        kept.unlink()
    known = _listed(folder)
    if wanted := set(names) - known:
        write_json(sorted(known | wanted), kept)


def remove(folder: Path, keep: Collection[str] = ()) -> int:
    """Remove what is on the folder's list but not in `keep`; returns the bytes that are free.

    The folder goes with its last file, unless somebody else has put something into it. It can be
    interrupted anywhere and done again. Raises OSError.
    """
    if not is_ours(folder):
        return 0
    ours = _listed(folder)
    gone = ours - set(keep)
    freed = sum(_unlink(path) for path in folder.iterdir() if _final_name(path) in gone)
    remove_unfinished(folder)
    if left := ours & set(keep):
        write_json(sorted(left), folder / _LIST)
    else:
        (folder / _LIST).unlink()
        with suppress(OSError):  # something of somebody else's is in it
            folder.rmdir()
    return freed


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files of processes that were killed; raises OSError."""
    if is_ours(folder):
        ours = {*_listed(folder), _LIST}
        for path in folder.iterdir():
            if path.suffix == ".tmp" and _final_name(path) in ours:
                with suppress(PermissionError):  # a child that still writes keeps it, on Windows
                    _unlink(path)


def unlink(folder: Path, *names: str) -> None:
    """Remove these files of a folder, and what was to become them; raises OSError."""
    for path in list(folder.iterdir()) if folder.is_dir() else ():
        if _final_name(path) in names:
            _unlink(path)


def _final_name(path: Path) -> str:
    match = _UNFINISHED.fullmatch(path.name)
    return (match[1] or match[2]) if match else path.name


def _unlink(path: Path) -> int:
    """Remove one file or link; a folder stays. Returns the bytes that are free."""
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode):
        return 0
    path.unlink()
    return status.st_size if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else 0


def _listed(folder: Path) -> set[str]:
    with suppress(TrimixError, ValueError):
        names = as_type(read_json(folder / _LIST), list[str])
        return {name for name in names if is_file_name(name)}
    return set()
