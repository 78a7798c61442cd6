"""The one thread that computes: texts of all requests join and leave its decoder at any step."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Literal

from ..api import TriMix
from ..decoding import Event, Text
from ..errors import TrimixError
from .metrics import Metrics

log = logging.getLogger(__name__)

State = Literal["ready", "ending", "ended"]
# A defect that comes up in so many steps in a row is not one request's.
_MOST_DEFECTS = 3
# What the others may wait for the next text of a client that was just answered: a part of a step.
_MOMENT, _LONGEST_MOMENT = 0.25, 0.01


class UnavailableError(TrimixError):
    """It cannot be done now: too many requests, or about to end.

    Attributes:
        retry_after: seconds after which it may be tried again.
    """

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DefectError(TrimixError):
    """The program failed, and not for what was asked."""


class Task:
    """Texts of one request; the engine takes them one by one as places come free.

    Its methods are called by the engine's thread.

    Attributes:
        cancelled: nobody waits for it any more; `Engine.cancel` sets it.
        running: its texts in the decoder.
    """

    def __init__(self) -> None:
        self.cancelled = False
        self.running: set[Text] = set()

    def next(self) -> Text | None:
        """The next text, or None where there is none now.

        Raises:
            TrimixError: what ends the task.
        """
        raise NotImplementedError

    @property
    def is_over(self) -> bool:
        """No further text comes, unless one that runs brings it."""
        raise NotImplementedError

    def take(self, event: Event) -> None:
        """Something happened to one of its texts; it has ended if it has a `stop`.

        That comes too where the task was cancelled.

        Raises:
            TrimixError: what ends the task.
        """
        raise NotImplementedError

    def end(self, error: TrimixError | None) -> None:
        """Nothing more comes: all texts have ended, or `error` ended it."""
        raise NotImplementedError


class Engine:
    """Steps the texts of tasks, in a thread of its own.

    Args:
        trimix: the loaded trio, the caller's; nobody else computes with it.
        n_parallel: texts at once.
        n_waiting: tasks beyond these that may wait.
        metrics: what is counted goes there.
        on_end: called at its end, from its thread.

    Attributes:
        state: what it is at.
        error: what ended the thread, if nobody told it to end.
    """

    def __init__(
        self,
        trimix: TriMix,
        *,
        n_parallel: int,
        n_waiting: int,
        metrics: Metrics,
        on_end: Callable[[], None],
    ) -> None:
        self.trimix, self.n_parallel, self.n_waiting = trimix, n_parallel, n_waiting
        self.metrics, self._on_end = metrics, on_end
        self.state: State = "ready"
        self.error: BaseException | None = None
        self._changed = threading.Condition()
        self._tasks: list[Task] = []
        self._owners: dict[Text, Task] = {}
        self._turn = self._arrived = 0
        self._deadline = float("inf")
        self._defects = 0
        self._thread = threading.Thread(target=self._run, name="trimix-engine", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def check(self) -> None:
        """Raises UnavailableError where a task would be refused."""
        if self.state != "ready":
            raise UnavailableError("the server is about to end")
        if len(self._tasks) >= self.n_parallel + self.n_waiting:
            self.metrics.refused.inc()
            raise UnavailableError(
                f"too many requests: {self.n_parallel} texts run at once and {self.n_waiting} "
                "requests wait; try again later"
            )

    def submit(self, task: Task) -> None:
        """Let a task wait for its turn; from any thread.

        Raises:
            UnavailableError: too many wait, or the server is about to end.
        """
        with self._changed:
            self.check()
            self._tasks.append(task)
            self._arrived += 1
            self._changed.notify()

    def cancel(self, task: Task) -> None:
        """Nobody waits for a task any more: its places are free at the next step; any thread."""
        task.cancelled = True
        for text in tuple(task.running):
            self.trimix.decoder.cancel(text)
        with self._changed:
            self._changed.notify()

    def drain(self, seconds: float) -> None:
        """Take no more tasks, and end when those that are there have ended, at most by then."""
        with self._changed:
            if self.state == "ready":
                self.state = "ending"
            self._deadline = min(self._deadline, time.monotonic() + seconds)
            self._changed.notify()
        if seconds <= 0:
            for text in tuple(self._owners):
                self.trimix.decoder.cancel(text)

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._wait():
                self._step(self.trimix)
        except BaseException as error:  # whoever waits for the thread raises it
            self.error = error
        finally:
            self.state = "ended"
            for text in tuple(self._owners):
                self.trimix.decoder.drop(text)
            for task in self._tasks:
                self._end(task, UnavailableError("the server is about to end"))
            self._on_end()

    def _wait(self) -> bool:
        """Wait for something to do; whether there is, or may be."""
        with self._changed:
            while not self._tasks and self.state == "ready":
                self._changed.wait()
            return bool(self._tasks) and time.monotonic() < self._deadline

    def _step(self, trimix: TriMix) -> None:
        try:
            self._fill(trimix)
            self._drop_done()
            if self._owners:
                self.metrics.stepped(len(self._owners))
                began, before = time.perf_counter(), self._arrived
                events = trimix.decoder.step()
                seconds = time.perf_counter() - began
                for event in events:
                    self._tell(event)
                self._linger(before + self._drop_done(), seconds)
            self._defects = 0
        except Exception as error:
            log.debug("a defect", exc_info=error)
            self._defects += 1
            if self._defects >= _MOST_DEFECTS or isinstance(error, MemoryError):
                raise
            for text, task in tuple(self._owners.items()):
                task.running.discard(text)
                trimix.decoder.drop(text)
                self._fail(task, DefectError(f"a defect of the program ({type(error).__name__})"))
            self._owners.clear()
            self._drop_done()

    def _linger(self, n_arrived: int, seconds: float) -> None:
        """After a step of so many seconds, give clients that were answered a moment to come again.

        Many have the next text at hand; it then joins the next step, not the one after it. Who
        waits already has the places that are free.
        """
        with self._changed:
            if self._owners and all(task.running for task in self._tasks):
                self._changed.wait_for(
                    lambda: self._arrived >= n_arrived or self.state != "ready",
                    min(_MOMENT * seconds, _LONGEST_MOMENT),
                )

    def _fill(self, trimix: TriMix) -> None:
        """Give free places to tasks in turn, a text each, so that a long one holds up nobody."""
        idle = 0
        with self._changed:
            tasks = list(self._tasks)
        while tasks and len(self._owners) < self.n_parallel and idle < len(tasks):
            self._turn += 1
            task = tasks[self._turn % len(tasks)]
            text = None if task.cancelled else self._next(task)
            if text is None:
                idle += 1
                continue
            idle = 0
            task.running.add(text)
            self._owners[text] = task
            trimix.decoder.submit(text)
            if task.cancelled:  # meanwhile
                trimix.decoder.cancel(text)

    def _next(self, task: Task) -> Text | None:
        try:
            return task.next()
        except TrimixError as error:
            self._fail(task, error)
        return None

    def _tell(self, event: Event) -> None:
        text = event.text
        task = self._owners.get(text)
        if task is None:
            return
        if text.stop:
            del self._owners[text]
            task.running.discard(text)
            self.metrics.ended(text)
        try:
            task.take(event)  # also what somebody left: the conversation may go on there
        except TrimixError as error:
            self._fail(task, error)

    def _fail(self, task: Task, error: TrimixError) -> None:
        """End a task; its texts that run are cancelled."""
        self._end(task, error)
        self.cancel(task)

    def _end(self, task: Task, error: TrimixError | None) -> None:
        if not task.cancelled:
            task.cancelled = True
            task.end(error)

    def _drop_done(self) -> int:
        """Let go of tasks that have nothing in the decoder and nothing to come; how many."""
        done = [
            task
            for task in tuple(self._tasks)
            if not task.running and (task.cancelled or task.is_over)
        ]
        with self._changed:
            self._tasks = [task for task in self._tasks if task not in done]
            waiting = sum(not task.running for task in self._tasks)
        for task in done:
            self._end(task, None)
        self.metrics.load(len(self._owners), waiting)
        return len(done)
