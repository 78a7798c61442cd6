"""llama.cpp's RPC server over this machine's devices, for a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import socket
import threading
import time
from pathlib import Path

from ..errors import TrimixError
from ..processes import Send
from .backend import path_bytes, physical_cores, version
from .ggml import Kind, devices, library, proc_address
from .rpc import keep_alive, open_sockets, require
from .servers import Server

# What llama.cpp calls a cached tensor: its hash.
_TENSOR = re.compile("[0-9a-f]{16}")
_LOOK, _LOOK_FOR_CLIENTS = 0.02, 1.0  # seconds


def serve_devices(send: Send, host: str, port: int, n_threads: int, cache: str | None) -> None:
    """Serve the GPUs of this machine, or its CPU where there is none; it ends by being killed.

    Sends the address where it listens, as soon as it does, the names of the devices, and the
    release of llama-cpp-python.

    Args:
        send: of `processes.Call`.
        host: an IPv4 address in numbers.
        port: 0 takes a free one.
        n_threads: of the CPU; 0 takes the physical cores.
        cache: a folder for large tensors, so that clients need not send them again.

    Raises:
        TrimixError: no build with RPC, or the address cannot be had.
    """
    require()
    chosen = [*devices(Kind.GPU, Kind.IGPU)] or [*devices(Kind.CPU)][:1]
    names = [library.ggml_backend_dev_description(one).decode("utf-8", "replace") for one in chosen]
    address = Server(host, port)
    _check_free(address)
    if cache is not None:
        _forget_torn(Path(cache))
    threading.Thread(target=_watch, args=(send, address, names), daemon=True).start()
    size, text = ctypes.c_size_t, ctypes.c_char_p
    kind = ctypes.CFUNCTYPE(None, text, text, size, size, ctypes.POINTER(ctypes.c_void_p))
    function = proc_address("RPC", "ggml_backend_rpc_start_server")
    assert function, "a build with RPC has it"
    kind(function)(
        str(address).encode("ascii"),
        path_bytes(Path(cache)) if cache is not None else None,
        n_threads or physical_cores(),
        len(chosen),
        (ctypes.c_void_p * len(chosen))(*chosen),
    )
    raise TrimixError(f"llama.cpp ended the RPC server at {address}")


def _check_free(address: Server) -> None:
    """Raises TrimixError where nothing can listen; llama.cpp would not say why."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name != "nt")
        try:
            trial.bind((address.host, address.port))
            trial.listen(1)
        except OSError as error:
            reasons = {
                errno.EADDRINUSE: "another program listens there; -p takes another port",
                errno.EADDRNOTAVAIL: "no address of this machine; -H 127.0.0.1 is",
            }
            why = reasons.get(error.errno or 0, error.strerror or str(error))
            raise TrimixError(f"{address}: {why}") from None


def _watch(send: Send, address: Server, names: list[str]) -> None:
    """Send where it listens, once it does, and let go of clients whose machine is gone.

    Connecting to find out would keep a client waiting; one that fell silent would do so for ever.
    """
    while (found := _listening(address)) is None:
        time.sleep(_LOOK)
    send({"address": str(found), "devices": names, "version": version()})
    while True:
        time.sleep(_LOOK_FOR_CLIENTS)
        for one in open_sockets():
            with contextlib.suppress(OSError):
                if one.getsockname()[1] == found.port and one.getpeername():
                    keep_alive(one)


def _listening(address: Server) -> Server | None:
    if os.name == "nt":  # it cannot be seen there
        return address
    for one in open_sockets():
        with contextlib.suppress(OSError):
            if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return Server(*one.getsockname())
    return None


def _forget_torn(cache: Path) -> None:
    """Make the folder, and remove the file that was written last.

    llama.cpp writes one at a time and believes what it reads: where a server was killed, half of a
    tensor would pass for the whole.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        files = [path for path in cache.iterdir() if _TENSOR.fullmatch(path.name)]
        if files:
            max(files, key=lambda path: path.stat().st_mtime_ns).unlink()
    except OSError as error:
        raise TrimixError(f"{cache}: {error.strerror or error}") from None
