"""What listens at the address of an RPC server is known in time, without llama.cpp."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from trimix_cpp.errors import TrimixError
from trimix_cpp.llama.servers import Server, ask_server, parse_server, resolve_server

from ..support import listeners
from ..support.listeners import free_port, listener

PATIENCE = 0.3


def ask(address: str) -> None:
    ask_server(resolve_server(parse_server(address)), PATIENCE)


@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (listeners.says_nothing, "one client at a time"),
        (listeners.drips, "no answer in 0.3 s"),
        (listeners.hangs_up, "no RPC server of llama.cpp"),
        (listeners.is_http, "no RPC server of llama.cpp"),
    ],
)
def test_what_else_may_listen(behave: Callable[[socket.socket], None], words: str) -> None:
    with listener(behave) as address:
        began = time.monotonic()
        with pytest.raises(TrimixError, match=f"{address}: .*{words}"):
            ask(address)
        assert time.monotonic() - began < PATIENCE + 5


def test_a_server_answers_and_is_free_again() -> None:
    with listener(listeners.answers(7)) as address:
        ask(address)
        ask(address)


def test_nothing_listens() -> None:
    with pytest.raises(TrimixError, match="nothing listens there; start `trimix-cpp rpc-serve`"):
        ask(f"127.0.0.1:{free_port()}")


def test_no_such_host() -> None:
    with pytest.raises(TrimixError, match="no such host"):
        ask("no-such-host.invalid:1")


def test_a_client_that_gives_up_resets_the_connection() -> None:
    """A server that comes to it later must not write to a closed one: C programs die of that."""
    with socket.create_server(("127.0.0.1", 0), backlog=5) as busy:
        with pytest.raises(TrimixError, match="busy"):
            ask(f"127.0.0.1:{busy.getsockname()[1]}")
        connection, _ = busy.accept()
        with connection:
            assert len(connection.recv(33, socket.MSG_WAITALL)) == 33
            with pytest.raises(ConnectionResetError):  # and not EPIPE, which is a signal
                connection.send(b"later", socket.MSG_NOSIGNAL)


def test_connections_of_c_code_are_kept_alive() -> None:
    """They are found among all that the process has open, by where they go."""
    from trimix_cpp.llama import rpc

    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("", 0)):
        address = server.getsockname()
        with socket.create_connection(address) as ours, server.accept()[0] as theirs:
            rpc._watch(Server(*address))
            asked = [
                one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) for one in (ours, theirs)
            ]
            assert [bool(one) for one in asked] == [True, False]
            sizes = {
                len(os.listdir("/dev/fd")) for _ in range(3) if not rpc._watch(Server(*address))
            }
            assert len(sizes) == 1  # no descriptor is left open


def test_asking_loads_no_llama_cpp() -> None:
    code = "import sys; from trimix_cpp.llama import ask_server; print('llama_cpp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
