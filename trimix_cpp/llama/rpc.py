"""Layers of a model on other machines: llama.cpp's RPC backend, for builds with -DGGML_RPC=on.

llama.cpp aborts the process when a server is lost, so models on servers belong into a process whose
death somebody tells of (`commands.supervised`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import llama_cpp.llama_cpp as lib

from ..errors import TrimixError
from ..showing import notice, size_text
from .ggml import free_bytes, library, proc_address
from .servers import Server, ask_server, parse_server, resolve_server

BUILD = (
    "CMAKE_ARGS=-DGGML_RPC=on pip install --force-reinstall --no-cache-dir "
    "--no-binary llama-cpp-python llama-cpp-python"
)
# Seconds for what is said before weights are sent; after them the process ends itself.
_PATIENCE = 30.0
# A dead line is noticed after 15 + 3 x 5 seconds of silence, or so long without acknowledgement.
_KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPALIVE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
_UNACKNOWLEDGED = 30_000  # milliseconds

# Server, its host in numbers -> its devices. The connection is kept to the process's end.
_known: dict[Server, tuple[int, ...]] = {}


def supported() -> bool:
    """Whether llama.cpp was built with RPC."""
    return bool(lib.llama_supports_rpc())


def require() -> None:
    """Raises TrimixError, with what makes one, where this is no build with RPC."""
    if not supported():
        raise TrimixError(f"this llama-cpp-python was built without RPC; one with it: {BUILD}")


def devices(servers: Sequence[str], needed: int = 0) -> ctypes.Array[ctypes.c_void_p]:
    """The devices of these servers, as `llama_model_params.devices` wants them: NULL at the end.

    They are registered nowhere else, so no other model's layers get there.

    Args:
        servers: `host:port`.
        needed: bytes that are to go there. A CPU calls all of its memory free, and its system would
            kill the server.

    Raises:
        TrimixError: no build with RPC, a server that does not answer as one, too many devices, or
            too little memory in all.
    """
    require()
    found = [device for server in servers for device in _devices_of(server)]
    if len(set(found)) < len(found):
        raise TrimixError(f"two of {', '.join(servers)} are the same RPC server")
    most = lib.llama_max_devices()
    if len(found) > most:
        raise TrimixError(f"the RPC servers have {len(found)} devices; llama.cpp takes {most}")
    names = ", ".join(servers)
    with _no_longer_than(_PATIENCE, f"{names}: no answer"):
        free = sum(map(free_bytes, found))
    if needed > free:
        raise TrimixError(
            f"{names}: {size_text(needed)} of weights are to go there, {size_text(free)} are free"
        )
    return (ctypes.c_void_p * (len(found) + 1))(*found, None)


def _devices_of(name: str) -> tuple[int, ...]:
    server = resolve_server(parse_server(name))
    if server not in _known:
        ask_server(server)
        with _no_longer_than(_PATIENCE, f"RPC server {name}: it stopped answering"):
            _known[server] = _connect(server)
        _watch(server)
    if not _known[server]:
        raise TrimixError(f"RPC server {name}: it offers no device")
    return _known[server]


def _connect(server: Server) -> tuple[int, ...]:
    add = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)
    function = proc_address("RPC", "ggml_backend_rpc_add_server")
    assert function, "a build with RPC has it"
    registry = add(function)(str(server).encode("ascii"))
    if not registry:
        return ()
    count = library.ggml_backend_reg_dev_count(registry)
    found = tuple(library.ggml_backend_reg_dev_get(registry, i) for i in range(count))
    # A backend holds the connection open; without one another client may come between.
    library.ggml_backend_dev_init(found[0], None)
    return found


@contextmanager
def _no_longer_than(seconds: float, message: str) -> Iterator[None]:
    """End the process where the C library waits for longer; nothing else gets it out of there."""

    def leave() -> None:
        notice(message)
        os._exit(1)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _watch(server: Server) -> None:
    """Find llama.cpp's connection to a server, and keep it alive."""
    for connection in open_sockets():
        with contextlib.suppress(OSError):
            if connection.getpeername() == (server.host, server.port):
                keep_alive(connection)


def open_sockets() -> Iterator[socket.socket]:
    """The sockets that this process has, the C library's too; each is good until the next."""
    try:
        numbers = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:  # Windows
        return
    for number in numbers:
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                with socket.socket(fileno=os.dup(number)) as same:
                    yield same


def keep_alive(connection: socket.socket) -> None:
    """Let the system find out that the other machine is gone: in half a minute on Linux."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (*_KEEPALIVE.items(), ("TCP_USER_TIMEOUT", _UNACKNOWLEDGED)):
        if (option := getattr(socket, name, None)) is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
