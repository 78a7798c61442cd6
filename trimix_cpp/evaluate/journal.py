"""What the models answered, one JSON line each, so that the same command goes on after any end.

A line stands under a key made of everything that decides it. So one journal serves every run of
the same models: other methods, tasks and metrics find what they have in common. What is torn is cut
off at the next opening.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ..errors import TrimixError
from ..files import Closing, LineFile, begins_with, whole_lines
from ..fusion import Weights
from ..store import home

_HEAD = b'{"trimix-cpp eval": 1}'


def key_of(*parts: object) -> str:
    """The key of a line: a hash of the JSON values that decide it."""
    text = json.dumps(parts, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Lines(Protocol):
    """What is known, by key."""

    def get(self, key: str) -> dict[str, Any] | None:
        """What stands under `key`, None if nothing does."""
        ...

    def add(self, key: str, values: Mapping[str, Any]) -> None:
        """Write a line."""
        ...


class Noted:
    """`Lines` that notes what is found and added; alone, or above others that keep it.

    Args:
        beneath: the others.

    Attributes:
        lines: what was noted.
    """

    def __init__(self, beneath: Lines | None = None) -> None:
        self._beneath = beneath
        self.lines: dict[str, dict[str, Any]] = {}

    def get(self, key: str) -> dict[str, Any] | None:
        """See `Lines`."""
        line = self.lines.get(key)
        if line is None and self._beneath is not None and (line := self._beneath.get(key)):
            self.lines[key] = line
        return line

    def add(self, key: str, values: Mapping[str, Any]) -> None:
        """See `Lines`."""
        self.lines[key] = dict(values)
        if self._beneath is not None:
            self._beneath.add(key, values)

    def taken(self) -> dict[str, dict[str, Any]]:
        """What was noted; it begins anew."""
        lines, self.lines = self.lines, {}
        return lines


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
            self._file = LineFile(path)
            self._lines = self._read()
        except BaseException:
            self.close()
            raise

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
        line = json.dumps({"key": key, **values}, ensure_ascii=False)
        self._file.append(line.encode("utf-8"))
        self._lines[key] = dict(values)

    def close(self) -> None:
        """Close the file and give the lock back; harmless when done twice."""
        if file := getattr(self, "_file", None):
            file.close()
        self._lock.release()

    def _read(self) -> dict[str, dict[str, Any]]:
        """The lines by key; what is torn is cut off."""
        lines, whole = dict[str, dict[str, Any]](), 0
        with open(self.path, "rb") as file:
            if not begins_with(file, _HEAD + b"\n", zeros=True):
                raise TrimixError(f"{self.path}: is no journal of an evaluation; name another file")
            for end, data in whole_lines(file):
                try:
                    line = json.loads(data)
                    key = str(line.pop("key")) if whole else ""  # the first is the head
                except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
                    break
                if key and _is_sound(line):  # else it was changed by hand, and is found out again
                    lines[key] = line
                whole = end
        self._file.cut(whole)
        if not whole:
            self._file.append(_HEAD)
        return lines


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
