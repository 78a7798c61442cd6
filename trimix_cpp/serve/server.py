"""The server: its socket, its signals, its end."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import FrameType

import uvicorn

from ..api import TriMix
from ..decoding import Control
from ..errors import StoppedError, TrimixError, UsageError
from ..runtime import DecodingFlags
from ..showing import notice
from .app import application
from .connections import MOST, config_of
from .engine import Engine
from .guard import Access, is_loopback
from .metrics import Metrics
from .service import Service
from .translating import Exemplars

# Tokens of prompts in a step in which others generate: nobody waits for long.
_PREFILL = 128
_BACKLOG = 1024


@dataclass(frozen=True)
class ServeFlags:
    """What is said of the server.

    Attributes:
        host, port: where it listens; port 0 takes a free one.
        n_parallel: texts at once.
        n_waiting: requests beyond these that wait.
        grace: seconds that running requests get when it ends.
        ping: seconds of silence after which a stream says that it is alive.
        keys: of which one must come with a request.
        no_key: an address beyond loopback needs none.
        origins: pages of other servers that may ask.
        names: further names that requests may be addressed to.
        control: whose probabilities control tokens have; None: large's in chats, else fused.
        exemplars: of translations, by languages.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    n_parallel: int = 4
    n_waiting: int = 64
    grace: float = 10.0
    ping: float = 15.0
    keys: tuple[str, ...] = ()
    no_key: bool = False
    origins: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    control: Control | None = None
    exemplars: Exemplars = field(default_factory=dict)


class _Server(uvicorn.Server):
    """uvicorn's server, which lets the engine end with it."""

    def __init__(self, config: uvicorn.Config, engine: Engine, grace: float) -> None:
        super().__init__(config)
        self._engine, self._grace = engine, grace

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let what runs end, at most for the time of grace."""
        self._engine.drain(self._grace)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end it; uvicorn would raise them again at the end."""
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def end(self) -> None:
        """End as after a signal; from any thread."""
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal ends it cleanly, a second one at once."""
        if self.should_exit:
            self.force_exit = True
            self._engine.drain(0)
        self.should_exit = True


def serve(flags: DecodingFlags, serving: ServeFlags) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises:
        UsageError: an address that others can reach without a key, or a value means nothing.
        TrimixError: it cannot listen there, or the trio cannot be loaded.
        StoppedError: it was told twice to end.
    """
    access = access_of(serving)
    flags = replace(flags, run=replace(flags.run, n_prefill=_PREFILL))
    _quieten()
    _allow_files(2 * MOST)
    with (
        listening(serving.host, serving.port) as listener,
        TriMix(flags, n_parallel=serving.n_parallel, may_score=True) as trimix,
    ):
        _run(trimix, flags, serving, access, listener)


def _run(
    trimix: TriMix,
    flags: DecodingFlags,
    serving: ServeFlags,
    access: Access,
    listener: socket.socket,
) -> None:
    """Serve a loaded trio until a signal comes."""
    engine = Engine(
        trimix,
        n_parallel=serving.n_parallel,
        n_waiting=serving.n_waiting,
        metrics=Metrics(),
        on_end=lambda: server.end(),
    )
    with Service(
        flags,
        engine,
        access=access,
        control=serving.control,
        exemplars=serving.exemplars,
        ping_seconds=serving.ping,
    ) as service:
        config = uvicorn.Config(**config_of(application(service, access), serving.grace))
        server = _Server(config, engine, serving.grace)
        engine.start()
        try:
            _listen(listener)
            notice(f"{trimix.spec.name} at {_address(listener)} (Ctrl-C ends)")
            server.run(sockets=[listener])
        finally:
            engine.drain(0)
            engine.join()
    if engine.error is not None:
        raise engine.error
    if server.force_exit:
        raise StoppedError("ended before all requests were answered")


def access_of(serving: ServeFlags) -> Access:
    """Who may ask.

    Raises:
        UsageError: an address that others can reach needs a key, or --no-api-key.
    """
    if any(not key for key in serving.keys):
        raise UsageError("an API key is empty")
    local = is_loopback(serving.host)
    if not local and not serving.keys and not serving.no_key:
        raise UsageError(
            f"--host {serving.host}: others can reach it there; give --api-key KEY or "
            "--api-key-file FILE, or say --no-api-key"
        )
    names = frozenset(name.lower() for name in (*serving.names, serving.host)) if local else None
    return Access(names, frozenset(serving.origins), serving.keys)


def listening(host: str, port: int) -> socket.socket:
    """A socket at this address; raises TrimixError where that cannot be."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # elsewhere two servers could share a port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    except (OSError, UnicodeError, OverflowError, ValueError) as error:
        raise _cannot_listen(host, port, error) from None
    return listener


def _listen(listener: socket.socket) -> None:
    """Let clients come; another server may have done so here while this one loaded its models."""
    try:
        listener.listen(_BACKLOG)
    except OSError as error:
        host, port = listener.getsockname()[:2]
        raise _cannot_listen(host, port, error) from None


def _cannot_listen(host: str, port: int, error: Exception) -> TrimixError:
    said = error.strerror if isinstance(error, OSError) and error.strerror else error
    return TrimixError(f"cannot listen on {host}, port {port}: {said}; see --port")


def _allow_files(wanted: int) -> None:
    """Let the process have so many files and connections open, as far as the system lets it."""
    try:
        import resource
    except ImportError:  # Windows has no such bound
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _quieten() -> None:
    """What clients do wrong is told to them, not to the terminal."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [logging.NullHandler()], False
