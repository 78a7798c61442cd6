"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .destinations import is_stream, real_path

# Of a name's bytes; with what is put around it, no more than every file system allows.
_NAME_BYTES = 200


@contextmanager
def replacing(dst: Path, *, private: bool = False) -> Iterator[Path]:
    """Yield a temporary path; on success what lies there becomes `dst`, else it is removed.

    It lies beside `dst`, is flushed to the disk and renamed, so an error or an interruption at any
    point leaves whatever stood at `dst` before. A link stays a link: what it leads to is replaced,
    and keeps its permissions. What is no regular file (a device, a FIFO, `/dev/stdout`) is written
    into when all is there. With `private` only the owner may ever read it.

    Raises:
        OSError: the system refused to write.
    """
    if is_stream(dst):
        with tempfile.TemporaryDirectory(prefix="trimix-") as folder:
            temporary = Path(folder) / "file"
            yield temporary
            with open(temporary, "rb") as whole, open(dst, "wb", buffering=0) as out:
                shutil.copyfileobj(whole, out)
        return
    dst = real_path(dst)
    temporary = dst.with_name(temporary_name(dst.name))
    try:
        if private:
            temporary.touch(mode=0o600, exist_ok=False)
        yield temporary
        if not private:
            with suppress(OSError):  # there is none yet, or it is not ours to change
                temporary.chmod(stat.S_IMODE(dst.stat().st_mode))
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, dst)
    except BaseException as error:  # KeyboardInterrupt too: nothing half-written may stay behind
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename in (None, str(temporary), temporary):
            error.filename = str(dst)  # a temporary name would mean nothing to the reader
        raise


@contextmanager
def new_folder(dst: Path) -> Iterator[Path]:
    """Yield an empty folder beside `dst`; on success it becomes `dst`, else it is removed.

    Its files are flushed to the disk before it gets its name.

    Raises:
        OSError: `dst` is there already, or the system refused to write.
    """
    dst = dst.absolute()
    temporary = dst.with_name(temporary_name(dst.name))
    try:
        temporary.mkdir()
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                with open(path, "rb+") as file:
                    os.fsync(file.fileno())
        if os.path.lexists(dst):  # a rename would replace an empty folder
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(dst))
        os.rename(temporary, dst)
    except BaseException:  # KeyboardInterrupt too: nothing half-written may stay behind
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def temporary_name(name: str) -> str:
    """A new name for what becomes `name`: `.NAME.xxxxxxxx.tmp`, its end left out if it is long."""
    cut = os.fsdecode(os.fsencode(name)[:_NAME_BYTES])
    return f".{cut}.{uuid.uuid4().hex[:8]}.tmp"
