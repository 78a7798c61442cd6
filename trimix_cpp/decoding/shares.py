"""Who is fed what in one step: the batch of every role, shared out among sequences."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Ids
from dataclasses import dataclass

from .sequence import Sequence
from .trio import Feed


@dataclass(frozen=True)
class Share:
    """A sequence's part of one step: what its roles are fed, and for how many rows.

    Attributes:
        spans: role -> tokens [start, end) of the sequence; roles that are fed nothing are left out.
        n_rows: logits rows of each span, for its last tokens.
        ready: every role then stands at the end: the sequence gets a token.
        drafts: tokens that may follow those of the sequence; the spans reach into them.
    """

    sequence: Sequence
    spans: dict[str, tuple[int, int]]
    n_rows: int
    ready: bool
    drafts: Ids[int] = ()

    def feed(self, role: str) -> Feed:
        """What `role` is fed."""
        start, end = self.spans[role]
        tokens, length = self.sequence.tokens, len(self.sequence.tokens)
        fed = [*tokens[start:end], *self.drafts[max(start - length, 0) : max(end - length, 0)]]
        return Feed(slot_of(self.sequence), fed, start, self.n_rows)

    @property
    def start(self) -> int:
        """The position of the first row, the same in every role that gives rows."""
        return next(iter(self.spans.values()))[1] - self.n_rows


def share_of(sequence: Sequence, room: Mapping[str, int], rows_left: int) -> Share:
    """What one sequence is fed, given each role's `room` in the batch and for logits rows."""
    roles, length = sequence.roles, len(sequence.tokens)
    start = {role: sequence.cached.get(role, 0) for role in roles}
    level = max(start.values())
    if sequence.choosing and sequence.choosing.every_position:
        # Its roles draw level first; then each row comes from all of them in the same step.
        n_rows, end = 0, level
        if min(start.values()) == level:
            n_rows = min(length - level, rows_left, *(room[role] for role in roles))
            end = level + n_rows
        ready = end == length
    else:
        ready = rows_left > 0 and all(length - start[role] <= room[role] for role in roles)
        # The last token waits until every role can take it: its logits are fused at once.
        n_rows, end = int(ready), length if ready else length - 1
    spans = {role: (start[role], min(start[role] + room[role], end)) for role in roles}
    fed = {role: (first, last) for role, (first, last) in spans.items() if last > first}
    return Share(sequence, fed, n_rows, ready)


def slot_of(sequence: Sequence) -> int:
    """The place of a sequence that has one."""
    assert sequence.slot is not None, "the sequence has no place"
    return sequence.slot
