"""The journals of a file's shards put together: the output that one machine would have written.

No model is needed. Journals are read one after the other, line by line; what is held is an outcome
a text, as at the end of any run.
"""

from __future__ import annotations

import glob
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import TrimixError, UsageError
from ..files import real_path
from ..showing import count, notice
from . import files
from .job import units_of
from .journal_lines import (
    Head,
    Keys,
    Line,
    Maker,
    Share,
    differences,
    head_of,
    is_first_version,
    may_be_journal,
    records,
)
from .shards import dealt, input_of, journals_beside
from .task import Task
from .units import Outcome, Unit

_SHOWN = 8
_EXCERPT = 40
_BY_ANSWERS = "ppl-answers"


def journals_of(named: Sequence[Path], output: Path) -> list[Path]:
    """The journals that are named, a pattern's in their alphabetical order; else those beside it.

    Raises:
        TrimixError: a pattern has no file.
        OSError: the folder cannot be read.
    """
    if not named:
        return journals_beside(output) if files.is_file(output) else []
    found: list[Path] = []
    for path in named:
        matches = [path]
        if any(char in str(path) for char in "*?[") and not path.exists():
            matches = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
            if not matches:
                raise TrimixError(f"{path}: there is no such journal")
        found += matches
    return list(dict.fromkeys(found))


def merge(task: Task, journals: Sequence[Path], said: Mapping[str, Any], *, force: bool) -> None:
    """Write a task's output from the journals of its shards, which stay as they are.

    `said` are settings that the command line gives, by their names in a journal.

    Raises:
        UsageError: the output is one of the journals.
        TrimixError: a journal is damaged, edited, of another file, of other settings or of another
            count of shards; two differ; texts are missing; or the output may not be written.
        OSError: a file cannot be read or written.
    """
    for path in journals:
        if files.is_file(task.output) and real_path(path) == real_path(task.output):
            raise UsageError(f"{path}: is a journal, and the output; name another file with -o")
    with task.held:
        task.hold()
        shards = _Shards(task, said)
        for path in journals:
            shards.read(path)
        task.outcomes = shards.outcomes()
        task.resumed = len(task.outcomes)
        if line := shards.makers():
            notice(line)
        task.write(force)


class _Shards:
    """What the journals of one file's shards have, held against the file and each other."""

    def __init__(self, task: Task, said: Mapping[str, Any]) -> None:
        self._task, self._said = task, said
        self._units = task.ordered
        self._input = input_of(self._units)
        self._first: tuple[Path, Head, Share] | None = None
        self._index: dict[bytes, int] = {}  # of the units, by key
        self._numbers: Sequence[int] = ()  # of their shards
        self._found: list[Outcome | None] = [None] * len(self._units)
        self._paths: dict[int, list[Path]] = {}  # of the journals read, by shard
        self._makers: dict[tuple[tuple[str, ...], str], set[int]] = {}

    def read(self, path: Path) -> None:
        """Take over a journal; raises as `merge`."""
        head, share = self._head(path)
        self._compare(path, head, share)
        earlier = self._paths.setdefault(share.number, [])
        damaged = told = 0
        with open(path, "rb") as file:
            for _, record in records(file):
                if record is None:
                    damaged += 1
                elif isinstance(record, Line):
                    self._take(path, share, record, earlier)
                else:
                    later, own = _checked(path, record)
                    if own != share or differences(head, later, "", ""):
                        raise TrimixError(f"{path}: was edited: its heads contradict each other")
                    told = later.damaged
                    self._note(later.machine, share.number)
        if damaged > told:
            raise TrimixError(
                f"{path}: {count(damaged - told, 'line')} of it cannot be read: it is damaged, or "
                f"was edited; the same command with --shard {share} mends it"
            )
        earlier.append(path)

    def _head(self, path: Path) -> tuple[Head, Share]:
        """The first head; in a sound journal that is the first line."""
        if not files.is_file(path):  # a device or a FIFO may never end
            raise TrimixError(f"{path}: is no file, and so no journal")
        with open(path, "rb") as file:
            if not may_be_journal(file):
                raise TrimixError(f"{path}: is no journal of a translation")
            old = is_first_version(file)
            for _, record in () if old else records(file):
                if isinstance(record, dict):
                    return _checked(path, record)
        if old:
            raise _other_version(path)
        raise TrimixError(
            f"{path}: has no head that can be read: it was hardly begun, or is damaged; the same "
            "command with --shard mends it"
        )

    def _compare(self, path: Path, head: Head, share: Share) -> None:
        """Raises TrimixError where a journal does not go with the file, the command or the others.

        The first one says by which keys the file's texts are found.
        """
        if self._first:
            first_path, first, first_share = self._first
            if share.count != first_share.count:
                raise TrimixError(
                    f"{path}: is shard {share}, and {first_path} is shard {first_share}: shards of "
                    "one count go together; name the journals that are meant after --merge"
                )
        if (share.input, share.texts) != (self._input, len(self._units)):
            raise TrimixError(
                f"{path}: shard {share} was made of other texts than {self._task.document.name} "
                f"has now ({share.texts:,} there, {len(self._units):,} here): the file was edited, "
                "or --cut, --context, --glossary or a memory is another"
            )
        if self._first:
            if differing := differences(first, head, f"in {first_path}", "here"):
                raise TrimixError(
                    f"{path}: was made with other settings: {', '.join(differing)}; translate that "
                    f"shard with those of the others"
                )
            return
        said = Head(head.seed, {**head.settings, **self._said})
        if not self._said.get("shots") and str(head.settings.get("weights")).startswith(
            _BY_ANSWERS
        ):
            said.settings["shots"] = head.settings.get("shots")  # pairs of the memory
        if differing := differences(head, said, "there", "now"):
            raise TrimixError(
                f"{path}: was made with other settings: {', '.join(differing)}; merge with those"
            )
        self._first = path, head, share
        keys = Keys(head.settings, head.seed)
        self._index = {bytes.fromhex(keys.key(unit)): i for i, unit in enumerate(self._units)}
        self._numbers = array("I", dealt(len(self._units), share.count, self._input))

    def _take(self, path: Path, share: Share, line: Line, earlier: Sequence[Path]) -> None:
        try:
            i = self._index[bytes.fromhex(line.key)]
        except (KeyError, ValueError):
            i = -1
        if i < 0 or self._numbers[i] != share.number:
            raise TrimixError(
                f"{path}: was edited: it has a text that is none of shard {share}; translate that "
                f"shard anew with --restart"
            )
        outcome, known = line.outcome, self._found[i]
        if known is not None and known != outcome:
            text = self._units[i].text
            text = text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"
            if not earlier:
                raise TrimixError(f"{path}: was edited: it has two translations of: {text}")
            raise TrimixError(
                f"{path}: differs from {earlier[-1]}, and both are of shard {share}: two "
                f"translations of: {text}; name one of them after --merge"
            )
        self._found[i] = outcome

    def outcomes(self) -> dict[Unit, Outcome]:
        """Those of all texts, in the order of the file; raises TrimixError where one is missing."""
        there = dict(zip(self._units, self._found, strict=True))
        if None in self._found:
            raise TrimixError(f"{self._task.output}: {self._missing()}")
        return {unit: found for unit in units_of(self._task.layouts) if (found := there[unit])}

    def _missing(self) -> str:
        if self._first is None:
            return (
                f"no journal of a shard lies beside it ({self._task.output.name}.1-of-N.journal "
                "and so on); name them after --merge"
            )
        shares = Counter(self._numbers)
        left = Counter(n for n, o in zip(self._numbers, self._found, strict=True) if o is None)
        n_shards = self._first[2].count
        parts = []
        for number, texts in sorted(left.items())[:_SHOWN]:
            what = "" if number in self._paths else ", no journal"
            parts.append(
                f"{number}/{n_shards} ({texts:,} of {count(shares[number], 'text')}{what})"
            )
        more = f" and {len(left) - _SHOWN:,} shards more" if len(left) > _SHOWN else ""
        total = f"{left.total():,} of {count(len(self._units), 'text')}"
        return (
            f"{total} are missing, of shard {', '.join(parts)}{more}; the same command with "
            "--shard translates them"
        )

    def _note(self, maker: Maker | None, number: int) -> None:
        if maker:
            features = tuple(sorted(maker.features)), maker.llama_cpp
            self._makers.setdefault(features, set()).add(number)

    def makers(self) -> str:
        """Where bits may differ though all was made in exact mode; "" if nowhere."""
        if len(self._makers) < 2 or not (self._first and self._first[1].settings.get("exact")):
            return ""
        common = set.intersection(*(set(features) for features, _ in self._makers))
        parts = []
        for (features, _), numbers in self._makers.items():
            own = " ".join(name for name in features if name not in common) or "nothing else"
            shown = ", ".join(map(str, sorted(numbers)[:_SHOWN])) + ", …" * (len(numbers) > _SHOWN)
            parts.append(f"{own} (shard {shown})")
        return (
            f"{self._task.output}: exact mode, but llama.cpp had other features of CPUs: "
            f"{'; '.join(parts)}; some texts may be others than on one machine"
        )


def _checked(path: Path, record: Mapping[str, Any]) -> tuple[Head, Share]:
    try:
        head = head_of(record)
    except ValueError:
        raise _other_version(path) from None
    if head.shard is None:
        raise TrimixError(
            f"{path}: is the journal of a whole file, not of a shard; the command that began it, "
            "without --merge, goes on from it"
        )
    return head, head.shard


def _other_version(path: Path) -> TrimixError:
    return TrimixError(
        f"{path}: was written by another version; translate its shard anew: --shard with --restart"
    )
