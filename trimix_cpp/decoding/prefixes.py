"""What texts that left have in the caches: kept for those that begin alike, until room is needed.

A chat's next turn, many prompts with one instruction, continuations of one context: all find what
is there by its longest common beginning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .lanes import Lanes


@dataclass(eq=False)
class Held:
    """Tokens, and the lanes that have been through them; pinned ones are not evicted."""

    tokens: list[int]
    lanes: Lanes
    pinned: bool = False

    def gain(self, tokens: Sequence[int], roles: Iterable[str], most: int) -> tuple[int, int]:
        """(tokens that are saved, over all roles; how many both begin with, at most `most`)."""
        length = min(common_length(self.tokens, tokens), most)
        return sum(min(self.lanes.cached(role), length) for role in roles), length


class Prefixes:
    """What is held of one trio, the least recently used first."""

    def __init__(self) -> None:
        self._held: list[Held] = []

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        return iter(self._held)

    def keep(self, held: Held) -> Held:
        """Hold it, as the one that was used last."""
        self._held.append(held)
        return held

    def touch(self, held: Held) -> None:
        """It was used."""
        self._held.remove(held)
        self._held.append(held)

    def drop(self, held: Held) -> Lanes:
        """Hold it no longer; its lanes go to the caller."""
        self._held.remove(held)
        return held.lanes

    def clear(self) -> None:
        """Hold nothing any more; slots go back as lanes are forgotten."""
        self._held.clear()

    def evict(self, but: Held | None = None) -> bool:
        """Give back the slot that was used least recently, of those neither pinned nor `but`."""
        for held in self._held:
            if not held.pinned and held is not but:
                self.drop(held).close()
                return True
        return False


def common_length(left: Sequence[int], right: Sequence[int]) -> int:
    """How many elements two lists begin with that are the same."""
    low, high = 0, min(len(left), len(right))
    while low < high:  # comparing slices is quick, a loop over elements is not
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def common_beginning(prompts: Sequence[Sequence[int]]) -> list[int]:
    """What all prompts begin with, each keeping at least one token of its own; [] for one."""
    if len(prompts) < 2:
        return []
    # What the least and the greatest of sorted lists share, all share.
    low, high = min(map(list, prompts)), max(map(list, prompts))
    return low[: min(common_length(low, high), min(map(len, prompts)) - 1)]
