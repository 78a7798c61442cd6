"""A client of a cluster, with what the workers open: checked before work starts, gone after it."""

from __future__ import annotations

import logging
import platform
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import dask
from distributed import Client, Scheduler, Security
from distributed.deploy.spec import SpecCluster

from ..errors import TrimixError
from .addresses import Address
from .children import NO_PAGES, Children
from .opening import Item, Opening, Result
from .spread import Spread
from .starting import Started
from .worker import Plugin, versions

_CONNECT_SECONDS = 15
# Whoever ends does not wait longer for a scheduler that is busy.
_FORGET_SECONDS = 30
_DEFAULT = signal.SIG_DFL
# After that a scheduler without workers is given up; jobs may wait in their queue for days.
_PATIENCE_SECONDS = 600.0
# What they log is told in our own lines.
_LOGS = ("distributed", "dask_jobqueue", "asyncssh", "asyncio", "tornado")


@contextmanager
def connected(address: Address, opening: Opening[Item, Result]) -> Iterator[Spread[Item, Result]]:
    """A cluster whose workers open this, when the first is ready; others join as they are.

    Args:
        address: of the cluster.
        opening: what each opens.

    Raises:
        TrimixError: no scheduler there, workers of other versions, or all of them refuse.
    """
    _silence()
    name, run = str(address), uuid4().hex
    with _signals_as_interrupt(), ExitStack() as stack:
        client, tend = _client(stack, address)
        _check_versions(client)
        client.register_plugin(Plugin(run, opening), name=run)
        stack.callback(_forget, client, run)
        patience = None if address.kind == "file" else _PATIENCE_SECONDS
        spread: Spread[Item, Result] = Spread(
            client, run, opening.key, name, tend=tend, patience=patience
        )
        spread.wait()
        yield spread


@contextmanager
def _signals_as_interrupt() -> Iterator[None]:
    """Whatever ends this process lets it end what it began elsewhere: jobs, models in memory."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [n for n in map(signal.Signals.__getitem__, names) if signal.getsignal(n) == _DEFAULT]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, _DEFAULT)


def _silence() -> None:
    """What Dask logs of workers that come and go is told in our own lines."""
    for name in {*_LOGS, *logging.root.manager.loggerDict}:
        if name.partition(".")[0] in _LOGS:
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _client(stack: ExitStack, address: Address) -> tuple[Client, Callable[[bool], None]]:
    """A client, and what tends the workers."""
    if address.kind == "local":
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="trimix-cluster-")))
        security = Security.temporary()
        # Dask's own choice may be a folder of others, and it imports from there.
        stack.enter_context(dask.config.set({**NO_PAGES, "temporary-directory": str(folder)}))
        cluster = stack.enter_context(_scheduler(security))
        known = {name: getattr(security, name) for name in _PEM}
        children = Children(cluster.scheduler_address, known, address.n_workers, folder)
        stack.enter_context(children)
        return stack.enter_context(Client(cluster, set_as_default=False)), children.tend
    if address.path:
        begun = stack.enter_context(Started(address.path))
        return stack.enter_context(Client(begun.cluster, set_as_default=False)), begun.tend
    known = Security().get_connection_args("client")
    if address.url.startswith("tls") and not known.get("ssl_context"):
        raise TrimixError(
            f"{address.url}: needs certificates, which Dask's own configuration names "
            "(distributed.comm.tls; docs/machines.md)"
        )
    try:
        with socket.create_connection((address.host, address.port), timeout=_CONNECT_SECONDS):
            pass  # Dask would go on trying where nothing listens
        client = Client(address.url, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        line = " ".join(str(error).split())[:300]
        raise TrimixError(
            f"no Dask scheduler answers at {address.url} ({line}); `dask scheduler` starts one"
        ) from None
    return stack.enter_context(client), lambda came: None


_PEM = ("tls_ca_file", "tls_client_key", "tls_client_cert", "tls_worker_key", "tls_worker_cert")


def _scheduler(security: Security) -> SpecCluster:
    """A scheduler in this process, for this user alone: whoever reaches one can run code."""
    options = {
        "host": "127.0.0.1", "port": 0, "protocol": "tls", "security": security,
        "dashboard": False, "dashboard_address": "127.0.0.1:0",
    }  # fmt: skip
    return SpecCluster(
        workers={}, scheduler={"cls": Scheduler, "options": options}, security=security,
        silence_logs=logging.CRITICAL,
    )  # fmt: skip


def _check_versions(client: Client) -> None:
    """Raises TrimixError where a worker has other versions than this process."""
    wrong: dict[str, str] = {}
    for package, version in versions().items():
        # A function of the standard library: nothing of ours has to be there to ask.
        found = client.run(metadata.version, package, on_error="return")
        for worker, there in found.items():
            if isinstance(there, Exception):
                wrong.setdefault(worker, f"has no {package}, here is {version}")
            elif there != version:
                wrong.setdefault(worker, f"has {package} {there}, here is {version}")
    series = platform.python_version_tuple()[:2]
    for worker, there in client.run(platform.python_version_tuple, on_error="return").items():
        if isinstance(there, Exception) or tuple(there[:2]) != series:
            wrong.setdefault(worker, f"has another Python than {'.'.join(series)}")
    for worker, there in client.run(platform.system, on_error="return").items():
        if (there == "Windows") != (sys.platform == "win32"):  # paths could not be read there
            wrong.setdefault(worker, f"runs {there}, here is {platform.system()}")
    if wrong:
        worker, what = next(iter(wrong.items()))
        others = f" ({len(wrong) - 1} others differ too)" if len(wrong) > 1 else ""
        raise TrimixError(f"worker {worker} {what}{others}; all machines need the same")


def _forget(client: Client, run: str) -> None:
    """Let the workers free what they opened."""
    with suppress(Exception):  # where the scheduler is gone, they are too, or free it when idle
        if client.status == "running":
            ask = client.scheduler.unregister_worker_plugin
            client.sync(ask, name=run, callback_timeout=_FORGET_SECONDS)
