"""Where all that a person sees leaves the program: results to stdout, notices to stderr."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from .terminal import one_line, safe, safe_json

# The logger that llama.cpp's own log goes to.
LLAMA_LOG = "trimix_cpp.llama"


def show(text: str) -> None:
    """Print a result, safe for a terminal."""
    print(safe(text), flush=True)


def show_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a JSON document; `indent=None` puts it on one line."""
    print(json_text(value, indent=indent), flush=True)


def json_text(value: Any, *, indent: int | None = 2) -> str:
    """A JSON document with every letter as itself, and safe for a terminal."""
    return safe_json(json.dumps(value, ensure_ascii=False, indent=indent))


def notice(text: str) -> None:
    """A line for the user, on stderr."""
    print(f"trimix-cpp: {one_line(text)}", file=sys.stderr, flush=True)


class SafeFormatter(logging.Formatter):
    """A log's lines, safe for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's text; its line breaks stay."""
        return safe(super().format(record))
