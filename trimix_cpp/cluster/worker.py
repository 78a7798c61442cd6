"""What runs on a Dask worker: a plugin that opens an engine there, and the task that uses it.

A worker shows that it is ready by a resource, named after what it has opened: Dask gives it no
task before, and no more of them than it has places. Why one is not ready goes to a topic that
the client reads.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from typing import Any
from weakref import WeakKeyDictionary

from distributed import Status, Worker, WorkerPlugin, get_worker, secede

from .engine import Engine, GoneError
from .opening import Opening, Told

_PACKAGES = ("trimix-cpp", "llama-cpp-python", "distributed")
# Items that wait beside those at work, so that none waits for the network: one for so many.
_AHEAD = 4


class _Shelf:
    """What a worker has open: engines, and the runs that hold them, by key."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.engines: dict[str, Engine] = {}
        self.holders: dict[str, set[str]] = {}


# A process may be several workers; each has places of its own.
_shelves: WeakKeyDictionary[Worker, _Shelf] = WeakKeyDictionary()


def versions() -> dict[str, str]:
    """What must be the same everywhere: results depend on it, or what is sent cannot be read."""
    return {name: metadata.version(name) for name in _PACKAGES}


def resource_of(key: str) -> str:
    """The name of the resource that stands for what has this key."""
    return f"trimix-{key}"


def topic_of(run: str) -> str:
    """Where a run's workers tell what becomes of them."""
    return f"trimix-run-{run}"


class Plugin(WorkerPlugin):  # type: ignore[misc]
    """Opens an engine on each worker, also on those that come later.

    Args:
        run: the run's own name.
        opening: opens it; runs with the same share it.
    """

    def __init__(self, run: str, opening: Opening[Any, Any]) -> None:
        self.run, self.key, self.opening = run, opening.key, opening
        self.versions = versions()

    def setup(self, worker: Worker) -> None:
        """Begin to open it; returns at once."""
        # An engine that must end first would keep the worker's loop waiting.
        shelf = _shelves.setdefault(worker, _Shelf())
        threading.Thread(target=_hold, args=(shelf, self, worker), daemon=True).start()

    def teardown(self, worker: Worker) -> None:
        """The run is over."""
        shelf = _shelves[worker]
        threading.Thread(target=_release, args=(shelf, self.key, self.run), daemon=True).start()

    def supply(self, worker: Worker, in_flight: int) -> None:
        """Let the scheduler know how many items at once the worker takes."""
        number = in_flight + -(-in_flight // _AHEAD)
        worker.loop.add_callback(_supply, worker, resource_of(self.key), number)

    def refuse(self, worker: Worker, reason: str) -> None:
        """Tell the client why this worker takes no part."""
        worker.log_event(topic_of(self.run), {"worker": worker.address, "refused": reason})


def work(key: str, items: Sequence[Any]) -> tuple[Any, list[Any]]:
    """A task: with what they were made, and the results of some items.

    Raises:
        GoneError: the worker does not have what the key stands for.
        TrimixError: what ended the runner.
    """
    shelf = _shelves.get(get_worker())
    engine = shelf.engines.get(key) if shelf else None
    if engine is None:
        raise GoneError("this worker has no models of this run")
    futures = [engine.submit(item) for item in items]
    secede()  # a thread that waits is none that the worker counts
    return engine.made_by, [future.result() for future in futures]


async def _supply(worker: Worker, resource: str, number: int) -> None:
    while worker.status == Status.init:
        await asyncio.sleep(0.05)
    await worker.set_resources(**{resource: number})
    if number and worker.status == Status.running:
        # The scheduler looks for a worker for tasks that had none only when one begins to run.
        worker.status = Status.paused
        worker.status = Status.running


def _hold(shelf: _Shelf, plugin: Plugin, worker: Worker) -> None:
    """Open the engine of a run, or share the one that is there; an idle one of others ends."""
    refuse, engines = partial(plugin.refuse, worker), shelf.engines
    here = versions()
    for package, version in plugin.versions.items():  # of workers that come when all has begun
        if here[package] != version:
            refuse(f"it has {package} {here[package]}, the client {version}")
            return
    with shelf.lock:
        for key, engine in list(engines.items()):
            if engine.is_over or (key != plugin.key and engine.is_idle):
                engine.close()
                del engines[key]
        if any(key != plugin.key for key in engines):
            refuse("it works for another run, with other models or settings")
            return
        shelf.holders.setdefault(plugin.key, set()).add(plugin.run)
        if plugin.key not in engines:
            supply = partial(plugin.supply, worker)
            told = Told(worker.state.nthreads, _memory(worker))
            engines[plugin.key] = Engine(plugin.opening, told, supply)
        engines[plugin.key].on_refusal(refuse)


def _memory(worker: Worker) -> int:
    """Bytes that it may use before Dask pauses it, 0 for no limit."""
    manager = worker.memory_manager
    return int((manager.memory_limit or 0) * (manager.memory_pause_fraction or 1))


def _release(shelf: _Shelf, key: str, run: str) -> None:
    with shelf.lock:
        holders = shelf.holders.get(key, set())
        holders.discard(run)
        if not holders and (engine := shelf.engines.pop(key, None)):
            engine.close()
