"""A child in its parent's place: output, signals and exit codes pass; its death is told."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from trimix_cpp.processes import attach

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")
ROOT = Path(__file__).parents[2]
PARENT = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    "from trimix_cpp.processes import run_attached\n"
    "ended = run_attached('tests.processes.test_attached', sys.argv[1:], {'SET': 'so'})\n"
    "print(ended.code, ended.words.strip(), flush=True)\n"
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This module is run in children, who import nothing from the current folder."""
    monkeypatch.chdir(tmp_path)


def main() -> None:
    """The child."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os.write(1, b"pressed\n") and None)
    attach()
    what = sys.argv[1]
    if what in ("waits", "deaf"):
        print(os.getpid(), flush=True)
        until = time.monotonic() + 0.6
        while time.monotonic() < until or len(sys.argv) > 2:
            time.sleep(0.05)
        raise SystemExit(5)
    if what == "hangs":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        print(os.getpid(), flush=True)
        time.sleep(60)
    if what == "reads":
        print(open(f"/dev/fd/{sys.argv[2]}").read())  # noqa: SIM115
        return
    if what == "aborts":
        os.write(2, b"x" * 100_000 + b"\nfile.cpp:1: the last words\n")
        print("own notice", file=sys.stderr)
        os.abort()
    print(sys.stdin.read(), os.environ["SET"], sys.argv[1:], sys.stderr.isatty())
    print("an error", file=sys.stderr)
    raise SystemExit(int(what))


def start(*arguments: str, **given: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PARENT, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, **given)  # type: ignore[call-overload,no-any-return]


def test_streams_arguments_and_codes_pass() -> None:
    parent = start("3", "\udcff", "", "a b", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = parent.communicate(b"told\n", 60)
    assert out == b"told\n so ['3', '\\udcff', '', 'a b'] False\n3 \n"
    assert err == b"an error\n"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_stream_that_is_closed_stays_so_in_the_child(number: int) -> None:
    code = "from trimix_cpp.showing import open_streams; open_streams()\n" + PARENT
    told = ["sh", "-c", f'exec "$@" {number}<&-', "sh", sys.executable, "-c", code, "3"]
    done = subprocess.run(told, input=b"told", capture_output=True, timeout=60)
    lines = {0: b" so ['3'] False\n3 \n", 1: b"", 2: b"told so ['3'] False\n3 \n"}
    assert done.stdout == lines[number]
    if number != 1:  # else Python tells what becomes of its prints
        assert done.stderr == {0: b"an error\n", 2: b""}[number]


def test_what_c_code_says_before_it_aborts_is_the_parents() -> None:
    parent = start("aborts", stderr=subprocess.PIPE)
    out, err = parent.communicate(timeout=60)
    assert err == b"own notice\n"
    assert out.startswith(f"{-signal.SIGABRT} xx".encode())
    assert len(out) < 1 << 15
    assert out.endswith(b"file.cpp:1: the last words\n")


def test_a_signal_reaches_the_child_once() -> None:
    parent = start("waits")
    assert parent.stdout is not None
    parent.stdout.readline()
    parent.send_signal(signal.SIGINT)
    assert parent.stdout.read() == b"pressed\n5 \n"
    assert parent.wait(10) == 0


def test_what_ends_the_child_ends_the_parent() -> None:
    parent = start("waits", "long")
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(10) == -signal.SIGTERM
    child.wait(10)


def test_a_child_dies_with_its_parent() -> None:
    parent = start("waits", "long")
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    child.wait(10)


def test_ctrl_c_of_a_terminal_reaches_the_child_once() -> None:
    pid, terminal = pty.fork()
    if not pid:
        os.execv(sys.executable, [sys.executable, "-c", PARENT, "waits"])
    seen = b""
    while not seen.strip().isdigit() or b"\n" not in seen:
        seen += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    try:
        while part := os.read(terminal, 1000):
            seen += part
    except OSError:  # how Linux tells that the other side is gone
        pass
    os.waitpid(pid, 0)
    assert seen.count(b"pressed") == 1
    assert seen.split()[-1] == b"5"


def test_three_presses_at_once_end_what_hangs() -> None:
    parent = start("hangs", stderr=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    for _ in range(3):
        time.sleep(0.1)  # two that wait are one
        parent.send_signal(signal.SIGINT)
    assert parent.communicate(timeout=10)[1].endswith(b"KeyboardInterrupt\n")
    assert parent.returncode == -signal.SIGINT
    child.wait(10)


def test_a_job_that_ignores_ctrl_c_goes_on() -> None:
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", PARENT, "deaf"]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()
    for _ in range(4):
        time.sleep(0.05)
        parent.send_signal(signal.SIGINT)
    assert parent.communicate(timeout=10)[0] == b"5 \n"


def test_a_shells_substitution_is_open_in_the_child() -> None:
    read, write = os.pipe()
    with open(write, "wb") as told:
        told.write(b"from a pipe")
    try:
        parent = start("reads", str(read), pass_fds=[read])
    finally:
        os.close(read)
    assert parent.communicate(timeout=60)[0] == b"from a pipe\n0 \n"
