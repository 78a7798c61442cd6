"""The command line: one click command a file, imported when it is called.

Nothing heavy is imported at the top of any module in this package, so `--help` answers at once.
Exit codes: 0 done, 1 an error, 2 wrong usage, 3 the models may not be fused, 130 interrupted.
"""

from __future__ import annotations

import _thread
import contextlib
import errno
import io
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType

import click

from .. import __version__
from ..errors import TrimixError, refusal_of
from ..showing import LLAMA_LOG, SafeFormatter, notice, one_line, open_streams

NAMES = (
    "demo",
    "chat",
    "generate",
    "translate",
    "serve",
    "rpc-serve",
    "tune",
    "check",
    "convert",
    "merge",
    "quantize",
    "imatrix",
    "impact",
    "plan",
    "bench",
    "eval",
    "pull",
    "list",
    "scan",
    "trio",
    "show",
    "rm",
    "verify",
)
INTERRUPTED = 130
# Characters of a line on stderr; what is longer loses its middle.
LONGEST = 1000
_SOON = 0.01  # seconds

log = logging.getLogger(__name__)


class LazyGroup(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order of `NAMES`."""
        # Not list(): the command of that name hides the builtin here once it is imported.
        return [*NAMES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command called `cmd_name`, or None."""
        if cmd_name not in NAMES:
            return None
        module = cmd_name.replace("-", "_")
        command: click.Command = import_module(f".{module}", __package__).command
        return command


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 error, 2 usage, 3 models may not be fused, 130 interrupted.",
)
@click.version_option(__version__, "-V", "--version", prog_name="trimix-cpp")
def group() -> None:
    """Large language models for languages they hardly speak: three GGUF models, fused per token."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; every error is one line on stderr."""
    open_streams()
    _show_warnings()
    try:
        code = group.main(
            args=None if arguments is None else [*arguments],
            obj=sys.argv[1:] if arguments is None else [*arguments],  # for who repeats them
            prog_name="trimix-cpp",
            standalone_mode=False,
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except SystemExit as done:  # click's own, where a reader has left, or after a completion
        return done.code if isinstance(done.code, int) else 1
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        _forget_output()
        return 1
    except Exception as error:
        return _tell(error)


def _tell(error: Exception) -> int:
    """Show an error as one line; the exit code for it."""
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "trimix-cpp"
        return _fail(f"{error.format_message()} (see {path} --help)", 2)
    if isinstance(error, click.ClickException):
        return _fail(error.format_message(), error.exit_code)
    if isinstance(error, TrimixError):
        return _fail(str(error), error.exit_code)
    if isinstance(error, MemoryError):
        return _fail("not enough memory; a smaller context (-c) needs less", 1)
    if isinstance(error, OSError):
        if error.errno in (errno.EBADF, errno.ENOSPC) and not error.filename:
            _forget_output()
            error.filename = "standard output"
        return _fail(refusal_of(error), 1)
    if isinstance(error, RuntimeError) and "Symlink loop" in str(error):  # Python before 3.13
        return _fail(str(error), 1)
    log.debug("a defect", exc_info=error)
    trace = traceback.extract_tb(error.__traceback__)
    where = f"{Path(trace[-1].filename).name}:{trace[-1].lineno}" if trace else "?"
    what = f"{type(error).__name__}: {error}"
    return _fail(f"a defect of the program ({what}, {where}); -v shows more; please report it", 1)


def _forget_output() -> None:
    """Let nothing more come of standard output, whose reader has left or whose disk is full.

    Python would complain again when it flushes at its end.
    """
    with contextlib.suppress(OSError, ValueError, io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_warnings() -> None:
    """Let our own warnings reach the user, a line each; llama.cpp's log is for -v."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(SafeFormatter("trimix-cpp: %(message)s"))
    handler.addFilter(lambda record: record.name != LLAMA_LOG)
    logging.getLogger("trimix_cpp").handlers = [handler]


def _fail(message: str, code: int) -> int:
    # A text of hundreds of lines, or a number of hundreds of digits, need not be repeated.
    line = one_line(message)
    with contextlib.suppress(OSError):  # where stderr is gone, the exit code tells
        notice(
            line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
        )
    return code


def run() -> None:
    """The `trimix-cpp` program, once `__main__` has begun it."""
    code, is_over = INTERRUPTED, False

    def pressed(number: int, frame: FrameType | None) -> None:
        if not is_over:  # else nothing is left to be interrupted
            signal.default_int_handler(number, frame)

    sys.unraisablehook = raise_where_possible
    try:
        if signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, signal.SIG_DFL, None):
            signal.signal(signal.SIGINT, pressed)
        try:
            code = main()
        finally:
            is_over = True
    except KeyboardInterrupt:  # one more, while the first was told
        is_over = True
    # Python gives signals back while it ends, and one more would kill it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def raise_where_possible(what: sys.UnraisableHookArgs) -> None:
    """Raise Ctrl-C a moment later, if it came where nothing can be raised: in a finalizer."""
    if what.exc_type is KeyboardInterrupt:
        later = threading.Timer(_SOON, _thread.interrupt_main)
        later.daemon = True
        later.start()
    else:
        sys.__unraisablehook__(what)
