"""The engine's thread: turns, clients that leave, defects, the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import trimix_cpp
from trimix_cpp.api import TriMix
from trimix_cpp.decoding import Event, Text
from trimix_cpp.errors import TrimixError
from trimix_cpp.serve.engine import DefectError, Engine, Task, UnavailableError
from trimix_cpp.serve.metrics import Metrics

SECONDS = 60


class Listed(Task):
    """So many texts of so many tokens."""

    def __init__(self, trimix: TriMix, n_texts: int, n_tokens: int = 4) -> None:
        super().__init__()
        self.left = [
            Text([5 + i, 6], trimix.weights, max_tokens=n_tokens, ignore_ends=True)
            for i in range(n_texts)
        ]
        self.done: list[Text] = []
        self.ended = threading.Event()
        self.error: TrimixError | None = None

    def next(self) -> Text | None:
        return self.left.pop() if self.left else None

    @property
    def is_over(self) -> bool:
        return not self.left

    def take(self, event: Event) -> None:
        event.text.raise_error()
        if event.text.stop:
            self.done.append(event.text)

    def end(self, error: TrimixError | None) -> None:
        self.error = error
        self.ended.set()

    def wait(self) -> None:
        assert self.ended.wait(SECONDS)


@pytest.fixture(scope="module")
def trimix() -> Iterator[TriMix]:
    with trimix_cpp.load("demo", n_threads=1, n_ctx=128, n_parallel=2) as trio:
        yield trio


@pytest.fixture
def engine(trimix: TriMix) -> Iterator[Engine]:
    engine = Engine(trimix, n_parallel=2, n_waiting=2, metrics=Metrics(), on_end=lambda: None)
    engine.start()
    yield engine
    engine.drain(0)
    engine.join()


def test_a_long_task_does_not_hold_up_a_short_one(engine: Engine, trimix: TriMix) -> None:
    long, short = Listed(trimix, 40), Listed(trimix, 2)
    engine.submit(long)
    engine.submit(short)
    short.wait()
    assert len(short.done) == 2
    assert len(long.done) < 20
    long.wait()
    assert len(long.done) == 40
    assert long.error is short.error is None


def test_one_task_too_many(engine: Engine, trimix: TriMix) -> None:
    tasks = [Listed(trimix, 20) for _ in range(4)]
    for task in tasks:
        engine.submit(task)
    with pytest.raises(UnavailableError, match="too many requests"):
        engine.submit(Listed(trimix, 1))
    for task in tasks:
        engine.cancel(task)
    again = Listed(trimix, 1)
    for _ in range(1000):
        try:
            engine.submit(again)
            break
        except UnavailableError:
            threading.Event().wait(0.01)
    again.wait()
    assert len(again.done) == 1
    assert not trimix.decoder.running


def test_what_was_left_is_told_as_far_as_it_came(engine: Engine, trimix: TriMix) -> None:
    task = Listed(trimix, 1, n_tokens=100)
    engine.submit(task)
    while not trimix.decoder.running:
        threading.Event().wait(0.001)
    engine.cancel(task)
    for _ in range(1000):
        if task.done:
            break
        threading.Event().wait(0.01)
    assert [text.stop for text in task.done] == ["cancelled"]
    assert not task.ended.is_set()


def test_a_task_that_fails_ends_alone(engine: Engine, trimix: TriMix) -> None:
    bad, good = Listed(trimix, 1), Listed(trimix, 3)
    bad.left = [Text([5] * 500, trimix.weights)]
    engine.submit(bad)
    engine.submit(good)
    bad.wait()
    good.wait()
    assert "context holds" in str(bad.error)
    assert good.error is None


def test_a_defect_ends_what_runs_and_the_engine_goes_on(
    engine: Engine, trimix: TriMix, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, faults = trimix.decoder.step, [1]

    def broken() -> Any:
        if faults.pop() if faults else 0:
            raise RuntimeError("a defect")
        return step()

    monkeypatch.setattr(trimix.decoder, "step", broken)
    first = Listed(trimix, 1)
    engine.submit(first)
    first.wait()
    assert isinstance(first.error, DefectError)
    second = Listed(trimix, 3)
    engine.submit(second)
    second.wait()
    assert second.error is None
    assert engine.error is None


def test_defects_without_end_end_the_engine(
    trimix: TriMix, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Any:
        raise RuntimeError("a defect")

    ended = threading.Event()
    monkeypatch.setattr(trimix.decoder, "step", broken)
    engine = Engine(trimix, n_parallel=2, n_waiting=9, metrics=Metrics(), on_end=ended.set)
    tasks = [Listed(trimix, 1) for _ in range(8)]
    for task in tasks:
        engine.submit(task)
    engine.start()
    assert ended.wait(SECONDS)
    engine.join()
    assert isinstance(engine.error, RuntimeError)
    for task in tasks:
        task.wait()
        assert task.error is not None
    with pytest.raises(UnavailableError, match="about to end"):
        engine.submit(Listed(trimix, 1))


def test_the_end_waits_for_what_runs_and_takes_no_more(engine: Engine, trimix: TriMix) -> None:
    task = Listed(trimix, 6)
    engine.submit(task)
    engine.drain(SECONDS)
    with pytest.raises(UnavailableError, match="about to end"):
        engine.submit(Listed(trimix, 1))
    task.wait()
    engine.join()
    assert task.error is None
    assert len(task.done) == 6
