"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(dst: Path, *, private: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `dst`; on success it becomes `dst`, else it is removed.

    It is flushed to the disk and renamed, so an error or an interruption at any point leaves
    whatever stood at `dst` before. With `private` only the owner may ever read it.

    Raises:
        OSError: the system refused to write.
    """
    temporary = dst.with_name(f".{dst.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        if private:
            temporary.touch(mode=0o600, exist_ok=False)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, dst)
    except BaseException:  # KeyboardInterrupt too: nothing half-written may stay behind
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def new_folder(dst: Path) -> Iterator[Path]:
    """Yield an empty folder beside `dst`; on success it becomes `dst`, else it is removed.

    Its files are flushed to the disk before it gets its name.

    Raises:
        OSError: `dst` is there already, or the system refused to write.
    """
    dst = dst.absolute()
    temporary = dst.with_name(f".{dst.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir()
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                with open(path, "rb+") as file:
                    os.fsync(file.fileno())
        if dst.exists():  # a rename would replace an empty folder
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(dst))
        os.rename(temporary, dst)
    except BaseException:  # KeyboardInterrupt too: nothing half-written may stay behind
        shutil.rmtree(temporary, ignore_errors=True)
        raise
