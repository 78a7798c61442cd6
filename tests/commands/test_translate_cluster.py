"""`translate --cluster`: the bytes of one process, whatever dies, and a line for what is wrong."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.cli import trimix
from trimix_cpp.commands import main

pytest.importorskip("distributed")
PAIR = ("--from", "eng", "--to", "uig")
MODELS = ("--trio", "demo", "-n", "8", "--exact", "-q")
WORDS = ["Open", "Close", "Save", "Remove", "Rename", "Print", "Search", "Move"]
LINES = [f"{verb} the {thing}" for verb in WORDS for thing in ("file", "folder", "page", "%s")]


def command(output: str, *more: str) -> list[str]:
    return ["translate", "in.txt", "-o", output, *PAIR, *MODELS, *more]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What one process makes of the lines."""
    folder = tmp_path_factory.mktemp("single")
    (folder / "in.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "trimix_cpp", *command("out.txt")], cwd=folder)
    assert done.returncode == 0
    return (folder / "out.txt").read_bytes()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return tmp_path


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


class Lab:
    """A Dask scheduler and its workers, as their commands start them."""

    def __init__(self) -> None:
        port = free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(port))
        while not listens(port):
            time.sleep(0.05)

    def add_worker(self, **env: str) -> subprocess.Popen[bytes]:
        return self._start("worker", self.address, "--nthreads", "1", "--no-nanny", **env)

    def _start(self, what: str, *arguments: str, **env: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", what, *arguments, "--no-dashboard"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **env},
        )  # fmt: skip

    def close(self) -> None:
        for child in psutil.Process().children(recursive=True):
            child.kill()


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.close()


def lines_in(path: str) -> int:
    return Path(path).read_bytes().count(b'"key"') if Path(path).exists() else 0


def test_any_number_of_workers_and_any_kill_give_the_bytes_of_one_process(single: bytes) -> None:
    arguments = command("out.txt", "--cluster", "local:2", "--keep-journal")
    with subprocess.Popen([sys.executable, "-m", "trimix_cpp", *arguments]) as running:
        chance, killed, seen = random.Random(5), 0, 0
        while running.poll() is None:
            time.sleep(0.05)
            if lines_in("out.txt.journal") > seen and killed < 3:
                seen = lines_in("out.txt.journal") + 3
                own = psutil.Process(running.pid).children()
                for child in own and [chance.choice(own)]:
                    child.kill()
                    killed += 1
    assert running.returncode == 0
    assert killed
    assert Path("out.txt").read_bytes() == single
    assert lines_in("out.txt.journal") == len(LINES)
    heads = Path("out.txt.journal").read_text(encoding="utf-8").count('"machine": {')
    assert heads == 1


def test_what_a_cluster_began_one_process_ends_and_a_shard_may_be_shared_out(
    single: bytes,
) -> None:
    for shard in ("1/2", "2/2"):
        more = ("--cluster", "local:2") if shard == "1/2" else ()
        done = trimix(*command("out.txt", "--shard", shard, *more))
        assert done.returncode == 0, done.stderr
    assert trimix("translate", "in.txt", "-o", "out.txt", *PAIR, "--merge").returncode == 0
    assert Path("out.txt").read_bytes() == single


def test_the_scheduler_dies_and_the_same_command_goes_on(lab: Lab, single: bytes) -> None:
    lab.add_worker()
    arguments = command("out.txt", "--cluster", lab.address)
    with subprocess.Popen(
        [sys.executable, "-m", "trimix_cpp", *arguments], stderr=subprocess.PIPE, text=True
    ) as running:
        while lines_in("out.txt.journal") < 4 and running.poll() is None:
            time.sleep(0.02)
        lab.scheduler.kill()
        _, stderr = running.communicate()
    if running.returncode:  # it may have been quicker than the signal
        assert running.returncode == 1
        assert stderr.count("\n") == 1
        assert "the scheduler of tcp://" in stderr
        assert lines_in("out.txt.journal") >= 4
        assert trimix(*command("out.txt")).returncode == 0
    assert Path("out.txt").read_bytes() == single


def test_workers_of_another_version_are_told_before_anything_is_done(
    lab: Lab, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "trimix_cpp-99.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: trimix-cpp\nVersion: 99\n")
    lab.add_worker(PYTHONPATH=str(other.parent))
    done = trimix(*command("out.txt", "--cluster", lab.address))
    assert done.returncode == 1
    assert "has trimix-cpp 99, here is" in done.stderr
    assert not Path("out.txt.journal").exists()


def test_two_clients_on_one_output(single: bytes) -> None:
    arguments = [sys.executable, "-m", "trimix_cpp", *command("out.txt", "--cluster", "local:1")]
    with subprocess.Popen(arguments) as first:
        while not Path("out.txt.journal").exists() and first.poll() is None:
            time.sleep(0.02)
        second = subprocess.run(arguments, capture_output=True, text=True)
        assert second.returncode == 1
        assert second.stderr.count("\n") == 1
        assert "another process" in second.stderr
    assert first.returncode == 0
    assert Path("out.txt").read_bytes() == single


def test_no_scheduler(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(command("out.txt", "--cluster", f"tcp://127.0.0.1:{free_port()}")) == 1
    assert "no Dask scheduler answers at tcp://127.0.0.1:" in capfd.readouterr().err


@pytest.mark.parametrize(
    "said",
    ["local", "local:0", "local:x", "local:9999", "4", "", "tcp://", "tcp://host", "tcp://h:0",
     "tcp://h:70000", "http://h:1", "tcp://h:1/x", "tcp://h h:1", "tcp://h:1\n", "\x1b[31m"],
)  # fmt: skip
def test_what_means_nothing(said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(command("out.txt", "--cluster", said)) == 2
    err = capfd.readouterr().err
    assert "--cluster" in err
    assert "\x1b[31m" not in err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cluster = 3", "describes no cluster"),
        ("cluster = 'os'", "cluster is one of ssh, slurm"),
        ("cluster = 'slurm'", "workers says how many"),
        ("[", "not a readable TOML"),
    ],
)
def test_files_about_clusters(text: str, told: str, capfd: pytest.CaptureFixture[str]) -> None:
    Path("lab.toml").write_text(text)
    assert main(command("out.txt", "--cluster", "lab.toml")) == 1
    assert told in capfd.readouterr().err


def test_without_dask(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("trimix_cpp.commands.clusters.find_spec", lambda name: None)
    assert main(command("out.txt", "--cluster", "local:2")) == 1
    assert "pip install 'trimix-cpp[cluster]'" in capfd.readouterr().err
