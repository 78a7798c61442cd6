"""Translations that are there already: in a file beside their texts, or in one of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..documents import Document, Pair, Segment
from ..errors import TrimixError, UsageError
from .faults import Checking, Fault


@dataclass(frozen=True)
class Found:
    """A translation, and what is wrong with it."""

    pair: Pair
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class Existing:
    """The translations of a file.

    Attributes:
        pairs: each text with its translation.
        missing: texts that have none.
        fuzzy: pairs that were left out, for the file itself says that they are not done.
    """

    pairs: tuple[Pair, ...]
    missing: int = 0
    fuzzy: int = 0

    @property
    def n_pairs(self) -> int:
        """How many there are."""
        return len(self.pairs)

    def checked(self, checking: Checking) -> list[Found]:
        """Each pair with its faults."""
        return [Found(pair, checking.faults(pair.segment, pair.translation)) for pair in self.pairs]


def existing_in(
    document: Document, original: Document | None = None, fuzzy: bool = False
) -> Existing:
    """The translations that `document` holds, of the texts beside them or in `original`.

    Two files go together by what they call their texts, if they do, else one text after the other.

    Raises:
        UsageError: `original` is missing, or of no use.
        TrimixError: the two files do not go together.
    """
    pairs = document.pairs
    if pairs is None and original is None:
        raise UsageError(
            f"{document.name}: holds one language; give the file that it was translated from "
            f"with --source FILE"
        )
    if pairs is not None:
        if original is not None:
            raise UsageError(f"{document.name}: holds its source too; leave out --source")
        kept = tuple(pair for pair in pairs if fuzzy or not pair.fuzzy)
        done = {pair.segment.key for pair in pairs}
        missing = sum(segment.key not in done for segment in document.segments)
        return Existing(kept, missing, len(pairs) - len(kept))
    assert original is not None
    found = of_two(original.segments, document.segments, original.name, document.name)
    return Existing(found, len(original.segments) - len(found))


def of_two(
    ours: Sequence[Segment], theirs: Sequence[Segment], our_name: str, their_name: str
) -> tuple[Pair, ...]:
    """Texts of a file with what stands for them in another one, a translation of it.

    Raises:
        TrimixError: the two files do not go together.
    """
    if _named(ours) and _named(theirs):
        translated = {_called(segment): segment for segment in theirs}
        found = [(one, translated[_called(one)]) for one in ours if _called(one) in translated]
    elif len(ours) != len(theirs):
        raise TrimixError(
            f"{their_name} has {len(theirs)} texts, {our_name} {len(ours)}: which belongs to which "
            f"cannot be told"
        )
    else:
        found = list(zip(ours, theirs, strict=True))
    return tuple(Pair(replace(one, where=other.where), other.text) for one, other in found)


def _named(segments: Sequence[Segment]) -> bool:
    names = {_called(segment) for segment in segments if segment.name}
    return len(names) == len(segments)


def _called(segment: Segment) -> tuple[str, int | None]:
    """The forms of a plural have one name."""
    return segment.name, segment.form
