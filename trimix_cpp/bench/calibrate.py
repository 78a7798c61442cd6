"""What batches of a few tokens of one text take each role: the least of three times."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from ..decoding import SIZES, Feed, Trio
from ..showing import Progress

# Beyond those that drafts fill: what comes between is reckoned from both sides.
CALIBRATED = (1, *SIZES, 24, 32)
_TIMES = 3


def batch_costs(
    trio: Trio, progress: Progress | None = None, sizes: Sequence[int] = CALIBRATED
) -> dict[str, dict[int, float]]:
    """Role -> n -> seconds of a batch of n tokens with logits of all.

    `sizes` grow, from 1 on.

    Every size is run in turn, and that three times, so that a slow moment hits all alike. Tokens
    are random, and nothing is cached before. The trio gives as many logits rows, and has a free
    place.

    Raises:
        FullError: no place is free.
        TrimixError: llama.cpp failed.
    """
    ordinary = np.flatnonzero(~trio.alignment.control())
    tokens = np.random.default_rng(0).choice(ordinary, sizes[-1]).astype(np.int32)
    slot, found, done = trio.take(), dict[str, dict[int, float]](), 0
    try:
        for role in trio.roles:
            own = trio.alignment.to_role(role, tokens).tolist()
            least = dict.fromkeys(sizes, float("inf"))
            for _ in range(_TIMES):
                for size in sizes:
                    least[size] = min(least[size], _seconds(trio, role, slot, own[:size]))
                    done += 1
                    if progress:
                        progress(done, _TIMES * len(sizes) * len(trio.roles))
            found[role] = least
    finally:
        trio.empty(slot)
        trio.give(slot)
    return found


def in_steps(seconds: Mapping[int, float]) -> dict[int, float]:
    """What batches cost in single tokens; a single one is among them."""
    return {n: value / seconds[1] for n, value in seconds.items()}


def _seconds(trio: Trio, role: str, slot: int, tokens: list[int]) -> float:
    began = time.perf_counter()
    trio.decode({role: [Feed(slot, tokens, 0, len(tokens))]})
    seconds = time.perf_counter() - began
    trio.rewind(role, slot, 0)
    return seconds
