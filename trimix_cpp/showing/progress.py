"""How far long work is: a bar on a terminal, elsewhere a line on stderr now and then."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from .output import notice
from .terminal import one_line
from .words import duration, size_text

# Is told (done, in all).
Progress = Callable[[int, int], None]
# A file's name -> a context that yields what its making tells.
Bars = Callable[[str], AbstractContextManager[Progress | None]]
_EVERY_SECONDS = 30.0
_WITHOUT_RATE = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"


class Bar(AbstractContextManager["Bar"]):
    """Shows (done, total) wherever it is called with them, until it is left.

    Args:
        label: what is done.
        unit: what is counted, such as "tensors"; "B" for bytes.
        done: what an earlier run has done: the time that is left is reckoned without it.
        in_flight: how many are worked on at once: each of them counts as half done. (The first of
            16 that end together says nothing about the other 84.)
        quiet: show nothing.
    """

    def __init__(
        self, label: str, unit: str, *, done: int = 0, in_flight: int = 0, quiet: bool = False
    ) -> None:
        self.label, self.unit, self._in_flight = one_line(label), unit, in_flight
        self._before, self._quiet = done, quiet
        self._began = self._said = time.monotonic()
        self._bar: Any = None
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            # Its own lock is multiprocessing's, which starts a process for it on most systems.
            tqdm.set_lock(threading.RLock())
            self._bar = tqdm(
                desc=self.label, unit=unit if unit == "B" else f" {unit}", unit_scale=unit == "B",
                unit_divisor=1024, initial=done, leave=False, file=sys.stderr, dynamic_ncols=True,
                bar_format=_WITHOUT_RATE if in_flight else None,
            )  # fmt: skip

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """So much is done; `note` is shown beside it."""
        if self._bar is not None:
            left = self._left(done, total) if self._in_flight else ""
            self._bar.total = total
            self._bar.set_postfix_str(", ".join(filter(None, [left, note])), refresh=False)
            self._bar.update(done - self._bar.n)
        elif not self._quiet and time.monotonic() - self._said >= _EVERY_SECONDS:
            self._said = time.monotonic()
            notice(
                ", ".join(filter(None, [self._text(done, total), note, self._left(done, total)]))
            )

    def _text(self, done: int, total: int) -> str:
        if self.unit == "B":
            return f"{self.label}: {size_text(done)} of {size_text(total)}"
        return f"{self.label}: {done:,} of {total:,} {self.unit}"

    def _left(self, done: int, total: int) -> str:
        begun = min(self._in_flight, total - done) / 2
        new, rest = done - self._before + begun, total - done - begun
        seconds = (time.monotonic() - self._began) / new * rest if new > 0 else 0.0
        return f"about {duration(seconds)} left" if seconds else ""

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
