"""What a person sees, and what a closed or a broken stream does to a program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

posix = pytest.mark.skipif(sys.platform == "win32", reason="streams are not closed like this there")
PROGRAM = f"{sys.executable} -m trimix_cpp"
STEERING = "\x1b[31mཀ\n\tئ\x9b\r\x07\u2028\u200c"


@posix
def test_a_terminal_is_not_steered_and_a_pipe_gets_all() -> None:
    import pty

    code = (
        "from trimix_cpp.showing import open_streams; open_streams(); import sys; "
        f"print({STEERING!r}); sys.stdout.write({STEERING!r})"
    )
    master, slave = pty.openpty()
    done = subprocess.run([sys.executable, "-c", code], stdout=slave, check=True)
    os.close(slave)
    seen = os.read(master, 65536).decode().replace("\r\n", "\n")
    os.close(master)
    assert seen == "\n".join(2 * ["\\x1b[31mཀ\n\tئ\\x9b\\r\\x07\\u2028\u200c"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode() == f"{STEERING}\n{STEERING}"


@posix
@pytest.mark.parametrize(
    ("command", "closed", "code", "told"),
    [
        ("generate --trio demo -t 1 -n 2 -p a", "<&-", 0, ""),
        ("generate --trio demo -t 1 -n 2", "<&-", 1, "the prompt is empty"),
        ("chat --trio demo -t 1", "<&-", 0, ""),
        ("generate --trio demo -t 1 -n 2 -p a", ">&-", 1, "standard output: Bad file descriptor"),
        ("list", ">&-", 1, "standard output: Bad file descriptor"),
        ("--help", "<&- >&-", 1, "standard output: Bad file descriptor"),
        ("check --trio demo -v", "2>&-", 0, ""),
        ("generate --trio nobody -p a", "2>&-", 2, ""),
        ("generate --trio demo -t 1 -n 2 -p a", "<&- >&- 2>&-", 1, ""),
    ],
)
def test_a_closed_stream_is_one_line_at_most(
    command: str, closed: str, code: int, told: str
) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{PROGRAM} {command} {closed}"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, done.stderr
    assert done.stderr.strip() == (f"trimix-cpp: {told}" if told else "")


@posix
def test_a_closed_stream_does_not_lend_its_number_to_a_model(tmp_path: Path) -> None:
    """llama.cpp's own log, or a line of ours, would go into the next file that is opened."""
    mark = tmp_path / "mark"
    mark.write_bytes(b"mine")
    code = (
        "from trimix_cpp.showing import open_streams; open_streams(); import sys, os\n"
        f"file = open({str(mark)!r}, 'r+b'); assert file.fileno() > 2, file.fileno()\n"
        "print('lost', file=sys.stderr)\nos.write(2, b'lost')"
    )
    subprocess.run(["sh", "-c", f'exec {sys.executable} -c "$0" 2>&-', code], check=True)
    assert mark.read_bytes() == b"mine"
