"""A function that runs in a process of its own and sends what it finds on the way.

For what cannot be interrupted or may die: C code on files by strangers. Arguments go in pickled;
what comes back is JSON, for nothing that a child says may run here.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pickle
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from ..errors import TrimixError, refusal_of
from .python import start

Send = Callable[[Any], None]


class ChildDiedError(TrimixError):
    """The process ended before its function did; the message tells how."""


class Call:
    """A call of `function(send, *arguments)` in a process of its own; a context manager.

    Iterating gives what it sends, as JSON has it, until it returns. At the end of the `with` the
    process is gone, whatever it was doing.

    Args:
        function: of a module of this package; `send` takes what JSON can hold.
        arguments: what pickle can hold.
    """

    def __init__(self, function: Callable[..., None], *arguments: Any) -> None:
        self._process = start(__name__)
        request = pickle.dumps((function.__module__, function.__qualname__, arguments))
        stdin = self._process.stdin
        assert stdin is not None
        # A child that is dead already is noticed when nothing comes back.
        with contextlib.suppress(OSError):
            stdin.write(request)
            stdin.flush()  # it stays open: its end tells the child that we have died

    def __iter__(self) -> Iterator[Any]:
        """What the function sends.

        Raises:
            TrimixError: what the function raised; an OSError too, in one line.
            ChildDiedError: the process died.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            kind, value = json.loads(line)
            if kind == "sent":
                yield value
            elif kind == "done":
                return
            elif kind == "defect":
                raise RuntimeError(value)
            else:
                error = TrimixError(value["text"])
                error.exit_code = value["exit_code"]
                raise error
        raise ChildDiedError(f"its process died (exit code {self._process.wait()})")

    @property
    def has_ended(self) -> bool:
        """The process is gone."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the process; harmless when done twice."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # closing flushes what a dead child never read
                if pipe is not None:
                    pipe.close()

    def __enter__(self) -> Call:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def main() -> None:
    """The child: one call from stdin, its messages to stdout."""
    # What C code prints must not come between the messages.
    out = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)

    def write(kind: str, value: Any = None) -> None:
        out.write(json.dumps([kind, value]) + "\n")
        out.flush()

    module, name, arguments = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    function = getattr(importlib.import_module(module), name)
    try:
        function(lambda value: write("sent", value), *arguments)
    except TrimixError as error:
        write("error", {"text": str(error), "exit_code": error.exit_code})
    except OSError as error:
        write("error", {"text": refusal_of(error), "exit_code": 1})
    except MemoryError:
        write("error", {"text": "not enough memory", "exit_code": 1})
    except Exception:
        write("defect", traceback.format_exc())
    else:
        write("done")


def _die_with_parent() -> None:
    # Not sys.stdin: its lock would be held when the interpreter shuts down.
    while os.read(0, 1):
        pass
    os._exit(1)
