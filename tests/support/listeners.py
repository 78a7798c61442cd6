"""What may listen where an RPC server should."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

# What becomes of a client.
Behaviour = Callable[[socket.socket], None]
# What a client says first: RPC_CMD_HELLO, 24 bytes of capabilities.
HELLO = struct.pack("<BQ24x", 14, 24)


def says_nothing(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def hangs_up(connection: socket.socket) -> None:
    connection.recv(1)


def is_http(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def drips(connection: socket.socket) -> None:
    """A byte at a time, each before any time limit of a single read."""
    stop = threading.Event()
    with suppress(OSError):
        while not stop.wait(0.05):
            connection.sendall(b"\x1c")


def answers(major: int, minor: int = 0, more: Behaviour = says_nothing) -> Behaviour:
    """As llama.cpp's of this version says hello."""

    def answer(connection: socket.socket) -> None:
        if len(connection.recv(len(HELLO), socket.MSG_WAITALL)) == len(HELLO):
            connection.sendall(struct.pack("<Q3B25x", 28, major, minor, 0))
        more(connection)

    return answer


@contextmanager
def listener(behave: Behaviour) -> Iterator[str]:
    """The address of what serves one client after the other so."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, suppress(OSError):
                        behave(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
