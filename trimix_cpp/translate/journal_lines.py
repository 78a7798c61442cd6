"""What the lines of a journal say, and how: `Journal` writes them, a merge of shards reads them.

The first line is the head: the settings, everything that decides a result besides the text. Each
other one is the outcome of a unit, under a key made of both, and ends in a checksum.
Further heads tell where a journal went on: on another machine, or after damage.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, BinaryIO

from ..files import as_type, begins_with, whole_lines
from ..fusion import Weights
from .recipe import NO_HINTS
from .units import Outcome, Unit

_MAGIC = b'{"trimix-cpp translate": '
_FORMAT = 2
_SUM = re.compile(rb', "sum": "([0-9a-f]{8})"\}$')


@dataclass(frozen=True)
class Share:
    """The part of a file that a journal is for: shard `number` of `count`.

    Attributes:
        number, count: from 1.
        texts: how many different ones all shards have together.
        input: a hash of them, in the order of work.
    """

    number: int
    count: int
    texts: int
    input: str

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(f"there is no shard {self}")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class Maker:
    """With what lines were made. It decides no setting, but may decide the last bits.

    Attributes:
        cpu: its name.
        features: what llama.cpp was built with and uses of it.
        llama_cpp: the release of llama-cpp-python.
    """

    cpu: str
    features: tuple[str, ...]
    llama_cpp: str

    @classmethod
    def together(cls, makers: Sequence[Maker]) -> Maker:
        """Several that work on one file: all their CPUs, and the features that all have."""
        cpus = dict.fromkeys(maker.cpu for maker in makers)
        common = set.intersection(*(set(maker.features) for maker in makers))
        first = makers[0]
        features = tuple(name for name in first.features if name in common)
        return cls(" and ".join(cpus), features, first.llama_cpp)


@dataclass(frozen=True)
class Head:
    """What a head says.

    Attributes:
        seed: of the run that began it.
        settings: what decides the results besides the texts.
        shard: which part of a file it is for; None: the whole.
        machine: what makes the lines after it.
        damaged: lines before it that cannot be read; what was in them was translated again.
    """

    seed: int
    settings: dict[str, Any]
    shard: Share | None = None
    machine: Maker | None = None
    damaged: int = 0

    def record(self) -> dict[str, Any]:
        """As it is written."""
        more = {name: value for name, value in asdict(self).items() if value}
        return {
            "trimix-cpp translate": _FORMAT, "seed": self.seed, "settings": self.settings, **more
        }  # fmt: skip


@dataclass(frozen=True)
class Line:
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
        """What became of the unit."""
        weights = _weights(self.weights) if self.weights else None
        return Outcome(self.text, self.reasons, self.tokens, weights, self.retried, self.shots)


class Keys:
    """Under which key the outcome of a unit stands: a hash of settings, seed and unit."""

    def __init__(self, settings: Mapping[str, Any], seed: int) -> None:
        # The settings stand first in what is hashed: they are read once.
        self._begun = hashlib.sha256(as_json([settings, seed])[:-1] + b", ")

    def key(self, unit: Unit) -> str:
        """32 hexadecimal digits."""
        hashed = self._begun.copy()
        hashed.update(identity(unit)[1:])
        return hashed.hexdigest()[:32]


def identity(unit: Unit) -> bytes:
    """All that tells a unit from others, as JSON."""
    parts = [unit.text, sorted(unit.syntax), unit.label]
    return as_json(parts if unit.hints == NO_HINTS else [*parts, asdict(unit.hints)])


def may_be_journal(file: BinaryIO) -> bool:
    """Whether a file, read from its start, is a journal, or the torn beginning of one."""
    return begins_with(file, _MAGIC)


def records(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | Line | None]]:
    """Each line that has its end: where that is, and a head's record or a line; None: damaged."""
    for end, data in whole_lines(file):
        record = _record_of(data)
        yield end, record if record is None or "settings" in record else _line_of(record)


def _record_of(line: bytes) -> dict[str, Any] | None:
    match = _SUM.search(line)
    if match is None or _sum(line[: match.start()]) != match[1]:
        return None
    try:
        record = json.loads(line[: match.start()] + b"}")
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def is_first_version(file: BinaryIO) -> bool:
    """Whether a journal, read from its start, has no checksums yet; it is at its start after."""
    start = file.read(64)
    file.seek(0)
    return start.startswith(_MAGIC + b"1,")


def head_of(record: Mapping[str, Any]) -> Head:
    """A head; raises ValueError: another version wrote it, or it says what cannot be."""
    if record.get("trimix-cpp translate") != _FORMAT:
        raise ValueError("another version")
    return as_type(record, Head)


def _line_of(record: Mapping[str, Any]) -> Line | None:
    try:
        line = as_type(record, Line)
        _weights(line.weights or (0, 0))
        return line
    except ValueError:
        return None


@lru_cache(1024)
def _weights(numbers: tuple[float, ...]) -> Weights:
    # Most texts have the same; millions of lines share them.
    return Weights.of(numbers)


def record_of(key: str, seed: int, outcome: Outcome) -> dict[str, Any]:
    """An outcome as it is written."""
    return {
        "key": key,
        "seed": seed,
        "text": outcome.text,
        "reasons": list(outcome.reasons),
        "tokens": outcome.tokens,
        "weights": outcome.weights and outcome.weights.numbers,
        "retried": outcome.retried,
        "shots": outcome.shots,
    }


def summed(line: bytes) -> bytes:
    """A JSON object with a checksum of what stands before it as its last member."""
    return line[:-1] + b', "sum": "' + _sum(line[:-1]) + b'"}'


def _sum(data: bytes) -> bytes:
    return b"%08x" % zlib.crc32(data)


def as_json(value: Any) -> bytes:
    """A value in one line; the same value gives the same bytes."""
    # A lone surrogate cannot come out of UTF-8 text, so this always encodes.
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": ")).encode("utf-8")


def differences(one: Head, other: Head, first: str, second: str) -> list[str]:
    """Settings and seeds that differ, each with both values: `first` and `second` say whose."""
    then = _leaves({**one.settings, "seed": one.seed})
    now = _leaves({**other.settings, "seed": other.seed})
    return [
        f"{name} ({_shown(then.get(name))} {first}, {_shown(now.get(name))} {second})"
        for name in {**then, **now}
        if then.get(name) != now.get(name)
    ]


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings within settings by their full names: `sampler.temperature`."""
    out: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            out |= _leaves(value, f"{prefix}{name}.")
        else:
            out[prefix + name] = value
    return out


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "…"
