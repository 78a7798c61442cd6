"""A bar on stderr, and nothing where stderr is no terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(label: str, unit: str) -> Iterator[Callable[[int, int], None] | None]:
    """Yield a function of (done, total), or None where nobody would see the bar."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    # Its own lock is multiprocessing's, which starts a process for it on most systems.
    tqdm.set_lock(threading.RLock())
    scaled = unit == "B"
    with tqdm(desc=label, unit=unit, unit_scale=scaled, leave=False, file=sys.stderr) as shown:

        def show(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield show
