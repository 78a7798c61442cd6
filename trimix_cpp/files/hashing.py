"""SHA-256 of files: read anew, or remembered for as long as a file has not changed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import TrimixError
from .destinations import check_regular, real_path
from .json import read_json, write_json

_CHUNK = 1 << 20
# Within this time of its last change a file may change again without a new time stamp.
_SETTLED_SECONDS = 2.0
_MOST_ENTRIES = 1000


def read_sha256(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """The hash of what is in the file now, in hexadecimal; `progress` gets the bytes read so far.

    Raises:
        OSError: the file cannot be read.
    """
    digest, done = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if progress:
                progress(done)
    return digest.hexdigest()


def sha256(path: Path, cache: Path) -> str:
    """The hash of the file; from the JSON file `cache` where size, inode and times are the same.

    For keys of caches and journals. Whoever wants to find damage uses `read_sha256`.

    Raises:
        OSError: the file cannot be read. A cache that cannot be read or written is no error.
    """
    path = real_path(path)
    status = path.stat()
    state = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    entries = _known(cache)
    known = entries.get(str(path))
    if isinstance(known, dict) and known.get("state") == state:
        remembered = known.get("sha256")
        if isinstance(remembered, str) and len(remembered) == hashlib.sha256().digest_size * 2:
            return remembered
    value = read_sha256(path)
    if time.time() - status.st_mtime > _SETTLED_SECONDS:
        entries.pop(str(path), None)
        entries[str(path)] = {"state": state, "sha256": value}
        _keep(cache, dict(list(entries.items())[-_MOST_ENTRIES:]))
    return value


def _known(cache: Path) -> dict[str, Any]:
    try:
        entries = read_json(cache)
    except TrimixError:
        return {}
    return entries if isinstance(entries, dict) else {}


def _keep(cache: Path, entries: dict[str, Any]) -> None:
    # Two processes may overwrite each other's entries: a hash is then only computed once more.
    with suppress(OSError, TrimixError):
        check_regular(cache)
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_json(entries, cache)
