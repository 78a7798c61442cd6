"""What batches of a few tokens of one text cost each role, in single tokens: the least of three."""

from __future__ import annotations

import time

import numpy as np

from ..decoding import SIZES, Feed, Trio
from ..showing import Progress

# Beyond those that drafts fill: what comes between is reckoned from both sides.
CALIBRATED = (1, *SIZES, 24, 32)
_TIMES = 3


def batch_costs(trio: Trio, progress: Progress | None = None) -> dict[str, dict[int, float]]:
    """Role -> n -> what a batch of n tokens with logits of all takes, in single tokens.

    Every size is run in turn, and that three times, so that a slow moment hits all alike; random
    tokens follow a few cached ones. The trio gives as many logits rows, and has a free place.

    Raises:
        FullError: no place is free.
        TrimixError: llama.cpp failed.
    """
    ordinary = np.flatnonzero(~trio.alignment.control())
    tokens = np.random.default_rng(0).choice(ordinary, CALIBRATED[-1]).astype(np.int32)
    slot, found, done = trio.take(), dict[str, dict[int, float]](), 0
    try:
        for role in trio.roles:
            own = trio.alignment.to_role(role, tokens).tolist()
            least = dict.fromkeys(CALIBRATED, float("inf"))
            for _ in range(_TIMES):
                for size in CALIBRATED:
                    least[size] = min(least[size], _seconds(trio, role, slot, own[:size]))
                    done += 1
                    if progress:
                        progress(done, _TIMES * len(CALIBRATED) * len(trio.roles))
            found[role] = {size: seconds / least[1] for size, seconds in least.items()}
            trio.rewind(role, slot, 0)
    finally:
        trio.give(slot)
    return found


def _seconds(trio: Trio, role: str, slot: int, tokens: list[int]) -> float:
    began = time.perf_counter()
    trio.decode({role: [Feed(slot, tokens, 0, len(tokens))]})
    seconds = time.perf_counter() - began
    trio.rewind(role, slot, 0)
    return seconds
