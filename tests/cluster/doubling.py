"""What the tests open on workers: a runner of real threads and processes that doubles numbers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trimix_cpp.cluster import Take, Told
from trimix_cpp.errors import TrimixError

N_IN_FLIGHT = 3


class Doubler:
    """Doubles numbers, three at a time; what it did goes to a file."""

    in_flight = N_IN_FLIGHT

    def __init__(self, log: Path, seconds: float) -> None:
        self._log, self._seconds = log, seconds

    def live(self, take: Take[int]) -> Iterator[tuple[int, int]]:
        own: list[int] = []
        while True:
            while len(own) < self.in_flight and (item := take(not own)) is not None:
                own.append(item)
            if not own:
                return
            time.sleep(self._seconds)
            item = own.pop(0)
            if item < 0:
                raise TrimixError(f"{item} cannot be doubled")
            if item == POISON:
                os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
            with self._log.open("a") as file:
                file.write(f"{item}\n")
            yield item, 2 * item


POISON = 1_000_000


@dataclass(frozen=True)
class Doubling:
    """Opens a `Doubler`, unless the file `refuse` beside its log says why not."""

    log: Path
    seconds: float = 0.002
    key: str = "doubling"

    @contextmanager
    def open(self, told: Told) -> Iterator[Doubler]:
        assert told.n_threads >= 1
        refuse = self.log.with_name("refuse")
        if refuse.exists():
            raise TrimixError(refuse.read_text())
        yield Doubler(self.log, self.seconds)

    def made_by(self) -> dict[str, str]:
        return {"cpu": "an abacus"}

    def done(self) -> list[int]:
        return [int(line) for line in self.log.read_text().split()]
