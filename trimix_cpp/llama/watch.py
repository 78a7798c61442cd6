"""Ctrl-C while the main thread is in a call of C.

Python's own handler waits for the end of the call. The system writes to a socket at once, and a
thread that waits there can act. That thread computes nothing: OpenMP gives every thread that does
a team of its own, and two teams on the same cores are three times slower.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache


class _Watcher:
    """The thread, and what it is to do at the next Ctrl-C."""

    def __init__(self) -> None:
        self._reads, self._writes = socket.socketpair()
        self._writes.setblocking(False)
        self._leave: Callable[[], None] | None = None
        threading.Thread(target=self._watch, name="trimix-interrupts", daemon=True).start()

    def _watch(self) -> None:
        while signals := self._reads.recv(64):
            leave = self._leave
            if leave and signal.SIGINT in signals:
                leave()

    @contextmanager
    def during(self, leave: Callable[[], None]) -> Iterator[None]:
        before = signal.set_wakeup_fd(self._writes.fileno(), warn_on_full_buffer=False)
        if before != -1:  # an event loop's: it must not miss its signals
            signal.set_wakeup_fd(before)
            yield
            return
        self._leave = leave
        try:
            yield
        finally:
            self._leave = None
            signal.set_wakeup_fd(before)


_watcher = cache(_Watcher)


@contextmanager
def leaving_on_interrupt(leave: Callable[[], None]) -> Iterator[None]:
    """Call `leave` from another thread as soon as Ctrl-C comes; in the main thread alone.

    Elsewhere, and where an event loop of asyncio has the signals, nothing is watched.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _watcher().during(leave):
        yield
