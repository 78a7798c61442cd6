"""Chat templates: programs that came with a model file, rendered in a process of their own."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import IO, Any

from ..errors import TrimixError
from ..files import Closing
from ..processes import Child, start

Message = Mapping[str, str]

# For models without a chat template: every message is a paragraph, and so is the reply.
PLAIN_TEMPLATE = "{% for message in messages %}{{ message.content }}\n\n{% endfor %}"
PLAIN_STOP = "\n\n"

# Bounds of a template. The longest of the well-known ones has 20 thousand characters and renders
# in milliseconds.
MAX_SOURCE = 256 * 1024
MAX_CHARS = 4_000_000
MAX_SECONDS = 3.0
MAX_MEMORY = 512 * 1024 * 1024
_START_SECONDS = 60.0
_POLL_SECONDS = 0.02


class ChatTemplate(Closing):
    """A chat template: a Jinja program out of a model file, so untrusted.

    It is rendered in Jinja's sandbox in a process of its own (`template_worker`), which is stopped
    when it takes more than `MAX_SECONDS`, `MAX_MEMORY`, or `MAX_CHARS` of text. A process,
    because a single operation (`'a' * 10**10`, the text of a deeply shared list) cannot be
    interrupted from within on every system. It starts when the template is made and lives until
    `close`; a context manager.

    Args:
        source: the Jinja source.
        bos, eos: what `bos_token` and `eos_token` mean in it.

    Raises:
        TrimixError: the source has more than `MAX_SOURCE` characters.
    """

    def __init__(self, source: str, bos: str = "", eos: str = "") -> None:
        if len(source) > MAX_SOURCE:
            raise TrimixError(
                f"the chat template has {len(source):,} characters, at most {MAX_SOURCE:,} are read"
            )
        self.source, self.bos, self.eos = source, bos, eos
        self._worker: _Worker | None = _Worker()
        self._compiled = False

    def render(
        self,
        messages: Sequence[Message],
        add_generation_prompt: bool = True,
        enable_thinking: bool = False,
    ) -> str:
        """The text of `messages` (each with role and content), as the model is to see it.

        `enable_thinking`: what templates such as Qwen3's ask; others do not look at it.

        Raises:
            TrimixError: the template is broken, refuses the messages, or passes a bound.
        """
        if self._worker is None:
            self._worker, self._compiled = _Worker(), False
        try:
            if not self._compiled:
                self._worker.wait_ready()
                self._worker.ask(self._settings())
                self._compiled = True
            request = {
                "messages": [dict(message) for message in messages],
                "add_generation_prompt": add_generation_prompt,
                "enable_thinking": enable_thinking,
            }
            return self._worker.ask(request)
        except BaseException:
            # Also after Ctrl-C: an answer that comes late must not be taken for the next one.
            self.close()
            raise

    def _settings(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "bos": self.bos,
            "eos": self.eos,
            "seconds": MAX_SECONDS,
            "memory": 2 * MAX_MEMORY,  # address space, of which not all is in memory
            "max_chars": MAX_CHARS,
        }

    def close(self) -> None:
        """Stop the process; harmless when done twice. A later `render` starts another."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None


class _Worker:
    """The process that renders, and the watch over its time and memory."""

    def __init__(self) -> None:
        self._process = start("trimix_cpp.prompts.template_worker")
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        assert self._process.stdout is not None
        threading.Thread(
            target=_read_lines, args=(self._process.stdout, self._lines), daemon=True
        ).start()
        self.stop = weakref.finalize(self, _stop, self._process)

    def wait_ready(self) -> None:
        """Wait until it has started; its imports do not count as the template's time."""
        self._receive(_START_SECONDS)

    def ask(self, request: Mapping[str, Any]) -> str:
        """Send one request and wait for its text."""
        assert self._process.stdin is not None
        # A worker that has died is noticed when nothing comes back.
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
            self._process.stdin.flush()
        answer = self._receive(MAX_SECONDS)
        if "error" in answer:
            raise TrimixError(f"the model's chat template fails: {answer['error']}")
        return str(answer["text"])

    def _receive(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=_POLL_SECONDS)
                break
            except queue.Empty:
                self._check(deadline, seconds)
        if not line:
            raise TrimixError("the model's chat template fails: the process that renders it ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _check(self, deadline: float, seconds: float) -> None:
        import psutil

        if time.monotonic() > deadline:
            raise TrimixError(f"the model's chat template takes more than {seconds:g} seconds")
        with contextlib.suppress(psutil.Error):
            if psutil.Process(self._process.pid).memory_info().rss > MAX_MEMORY:
                raise TrimixError(
                    f"the model's chat template takes more than {MAX_MEMORY >> 20} MiB of memory"
                )


def _read_lines(pipe: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Pass on what the worker says; an empty line stands for its end."""
    with contextlib.suppress(OSError, ValueError):
        for line in pipe:
            lines.put(line)
    lines.put(b"")


def _stop(process: Child) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        # Closing flushes what a dead worker never read.
        with contextlib.suppress(OSError):
            if pipe is not None:
                pipe.close()
