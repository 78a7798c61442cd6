"""`translate` and the files of others: nothing is overwritten, removed, or found out too late."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from trimix_cpp.commands import main

MODELS = ("--trio", "demo", "-t", "1", "--from", "eng", "--to", "uig", "-n", "4")
posix = pytest.mark.skipif(os.name != "posix", reason="devices, links and terminals of POSIX")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("Open\n", encoding="utf-8")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["translate", "in.txt", *arguments, *MODELS])
    text = capsys.readouterr().err
    assert code == 0 or text.count("\n") == 1, text
    return code, text


@posix
def test_devices_stay_devices(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "-o", "out.txt", "--report", "/dev/null", "-q")[0] == 0
    assert said(capsys, "-o", "/dev/null", "-q")[0] == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert not {"null.journal", "null.lock"} & set(os.listdir("/dev"))
    code, text = said(capsys, "-o", "b.txt", "--journal", "/dev/null")
    assert (code, "--journal" in text) == (2, True)
    assert sorted(os.listdir(folder)) == ["in.txt", "out.txt"]


def test_a_report_replaces_a_report_and_nothing_else(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "mine.json").write_text('{"segments": 3}', encoding="utf-8")
    code, text = said(capsys, "-o", "out.txt", "--report", "mine.json")
    assert (code, "--report" in text) == (1, True)
    assert (folder / "mine.json").read_text(encoding="utf-8") == '{"segments": 3}'
    assert not (folder / "out.txt").exists()
    for force in ((), ("--force",)):
        assert said(capsys, "-o", "out.txt", "--report", "r.json", "-q", *force)[0] == 0
        assert json.loads((folder / "r.json").read_bytes())["segments"] == 1
    assert said(capsys, "-o", "out.txt", "--report", "mine.json", "-q", "--force")[0] == 0
    assert json.loads((folder / "mine.json").read_bytes())["segments"] == 1


def test_a_lock_s_name_may_be_somebody_else_s_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = folder / "poetry.lock"
    lock.write_text("[[package]]\n", encoding="utf-8")
    code, text = said(capsys, "-o", "poetry")
    assert (code, "poetry.lock" in text) == (1, True)
    assert lock.read_text(encoding="utf-8") == "[[package]]\n"


@pytest.mark.parametrize("content", [b"mine\n", bytes(1000), b"{}"])
def test_a_journal_s_name_may_be_somebody_else_s_file(
    folder: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (folder / "out.txt.journal").write_bytes(content)
    for more in ((), ("--restart",), ("--force",)):
        assert said(capsys, "-o", "out.txt", *more)[0] == 1
    assert (folder / "out.txt.journal").read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["-o", ""], 2),
        (["-o", "."], 2),
        (["-o", "/"], 1),
        (["-o", "o", "--report", "."], 2),
        (["-o", "o", "--report", "no/r.json"], 1),
        (["-o", "o", "--report", "in.txt/r.json"], 1),
        (["-o", "o", "--journal", "/"], 1),
        (["-o", "o", "--journal", "no/j"], 1),
        (["-o", "x" * 300], 1),
        (["-o", "loop"], 1),
        (["-o", "loop/x"], 1),
        (["-o", "o", "--report", "loop"], 1),
        (["-o", "o", "--shots", "loop"], 1),
        (["-o", "o", "--journal", "loop"], 1),
        (["-o", "o", "--format", "csv", "--column", "1", "--into", "\udcff"], 2),
        (["-o", "o", "--format", "jsonl", "--field", "\udcff"], 2),
    ],
)
@posix
def test_what_cannot_be_written_is_one_line_before_the_work(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int
) -> None:
    (folder / "loop").symlink_to("loop")
    before = sorted(os.listdir(folder))
    assert said(capsys, *arguments)[0] == code
    assert sorted(os.listdir(folder)) == before


def test_a_source_cannot_steer_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder / "in\u202e.txt"
    source.write_text("\x1b[2J%1$s \x9b31m {name} %2$s\u202e Open\n", encoding="utf-8")
    assert main(["translate", str(source), "-o", "out.txt", *MODELS]) == 0
    text = capsys.readouterr().err
    assert "loses" in text
    assert not any(char in text for char in "\x1b\x9b\u202e")
    # In the report all is there, as JSON's own escapes.
    code = main(["translate", str(source), "-o", "b.txt", "--report", "-", "-q", *MODELS])
    out = capsys.readouterr().out
    assert code == 0
    assert "\u202e" not in out
    assert json.loads(out)["flagged"][0]["source"] == source.read_text(encoding="utf-8")[:-1]


@posix
def test_standard_output_to_a_terminal_is_safe_and_to_a_file_exact(folder: Path) -> None:
    import pty

    (folder / "in.txt").write_text("\x1b[2J\t42\u202e\n", encoding="utf-8")
    call = [sys.executable, "-m", "trimix_cpp", "translate", "in.txt", "-o", "-", "-q", *MODELS]
    plain = subprocess.run(call, capture_output=True, check=True).stdout
    assert plain.decode() == "\x1b[2J\t42\u202e\n"
    ours, theirs = pty.openpty()
    done = subprocess.run(call, stdout=theirs, stderr=subprocess.DEVNULL, check=True)
    os.close(theirs)
    shown = os.read(ours, 1000).decode()
    os.close(ours)
    assert done.returncode == 0
    assert "\\x1b[2J" in shown
    assert "\\u202e" in shown
    assert "\x1b" not in shown


@posix
@pytest.mark.parametrize(("closed", "code"), [("<&-", 0), (">&-", 1)])
def test_a_closed_stream_is_empty_or_one_line(closed: str, code: int) -> None:
    call = [sys.executable, "-m", "trimix_cpp", "translate", "-", "-q", *MODELS]
    done = subprocess.run(
        ["bash", "-c", f'"$@" {closed}', "bash", *call],
        capture_output=True,
        text=True,
        input="42\n",
    )
    assert (done.returncode, done.stderr.count("\n")) == (code, code)


def test_a_damaged_line_of_the_journal_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "in.txt").write_text("Open\nClose\n", encoding="utf-8")
    assert said(capsys, "-o", "out.txt", "--keep-journal", "-q")[0] == 0
    whole = (folder / "out.txt").read_bytes()
    journal = folder / "out.txt.journal"
    lines = journal.read_bytes().split(b"\n")
    lines[1] = lines[1].replace(b'"tokens"', b'"Tokens"')
    journal.write_bytes(b"\n".join(lines))
    code, text = said(capsys, "-o", "out.txt", "--force")
    assert code == 0
    assert "1 line is damaged" in text
    assert (folder / "out.txt").read_bytes() == whole
