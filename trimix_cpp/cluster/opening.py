"""What a cluster runs: an `Opening` is sent to each worker, and opens a `Runner` there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)
Item_co = TypeVar("Item_co", covariant=True)


class Take(Protocol[Item_co]):
    """What gives a runner its items."""

    def __call__(self, wait: bool) -> Item_co | None:
        """The next one; None where there is none now, and after `wait` where none will come."""
        ...


class Runner(Protocol[Item, Result_co]):
    """Works on items, several at a time. It is called by one thread."""

    @property
    def in_flight(self) -> int:
        """How many at once."""
        ...

    def live(self, take: Take[Item]) -> Iterator[tuple[Item, Result_co]]:
        """Each item with its result, as they end; until `take(True)` gives None."""
        ...


@dataclass(frozen=True)
class Told:
    """What an `Opening` is told of the worker.

    Attributes:
        n_threads: that the worker may use.
        memory: bytes that it may use, 0 for no limit.
    """

    n_threads: int
    memory: int


class Opening(Protocol[Item, Result_co]):
    """Opens a runner. It goes through pickle, and is imported on the worker, never sent as code."""

    @property
    def key(self) -> str:
        """What it opens, in letters and digits: of equal ones a worker keeps one."""
        ...

    def open(self, told: Told) -> AbstractContextManager[Runner[Item, Result_co]]:
        """The runner on this machine.

        Raises:
            TrimixError: why this machine cannot take part, in one line.
            OSError: a file cannot be read.
        """
        ...

    def made_by(self) -> Any:
        """With what this machine computes: JSON values."""
        ...
