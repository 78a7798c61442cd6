"""Renders a chat template, in a process of its own that `processes.start` starts.

A chat template comes with a model file and is a program by a stranger. Jinja's sandbox keeps it
from Python's inner workings, but nothing in Jinja bounds its time and memory, and a single
operation can use up both; so it runs where it can be stopped from outside. The environment is the
one that transformers gives to chat templates (`transformers.utils.chat_template_utils`), so that
a template renders here as it does there.

One JSON document a line, on stdin and stdout. First {"ready": true} comes out; then
{"source", "bos", "eos", "seconds", "memory", "max_chars"} goes in, then any number of
{"messages", "add_generation_prompt", "enable_thinking"}. Each is answered by {"text"} or {"error"}.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import re
import signal
import sys
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..showing import one_line

_SURROGATE = re.compile("[\ud800-\udfff]")


class TooLargeError(Exception):
    """The rendered text passes its bound."""


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}` marks words for training; here it does nothing."""

    tags = {"generation"}  # noqa: RUF012 - how Jinja wants it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def environment() -> ImmutableSandboxedEnvironment:
    """What a chat template may use: the same as in transformers."""
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    env.filters["tojson"] = _to_json
    env.globals["raise_exception"] = _raise_exception
    env.globals["strftime_now"] = lambda format: datetime.now().strftime(format)
    return env


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Unlike Jinja's own filter this one escapes nothing for HTML.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def render(template: jinja2.Template, values: dict[str, Any], max_chars: int) -> str:
    """The rendered text, given up as soon as it is longer than `max_chars`."""
    parts, length = [], 0
    for part in template.generate(values):
        length += len(part)
        if length > max_chars:
            raise TooLargeError(f"its text has more than {max_chars:,} characters")
        parts.append(part)
    text = "".join(parts)
    if half := _SURROGATE.search(text):  # which UTF-8, and so every tokenizer, has no bytes for
        raise jinja2.TemplateError(f"its text holds half a character, U+{ord(half[0]):04X}")
    return text


def _answer(document: dict[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(document).encode("ascii") + b"\n")
    sys.stdout.buffer.flush()


def _message(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "it needs too much memory"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    # What a template says is a stranger's text: it must not steer a terminal.
    text = one_line(" ".join(str(error).split()))[:300] or type(error).__name__
    line = getattr(error, "lineno", None)
    return f"line {line}: {text}" if line else text


def _limit_memory(n_bytes: int) -> None:
    """A first bound, where the system has one; the parent process watches on every system."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))


def main() -> None:
    """Serve until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the chat
    _answer({"ready": True})
    settings: dict[str, Any] = {}
    template: jinja2.Template | None = None
    with open(os.devnull, "w") as nowhere:
        for line in sys.stdin.buffer:
            request = json.loads(line)
            seconds = float(request.get("seconds", settings.get("seconds", 1)))
            # The parent stops a slow worker; this is for the worker whose parent was killed. Its
            # thread needs no GIL, so it ends even a process stuck in one long operation.
            faulthandler.dump_traceback_later(4 * seconds + 5, exit=True, file=nowhere)
            try:
                if template is None:
                    settings = request
                    _limit_memory(int(settings["memory"]))
                    template = environment().from_string(settings["source"])
                    reply = {"text": ""}
                else:
                    values = {
                        "messages": request["messages"],
                        "add_generation_prompt": request["add_generation_prompt"],
                        "enable_thinking": request["enable_thinking"],
                        "bos_token": settings["bos"],
                        "eos_token": settings["eos"],
                        "tools": None,
                        "documents": None,
                    }
                    reply = {"text": render(template, values, int(settings["max_chars"]))}
            except Exception as error:
                reply = {"error": _message(error)}
            faulthandler.cancel_dump_traceback_later()
            _answer(reply)
