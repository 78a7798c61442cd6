"""`trimix-cpp serve` as a user has it: a process of its own, on a free port."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_READY = re.compile(r" at (http://\S+) ")


@dataclass
class Server:
    """A server that runs.

    Attributes:
        url: its address.
        lines: what it said on stderr.
    """

    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)

    def stop(self, number: int = signal.SIGINT, timeout: float = 30) -> int:
        """End it; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout)


@contextmanager
def serving(*arguments: str, env: dict[str, str] | None = None) -> Iterator[Server]:
    """A server with these arguments, once it is ready, or has ended before."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trimix_cpp", "serve", "--port", "0", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, **(env or {})},
    )
    server, ready = Server(process), threading.Event()

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            server.lines.append(line)
            if found := _READY.search(line):
                server.url = found[1]
                ready.set()
        ready.set()

    reader = threading.Thread(target=listen, daemon=True)
    reader.start()
    try:
        assert ready.wait(120), "the server does not get ready"
        yield server
    finally:
        try:
            server.stop(signal.SIGTERM)  # it takes its files with it
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            reader.join(10)
