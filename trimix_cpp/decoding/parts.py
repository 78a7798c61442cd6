"""Who is fed what in one step: the batch of every role, shared out among the texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .feeds import Feed
from .lanes import Lanes
from .text import Text


@dataclass
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
    own, tokens, wants = lanes_of(text), text.tokens, text.wants
    lanes = [(role, own[role]) for role in text.roles]
    reached = [lane.reach(tokens, room[role]) for role, lane in lanes]
    end = min(wants + rows_left, *reached)
    n_rows = max(end - wants, 0)
    feeds, ends = dict[str, list[Feed]](), dict[str, int]()
    for (role, lane), far in zip(lanes, reached, strict=True):
        stop = end if n_rows else min(far, wants)
        if stop > lane.cached:
            feeds[role], ends[role] = lane.feeds(tokens, stop, n_rows), stop
    return Part(text, feeds, ends, wants, n_rows)


def shared_out(
    texts: Iterable[Text], room: Mapping[str, int], rows_left: int, prefill: int | None
) -> list[Part]:
    """The next batch of every role, shared out among the texts.

    Args:
        texts: those that run.
        room: role -> tokens that it has room for.
        rows_left: rows that each has room for.
        prefill: tokens of a prompt beside others that go on; None for as many as fit.
    """
    parts, room = list[Part](), dict(room)
    # Who lacks least goes first, so that a long prompt does not hold up the others.
    lacking = [(max(map(text.lacks, text.roles)), text) for text in texts]
    for lacks, text in sorted(lacking, key=lambda each: each[0]):
        if lacks > 1 and prefill and parts:
            room = {role: min(left, prefill) for role, left in room.items()}
            prefill = None
        part = part_of(text, room, rows_left)
        for role, feeds in part.feeds.items():
            room[role] -= count(feeds)
        rows_left -= part.n_rows
        parts.append(part)
    return parts


def lanes_of(text: Text) -> Lanes:
    """The lanes of a text that has a place."""
    assert text.lanes is not None, "the text has no place"
    return text.lanes
