"""A child that stands in for its parent: the same terminal, the same pipes, the same signals.

For commands that C code may abort: the parent lives to tell. What C code writes to the child's
standard error goes to the parent, where the last of it says why.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from .python import Child, command, environment

_POSIX = sys.platform != "win32"
# What others send to the parent and mean for the child.
_PASSED = {
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
    if _POSIX and hasattr(signal, name)
}
# For the child, file descriptors: of one whose end tells that the parent is gone, and of the one
# that takes what C code says.
_PIPES = "TRIMIX_PIPES_TO_PARENT"
_MOST_WORDS = 1 << 14
_IMPATIENT = 2.0  # seconds


class Ended(NamedTuple):
    """How a child ended: its exit code, negative for a signal, and what C code said last."""

    code: int
    words: str


def run_attached(module: str, arguments: Sequence[str], settings: Mapping[str, str]) -> Ended:
    """Run `main()` of a module, which calls `attach`, in the place of this process, to its end.

    `settings` go into its environment. Where a signal ends it that came through this process, it
    ends this one too. Ctrl-C three times within two seconds kills it: C code may hang.

    Raises:
        KeyboardInterrupt: it was killed so.
    """
    if not (_POSIX and threading.current_thread() is threading.main_thread()):
        env = {**environment(), **settings, _PIPES: ""}
        return Ended(_outlived(subprocess.Popen(command(module, *arguments), env=env)), "")
    with _signals_waiting(), _Pipes() as pipes:
        child = subprocess.Popen(
            command(module, *arguments),
            env={**environment(), **settings, _PIPES: pipes.numbers},
            close_fds=False,  # a shell's <(…) is an open descriptor
        )
        pipes.hand_over()
        try:
            passed = _pass_signals(child)
        finally:
            child.kill()
            child.wait()
        words = pipes.last_words()
    if -child.returncode in passed:
        signal.signal(-child.returncode, signal.SIG_DFL)
        os.kill(os.getpid(), -child.returncode)
    return Ended(child.returncode, words)


def _outlived(child: Child) -> int:
    while True:
        with suppress(KeyboardInterrupt):  # the child has got it too
            return child.wait()


@contextmanager
def _signals_waiting() -> Iterator[None]:
    """Signals wait to be asked for; the child begins so too, and lets them in when it is ready."""
    before = signal.signal(signal.SIGCHLD, lambda *_: None)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED | {signal.SIGCHLD})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGCHLD, before)


def _pass_signals(child: Child) -> set[int]:
    """Wait for the child's end and pass signals on; which there were."""
    passed, presses = set[int](), [-_IMPATIENT] * 3
    while child.poll() is None:
        number, pressed = _next_signal()
        if number == signal.SIGCHLD:
            continue
        passed.add(number)
        if not pressed:
            child.send_signal(number)
        if number == signal.SIGINT and signal.getsignal(number) is not signal.SIG_IGN:
            presses = [*presses[1:], time.monotonic()]
            if presses[-1] - presses[0] < _IMPATIENT:
                child.kill()
                raise KeyboardInterrupt
    return passed


def _next_signal() -> tuple[int, bool]:
    """A signal's number, and whether a terminal sent it: then the child has got it too."""
    wanted = _PASSED | {signal.SIGCHLD}
    if not hasattr(signal, "sigwaitinfo"):  # macOS
        return signal.sigwait(wanted), os.isatty(0) or os.isatty(2)
    told = signal.sigwaitinfo(wanted)
    return told.si_signo, told.si_code > 0  # the kernel's; what processes send is not above 0


class _Pipes:
    """The two pipes to a child; a context manager."""

    def __init__(self) -> None:
        self._lives, self._held = os.pipe()
        self._words, self._said = os.pipe()
        for end in (self._lives, self._said):
            os.set_inheritable(end, True)
        self.numbers = f"{self._lives} {self._said}"
        self._heard = b""
        self._listener = threading.Thread(target=self._listen, daemon=True)

    def hand_over(self) -> None:
        """Leave the child's ends to it, and listen."""
        os.close(self._lives)
        os.close(self._said)
        self._listener.start()

    def _listen(self) -> None:
        with open(self._words, "rb", buffering=0) as words:
            while part := words.read(_MOST_WORDS):
                self._heard = (self._heard + part)[-_MOST_WORDS:]

    def last_words(self) -> str:
        """The end of what the child's C code said."""
        self._listener.join(1.0)
        return self._heard.decode("utf-8", "replace")

    def __enter__(self) -> _Pipes:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._held)


def attach() -> None:
    """The child: speak in the parent's place, die with it, and let signals in."""
    if numbers := os.environ.pop(_PIPES, ""):
        lives, said = map(int, numbers.split())
        os.set_inheritable(lives, False)
        threading.Thread(target=_die_at_the_end_of, args=(lives,), daemon=True).start()
        sys.stderr = open(os.dup(2), "w", buffering=1, encoding="utf-8", errors="replace")  # noqa: SIM115
        os.dup2(said, 2)
        os.close(said)
    if _POSIX:
        import resource

        most = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))  # gigabytes in the current folder
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED | {signal.SIGCHLD})


def _die_at_the_end_of(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    os._exit(1)
