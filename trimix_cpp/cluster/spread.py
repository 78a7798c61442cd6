"""The client's side: items go out as workers have places, results come back as they end.

Dask finds the worker, and gives what a dead one had to another. No more is on its way than the
workers take, and a little: so a corpus of millions costs the scheduler no more than a small one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice
from math import ceil
from queue import Empty, SimpleQueue
from typing import Any, Generic

from distributed import CancelledError, Client, Future, KilledWorker

from ..errors import TrimixError
from ..showing import count, notice
from .engine import GoneError
from .opening import Item, Result
from .worker import resource_of, topic_of, work

# Beside what the workers take: what the next free place finds at once.
_SLACK = 1.25
# Most of the scheduler's time that tasks may take: fast workers get several items in one.
_LOAD = 0.2
# A task costs it that many seconds, and as many for each worker among which it chooses.
_TASK_SECONDS, _CHOICE_SECONDS = 1e-3, 4e-6
# Filling all places at the start may take it that long.
_FILL_SECONDS = 10.0
_LOOK_SECONDS = 1.0
_POLL_SECONDS = 0.1
# Loading a model may take that long before somebody wonders.
_LONG_SECONDS = 5.0
# One that places thousands of tasks, on a busy machine, answers late; one that is gone is seen so.
_ANSWER_SECONDS = 300.0
_Items = tuple[Any, ...]
_Ended = SimpleQueue[tuple[Future, Any]]


class Spread(Generic[Item, Result]):
    """Works on items with whatever workers a cluster has, now and later.

    Args:
        client: of the cluster.
        run: the run's own name.
        key: of what the workers have opened.
        name: of the cluster, for messages.
        tend: called now and then, with whether results have come since.
        patience: seconds without any worker after which it gives up; None: never.

    Attributes:
        in_flight: items that the workers take at once.
        made_by: with what results were made: what the workers said, each once.
    """

    def __init__(
        self,
        client: Client,
        run: str,
        key: str,
        name: str,
        *,
        tend: Callable[[bool], None],
        patience: float | None,
    ) -> None:
        self.in_flight = 0
        self.made_by: list[Any] = []
        self._client, self._run, self._key, self._name = client, run, key, name
        self._tend, self._patience = tend, patience
        self._sent: dict[Future, _Items] = {}
        self._held = 0.0  # places that these take
        self._again: deque[_Items] = deque()
        self._suspects: deque[_Items] = deque()
        self._alone: Future | None = None
        self._n_lost = 0
        self._refused: set[str] = set()
        self._least = 1  # what the smallest worker takes at once
        self._size = 1  # items in a task
        self._looked = self._seen = time.monotonic()
        self._came = 0

    def wait(self) -> None:
        """Return when a worker is ready.

        Raises:
            TrimixError: all refuse, none comes, or the scheduler is gone.
        """
        began, told = time.monotonic(), False
        self._look()
        while not self.in_flight:
            if not told and time.monotonic() - began > _LONG_SECONDS:
                notice(f"waiting for a worker of {self._name} that is ready")
                told = True
            time.sleep(_POLL_SECONDS)
            self._look()

    def run(self, items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Each item with its result, as they end.

        Raises:
            TrimixError: what a worker found wrong with an item; the scheduler is gone, or no worker
                is left; or some items ended their workers again and again.
        """
        feed, ended, more = iter(items), _Ended(), True
        try:
            while more or self._sent or self._again or self._suspects:
                more = self._send(feed, ended)
                for future, result in _waited(ended):
                    yield from self._taken(future, result)
                if time.monotonic() - self._looked >= _LOOK_SECONDS:
                    self._look()
        finally:
            if self._client.status == "running":
                self._client.cancel(list(self._sent), force=True)
            self._sent.clear()
            self._held = 0.0
        if self._n_lost:
            raise TrimixError(
                f"{count(self._n_lost, 'part')} of the work went to four workers, alone, and all "
                "of them died; the others are kept: the same command tries again"
            )

    def _send(self, feed: Iterator[Item], ended: _Ended) -> bool:
        """Fill the workers; whether the feed may have more."""
        room = self.in_flight * _SLACK - self._held
        batches: dict[int, list[_Items]] = {}
        more = True
        while room >= 1:
            items = self._again.popleft() if self._again else tuple(islice(feed, self._size))
            more = bool(items)
            if not more:
                break
            batches.setdefault(len(items), []).append(items)
            room -= _held(len(items))
        for batch in batches.values():
            self._submit(batch, ended)
        if not self._sent and not more and self._suspects and self.in_flight:
            (self._alone,) = self._submit([self._suspects.popleft()], ended)
        return more

    def _submit(self, batch: Sequence[_Items], ended: _Ended) -> list[Future]:
        """Send tasks of one size."""
        name, size = resource_of(self._key), len(batch[0])
        futures: list[Future] = self._client.map(
            work, [self._key] * len(batch), batch, pure=False, key=f"{name}-{size}",
            resources={name: _held(size)},
        )  # fmt: skip
        self._sent.update(zip(futures, batch, strict=True))
        self._held += len(batch) * _held(size)
        for future in futures:
            self._client.loop.add_callback(self._fetch, future, ended)
        return futures

    async def _fetch(self, future: Future, ended: _Ended) -> None:
        """Bring a result here, however often it is lost with the worker that has it."""
        result: Any
        try:
            (result,) = await self._client.gather([future], asynchronous=True)
        except (Exception, CancelledError) as error:
            result = error
        ended.put((future, result))

    def _taken(self, future: Future, result: Any) -> Iterator[tuple[Item, Result]]:
        items = self._sent.pop(future)
        self._held -= _held(len(items))
        if not isinstance(result, BaseException):
            made_by, results = result
            if made_by not in self.made_by:
                self.made_by.append(made_by)
            self._came += len(results)
            yield from zip(items, results, strict=True)
        elif isinstance(result, (CancelledError, OSError)):  # an item's own is a TrimixError
            raise self._gone()
        elif isinstance(result, GoneError):
            self._again.append(items)
        elif isinstance(result, KilledWorker):
            # It was on four workers when they died; but so were others. At the end each goes alone.
            if future is self._alone:
                self._n_lost += 1
            else:
                self._suspects += [(item,) for item in items]
        elif isinstance(result, TrimixError):
            raise result
        else:
            raise TrimixError(f"a worker of {self._name} failed: {result!r}")

    def _look(self) -> None:
        """See which workers there are, and what they say."""
        came, since = self._came, time.monotonic() - self._looked
        self._looked, self._came = time.monotonic(), 0
        self._tend(came > 0)
        workers = self._asked(self._client.scheduler.identity, n_workers=-1)["workers"]
        name = resource_of(self._key)
        # A paused one, whose memory is full, begins nothing.
        ready = [worker for worker in workers.values() if worker["status"] == "running"]
        supplies = [int(worker["resources"].get(name, 0)) for worker in ready]
        self.in_flight = sum(supplies)
        if self.in_flight:
            self._seen = self._looked
            self._least = min(filter(None, supplies))
        elif self._patience is not None and self._looked - self._seen > self._patience:
            raise TrimixError(
                f"{self._name} has no worker that is ready since {self._patience:.0f} seconds; "
                "what is done is kept: the same command goes on"
            )
        cost = _TASK_SECONDS + _CHOICE_SECONDS * len(supplies)
        load = max(came / max(since, 0.1) / _LOAD, self.in_flight / _FILL_SECONDS) * cost
        self._size = max(1, min(ceil(load), self._least // 2))
        self._read_refusals(set(workers))

    def _read_refusals(self, workers: set[str]) -> None:
        """Tell which workers refuse; raises TrimixError where all do."""
        events = self._asked(self._client.scheduler.events, topic=topic_of(self._run))
        reason = ""
        for _, event in events:
            address, reason = event["worker"], event["refused"]
            if address not in self._refused and address in workers:
                self._refused.add(address)
                if not workers <= self._refused:
                    notice(f"worker {address} takes no part: {reason}")
        if workers and workers <= self._refused and not self.in_flight:
            others = f" (nor does any of the {len(workers)})" if len(workers) > 1 else ""
            raise TrimixError(f"worker {address} takes no part: {reason}{others}")

    def _asked(self, question: Callable[..., Any], **more: Any) -> Any:
        if self._client.status != "running":
            raise self._gone()
        try:
            return self._client.sync(question, callback_timeout=_ANSWER_SECONDS, **more)
        except (OSError, TimeoutError, CancelledError):
            raise self._gone() from None

    def _gone(self) -> TrimixError:
        return TrimixError(
            f"the scheduler of {self._name} is gone; what is done is kept: the same command "
            "goes on, once it runs again"
        )


@cache
def _held(size: int) -> float:
    """Places that a task of some items holds: on average, until the last of them ends.

    Of lengths that are distributed exponentially, as those of texts about are, the longest of n is
    1 + 1/2 + … + 1/n times the mean. Sixteenths add up without rounding.
    """
    return round(16 * size / sum(1 / i for i in range(1, size + 1))) / 16


def _waited(ended: _Ended) -> Iterator[tuple[Future, Any]]:
    """What has ended, after waiting a moment for something to."""
    with suppress(Empty):
        yield ended.get(timeout=_POLL_SECONDS)
        while True:
            yield ended.get_nowait()
