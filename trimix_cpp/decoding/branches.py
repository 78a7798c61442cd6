"""Several continuations of one text in the caches of one role."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .feeds import Feed
from .prefixes import common_length

if TYPE_CHECKING:
    from .trio import Trio


class Branches:
    """Sequences of llama.cpp that hold beginnings of one text's tokens, a role's own.

    Whatever is asked for, what the sequences have of it is used, and the rest is fed: so nothing
    depends on how many there are but the time that it takes.

    Args:
        trio: its contexts.
        role: loaded.
        slots: the sequences, empty.
    """

    def __init__(self, trio: Trio, role: str, slots: Sequence[int]) -> None:
        self._trio, self._role = trio, role
        self._held: dict[int, list[int]] = {slot: [] for slot in slots}
        self._coming: dict[int, list[int]] = {}

    def known(self, path: Sequence[int]) -> int:
        """How much of `path` a sequence has."""
        return max(common_length(held, path) for held in self._held.values())

    def keep(self, paths: Iterable[Sequence[int]]) -> None:
        """Cut off what none of `paths` begins with, and what a batch that was left brought."""
        paths = list(paths)
        for slot, held in self._held.items():
            length = max((common_length(held, path) for path in paths), default=0)
            if length < len(held) or slot in self._coming:
                self._cut(slot, length)
        self._coming.clear()

    def _cut(self, slot: int, length: int) -> None:
        del self._held[slot][self._trio.rewind(self._role, slot, length) :]

    def batch(
        self, paths: Sequence[Sequence[int]], n_logits: int = 1
    ) -> tuple[list[Feed], Sequence[Sequence[int]]]:
        """What to feed so that the ends of the first `paths` are evaluated, and the other paths.

        There are others where there are more than sequences. Call `keep` first, and `fed` when it
        is done. The last `n_logits` tokens of each give rows.
        """
        feeds: list[Feed] = []
        for path in paths:
            free = [slot for slot in self._held if slot not in self._coming]
            if not free:
                break
            lengths = {
                slot: min(common_length(held, path), len(path) - n_logits)
                for slot, held in self._held.items()
            }
            source = max(self._held, key=lambda slot: lengths[slot])
            slot = self._place(source, lengths, free)
            start = len(self._held[slot])
            feeds.append(Feed(slot, path[start:], start, n_logits))
            self._coming[slot] = list(path)
        return feeds, paths[len(feeds) :]

    def _place(self, source: int, lengths: dict[int, int], free: list[int]) -> int:
        """A free sequence that holds what `source` has of a path, if it can, and nothing else."""
        length = lengths[source]
        ends = [slot for slot in free if lengths[slot] == len(self._held[slot]) == length]
        if ends:
            return ends[0]
        others = [slot for slot in free if slot != source]
        if not others:
            slot = free[0]
            self._cut(slot, lengths[slot])
            return slot
        slot = min(others, key=lambda other: len(self._held[other]))
        self._cut(slot, 0)
        if length:
            self._trio.copy(self._role, source, slot)
            self._held[slot] = list(self._held[source])
            self._cut(slot, length)
        return slot

    def fed(self, feeds: Sequence[Feed]) -> None:
        """These are evaluated."""
        for feed in feeds:
            if feed.slot in self._coming:
                self._held[feed.slot] = self._coming.pop(feed.slot)

    def copy(self, other: Branches) -> None:
        """Share the longest that another text has; this one has nothing."""
        source = max(other._held, key=lambda slot: len(other._held[slot]))
        slot = next(iter(self._held))
        self._trio.copy(self._role, source, slot)
        self._held[slot] = list(other._held[source])
