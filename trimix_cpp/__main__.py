"""`python -m trimix_cpp` is `trimix-cpp`, the program; both begin here."""

import os
import sys


def run() -> None:
    """The program. Ctrl-C is one line from its first moment on, also while it imports."""
    _read_utf8()
    leave_on_interrupt()
    from .commands import run

    run()


def _read_utf8() -> None:
    """Begin anew where Python reads arguments and names of files as ASCII, as in some C locales.

    A stop string, or the name of a column, would be bytes there and no text.
    """
    settled = os.environ.get("PYTHONUTF8") == "1" or not sys.executable
    if sys.getfilesystemencoding() == "ascii" and not settled:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def leave_on_interrupt() -> None:
    """Let Ctrl-C be one line and the end, as long as nothing else is said."""
    import signal

    # Where it is ignored, as for a job in the background, it stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def _leave(_signal: int, _frame: object) -> None:
    os.write(sys.stderr.fileno() if sys.stderr else 2, b"trimix-cpp: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    run()
