"""A role's way through a text: which tokens of its own it is fed, and rows over the alphabet.

The alphabet is the fusion's: the tokens of the alignment's reference. A text is a list of its ids;
what a role makes of them is its lane's affair. All the lanes of a text stand on one slot.
"""

from __future__ import annotations

import weakref
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..fusion import Rows
from .byte_lanes import ByteLane
from .byte_trio import ByteTrio
from .enlarged import EnlargedLane
from .feeds import Feed

if TYPE_CHECKING:
    from .prefixes import Held
    from .trio import Trio

NONE: Mapping[str, Sequence[int]] = MappingProxyType({})


class Lane(Protocol):
    """One role's way through one text. `tokens` are the text's, ids of the alphabet.

    Attributes:
        cached: how many of the text's tokens its caches hold.
    """

    cached: int

    def begin(self, tokens: Sequence[int], start: int, own: Sequence[int] | None = None) -> None:
        """A text begins, or goes on, whose first wanted row is at the position `start`.

        `own`: what the role reads up to there, in its own tokens, where that is another text.
        """

    def settle(self) -> None:
        """The text is left: whatever else might have followed it may be forgotten."""

    def length(self, tokens: Sequence[int]) -> int:
        """How many tokens of its own the text has."""

    def reach(self, tokens: Sequence[int], room: int) -> int:
        """How far into `tokens` it gets if it is fed `room` tokens of its own."""

    def feeds(self, tokens: Sequence[int], end: int, n_rows: int) -> list[Feed]:
        """What it is fed to get to `end`; rows are wanted of the last `n_rows` positions."""

    def rows(self, logits: Rows) -> Rows:
        """Rows [n_rows, n_tokens] of the logits of these feeds; views where they can be.

        It is told even where no rows are wanted.
        """

    def rewind(self, length: int) -> int:
        """Cut its caches back to at most `length` tokens of the text; returns how many are left.

        It also clears what an interrupted batch left behind.
        """

    def copy(self, other: Any, length: int) -> None:
        """Share the first `length` tokens that `other` has cached; this lane is empty."""


class AlignedLane:
    """A role with the alphabet's tokens, perhaps under ids of its own: one sequence of llama.cpp.

    Special tokens that the role lacks are fed as their texts, so that it counts positions of its
    own.

    Args:
        trio: its contexts.
        role: loaded.
        slot: the sequence.
    """

    def __init__(self, trio: Trio, role: str, slot: int) -> None:
        self._trio, self._role, self._slot = trio, role, slot
        self.cached = 0
        # Its own tokens up to each of the text's, where these are not one to one.
        self._ends: list[int] | None = [] if role in trio.alignment.spelled else None

    def begin(self, tokens: Sequence[int], start: int, own: Sequence[int] | None = None) -> None:
        """See `Lane`: it is all the same to it."""

    def settle(self) -> None:
        """See `Lane`: nothing else might."""

    def length(self, tokens: Sequence[int]) -> int:
        """See `Lane`."""
        return self._trio.length((self._role,), tokens)

    def reach(self, tokens: Sequence[int], room: int) -> int:
        """See `Lane`: a token each."""
        far = min(self.cached + room, len(tokens))
        if self._ends is None or far == self.cached:
            return far
        sizes = [self._trio.alignment.length(self._role, (t,)) for t in tokens[self.cached : far]]
        # At least one: what exceeds a batch is fed in several.
        return self.cached + max(bisect_right(list(accumulate(sizes)), room), 1)

    def feeds(self, tokens: Sequence[int], end: int, n_rows: int) -> list[Feed]:
        """See `Lane`."""
        alignment, start = self._trio.alignment, self.cached
        if self._ends is not None:
            return self._spelled(tokens[start:end], n_rows, self._ends)
        if end - start == 1:  # plain stepping, without arrays
            own = (alignment.id_in_role(self._role, tokens[start]),)
            return [Feed(self._slot, own, start, n_rows)]
        fed = alignment.to_role(self._role, np.asarray(tokens[start:end], np.int32))
        return [Feed(self._slot, fed.tolist(), start, n_rows)]

    def _spelled(self, tokens: Sequence[int], n_rows: int, ends: list[int]) -> list[Feed]:
        """What it is fed for these `tokens`, a row at the end of each of the last `n_rows`."""
        alignment, role = self._trio.alignment, self._role
        spelled, unseen = alignment.spelled[role], len(tokens) - n_rows
        del ends[self.cached :]  # of a batch that was left
        fed, start, rows, feeds = list[int](), ends[-1] if ends else 0, 0, list[Feed]()
        for i, token in enumerate(tokens):
            own = spelled.get(token) or (alignment.id_in_role(role, token),)
            if rows and len(own) > 1:  # rows come for the last tokens of a feed
                feeds.append(Feed(self._slot, fed, start, rows))
                fed, start, rows = [], start + len(fed), 0
            fed += own
            rows += i >= unseen
            ends.append(start + len(fed))
        return [*feeds, Feed(self._slot, fed, start, rows)]

    def rows(self, logits: Rows) -> Rows:
        """See `Lane`."""
        return self._trio.alignment.rows(self._role, logits)

    def rewind(self, length: int) -> int:
        """See `Lane`; nothing is left where this kind of cache cannot be cut."""
        length = own = min(self.cached, length)
        if self._ends is not None:
            del self._ends[length:]
            own = self._ends[-1] if self._ends else 0
        self.cached = length if self._trio.rewind(self._role, self._slot, own) == own else 0
        return self.cached

    def copy(self, other: AlignedLane, length: int) -> None:
        """See `Lane`."""
        self._trio.copy(self._role, other._slot, self._slot)
        self.cached = other.cached
        self._ends = None if other._ends is None else other._ends[: other.cached]
        self.rewind(length)


class Lanes:
    """A slot of a trio, and the lanes of the roles that went through a text there.

    The slot is given back when it is closed, or forgotten.

    Args:
        trio: whose slot it takes.
        but: what is held besides and must not give way for it.

    Raises:
        FullError: no slot is free.
    """

    def __init__(self, trio: Trio, but: Held | None = None) -> None:
        self._trio, self.slot = trio, trio.take(but)
        self._by_role: dict[str, Lane] = {}
        self._begun: tuple[Sequence[int], int, Mapping[str, Sequence[int]]] | None = None
        self._give = weakref.finalize(self, trio.give, self.slot)
        self._give.atexit = False

    def __getitem__(self, role: str) -> Lane:
        """The lane of a loaded role, made where there is none yet."""
        lane = self._by_role.get(role)
        if lane is None:
            trio = self._trio
            if isinstance(trio, ByteTrio):
                lane = ByteLane(trio, role, self.slot)
            elif role in trio.alignment.enlarged:
                lane = EnlargedLane(trio, role, self.slot)
            else:
                lane = AlignedLane(trio, role, self.slot)
            self._by_role[role] = lane
            self._begin(role, lane)
        return lane

    def begin(
        self, tokens: Sequence[int], start: int, prompts: Mapping[str, Sequence[int]] = NONE
    ) -> None:
        """A text begins, or goes on, whose first wanted row is at the position `start`.

        `prompts`: what roles read up to there, where that is not the text.
        """
        self._begun = tokens, start, prompts
        for role, lane in self._by_role.items():
            self._begin(role, lane)

    def _begin(self, role: str, lane: Lane) -> None:
        if self._begun:
            tokens, start, prompts = self._begun
            lane.begin(tokens, start, prompts.get(role))

    def settle(self) -> None:
        """The text is left."""
        for lane in self._by_role.values():
            lane.settle()

    def length(self, roles: Iterable[str], tokens: Sequence[int]) -> int:
        """How many tokens the text has, as the role counts them that needs most."""
        return max(self[role].length(tokens) for role in roles)

    def cached(self, role: str) -> int:
        """How many tokens `role` has cached."""
        lane = self._by_role.get(role)
        return lane.cached if lane else 0

    @property
    def longest(self) -> int:
        """The most tokens that a role has cached."""
        return max((lane.cached for lane in self._by_role.values()), default=0)

    def rewind(self, length: int) -> None:
        """Cut every role's caches back to at most `length` tokens of the text."""
        # Every loaded role: one whose first batch was interrupted has no lane yet.
        for role in self._trio.roles:
            self[role].rewind(length)

    def copy(self, other: Lanes, length: int, roles: Iterable[str]) -> None:
        """Share what `roles` have cached of the first `length` tokens of another text."""
        for role in roles:
            if other.cached(role):
                self[role].copy(other[role], length)

    def close(self) -> None:
        """Empty the slot and give it back; harmless when done twice."""
        if self._give.alive:
            self._trio.empty(self.slot)
            self._give()
