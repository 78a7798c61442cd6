"""The one thread of a worker that computes; the threads of its tasks bring items and wait."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from itertools import chain
from math import inf
from typing import Any

from ..errors import TrimixError, refusal_of
from .opening import Opening, Told

# Whoever asked for it may be gone: models that nobody used for so long leave the memory.
_IDLE_SECONDS = 600.0
# And after so long others may have the place.
_FREE_SECONDS = 30.0


class GoneError(TrimixError):
    """This worker does not have what a task wants, any more or yet."""


class _ClosedError(Exception):
    """Leaves the runner in the middle of its items."""


class Engine:
    """A runner in a thread of its own.

    Args:
        opening: opens it, in that thread.
        told: of this worker.
        supply: called by the thread with the number of items at once, 0 at its end.

    Attributes:
        made_by: with what it computes, once it is open.
    """

    def __init__(
        self,
        opening: Opening[Any, Any],
        told: Told,
        supply: Callable[[int], None],
    ) -> None:
        self._opening, self._told, self._supply = opening, told, supply
        self.made_by: Any = None
        self._tell_refusal: list[Callable[[str], None]] = []
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._asked: dict[Any, list[Future[Any]]] = {}
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._refusal = ""
        self._used = inf  # while it is opened
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="trimix-engine", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """It takes no items any more."""
        return self._closing or self._error is not None

    @property
    def is_idle(self) -> bool:
        """Nobody waits for an item, or did a moment ago: whoever opened it may be gone."""
        return not self._asked and time.monotonic() - self._used > _FREE_SECONDS

    def on_refusal(self, tell: Callable[[str], None]) -> None:
        """Have `tell` called with the reason where it cannot be opened."""
        with self._lock:
            self._tell_refusal.append(tell)
            reason = self._refusal
        if reason:
            tell(reason)

    def submit(self, item: Any) -> Future[Any]:
        """Work on an item; one that is on its way already is not begun again. From any thread.

        Raises:
            GoneError: it has ended.
        """
        future: Future[Any] = Future()
        with self._lock:
            if self.is_over:
                raise GoneError("the models of this worker are gone")
            waiting = self._asked.setdefault(item, [])
            waiting.append(future)
            if len(waiting) == 1:
                self._inbox.put(item)
        return future

    def close(self) -> None:
        """End it, whatever it does; returns when its memory is free."""
        self._closing = True
        self._inbox.put(None)
        self._thread.join()

    def _take(self, wait: bool) -> Any:
        if self._closing:
            raise _ClosedError
        try:
            item = self._inbox.get(block=wait, timeout=_IDLE_SECONDS)
        except queue.Empty:
            return None
        if self._closing:
            raise _ClosedError
        return item

    def _run(self) -> None:
        error: BaseException
        try:
            with self._opening.open(self._told) as runner:
                self.made_by, self._used = self._opening.made_by(), time.monotonic()
                self._supply(runner.in_flight)
                for item, result in runner.live(self._take):
                    for future in self._taken(item):
                        future.set_result(result)
            error = GoneError("the models of this worker were not used for long")
        except _ClosedError:
            error = GoneError("the models of this worker are gone")
        except OSError as found:
            error = TrimixError(refusal_of(found))
        except BaseException as found:
            error = found
        with self._lock:
            self._error, asked, self._asked = error, self._asked, {}
            if self.made_by is None and not self._closing:
                self._refusal = str(error) if isinstance(error, TrimixError) else repr(error)
            refused = list(self._tell_refusal) if self._refusal else []
        for future in chain.from_iterable(asked.values()):
            future.set_exception(error)
        for tell in refused:
            tell(self._refusal)
        self._supply(0)

    def _taken(self, item: Any) -> list[Future[Any]]:
        self._used = time.monotonic()
        with self._lock:
            return self._asked.pop(item)
