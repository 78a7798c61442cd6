"""The files of a translation: what is read, what is written, and who may write it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ..errors import TrimixError, UsageError
from ..files import (
    check_destination,
    is_stream,
    read_bytes,
    read_json,
    read_stream,
    real_path,
    replacing,
)
from ..showing import safe

STREAM = Path("-")


def read(path: Path) -> bytes:
    """The bytes of a file, or of standard input for `-`.

    Raises:
        TrimixError: the file is larger than memory should hold.
        OSError: it cannot be read.
    """
    return read_stream(sys.stdin.buffer, "standard input") if path == STREAM else read_bytes(path)


def is_file(path: Path) -> bool:
    """Whether it is replaced when it is written: no standard output, device or FIFO."""
    return path != STREAM and not is_stream(path)


def check_paths(
    source: Path,
    output: Path,
    journal: Path | None,
    report: Path | None,
    *,
    force: bool,
    folders: bool = False,
) -> None:
    """Find out before the work that all can be written, and that no two are one file.

    Folders that the output lacks will be made where `folders` says so.

    An output may be there: whether it may be overwritten depends on the journal. A report may be
    replaced by a report.

    Raises:
        UsageError: two are one file, or one names no file.
        TrimixError: one is a folder, is somebody else's, or cannot be written.
        OSError: links that lead in a circle.
    """
    seen = {} if source == STREAM else {real_path(source): "the input"}
    for option, path in (("-o", output), ("--journal", journal), ("--report", report)):
        if path is None or path == STREAM:
            continue
        taken = seen.setdefault(real_path(path), option)
        if taken != option and is_file(path):
            raise UsageError(f"{path}: is {taken}; name another file with {option}")
        check_destination(
            _with_folder(path) if folders and path != report else path,
            force=force or path != report,
            ours=_is_report,
            advice=f"name another file with {option}, or overwrite it with --force",
        )
    if journal is not None and is_stream(journal):
        raise UsageError(f"--journal {journal}: is no file; name one")


def _with_folder(path: Path) -> Path:
    """`path`, or the first of its folders that is still to be made."""
    missing = [folder for folder in path.parents if not os.path.lexists(folder)]
    return missing[-1] if missing else path


def _is_report(path: Path) -> bool:
    from .reports import is_report

    try:
        if path.suffix.lower() in (".tsv", ".html", ".htm"):
            return is_report(path)
        document = read_json(path)
    except (OSError, TrimixError):
        return False
    return isinstance(document, dict) and {"segments", "flagged", "generations"} <= document.keys()


def holds(output: Path, data: bytes) -> bool:
    """Whether the output is there and is `data`."""
    try:
        return is_file(output) and output.read_bytes() == data
    except OSError:
        return False


def refuse_existing(output: Path) -> None:
    """Raises TrimixError where the output is there."""
    if is_file(output) and os.path.lexists(output):
        raise TrimixError(f"{output}: is there already; --force overwrites it")


@contextmanager
def sole_writer(output: Path, journal: Path | None) -> Iterator[None]:
    """Hold the locks of both, files beside them; they go when the process ends, however it ends.

    Raises:
        TrimixError: another process holds one, or a file of somebody else's has a lock's name.
    """
    from filelock import FileLock, Timeout

    with ExitStack() as held:
        paths = [path.absolute() for path in (output, journal) if path and is_file(path)]
        for path in dict.fromkeys(paths):
            lock = path.with_name(path.name + ".lock")
            # Ours is empty; to open it as a lock would empty it, to let go of it remove it.
            if lock.is_symlink() or (lock.exists() and (lock.is_dir() or lock.stat().st_size)):
                raise TrimixError(f"{lock}: is no lock of ours; choose another name for {path}")
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


def write(output: Path, data: bytes, codec: str = "utf-8") -> None:
    """Let the output appear, whole, or go to standard output for `-`; raises OSError.

    A terminal gets escapes for what would steer it: the text comes from a model, and from a file.
    `codec` is the encoding of `data`.
    """
    if output != STREAM:
        with replacing(output) as temporary:
            temporary.write_bytes(data)
        return
    if sys.stdout.isatty():
        data = safe(data.decode(codec), keep="\n\t").encode("utf-8")
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
