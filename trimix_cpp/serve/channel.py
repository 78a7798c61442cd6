"""From the engine's thread to a coroutine."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """Items in order, and then an end or an error; made in a running event loop.

    Any thread puts, one coroutine gets.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: deque[T | BaseException | None] = deque()
        self._filled = asyncio.Event()

    def put(self, item: T) -> None:
        """Add an item; harmless where the loop has ended."""
        self._put(item)

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes."""
        self._put(error)

    def _put(self, item: T | BaseException | None) -> None:
        self._items.append(item)
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._filled.set)

    async def get(self, seconds: float | None = None) -> T | None:
        """The next item, None at the end.

        Raises:
            asyncio.TimeoutError: nothing came in that time.
            BaseException: what ended it.
        """
        while not self._items:
            self._filled.clear()
            if not self._items:  # what came between is seen
                await asyncio.wait_for(self._filled.wait(), seconds)
        item = self._items.popleft()
        if isinstance(item, BaseException):
            raise item
        return item
