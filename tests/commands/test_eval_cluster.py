"""`eval --cluster`: the table, the answers and the journal of one process, whatever dies."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ..evaluate.datasets import write_milic
from ..support.cli import trimix
from .test_cli import assert_one_line

pytest.importorskip("distributed")
METHODS = "large,cpt,proxy,trimix-ppl,trimix-ppl-answers,trimix-ppl-input"


@pytest.fixture(scope="module")
def arguments(tiny_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    data = write_milic(tmp_path_factory.mktemp("data"), ("ug",), n=12)
    named = [word for role, path in tiny_files.items() for word in (f"--{role}", str(path))]
    return [
        "eval", "--lang", "uig", "--data", str(data), *named, "-t", "1", "-c", "1024", "--exact",
        "--tasks", "response_selection,text_classification", "--shots", "1", "--samples", "3",
    ]  # fmt: skip


def lines_of(journal: Path) -> list[bytes]:
    return sorted(journal.read_bytes().splitlines()) if journal.exists() else []


def test_workers_that_die_and_a_journal_that_has_some(arguments: list[str], tmp_path: Path) -> None:
    def run(name: str, *more: str) -> list[str]:
        files = ["--journal", str(tmp_path / name), "--predictions", str(tmp_path / f"{name}.p")]
        return [*arguments, *files, *more]

    whole = trimix(*run("one"), "--methods", METHODS)
    assert whole.returncode == 0, whole.stderr
    # What is known is not found out again: its lines would stand there twice.
    assert trimix(*run("two"), "--methods", "cpt,trimix-ppl", "--limit", "5").returncode == 0
    known, journal = lines_of(tmp_path / "two"), tmp_path / "two"
    assert len(known) > 5
    shared = [sys.executable, "-m", "trimix_cpp", *run("two", "--methods", METHODS, "--cluster")]
    chance, killed, seen = random.Random(3), 0, len(known)
    with subprocess.Popen([*shared, "local:2"], stdout=subprocess.PIPE) as running:
        while running.poll() is None:
            time.sleep(0.02)
            if killed < 2 and len(lines_of(journal)) > seen:
                seen = len(lines_of(journal)) + 20
                for child in (own := psutil.Process(running.pid).children()) and [
                    chance.choice(own)
                ]:
                    child.kill()
                    killed += 1
        assert running.stdout is not None
        assert running.stdout.read().decode() == whole.stdout
    assert killed
    assert lines_of(journal) == lines_of(tmp_path / "one")
    for path in (tmp_path / "one.p").rglob("*.json"):
        assert (
            path.read_bytes()
            == (tmp_path / "two.p" / path.relative_to(tmp_path / "one.p")).read_bytes()
        )
    # Where all is known no worker is asked for: nobody listens here.
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        nobody = f"tcp://127.0.0.1:{found.getsockname()[1]}"
    again = trimix(*shared[3:], nobody)
    assert again.returncode == 0, again.stderr
    assert again.stdout == whole.stdout
    more = trimix(*arguments, "--journal", str(tmp_path / "new"), "--cluster", nobody)
    assert_one_line(more, 1, "no Dask scheduler answers at")


@pytest.mark.parametrize(
    "more", [["--list"], ["--write-tasks", "x"], ["--lm-eval", "x"], ["--rpc", "h:1"]]
)
def test_what_does_not_go_with_it(arguments: list[str], more: list[str]) -> None:
    done = trimix(*arguments[:5], "--cluster", "local:2", *more)
    assert_one_line(done, 2, f"--cluster does not go with {more[0]}")


def test_what_means_nothing(arguments: list[str]) -> None:
    assert_one_line(trimix(*arguments, "--cluster", "local:0"), 2, "--cluster local:0: from 1 to")
