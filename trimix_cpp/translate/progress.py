"""Progress on stderr: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from typing import Any

from ..files import Closing

_EVERY_SECONDS = 30.0


class Progress(Closing):
    """Counts finished segments; a context manager. With `quiet` it only counts."""

    def __init__(self, total: int, done: int, *, quiet: bool) -> None:
        self.total, self.done, self._before = total, done, done
        self._tokens = 0
        self._began = self._said = time.monotonic()
        self._quiet = quiet or done >= total
        self._bar: Any = None
        if not self._quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, initial=done, unit="segment", file=sys.stderr, leave=False,
                dynamic_ncols=True,
            )  # fmt: skip

    def update(self, segments: int, tokens: int) -> None:
        """So many segments more are finished, and so many tokens more were generated."""
        self.done += segments
        self._tokens += tokens
        if self._quiet:
            return
        now = time.monotonic()
        speed = f"{self._tokens / max(now - self._began, 1e-3):.1f} tokens/s"
        if self._bar is not None:
            self._bar.set_postfix_str(speed, refresh=False)
            self._bar.update(segments)
        elif now - self._said >= _EVERY_SECONDS:
            self._said = now
            self._say(speed, now)

    def _say(self, speed: str, now: float) -> None:
        new = self.done - self._before
        left = ""
        if new:
            seconds = (now - self._began) / new * (self.total - self.done)
            left = f", about {_duration(seconds)} left"
        print(
            f"trimix-cpp: {self.done} of {self.total} segments, {speed}{left}",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        """Take the bar away; harmless when done twice."""
        if self._bar is not None:
            self._bar.close()


def _duration(seconds: float) -> str:
    minutes, hours = round(seconds / 60), seconds / 3600
    if minutes < 1:
        return "a minute"
    return f"{minutes} min" if hours < 2 else f"{hours:.1f} h"
