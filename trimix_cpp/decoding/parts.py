"""Who is fed what in one step: the batch of every role, shared out among the texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .lanes import Lanes
from .text import Text
from .trio import Feed


@dataclass(frozen=True)
class Part:
    """A text's part of one step.

    Attributes:
        feeds: role -> what it is fed; roles that are fed nothing are left out.
        ends: role -> how many tokens of the text, drafts included, it then has.
        start: the position of the first row.
        n_rows: rows of each fed role; 0 where it is only fed.
    """

    text: Text
    feeds: Mapping[str, list[Feed]]
    ends: Mapping[str, int]
    start: int
    n_rows: int

    @property
    def n_fed(self) -> int:
        """Tokens that the role which is fed most gets."""
        return max((count(feeds) for feeds in self.feeds.values()), default=0)

    @property
    def is_ready(self) -> bool:
        """Whether the last row predicts the text's next token."""
        return self.n_rows > 0 and self.start + self.n_rows == len(self.text.tokens)


def count(feeds: Sequence[Feed]) -> int:
    """Tokens of some feeds."""
    return sum(len(feed.tokens) for feed in feeds)


def part_of(text: Text, room: Mapping[str, int], rows_left: int) -> Part:
    """What one text is fed, given each role's `room` in the batch and for logits rows.

    Each row comes from all its roles in the same step, because they are fused at once.
    """
    lanes, tokens = lanes_of(text), text.tokens
    reach = {role: lanes[role].reach(tokens, room[role]) for role in text.roles}
    end = min(text.wants + rows_left, *reach.values())
    n_rows = max(end - text.wants, 0)
    ends = {
        role: end if n_rows else min(reached, text.wants)
        for role, reached in reach.items()
    }  # fmt: skip
    fed = {role: end for role, end in ends.items() if end > lanes.cached(role)}
    feeds = {role: lanes[role].feeds(tokens, end, n_rows) for role, end in fed.items()}
    return Part(text, feeds, fed, text.wants, n_rows)


def lanes_of(text: Text) -> Lanes:
    """The lanes of a text that has a place."""
    assert text.lanes is not None, "the text has no place"
    return text.lanes
