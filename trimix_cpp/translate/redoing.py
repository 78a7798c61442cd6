"""A second run over an output that is there: what is faulty in it is translated again."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..documents import Document, Pair, Result, Segment
from ..errors import TrimixError, UsageError
from ..files import as_type, read_json
from .existing import of_two
from .faults import Checking


@dataclass(frozen=True)
class Redo:
    """What a second run has to do.

    Attributes:
        document: into which the results go: the output itself where its format holds both
            languages, so that all else in it stays; else the input.
        segments: of the document, that are translated again, or never were.
        around: all that it has, translated or not, in its order.
        kept: the results that stay, by key; none where they stand in the document.
        before: of those that are translated again, what they are now, with its faults.
    """

    document: Document
    segments: Sequence[Segment]
    around: Sequence[Segment]
    kept: Mapping[int, Result] = field(default_factory=dict)
    before: Mapping[int, Result] = field(default_factory=dict)

    def better(self, results: Mapping[int, Result]) -> dict[int, Result]:
        """The results, but what was there before where the new one has more faults."""
        out = dict(results)
        for key, old in self.before.items():
            new = out.get(key)
            if new is None or len(new.reasons) > len(old.reasons):
                out[key] = old
        return out


def redo(
    document: Document, output: Document, named: Container[str] | None, checking: Checking
) -> Redo:
    """What is to be done again of `output`, which was made of `document`.

    `named` are the texts that a report names; None: those whose translation is faulty, or marked
    as such by the file.

    Raises:
        TrimixError: the output does not belong to the document.
    """
    pairs = output.pairs
    bilingual = pairs is not None
    if pairs is None:
        pairs = of_two(document.segments, output.segments, document.name, output.name)
    base = output if bilingual else document
    before, kept = {}, {}
    again: dict[int, Segment] = {}
    for pair in pairs:
        result = _judged(pair, checking)
        key = pair.segment.key
        if pair.segment.text in named if named is not None else pair.fuzzy or result.reasons:
            again[key], before[key] = pair.segment, result
        elif not bilingual:
            kept[key] = result
    known = {pair.segment.key for pair in pairs}
    again.update({one.key: one for one in base.segments if one.key not in known})
    every = {**{pair.segment.key: pair.segment for pair in pairs}, **again}
    around = [every[key] for key in sorted(every)]
    return Redo(base, [one for one in around if one.key in again], around, kept, before)


def _judged(pair: Pair, checking: Checking) -> Result:
    found = checking.faults(pair.segment, pair.translation)
    reasons = tuple(fault.reason for fault in found)
    return Result(pair.translation, bool(reasons), reasons)


@dataclass(frozen=True)
class _Row:
    source: str


@dataclass(frozen=True)
class _Report:
    flagged: tuple[_Row, ...]


def named_in(report: Path) -> frozenset[str]:
    """The texts that a JSON report names as to be looked at.

    Raises:
        UsageError: it is no such report.
        OSError: it cannot be read.
    """
    try:
        document: Any = read_json(report)
        found = as_type({"flagged": document["flagged"]}, _Report)
    except (KeyError, TypeError, ValueError, TrimixError):
        raise UsageError(f"{report}: is no report of translate in JSON: see --report") from None
    return frozenset(row.source for row in found.flagged)
