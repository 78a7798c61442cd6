"""The standard streams: UTF-8, open, and without control characters where a person looks.

What models say is shown as it comes, so it is the stream of standard output itself that keeps a
terminal from being steered; a pipe or a file gets everything as it is.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

from .terminal import safe


class TerminalStream(io.TextIOWrapper):
    """A text stream onto a terminal that nothing passes which could steer it."""

    def write(self, text: str) -> int:
        """Write `text`, made safe."""
        super().write(safe(text, keep="\n\t"))
        return len(text)


def open_streams() -> None:
    """Make the standard streams usable: to be called once, before anything else is opened.

    One that was closed is the null device from then on, and writing to it fails as it should: the
    number of a closed stream would go to the next file that is opened, and llama.cpp's log with it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            _fill(number)
            raw = io.FileIO(number, mode, closefd=False)
            buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
            setattr(sys, name, io.TextIOWrapper(buffer, encoding="utf-8", errors="replace"))
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        # A Uyghur reply must not die of a C locale or of a Windows code page; nor what is typed.
        if isinstance(stream, io.TextIOWrapper):
            errors = "surrogateescape" if stream is sys.stdin else "replace"
            stream.reconfigure(encoding="utf-8", errors=errors)
    sys.stdout = _cleaned(sys.stdout)


def _cleaned(stream: TextIO) -> TextIO:
    """`stream`, or where it is a terminal one that control characters do not pass."""
    if isinstance(stream, TerminalStream) or not isinstance(stream, io.TextIOWrapper):
        return stream
    if not stream.isatty():
        return stream
    stream.flush()
    return TerminalStream(stream.buffer, encoding="utf-8", errors="replace", line_buffering=True)


def _fill(number: int) -> None:
    """Open the null device as the file descriptor `number`, if it is closed.

    For reading, so that a result which is written to it is not lost in silence.
    """
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR if number == 2 else os.O_RDONLY)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        os.set_inheritable(number, True)  # as a standard stream is
