"""Huge, slow and many clients cost the others nothing."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest

from trimix_cpp.serve import connections

from ..support.serving import Server
from .test_leaving import CHAT, connection, head, wait_until_idle


def answer_to(client: socket.socket) -> bytes:
    """What comes until the server closes, or has no more to say."""
    said = b""
    try:
        while part := client.recv(65536):
            said += part
            if said.endswith((b"}", b"0\r\n\r\n")):
                break
    except OSError:
        pass
    return said


def test_a_body_of_a_gigabyte_is_refused_by_its_declaration(server: Server) -> None:
    with connection(server) as client:
        client.sendall(head(server, CHAT, 1 << 30) + b"{")
        said = answer_to(client)
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"larger than 8 MiB" in said


def chunks(size: int) -> Iterator[bytes]:
    piece = b"a" * (1 << 20)
    for _ in range(size >> 20):
        yield piece


def test_a_body_of_a_gigabyte_in_chunks_is_refused_on_its_way(
    server: Server, http: httpx.Client
) -> None:
    memory = psutil.Process(server.process.pid).memory_info().rss
    with contextlib.suppress(httpx.HTTPError):  # it closes while much is still to come
        assert http.post(CHAT, content=chunks(1 << 30)).status_code == 413
    grown = psutil.Process(server.process.pid).memory_info().rss - memory
    assert grown < 100 << 20
    assert http.get("/health").status_code == 200


@pytest.mark.parametrize(
    "flood",
    [
        b"X-A: " + b"a" * (1 << 20) + b"\r\n\r\n",
        b"".join(b"X-%d: a\r\n" % i for i in range(20_000)) + b"\r\n",
        b"a" * (1 << 20),
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"Content-Length: -5\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x00\xff\r\n\r\n",
    ],
    ids=["long", "many", "endless", "both", "negative", "two", "chunk", "bytes"],
)
def test_floods_of_headers(server: Server, http: httpx.Client, flood: bytes) -> None:
    with connection(server) as client:
        try:
            client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n" + flood)
            said = answer_to(client)
        except OSError:
            said = b""
    assert said == b"" or said.startswith(b"HTTP/1.1 4")
    assert http.get("/health").status_code == 200


def test_a_thousand_connections(server: Server, http: httpx.Client) -> None:
    clients: list[socket.socket] = []
    try:
        for _ in range(1000):
            try:
                clients.append(connection(server))
            except OSError:
                break
        assert len(clients) > connections.MOST
        # Those who were there before go on; new ones are told that it is full.
        assert http.get("/health").status_code == 200
        told = answer_to(clients[-1])
        assert told.startswith(b"HTTP/1.1 503 ")
        assert b"too many connections" in told
    finally:
        for client in clients:
            client.close()
    for _ in range(100):
        try:
            assert httpx.get(f"{server.url}/health").status_code == 200
            break
        except (httpx.HTTPError, AssertionError):
            time.sleep(0.05)
    else:
        raise AssertionError("the places of connections are not free again")


@pytest.mark.slow
def test_slow_clients_are_left(server: Server) -> None:
    """One says nothing, one adds a line to its head now and then."""
    began = time.monotonic()
    with connection(server) as silent, connection(server) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(0.5):
                try:
                    slow.sendall(b"X: y\r\n")
                except OSError:
                    return

        threading.Thread(target=drip, daemon=True).start()
        assert answer_to(silent) == b""
        assert answer_to(slow) == b""
        stop.set()
    assert time.monotonic() - began < 3 * connections.HEAD_SECONDS


def test_clients_that_never_read(server: Server, http: httpx.Client) -> None:
    # Some thousand bytes a token: more than the buffers of a connection hold.
    body = b'{"prompt":"Open","max_tokens":40,"ignore_eos":true,"stream":true,"n":4,"logprobs":90}'
    readers = [connection(server) for _ in range(4)]
    for reader in readers:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        reader.sendall(head(server, "/v1/completions", len(body)) + body)
    said = {"messages": [{"role": "user", "content": "Open"}], "max_tokens": 2}
    assert http.post(CHAT, json=said).status_code == 200
    for reader in readers:
        reader.close()
    wait_until_idle(http)


def test_without_the_extra_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from trimix_cpp.commands import main; sys.exit(main(['serve', '--trio', 'demo']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'trimix-cpp[serve]'" in done.stderr
    assert done.stderr.count("\n") == 1
