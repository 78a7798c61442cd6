"""The command line: one click command a file, imported when it is called.

Nothing heavy is imported at the top of any module in this package, so `--help` answers at once.
Exit codes: 0 done, 1 an error, 2 wrong usage, 3 the models may not be fused, 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from .. import __version__
from ..errors import TrimixError
from ..showing import LLAMA_LOG, SafeFormatter, notice

NAMES = (
    "demo",
    "chat",
    "generate",
    "translate",
    "tune",
    "check",
    "convert",
    "merge",
    "quantize",
    "imatrix",
    "impact",
    "plan",
    "bench",
    "pull",
    "list",
    "scan",
    "show",
    "rm",
    "verify",
)
INTERRUPTED = 130


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
        command: click.Command = import_module(f".{cmd_name}", __package__).command
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
    for stream in (sys.stdout, sys.stderr):
        # A Uyghur reply must not die of a C locale or of a Windows code page.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    _show_warnings()
    try:
        code = group.main(
            args=None if arguments is None else [*arguments],
            prog_name="trimix-cpp",
            standalone_mode=False,
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "trimix-cpp"
        return _fail(f"{error.format_message()} (see {path} --help)", 2)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except TrimixError as error:
        return _fail(str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has left; Python must not complain again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        return _fail("not enough memory; a smaller context (-c) needs less", 1)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return _fail(f"{name}{error.strerror or error}", 1)


def _show_warnings() -> None:
    """Let our own warnings reach the user, a line each; llama.cpp's log is for -v."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(SafeFormatter("trimix-cpp: %(message)s"))
    handler.addFilter(lambda record: record.name != LLAMA_LOG)
    logging.getLogger("trimix_cpp").handlers = [handler]


def _fail(message: str, code: int) -> int:
    notice(message)
    return code


def run() -> None:
    """The `trimix-cpp` program."""
    sys.exit(main())
