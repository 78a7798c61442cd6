"""The journal of a translation: one JSON line for each finished unit, so that nothing is lost.

The first line holds the settings, everything that decides a result besides the text; each other one
the outcome of a unit, under a key made of both. A line counts once its line break is there: a
torn end, left by a kill, a power failure or a full disk, is cut off when the journal is opened.
Each line ends in a checksum, so that a damaged one costs itself and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import TrimixError
from ..files import Closing, as_type
from ..fusion import Weights
from .recipe import NO_HINTS
from .units import Outcome, Unit

_MAGIC = b'{"trimix-cpp translate": '
_FORMAT = 2
_SUM = re.compile(rb', "sum": "([0-9a-f]{8})"\}$')
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
        damaged: lines that cannot be read; their units are to be translated again.
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
        self.damaged = 0
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
        if unit.hints != NO_HINTS:
            parts.append(asdict(unit.hints))
        return hashlib.sha256(_line(parts)).hexdigest()[:32]

    def add(self, unit: Unit, outcome: Outcome) -> None:
        """Write down what became of a unit.

        Raises:
            TrimixError: the disk is full, or another refusal of the system.
        """
        key = self.key(unit)
        self._write({"key": key, "seed": self.seed, **_record(outcome)})
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
        if data.startswith(_MAGIC + b"1,") and not restart:  # it had no checksums
            raise TrimixError(f"{self.path}: was written by another version; --restart begins anew")
        end = data.rfind(b"\n") + 1
        records = [_record_of(line) for line in data[:end].split(b"\n")[:-1]]
        if restart or len(records) < 2:  # nothing was finished: other settings lose nothing
            self._file.truncate(0)
            self._begin()
            return
        self._file.truncate(end)
        self.damaged = records.count(None)
        whole = [record for record in records if record is not None]
        headers = [record for record in whole if "settings" in record]
        lines = list(filter(None, map(self._line_of, whole)))
        if headers:
            self._take_over(headers[-1], keep_seed)
        else:  # damaged; but lines found under their keys were made with the same settings
            self.seed = lines[0].seed if keep_seed and lines else self.seed
            self._begin()
        self.done = {line.key: line.outcome for line in lines}

    def _begin(self) -> None:
        header = {"trimix-cpp translate": _FORMAT, "seed": self.seed, "settings": self._settings}
        self._write(header)
        self.sync()

    def _line_of(self, record: Mapping[str, Any]) -> _Line | None:
        if "settings" in record:
            return None
        try:
            line = as_type(record, _Line)
            Weights.of(line.weights or (0, 0))
            return line
        except ValueError:
            self.damaged += 1
            return None

    def _take_over(self, header: Mapping[str, Any], keep_seed: bool) -> None:
        try:
            found = as_type({"seed": header["seed"], "settings": header["settings"]}, _Header)
            if header["trimix-cpp translate"] != _FORMAT:
                raise ValueError
        except (KeyError, ValueError):
            raise TrimixError(
                f"{self.path}: was written by another version; --restart begins anew"
            ) from None
        if keep_seed:
            self.seed = found.seed
        then = _leaves({**found.settings, "seed": found.seed})
        now = _leaves({**self._settings, "seed": self.seed})
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
        data = memoryview(_summed(_line(record)) + b"\n")

        def write() -> None:
            rest = data
            while rest:  # a disk that fills up takes a part
                rest = rest[self._file.write(rest) or 0 :]

        self._guarded(write)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except OSError as error:
            raise TrimixError(
                f"{self.path}: {error.strerror or error}; what is in it is kept: the same command "
                "goes on from there"
            ) from None


@dataclass(frozen=True)
class _Header:
    seed: int
    settings: dict[str, Any]


@dataclass(frozen=True)
class _Line:
    """What a line holds: `Outcome` under its key."""

    key: str
    seed: int
    text: str | None
    reasons: tuple[str, ...]
    tokens: int
    weights: tuple[float, ...] | None
    retried: bool
    shots: int

    @property
    def outcome(self) -> Outcome:
        weights = Weights.of(self.weights) if self.weights else None
        return Outcome(self.text, self.reasons, self.tokens, weights, self.retried, self.shots)


def _may_be_journal(data: bytes) -> bool:
    # A line that had just begun may be torn, and zeros are what a power failure leaves of its end.
    begun = data.rstrip(b"\0") if data[:1] == _MAGIC[:1] else data
    return begun.startswith(_MAGIC) or _MAGIC.startswith(begun)


def _record_of(line: bytes) -> dict[str, Any] | None:
    """What a line says; None if its checksum tells otherwise."""
    match = _SUM.search(line)
    if match is None or _sum(line[: match.start()]) != match[1]:
        return None
    try:
        record = json.loads(line[: match.start()] + b"}")
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _summed(line: bytes) -> bytes:
    """A JSON object with a checksum of what stands before it as its last member."""
    return line[:-1] + b', "sum": "' + _sum(line[:-1]) + b'"}'


def _sum(data: bytes) -> bytes:
    return b"%08x" % zlib.crc32(data)


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings within settings by their full names: `sampler.temperature`."""
    out: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            out |= _leaves(value, f"{prefix}{name}.")
        else:
            out[prefix + name] = value
    return out


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
