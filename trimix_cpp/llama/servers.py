"""What answers at the address of an RPC server, asked in Python before llama.cpp speaks with it.

llama.cpp waits without end for what accepts and says nothing, and aborts the process where nothing
listens. No llama.cpp is loaded here, so that who supervises a process with llama.cpp may ask too.
"""

from __future__ import annotations

import re
import socket
import struct
import time
from dataclasses import dataclass

from ..errors import TrimixError, UsageError

# GGML_RPC_MAX_SERVERS of ggml-rpc.h.
MOST_SERVERS = 16
# Seconds until a server that serves nobody else has answered.
PATIENCE = 5.0
# RPC_CMD_HELLO with 24 bytes of capabilities, none; 28 come back: the version, and the server's.
_HELLO = struct.pack("<BQ24x", 14, 24)
_ANSWER = struct.Struct("<Q3Bx24x")
_HOST = re.compile(r"(?!-)[A-Za-z0-9_.-]{1,253}", re.ASCII)


@dataclass(frozen=True)
class Server:
    """An address as people write it: `host:port`."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_server(text: str) -> Server:
    """`host:port` -> the server.

    Raises:
        UsageError: it is written otherwise.
    """
    host, colon, port = text.rpartition(":")
    if not colon:
        raise UsageError(f"{_shown(text)} is not HOST:PORT, such as 127.0.0.1:50052")
    digits = port.isascii() and port.isdecimal() and len(port) <= 5
    if not (digits and 0 < int(port) < 1 << 16):
        raise UsageError(f"{_shown(text)}: a port is a number from 1 to 65535")
    return server_at(host, int(port))


def server_at(host: str, port: int) -> Server:
    """The server of a host by name or number; raises UsageError where it can be neither."""
    if ":" in host:
        raise UsageError(f"{_shown(host)}: llama.cpp's RPC speaks IPv4 alone: a name or 127.0.0.1")
    if not _HOST.fullmatch(host):
        raise UsageError(f"{_shown(host)} is no host's name, and no number such as 127.0.0.1")
    return Server(host.lower(), port)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:59]}…")


def resolve_server(server: Server) -> Server:
    """The same with the host in numbers; raises TrimixError where there is no such host."""
    try:
        found = socket.getaddrinfo(server.host, server.port, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise TrimixError(f"RPC server {server}: no such host is known") from None
    return Server(str(found[0][4][0]), server.port)


def ask_server(server: Server, patience: float = PATIENCE) -> None:
    """Make sure that an RPC server answers.

    Raises:
        TrimixError: nothing listens, something else does, or it serves another client.
    """
    until = time.monotonic() + patience
    try:
        with socket.create_connection((server.host, server.port), patience) as connection:
            try:
                connection.sendall(_HELLO)
                answer = _read(connection, _ANSWER.size, until)
            except TimeoutError:
                # Reset, not closed: a server that comes to it later would write to a closed one,
                # and ggml-rpc-server dies of that.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raise
    except TimeoutError:
        raise TrimixError(
            f"RPC server {server}: no answer in {patience:g} s; it serves one client at a time, "
            "and may be busy with another"
        ) from None
    except ConnectionRefusedError:
        raise TrimixError(
            f"RPC server {server}: nothing listens there; start `trimix-cpp rpc-serve` or "
            "llama.cpp's ggml-rpc-server, or the tunnel to it"
        ) from None
    except OSError as error:
        raise TrimixError(f"RPC server {server}: {error.strerror or error}") from None
    if len(answer) < _ANSWER.size or _ANSWER.unpack(answer)[0] != _ANSWER.size - 8:
        raise TrimixError(
            f"RPC server {server}: what listens there is no RPC server of llama.cpp, "
            "or one of another version"
        )


def _read(connection: socket.socket, size: int, until: float) -> bytes:
    """So many bytes, fewer where the other side closes; raises TimeoutError."""
    found = b""
    while len(found) < size:
        connection.settimeout(max(until - time.monotonic(), 0.001))
        try:
            part = connection.recv(size - len(found))
        except ConnectionResetError:
            break
        if not part:
            break
        found += part
    return found
