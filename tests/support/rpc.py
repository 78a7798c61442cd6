"""RPC servers of tests, for builds of llama.cpp that have them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import llama_cpp.llama_cpp as lib
import pytest

needs_rpc = pytest.mark.skipif(
    not lib.llama_supports_rpc(), reason="llama.cpp is built without RPC (make test-rpc)"
)
SERVE = [sys.executable, "-m", "trimix_cpp", "rpc-serve", "-t", "1"]


def start_server(
    *arguments: str, env: dict[str, str] | None = None
) -> tuple[subprocess.Popen[str], str]:
    """A process that serves, in a group of its own, and its address as soon as it listens."""
    process = subprocess.Popen(
        [*SERVE, "-p", "0", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **(env or {})},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "listens on" in line:
            return process, line.partition("listens on ")[2].split(",")[0]
    raise AssertionError(f"no server: exit code {process.wait()}")


def kill(process: subprocess.Popen[str]) -> None:
    """End a server as a power cut does."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@contextmanager
def rpc_server(*arguments: str) -> Iterator[str]:
    """The address of a server."""
    process, address = start_server(*arguments)
    try:
        yield address
    finally:
        kill(process)
