"""What the models answered, one JSON line each, so that the same command goes on after any end.

A line stands under a key made of everything that decides it. So one journal serves every run of
the same models: other methods, tasks and metrics find what they have in common. A line counts once
its line break is there; a torn end, left by a kill or a full disk, is cut off at the next opening.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import TrimixError
from ..files import Closing
from ..fusion import Weights
from ..store import home

_HEAD = b'{"trimix-cpp eval": 1}\n'
# Lines reach the system at once and the disk at most this much later, if others follow.
_SYNC_SECONDS = 0.2


def key_of(*parts: object) -> str:
    """The key of a line: a hash of the JSON values that decide it."""
    text = json.dumps(parts, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Journal(Closing):
    """A journal that is open; whoever has it holds its lock.

    Args:
        path: the file; it and its folder are made if they are not there.

    Raises:
        TrimixError: the file is no journal, or another process has it.
        OSError: the system refused.
    """

    def __init__(self, path: Path) -> None:
        from filelock import FileLock, Timeout

        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # The lock's file stays: a waiting process would lock one that was removed.
        self._lock = FileLock(f"{path}.lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise TrimixError(
                f"{path}: another evaluation is writing it; wait for that, or name another with "
                "--journal"
            ) from None
        try:
            self._file = open(path, "ab+", buffering=0)  # noqa: SIM115
            self._lines = self._read()
        except BaseException:
            self.close()
            raise
        self._synced = 0.0

    def __len__(self) -> int:
        return len(self._lines)

    def get(self, key: str) -> dict[str, Any] | None:
        """What stands under `key`, None if nothing does."""
        return self._lines.get(key)

    def add(self, key: str, values: Mapping[str, Any]) -> None:
        """Write a line.

        Raises:
            TrimixError: the disk is full, or another refusal of the system.
        """
        line = json.dumps({"key": key, **values}, ensure_ascii=False).encode("utf-8") + b"\n"
        self._write(line)
        self._lines[key] = dict(values)
        if time.monotonic() - self._synced >= _SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        """Close the file and give the lock back; harmless when done twice."""
        if file := getattr(self, "_file", None):
            file.close()
        self._lock.release()

    def _read(self) -> dict[str, dict[str, Any]]:
        """The lines by key; what is torn is cut off."""
        self._file.seek(0)
        data = self._file.read()
        if not data.startswith(_HEAD):
            # Zeros are what a power failure may leave of a file that had just begun.
            if not _HEAD.startswith(data.rstrip(b"\0")):
                raise TrimixError(f"{self.path}: is no journal of an evaluation; name another file")
            self._file.truncate(0)
            self._write(_HEAD)
            return {}
        lines, at = {}, len(_HEAD)
        while (end := data.find(b"\n", at)) >= 0:
            try:
                line = json.loads(data[at:end])
                key = str(line.pop("key"))
            except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
                break
            if _is_sound(line):  # else it was changed by hand, and is found out again
                lines[key] = line
            at = end + 1
        if at < len(data):
            self._file.truncate(at)
        return lines

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        try:
            while rest:  # a disk that fills up takes a part
                rest = rest[self._file.write(rest) or 0 :]
        except OSError as error:
            raise TrimixError(
                f"{self.path}: {error.strerror or error}; what is in it is kept: the same command "
                "goes on from there"
            ) from None


def _is_sound(line: Mapping[str, Any]) -> bool:
    """Whether a line holds one of the things that are written."""
    if "text" in line:
        return isinstance(line["text"], str)
    if "likelihoods" in line:
        values = line["likelihoods"]
        return isinstance(values, list) and all(v is None or type(v) is float for v in values)
    try:
        Weights.of(line["weights"])
    except (KeyError, ValueError):
        return False
    return True


def default_journal() -> Path:
    """The journal of whoever names none."""
    return home() / "eval" / "journal.jsonl"
