"""How the work on a text grows with its length, without a limit in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable


def assert_linear(work: Callable[[str], object], unit: str, n: int, head: str = "") -> None:
    """`work` on `head` and 8 times as many repetitions of `unit` takes about 8 times as long.

    Quadratic work takes 64 times as long; 24 is allowed. CPU time of this process, the least of
    some tries; a short run counts as 2 ms, for the clock and the start are no part of the growth.
    """
    ratios = []
    for _ in range(3):
        few = max(_seconds(work, head + unit * n), 0.002)
        ratios.append(_seconds(work, head + unit * (8 * n)) / few)
        if ratios[-1] < 24:
            return
    raise AssertionError(f"{unit!r} * {n}: 8 times the text takes {ratios} times as long")


def _seconds(work: Callable[[str], object], text: str) -> float:
    began = time.process_time()
    work(text)
    return time.process_time() - began
