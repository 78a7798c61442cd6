"""What goes to one role in one step, and how it becomes batches of llama.cpp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..fusion import Ids, Mask, Rows

if TYPE_CHECKING:
    from ..llama import Context


class Feed(NamedTuple):
    """Tokens that go to one role in one step: its own ids, at positions from `start` on, in `slot`.

    Logits come for the last `n_logits` of them.
    """

    slot: int
    tokens: Sequence[int]
    start: int
    n_logits: int


def feed(context: Context, feeds: Sequence[Feed]) -> Rows:
    """Feed what may be more than one batch: a role may need several tokens for one of a text.

    The rows are a view where it was one batch.
    """
    tokens, positions, slots, outputs = _arrays(feeds)
    ends = _ends(outputs, context.n_batch, context.n_outputs_max)
    if len(ends) == 1:
        context.decode(tokens, positions, slots, outputs)
        return context.logits()
    rows = []
    for start, end in zip([0, *ends], ends, strict=False):
        part = slice(start, end)
        context.decode(tokens[part], positions[part], slots[part], outputs[part])
        rows.append(context.logits().copy())
    return np.concatenate(rows)


def _arrays(feeds: Sequence[Feed]) -> tuple[Ids, Ids, Ids, Mask]:
    """Tokens, positions, sequences, and where logits are wanted: as `Context.decode` takes them."""
    tokens, positions, slots, outputs = list[int](), list[int](), list[int](), list[bool]()
    for slot, own, start, n_logits in feeds:  # most are of one token: lists are quicker than arrays
        n = len(own)
        tokens.extend(own)
        positions += range(start, start + n)
        slots += [slot] * n
        outputs += [False] * (n - n_logits) + [True] * n_logits
    return (
        np.array(tokens, np.int32),
        np.array(positions, np.int32),
        np.array(slots, np.int32),
        np.array(outputs, bool),
    )


def _ends(outputs: Mask, n_batch: int, n_outputs: int) -> list[int]:
    """Where batches of these tokens end: of at most `n_batch`, with at most `n_outputs` rows."""
    n = len(outputs)
    if n <= n_batch and np.count_nonzero(outputs) <= n_outputs:
        return [n]
    ends, rows = list[int](), np.cumsum(outputs)
    while not ends or ends[-1] < n:
        start = ends[-1] if ends else 0
        before = int(rows[start - 1]) if start else 0
        ends.append(min(start + n_batch, int(np.searchsorted(rows, before + n_outputs, "right"))))
    return ends
