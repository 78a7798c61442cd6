"""The journal of a translation: one JSON line for each finished unit, so that nothing is lost.

The first line holds the settings, everything that decides a result besides the text; each other one
the outcome of a unit, under a key made of both. A line counts once its line break is there: a
torn end, left by a kill, a power failure or a full disk, is cut off when the journal is opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import TrimixError
from ..files import Closing
from ..fusion import Weights
from .units import Outcome, Unit

_MAGIC = b'{"trimix-cpp translate": 1'
# Lines reach the system at once and the disk at most this much later, if others follow: a power
# failure costs the computation of no more than that.
_SYNC_SECONDS = 0.2


class Journal(Closing):
    """A journal that is open for writing; a context manager. Whoever has it holds its lock.

    Args:
        path: the file; made if there is none.
        settings: what decides the results besides the texts; JSON values.
        seed: of this run, None for any: a journal that goes on keeps its own.
        restart: empty a journal that was begun with other settings, or the same.

    Attributes:
        path: the file.
        done: outcomes that are in it, by key.
        seed: of the run that began it.

    Raises:
        TrimixError: the file is no journal, or was begun with other settings.
        OSError: the system refused.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        *,
        seed: int,
        keep_seed: bool = False,
        restart: bool = False,
    ) -> None:
        self.path, self.seed = path, seed
        self.done: dict[str, Outcome] = {}
        self._settings: dict[str, Any] = json.loads(json.dumps(settings))
        self._synced = 0.0
        self._mine = False
        new = not path.exists()
        self._file = open(path, "ab+", buffering=0)  # noqa: SIM115
        try:
            self._read(keep_seed, restart)
            self._mine = True
            if new:
                _sync_folder(path.parent)
        except BaseException:
            self.close()
            raise

    def key(self, unit: Unit) -> str:
        """The outcome of `unit` stands under it: a hash of settings, seed and unit."""
        parts = [self._settings, self.seed, unit.text, sorted(unit.syntax), unit.label]
        return hashlib.sha256(_line(parts)).hexdigest()[:32]

    def add(self, unit: Unit, outcome: Outcome) -> None:
        """Write down what became of a unit.

        Raises:
            TrimixError: the disk is full, or another refusal of the system.
        """
        key = self.key(unit)
        self._write({"key": key, **_record(outcome)})
        self.done[key] = outcome
        if time.monotonic() - self._synced >= _SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Return when everything is on the disk."""
        self._guarded(lambda: os.fsync(self._file.fileno()))
        self._synced = time.monotonic()

    def remove(self) -> None:
        """Close it and remove the file: the output is there."""
        self.close()
        with suppress(OSError):
            self.path.unlink()

    def close(self) -> None:
        """Close the file, and remove it if nothing came of it; harmless when done twice."""
        self._file.close()
        if self._mine and not self.done:
            self.path.unlink(missing_ok=True)
            self._mine = False

    def _read(self, keep_seed: bool, restart: bool) -> None:
        """Take over what is in the file, and cut off what is torn; or begin it."""
        self._file.seek(0)
        data = self._file.read()
        if not _may_be_journal(data):
            raise TrimixError(
                f"{self.path}: is no journal of a translation; name another file with --journal"
            )
        records, end = _whole_lines(data)
        if restart or len(records) < 2:  # nothing was finished: other settings lose nothing
            self._file.truncate(0)
            self._write({"trimix-cpp translate": 1, "seed": self.seed, "settings": self._settings})
            self.sync()
            return
        try:
            self._take_over(records[0], keep_seed)
            for record in records[1:]:
                self.done[record["key"]] = _outcome(record)
        except (KeyError, TypeError, ValueError):
            raise TrimixError(
                f"{self.path}: was changed by hand or by another version; --restart begins anew"
            ) from None
        if end < len(data):
            self._file.truncate(end)

    def _take_over(self, header: Mapping[str, Any], keep_seed: bool) -> None:
        then, now = dict(header["settings"]), dict(self._settings)
        then["seed"], now["seed"] = header["seed"], self.seed
        if keep_seed:
            self.seed = now["seed"] = header["seed"]
        differing = [name for name in {**then, **now} if then.get(name) != now.get(name)]
        if differing:
            shown = ", ".join(
                f"{name} ({_shown(then.get(name))} then, {_shown(now.get(name))} now)"
                for name in differing
            )
            raise TrimixError(
                f"{self.path}: this translation was begun with other settings: {shown}; go on with "
                "those, or begin anew with --restart"
            )

    def _write(self, record: Mapping[str, Any]) -> None:
        data = memoryview(_line(record) + b"\n")

        def write() -> None:
            rest = data
            while rest:  # a disk that fills up takes a part
                rest = rest[self._file.write(rest) or 0 :]

        self._guarded(write)

    def _guarded(self, action: Any) -> None:
        try:
            action()
        except OSError as error:
            raise TrimixError(
                f"{self.path}: {error.strerror or error}; what is in it is kept: the same command "
                "goes on from there"
            ) from None


def _may_be_journal(data: bytes) -> bool:
    # Zeros are what a power failure may leave of a file that had just begun.
    begun = data.rstrip(b"\0")
    return begun.startswith(_MAGIC) or _MAGIC.startswith(begun)


def _whole_lines(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """The records up to the first line that is torn, and where that begins."""
    records: list[dict[str, Any]] = []
    at = 0
    while (end := data.find(b"\n", at)) >= 0:
        try:
            record = json.loads(data[at:end])
        except ValueError:
            break
        if not isinstance(record, dict):
            break
        records.append(record)
        at = end + 1
    return records, at


def _line(value: Any) -> bytes:
    # A lone surrogate cannot come out of UTF-8 text, so this always encodes.
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": ")).encode("utf-8")


def _record(outcome: Outcome) -> dict[str, Any]:
    return {
        "text": outcome.text,
        "reasons": list(outcome.reasons),
        "tokens": outcome.tokens,
        "weights": outcome.weights and outcome.weights.numbers,
        "retried": outcome.retried,
        "shots": outcome.shots,
    }


def _outcome(record: Mapping[str, Any]) -> Outcome:
    return Outcome(
        text=record["text"],
        reasons=tuple(record["reasons"]),
        tokens=record["tokens"],
        weights=None if record["weights"] is None else Weights.of(record["weights"]),
        retried=record["retried"],
        shots=record["shots"],
    )


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "…"


def _sync_folder(folder: Path) -> None:
    """Make a new file's name lasting, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
