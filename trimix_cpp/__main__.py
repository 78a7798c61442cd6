"""`python -m trimix_cpp` is `trimix-cpp`, the program; both begin here."""

import os


def run() -> None:
    """The program. Ctrl-C is one line from its first moment on, also while it imports."""
    import signal

    # Where it is ignored, as for a job in the background, it stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from .commands import run

    run()


def _leave(_signal: int, _frame: object) -> None:
    os.write(2, b"trimix-cpp: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    run()
