"""The client's side: items go out as workers have places, results come back as they end.

Dask finds the worker, and gives what a dead one had to another. No more is on its way than the
workers take, and a little: so a corpus of millions costs the scheduler no more than a small one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic

from distributed import CancelledError, Client, Future, KilledWorker, as_completed

from ..errors import TrimixError
from ..showing import count, notice
from .engine import GoneError
from .opening import Item, Result
from .worker import resource_of, topic_of, work

# Beside what the workers take: what the next free place finds at once.
_SLACK = 1.25
# A task costs the scheduler about a millisecond: fast workers get several items in one.
_TASKS_A_SECOND = 200.0
_LOOK_SECONDS = 1.0
_ANSWER_SECONDS = 60.0
# Dask gives a task to four workers, one after the other, before it says that it ended them.
_TRIES = 3


@dataclass(frozen=True)
class _Sent:
    """Items that go together, and how often they went before."""

    items: tuple[Any, ...]
    tries: int = 0


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
        self._sent: dict[Future, _Sent] = {}
        self._again: deque[_Sent] = deque()
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
        self._look()
        while not self.in_flight:
            time.sleep(0.1)
            self._look()

    def run(self, items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Each item with its result, as they end.

        Raises:
            TrimixError: what a worker found wrong with an item; the scheduler is gone, or no worker
                is left; or some items ended their workers again and again.
        """
        feed, ready = (
            iter(items),
            as_completed(loop=self._client.loop, with_results=True, raise_errors=False),
        )
        try:
            while self._send(feed, ready) or self._sent or self._again:
                for future, result in _ended(ready):
                    yield from self._taken(future, result)
                if time.monotonic() - self._looked >= _LOOK_SECONDS:
                    self._look()
        finally:
            self._client.cancel(list(self._sent), force=True)
            self._sent.clear()
        if self._n_lost:
            raise TrimixError(
                f"{count(self._n_lost, 'text')} went to worker after worker, and all of them died; "
                "the others are kept: the same command tries again"
            )

    def _send(self, feed: Iterator[Item], ready: Any) -> int:
        """Fill the workers; how many items went out."""
        room = int(self.in_flight * _SLACK) - sum(len(sent.items) for sent in self._sent.values())
        batches: dict[int, list[_Sent]] = {}
        sent_out = 0
        while sent_out < room:
            if self._again:
                sent = self._again.popleft()
            else:
                sent = _Sent(tuple(islice(feed, self._size)))
                if not sent.items:
                    break
            batches.setdefault(len(sent.items), []).append(sent)
            sent_out += len(sent.items)
        for size, batch in batches.items():
            futures = self._client.map(
                work, [self._key] * len(batch), [sent.items for sent in batch],
                pure=False, key=f"{resource_of(self._key)}-{size}",
                resources={resource_of(self._key): size},
            )  # fmt: skip
            self._sent.update(zip(futures, batch, strict=True))
            ready.update(futures)
        return sent_out

    def _taken(self, future: Future, result: Any) -> Iterator[tuple[Item, Result]]:
        sent = self._sent.pop(future)
        if future.status == "finished":
            made_by, results = result
            if made_by not in self.made_by:
                self.made_by.append(made_by)
            self._came += len(results)
            yield from zip(sent.items, results, strict=True)
            return
        if future.status == "cancelled" or isinstance(result, CancelledError):
            raise self._gone()
        error = future.exception()
        if isinstance(error, GoneError):
            self._again.append(sent)
        elif isinstance(error, KilledWorker):
            if sent.tries + 1 < _TRIES:
                # One by one: which of them it was shows.
                self._again += [_Sent((item,), sent.tries + 1) for item in sent.items]
            else:
                self._n_lost += len(sent.items)
        elif isinstance(error, TrimixError):
            raise error
        else:
            raise TrimixError(f"a worker of {self._name} failed: {type(error).__name__}: {error}")

    def _look(self) -> None:
        """See which workers there are, and what they say."""
        came, since = self._came, time.monotonic() - self._looked
        self._looked, self._came = time.monotonic(), 0
        self._tend(came > 0)
        workers = self._asked(self._client.scheduler.identity, n_workers=-1)["workers"]
        name = resource_of(self._key)
        supplies = [int(worker["resources"].get(name, 0)) for worker in workers.values()]
        self.in_flight = sum(supplies)
        if self.in_flight:
            self._seen = self._looked
            self._least = min(filter(None, supplies))
        elif self._patience is not None and self._looked - self._seen > self._patience:
            raise TrimixError(
                f"{self._name} has no worker that is ready since {self._patience:.0f} seconds; "
                "finished texts are kept: the same command goes on"
            )
        most = -(-int(came / max(since, 0.1)) // int(_TASKS_A_SECOND))
        self._size = max(1, min(most, self._least // 2))
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
            others = f"; so do the {len(workers) - 1} others" if len(workers) > 1 else ""
            raise TrimixError(f"worker {address} takes no part: {reason}{others}")

    def _asked(self, question: Callable[..., Any], **more: Any) -> Any:
        if self._client.status not in ("running", "connecting"):
            raise self._gone()
        try:
            return self._client.sync(question, callback_timeout=_ANSWER_SECONDS, **more)
        except (OSError, TimeoutError, CancelledError):
            raise self._gone() from None

    def _gone(self) -> TrimixError:
        return TrimixError(
            f"the scheduler of {self._name} is gone; finished texts are kept: the same command "
            "goes on, once it runs again"
        )


def _ended(ready: Any) -> list[tuple[Future, Any]]:
    """What has ended, after waiting a moment for something to."""
    with ready.thread_condition:
        if not ready.has_ready():
            ready.thread_condition.wait(timeout=_LOOK_SECONDS / 4)
    return list(ready.next_batch(block=False)) if ready.has_ready() else []
