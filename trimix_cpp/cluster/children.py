"""Workers on this machine: processes of ours, each a Dask worker; one that dies is replaced.

Dask would start them with multiprocessing, which puts the current folder on their path.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psutil
from dask.system import CPU_COUNT
from distributed import Security, Worker

from ..errors import TrimixError
from ..files import Closing
from ..processes import Call, Send

# Deaths in a row, without a result between them, after which none is replaced: more than the four
# that Dask waits for before it says of a task that it ended its workers.
DEATHS = 8


class Children(Closing):
    """Worker processes of this machine; a context manager, at whose end they are gone.

    Args:
        url: of the scheduler.
        security: its key and certificate, as PEM.
        count: how many; the cores are divided among them.
        folder: theirs, for what Dask keeps beside memory.
    """

    def __init__(self, url: str, security: dict[str, str], count: int, folder: Path) -> None:
        cores = min(CPU_COUNT, psutil.cpu_count(logical=False) or CPU_COUNT)
        self._arguments = url, security, max(1, cores // count), str(folder)
        self._deaths = 0
        self._calls = [self._start() for _ in range(count)]

    def tend(self, came: bool) -> None:
        """Replace those that died; `came`: there were results since the last time.

        Raises:
            TrimixError: they die again and again.
        """
        self._deaths = 0 if came else self._deaths
        for i, call in enumerate(self._calls):
            if not call.has_ended:
                continue
            reason = _reason(call)
            self._deaths += 1
            if self._deaths > DEATHS + len(self._calls):
                raise TrimixError(
                    f"the processes of local:{len(self._calls)} die again and again ({reason}); "
                    "with fewer of them each has more memory"
                )
            self._calls[i] = self._start()

    def close(self) -> None:
        """End them; harmless when done twice."""
        for call in self._calls:
            call.close()
        self._calls = []

    def _start(self) -> Call:
        return Call(be_worker, *self._arguments)


def _reason(call: Call) -> str:
    """What ended a process; it is gone after that."""
    with call:
        try:
            for _ in call:
                pass
        except (TrimixError, RuntimeError) as error:
            return str(error).strip().rpartition("\n")[2]
    return "it ended"


def be_worker(send: Send, url: str, security: dict[str, str], n_threads: int, folder: str) -> None:
    """The child: a Dask worker until the scheduler is gone, or whoever started it."""
    import dask

    async def serve() -> None:
        async with Worker(
            url, nthreads=n_threads, memory_limit=0, host="127.0.0.1", dashboard=False,
            dashboard_address="127.0.0.1:0", local_directory=folder,
            security=Security(**security, require_encryption=True),
        ) as worker:  # fmt: skip
            await worker.finished()

    try:
        with dask.config.set(NO_PAGES):
            asyncio.run(serve())
    except RuntimeError as error:  # "Worker failed to start"
        raise TrimixError(f"{error} {error.__cause__ or ''}".strip()) from None


# What Dask tells over HTTP, and lets be done, is for nobody else on this machine.
NO_PAGES: dict[str, Any] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
