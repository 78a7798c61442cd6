"""The journal of a translation: one JSON line for each finished unit, so that nothing is lost.

`journal_lines` says what is in it. A torn end is cut off when the journal is opened;
a damaged line costs itself and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import TrimixError
from ..files import Closing, LineFile
from .journal_lines import (
    Head,
    Keys,
    Line,
    Maker,
    Share,
    as_json,
    differences,
    head_of,
    is_first_version,
    may_be_journal,
    record_of,
    records,
    summed,
)
from .units import Outcome, Unit


class Journal(Closing):
    """A journal that is open for writing; a context manager. Whoever has it holds its lock.

    Args:
        path: the file; made if there is none.
        settings: what decides the results besides the texts; JSON values.
        seed: of this run, None for any: a journal that goes on keeps its own.
        restart: empty a journal that was begun with other settings, or the same.
        shard: which part of a file it is for; None: the whole.
        machine: tells with what lines are made, as far as it is known; asked at each.

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
        shard: Share | None = None,
        machine: Callable[[], Maker | None] | None = None,
    ) -> None:
        self.path, self.seed = path, seed
        self.done: dict[str, Outcome] = {}
        self.damaged = 0
        self._settings: dict[str, Any] = json.loads(json.dumps(settings))
        self._shard, self._machine = shard, machine
        self._head: Head | None = None  # the last one that is in it
        self._mine = False
        self._file = LineFile(path)
        try:
            self._read(keep_seed, restart)
            self._keys = Keys(self._settings, self.seed)
            self._mine = True
        except BaseException:
            self.close()
            raise

    def key(self, unit: Unit) -> str:
        """The outcome of `unit` stands under it."""
        return self._keys.key(unit)

    def add(self, unit: Unit, outcome: Outcome) -> None:
        """Write down what became of a unit.

        Raises:
            TrimixError: the disk is full, or another refusal of the system.
        """
        self._tell_machine()
        key = self.key(unit)
        self._file.append(summed(as_json(record_of(key, self.seed, outcome))))
        self.done[key] = outcome

    def sync(self) -> None:
        """Return when everything is on the disk."""
        self._file.sync()

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
        with open(self.path, "rb") as file:
            if not may_be_journal(file):
                raise TrimixError(
                    f"{self.path}: is no journal of a translation; name another file with --journal"
                )
            if is_first_version(file) and not restart:
                raise self._other_version()
            whole = found = 0
            heads, lines = [], []
            for end, record in records(file):
                whole, found = end, found + 1
                if record is None:
                    self.damaged += 1
                elif isinstance(record, Line):
                    lines.append(record)
                else:
                    heads.append(record)
        if restart or found < 2:  # nothing was finished: other settings lose nothing
            self._file.cut(0)
            self.damaged = 0
            self._begin()
            return
        self._file.cut(whole)
        if heads:
            self._take_over(heads[-1], keep_seed)
        else:  # damaged; but lines found under their keys were made with the same settings
            self.seed = lines[0].seed if keep_seed and lines else self.seed
        if self._head is None or self.damaged > self._head.damaged:
            self._begin()
        self.done = {line.key: line.outcome for line in lines}

    def _begin(self) -> None:
        machine = self._machine() if self._machine else None
        self._head = Head(self.seed, self._settings, self._shard, machine, self.damaged)
        self._file.append(summed(as_json(self._head.record())))

    def _tell_machine(self) -> None:
        """A journal that goes on elsewhere says so, once there is something to say it of."""
        machine = self._machine() if self._machine else None
        if machine and (self._head is None or machine != self._head.machine):
            self._begin()

    def _take_over(self, record: Mapping[str, Any], keep_seed: bool) -> None:
        try:
            found = head_of(record)
        except ValueError:
            raise self._other_version() from None
        if keep_seed:
            self.seed = found.seed
        if found.shard != self._shard:
            raise TrimixError(f"{self.path}: {_other_part(found.shard, self._shard)}")
        now = Head(self.seed, self._settings)
        if differing := differences(found, now, "then", "now"):
            raise TrimixError(
                f"{self.path}: this translation was begun with other settings: "
                f"{', '.join(differing)}; go on with those, or begin anew with --restart"
            )
        self._head = found

    def _other_version(self) -> TrimixError:
        return TrimixError(f"{self.path}: was written by another version; --restart begins anew")


def _other_part(then: Share | None, now: Share | None) -> str:
    if then and now and (then.number, then.count) == (now.number, now.count):
        return (
            f"shard {now} was begun on other texts ({then.texts:,} then, {now.texts:,} now), and "
            "shards go together only if all are of the same; put the file back as it was, and what "
            "goes into its prompts, or begin all shards anew with --restart"
        )
    names = [f"shard {part}" if part else "a whole file" for part in (then, now)]
    return f"is the journal of {names[0]}, not of {names[1]}; name another file with --journal"
