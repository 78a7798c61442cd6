"""Clients that leave at every moment, and the end of the server."""

from __future__ import annotations

import json
import signal
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from ..support.serving import Server, serving
from .conftest import ARGUMENTS

CHAT = "/v1/chat/completions"
SAID = [{"role": "user", "content": "Open the file and save it again"}]
# Never at its end by itself: what ends it is that nobody listens.
LONG: dict[str, Any] = {
    "prompt": "Open", "max_tokens": 500, "ignore_eos": True, "temperature": 1.0, "seed": 1,
}  # fmt: skip


def figures(http: httpx.Client) -> dict[str, float]:
    lines = http.get("/metrics").text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def wait_until_idle(http: httpx.Client) -> dict[str, float]:
    for _ in range(200):
        now = figures(http)
        if now["trimix_texts_running"] == now["trimix_requests_waiting"] == 0:
            return now
        time.sleep(0.05)
    raise AssertionError("a place is lost")


def connection(server: Server) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), timeout=20)


def head(server: Server, path: str, length: int) -> bytes:
    host = urlsplit(server.url).netloc
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


@pytest.mark.parametrize("stream", [False, True])
def test_a_place_is_free_when_its_client_left(
    server: Server, http: httpx.Client, stream: bool
) -> None:
    """At every moment: in the head, in the body, before and after the first token."""
    body = json.dumps({**LONG, "stream": stream}).encode()
    request = head(server, "/v1/completions", len(body)) + body
    for at in (1, 30, len(request) - len(body), len(request) - 5, len(request)):
        with connection(server) as client:
            client.sendall(request[:at])
            if at == len(request):
                time.sleep(0.3)
    for n_bytes in (1, 300, 1000):
        with connection(server) as client:
            client.sendall(request)
            if stream:
                client.recv(n_bytes)
            else:
                time.sleep(n_bytes / 5000)
    before = wait_until_idle(http)
    assert before['trimix_texts_total{stop="cancelled"}'] >= 1
    told = http.post(CHAT, json={"messages": SAID, "max_tokens": 2})
    assert told.status_code == 200


def test_those_who_wait_leave_too(server: Server, http: httpx.Client) -> None:
    body = json.dumps({**LONG, "n": 8}).encode()
    request = head(server, "/v1/completions", len(body)) + body
    clients = [connection(server) for _ in range(12)]
    for client in clients:
        client.sendall(request)
    time.sleep(0.5)
    assert figures(http)["trimix_requests_waiting"] > 0
    for client in clients:
        client.close()
    wait_until_idle(http)


def test_too_many_are_told_to_come_again() -> None:
    with (
        serving(
            *ARGUMENTS[:4], "-c", "512", "-np", "1", "--queue", "1", "--sse-ping-interval", "0.1"
        ) as server,
        httpx.Client(base_url=server.url, timeout=60) as http,
    ):
        body = json.dumps({**LONG, "n": 64}).encode()
        request = head(server, "/v1/completions", len(body)) + body
        waiting = json.dumps({**LONG, "stream": True}).encode()
        clients = [connection(server) for _ in range(2)]
        clients[0].sendall(request)
        time.sleep(0.3)
        clients[1].sendall(head(server, "/v1/completions", len(waiting)) + waiting)
        said = b""
        while said.count(b":\n\n") < 3:  # it is told that it is not forgotten
            said += clients[1].recv(4096)
        assert said.startswith(b"HTTP/1.1 200 ")
        assert b"data: {" not in said
        refused = http.post(CHAT, json={"messages": SAID})
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert refused.json()["error"]["type"] == "unavailable_error"
        for client in clients:
            client.close()
        wait_until_idle(http)
        assert http.post(CHAT, json={"messages": SAID}).status_code == 200
        assert server.stop() == 0


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_a_signal_lets_what_runs_end(number: int) -> None:
    with serving(*ARGUMENTS, "--grace", "30") as server:
        body = json.dumps({"messages": SAID, "stream": True}).encode()
        with connection(server) as client:
            client.sendall(head(server, CHAT, len(body)) + body)
            said = client.recv(1)
            server.process.send_signal(number)
            while more := client.recv(65536):
                said += more
        assert b"[DONE]" in said
        assert server.process.wait(30) == 0
        assert not any("Traceback" in line for line in server.lines)


@pytest.mark.slow
def test_after_the_grace_it_ends_all_the_same() -> None:
    with serving(*ARGUMENTS, "--grace", "0.5") as server:
        body = json.dumps({**LONG, "stream": True, "n": 64}).encode()
        with connection(server) as client:
            client.sendall(head(server, "/v1/completions", len(body)) + body)
            said = client.recv(1)
            server.process.send_signal(signal.SIGTERM)
            while more := client.recv(65536):
                said += more
        assert server.process.wait(30) == 0
        assert b"about to end" in said
        assert b"[DONE]" not in said
