"""A file of lines: whatever ends its writer, what is whole is kept, and it goes on from there."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.errors import TrimixError
from trimix_cpp.files import LineFile, begins_with, whole_lines

START = b'{"made by": 1'
LINES = [START + b"}", "ھۆججەت ئاچ".encode(), b"", "བོད་ཡིག།\u2028\r".encode(), b"x" * 300]
WHOLE = b"".join(line + b"\n" for line in LINES)


def go_on(path: Path, lines: list[bytes] = LINES) -> list[bytes]:
    """Add those of `lines` that are not in the file yet; what was in it."""
    with LineFile(path) as file:
        with open(path, "rb") as read:
            found = list(whole_lines(read))
        file.cut(found[-1][0] if found else 0)
        for line in lines[len(found) :]:
            file.append(line)
    return [line for _, line in found]


def test_cut_at_any_byte_with_or_without_zeros_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    for length in range(len(WHOLE) + 1):
        for zeros in (0, 5):
            path.write_bytes(WHOLE[:length] + bytes(zeros))
            assert go_on(path) == LINES[: WHOLE[:length].count(b"\n")]
            assert path.read_bytes() == WHOLE


@given(st.binary(max_size=60), st.lists(st.binary(max_size=3), max_size=6))
def test_whole_lines_and_what_follows_them_are_the_file(end: bytes, lines: list[bytes]) -> None:
    data = b"\n".join([*lines, end])
    found = list(whole_lines(io.BytesIO(data)))
    assert [line for _, line in found] == data.split(b"\n")[:-1]
    assert [data[:at].count(b"\n") for at, _ in found] == list(range(1, len(found) + 1))
    assert b"\n" not in data[found[-1][0] if found else 0 :]


@given(st.integers(0, len(START)), st.integers(0, 40), st.booleans(), st.binary(max_size=9))
def test_a_file_is_ones_own_by_its_beginning_or_by_what_is_left_of_that(
    length: int, n_zeros: int, zeros: bool, more: bytes
) -> None:
    def is_own(data: bytes) -> bool:
        file = io.BytesIO(data)
        answer = begins_with(file, START, zeros=zeros)
        assert file.tell() == 0
        return answer

    assert is_own(START + bytes(n_zeros) + more)
    assert is_own(START[:length] + bytes(n_zeros)) is (length > 0 or n_zeros == 0 or zeros)
    if length < len(START):
        assert not is_own(START[:length] + bytes(n_zeros) + b"\n" + more)


def test_killed_at_any_time_it_has_every_line_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    code = (
        "import sys; from pathlib import Path; from trimix_cpp.files import LineFile\n"
        "file = LineFile(Path(sys.argv[1]))\n"
        "while True: file.append(b'x' * 5000); print(flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout
        told = len([child.stdout.readline() for _ in range(20)])
        child.kill()
        told += child.stdout.read().count(b"\n")
    found = go_on(path, [])
    assert told <= len(found) <= told + 1
    assert set(found) == {b"x" * 5000}


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_disk_that_is_full_at_any_byte_is_one_line_and_keeps_what_is_there(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lines"
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from trimix_cpp.errors import TrimixError\n"
        "from trimix_cpp.files import LineFile\n"
        "path, whole = Path(sys.argv[1]), bytes.fromhex(sys.argv[2])\n"
        "for limit in range(len(whole)):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))\n"
        "    path.unlink(missing_ok=True)\n"
        "    try:\n"
        "        with LineFile(path) as file:\n"
        "            for line in whole[:-1].split(b'\\n'): file.append(line)\n"
        "    except TrimixError as error:\n"
        "        assert path.read_bytes() == whole[:limit]\n"
        "        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), WHOLE.hex()], capture_output=True, text=True
    )
    assert done.stderr == ""
    told = "File too large; what is in it is kept: the same command goes on from there"
    assert done.stdout.splitlines() == [f"{path}: {told}"] * len(WHOLE)
    go_on(path)
    assert path.read_bytes() == WHOLE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_that_is_full_is_told() -> None:
    with (
        LineFile(Path("/dev/full")) as file,
        pytest.raises(TrimixError, match=r"^/dev/full: No space left on device; what is in it is"),
    ):
        file.append(b"x")


def test_lines_that_follow_each_other_reach_the_disk_five_times_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, sync = list[float](), os.fsync
    with LineFile(tmp_path / "lines") as file:
        monkeypatch.setattr(
            os, "fsync", lambda number: (synced.append(time.monotonic()), sync(number))
        )
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            file.append(b"x")
        file.sync()
    assert 2 <= len(synced) <= 4
    assert synced[1] - synced[0] >= 0.19
