"""Several files in one run: each as if alone, and the same command goes on from any point."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trimix_cpp.commands import main

from ..support.cli import trimix

MODELS = ("--trio", "demo", "-t", "1", "--from", "eng", "--to", "ug", "-n", "6", "--exact")
FILES = {
    "a.txt": "Open file\n42\n",
    "deep/b.txt": "Open file\nCut\n",
    "deep/c.po": 'msgid "Cut"\nmsgstr ""\n',
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    return tmp_path


def written(folder: Path) -> dict[str, bytes]:
    """All files that are not the input's."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in paths
        if path.relative_to(folder).parts[0] != "in"
    }


def told(*arguments: str, code: int = 0) -> str:
    """What it says, in a process of its own: exact mode is chosen before the first decode."""
    done = trimix(*arguments)
    assert done.returncode == code, done.stderr
    return done.stderr


def alone(name: str) -> bytes:
    told("translate", f"in/{name}", "-o", "alone", "-q", *MODELS)
    data = Path("alone").read_bytes()
    Path("alone").unlink()
    return data


COUNTED = """
import sys
from trimix_cpp.commands import main
from trimix_cpp.decoding import Trio
load, loads = Trio.__init__, []
def counted(self, *arguments, **more):
    loads.append(self)
    load(self, *arguments, **more)
Trio.__init__ = counted
code = main(sys.argv[1:])
print(len(loads))
sys.exit(code)
"""


def test_each_comes_out_as_if_alone_and_the_models_are_loaded_once(folder: Path) -> None:
    expected = {f"out/{name}": alone(name) for name in FILES}
    call = ["translate", "in", "--into", "out/{path}", "--report", "r.json", *MODELS]
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, *call], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
    assert "5 segments" in done.stderr
    got = written(folder)
    report = json.loads(got.pop("r.json"))
    assert got == expected
    assert (report["segments"], report["generations"], report["passed_through"]) == (5, 3, 1)
    # A pattern that no shell has replaced, and the names one by one.
    told("translate", "in/**/*.txt", "--into", "{lang}/{path}", "-q", *MODELS)
    assert written(folder)["ug/in/deep/b.txt"] == expected["out/deep/b.txt"]
    told("translate", "in/a.txt", "in/deep/c.po", "-o", "{stem}-ug{ext}", "-q", *MODELS)
    assert written(folder)["c-ug.po"] == expected["out/deep/c.po"]


def test_a_bad_file_is_told_and_the_others_go_on(folder: Path) -> None:
    (folder / "in/bad.po").write_text('msgid "a\n', encoding="utf-8")
    (folder / "in/latin.txt").write_bytes(b"a\xe9\n")
    (folder / "out/deep").mkdir(parents=True)
    (folder / "out/deep/b.txt").write_text("mine", encoding="utf-8")
    said = told("translate", "in", "--into", "out/{path}", "-q", *MODELS, code=1)
    for words in ("bad.po: line 1", "latin.txt: line 1", "b.txt: is there already", "3 of 5 files"):
        assert said.count(words) == 1, said
    assert set(written(folder)) == {"out/a.txt", "out/deep/b.txt", "out/deep/c.po"}
    assert (folder / "out/deep/b.txt").read_text(encoding="utf-8") == "mine"


def test_killed_it_goes_on(folder: Path) -> None:
    call = ["translate", "in", "--into", "out/{path}", *MODELS]
    process = subprocess.Popen(
        [sys.executable, "-m", "trimix_cpp", *call], stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not (folder / "out/a.txt").exists():
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    if process.returncode:  # it may have been too quick
        assert process.returncode == 130
        assert "interrupted" in said
        assert "the same command goes on" in said
        told(*call)
    assert set(written(folder)) == {f"out/{name}" for name in FILES}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["in"], 2, "--into 'out/{path}'"),
        (["in/a.txt", "in/deep/b.txt", "-o", "x"], 2, "--into"),
        (["in", "--into", "out/{path}", "-o", "x"], 2, "-o"),
        (["in", "--into", "out/all.{lang}"], 2, "would both go there"),
        (["in", "--into", "in/{path}"], 2, "is the input"),
        (["in", "--into", "{path}{nmae}"], 2, "{nmae}"),
        (["in", "--into", "{path}.x", "--journal", "j"], 2, "--journal"),
        (["-", "--into", "{path}.x"], 2, "- is one text"),
        (["no/*.po", "--into", "out/{path}"], 1, "no file"),
        (["in/a.txt", "--into", "no\0{path}"], 2, "name"),
    ],
)
def test_what_cannot_be_is_one_line(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    assert main(["translate", *arguments, *MODELS]) == code
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert written(folder) == {}
