"""The store's folder: where it is, who changes it, and that nothing leads out of it.

`models/<repository>@<commit>/` holds GGUF files, each with a record of where it came from, and may
serve several trios; `trios/<name>/` holds a trio's manifest; `downloads/` what an unfinished pull
has fetched. Readers take no lock: what they read appears whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import TrimixError
from ..files import real_path
from ..files import sha256 as remembered_sha256
from .names import is_file_name

Tell = Callable[[str], None]

MODELS, DOWNLOADS, TRIOS = "models", "downloads", "trios"
# A trio's folder: what is installed, the user's TOML, what an unfinished pull goes by, and that a
# removal was begun.
MANIFEST, COPY, STATE, GOING = "manifest.json", "trio.toml", "pull.json", "removed"
TRIO_FILES = (MANIFEST, COPY, STATE, GOING)


def home() -> Path:
    """The store's folder: `TRIMIX_HOME`, or the platform's folder for data of a program."""
    if moved := os.environ.get("TRIMIX_HOME"):
        return Path(os.path.expanduser(moved)).absolute()
    import platformdirs

    return platformdirs.user_data_path("trimix-cpp", appauthor=False)


def inside(root: Path, *names: str) -> Path:
    """The path below the store's folder `root` that these names make.

    Raises:
        TrimixError: one of them is no single name, or a link leads out of the store.
    """
    for name in names:
        if not is_file_name(name):
            raise TrimixError(f"{name[:80]!r} cannot be a name in the store ({root})")
    path = root.joinpath(*names)
    try:
        within = real_path(path).is_relative_to(real_path(root))
    except OSError as error:
        raise TrimixError(f"{path}: {error.strerror}") from None
    if not within:
        raise TrimixError(
            f"{path} leads out of the store, where nothing is written or removed; "
            "take the link away, or name another folder for the whole store by TRIMIX_HOME"
        )
    return path


def sha256(path: Path) -> str:
    """The SHA-256 of a file, remembered as long as it has not changed; raises OSError."""
    return remembered_sha256(path, home() / "cache" / "sha256.json")


@contextmanager
def locked(tell: Tell) -> Iterator[Path]:
    """Hold the store for oneself, waiting for another process if need be; yields its folder.

    Raises:
        TrimixError: the folder cannot be made or written.
    """
    from filelock import FileLock, Timeout

    root = home()
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tell(f"another process is changing {root}; waiting for it")
            lock.acquire()
    except OSError as error:
        raise TrimixError(
            f"{root}: {error.strerror or error}; TRIMIX_HOME names another folder for the store"
        ) from None
    try:
        yield root
    finally:
        lock.release()
