"""Starts the cluster that a file describes, over ssh or by a batch system, and keeps it whole."""

from __future__ import annotations

import asyncio
import importlib
import logging
import signal
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from inspect import signature
from pathlib import Path
from typing import Any

import dask
from distributed import Status

from ..errors import TrimixError
from .children import DEATHS
from .described import CLASSES, Described, read_description

_PACKAGES = {"asyncssh": "asyncssh", "dask_jobqueue": "dask-jobqueue"}
# A machine that is not there by then will not come; a worker without a scheduler ends.
_ANSWER_SECONDS = 15
_DEATH_SECONDS = 60


class Started:
    """The Dask cluster that a file describes, started; a context manager, at whose end it is gone.

    Args:
        path: of the file.

    Raises:
        TrimixError: the file makes no sense, a package is missing, or the cluster does not start.

    Attributes:
        cluster: of Dask.
    """

    def __init__(self, path: Path) -> None:
        self._path, found = path, read_description(path)
        self._deaths, self._lost = 0, set[Any]()
        with _last_line(found.cluster) as last:
            try:
                self.cluster = _started(found)
            except ImportError as error:
                package = _PACKAGES.get((error.name or "").partition(".")[0])
                if package is None:
                    raise
                raise TrimixError(f"{path}: needs {package}: pip install {package}") from None
            except Exception as error:  # whatever ssh, sbatch and the like find to say
                why = error.__cause__ or error
                said = str(why).rpartition("stderr:\n")[2]  # of a command's failure
                if isinstance(why, asyncio.TimeoutError):
                    said = "a machine does not answer"
                line = " ".join(f"{said} {last[-1] if last else ''}".split())[:500]
                raise TrimixError(f"{path}: {found.cluster} does not start: {line}") from None

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):  # results are there; what was lost on the way has ended itself
            self.cluster.close()

    def tend(self, came: bool) -> None:
        """Have those that ended, after their time, started again; as `Children.tend`."""
        lost = set(self.cluster.worker_spec) - set(self.cluster.workers)
        fresh, self._lost = lost - self._lost, lost
        self._deaths = len(fresh) + (0 if came else self._deaths)
        if self._deaths > DEATHS + len(self.cluster.worker_spec):
            raise TrimixError(f"{self._path}: the workers end again and again; see what they wrote")
        if fresh:
            self.cluster.loop.add_callback(self.cluster._correct_state)


def _started(found: Described) -> Any:
    """Dask's object; a cluster that does not start as a whole is closed."""
    module, name = CLASSES[found.cluster]
    before = signal.getsignal(signal.SIGINT)
    cls = getattr(importlib.import_module(module), name)
    signal.signal(signal.SIGINT, before)  # dask_jobqueue has its own
    if found.cluster == "ssh":
        return cls(**_ssh_options(found.options, signature(cls).parameters))
    # Dask's own choice would be several processes in a job, each with the models.
    own = dask.config.get(f"jobqueue.{cls.job_cls.default_config_name()}.processes", None)
    cluster = cls(**{"processes": own or 1, **found.options})

    async def submit() -> None:
        cluster.scale(jobs=found.workers)
        await cluster._correct_state()  # raises what the batch system says

    try:
        cluster.sync(submit)
    except BaseException:
        for job in cluster.workers.values():
            job.status = Status.failed  # Dask asks that of what it closes
        cluster.close()
        raise
    return cluster


def _ssh_options(options: dict[str, Any], known: Collection[str]) -> dict[str, Any]:
    """With bounds where asyncssh and Dask have none; raises ValueError where they make no sense."""
    unknown = set(options) - set(known) | {"kwargs"} & set(options)
    if unknown:
        raise ValueError(f"unexpected {min(unknown)}: its options are {', '.join(known)[:-8]}")
    hosts = options.get("hosts")
    if not (isinstance(hosts, list) and len(hosts) > 1 and all(type(x) is str for x in hosts)):
        raise ValueError("hosts are names: where the scheduler runs, then where a worker runs each")
    said, more = options.get("connect_options", {}), options.get("worker_options", {})
    bounds = {"connect_timeout": _ANSWER_SECONDS, "login_timeout": _ANSWER_SECONDS}
    connect = [{**bounds, **one} for one in said] if type(said) is list else {**bounds, **said}
    # Models are mapped files, which count as memory of the worker; who has no scheduler ends.
    worker = {"memory_limit": 0, "death_timeout": _DEATH_SECONDS, **more}
    return {**options, "connect_options": connect, "worker_options": worker}


@contextmanager
def _last_line(cluster: str) -> Iterator[list[str]]:
    """What Dask logs of what the other side writes: why nothing starts there."""
    lines: list[str] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger(f"distributed.deploy.{cluster}")
    before = log.level, log.propagate
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ports, and of old names of options
            yield lines
    finally:
        log.removeHandler(handler)
        log.level, log.propagate = before
