"""Shards: which of a file's texts one of several machines translates. They need not talk.

Texts are dealt like cards, in the order of work: the first to one shard, the second to the next.
So shards differ by one text at most, and long and short passages of a file reach all of them. Which
shard gets the first text is taken from the texts themselves: of a thousand files of two texts not
all fall to shards 1 and 2.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from .journal_lines import Share, identity
from .units import Unit

_MOST = 1_000_000
_SHARD = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
_NAME = re.compile(r"\.([0-9]+)-of-([0-9]+)\.journal")


@dataclass(frozen=True)
class Shard:
    """One of `count` shards, by its number from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that 3/12 stands for; raises UsageError where it is none."""
        match = _SHARD.fullmatch(text)
        number, count = map(int, match.groups()) if match else (0, 0)
        if not 1 <= number <= count <= _MOST:
            raise UsageError(
                f"--shard {text!r}: is no shard; 3/12 is the third of twelve, {_MOST:,} at most"
            )
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def journal(self, output: Path) -> Path:
        """Where its texts are kept if nothing else is said."""
        return output.parent / f"{output.name}.{self.number}-of-{self.count}.journal"

    def share(self, units: Sequence[Unit]) -> Share:
        """What its journal says of it, given all texts in the order of work."""
        return Share(self.number, self.count, len(units), input_of(units))

    def units(self, units: Sequence[Unit]) -> list[Unit]:
        """Those that are its own, of all texts in the order of work."""
        numbers = dealt(len(units), self.count, input_of(units))
        return [u for u, number in zip(units, numbers, strict=True) if number == self.number]


def input_of(units: Sequence[Unit]) -> str:
    """A hash of texts and of what their prompts hold, in their order."""
    hashed = hashlib.sha256()
    for unit in units:
        hashed.update(identity(unit) + b"\n")
    return hashed.hexdigest()[:32]


def dealt(n_units: int, count: int, input: str) -> Iterator[int]:
    """The number of the shard of each text, in the order of work."""
    first = int(input, 16)
    return ((first + i) % count + 1 for i in range(n_units))


def journals_beside(output: Path) -> list[Path]:
    """The journals of shards that lie beside an output, by their names; raises OSError."""
    found = []
    for path in output.parent.iterdir():
        match = _NAME.fullmatch(path.name.removeprefix(output.name))
        if match and path.name.startswith(output.name):
            found.append((int(match[2]), int(match[1]), path))
    return [path for _, _, path in sorted(found)]
