"""Clusters that a file describes: jobs, and machines over ssh, really started; and what fails."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cluster.doubling import Doubling
from trimix_cpp.cluster import Address, connected
from trimix_cpp.errors import TrimixError

pytest.importorskip("distributed")
if find_spec("dask_jobqueue") is None:  # importing it would take Ctrl-C from all other tests
    pytest.skip("needs dask-jobqueue", allow_module_level=True)
asyncssh = pytest.importorskip("asyncssh")
dask = pytest.importorskip("dask")

ROOT = Path(__file__).parents[2]
JOBS = """
cluster = "jobs-here"
workers = 2
[options]
cores = 1
memory = "4GB"
scheduler_options = { dashboard_address = "127.0.0.1:0", host = "127.0.0.1" }
job_extra_directives = []
"""
SSH = """
cluster = "ssh"
[options]
hosts = ["127.0.0.1", "127.0.0.1"]
connect_options = { port = %d, username = "me", known_hosts = "known", config = [] }
worker_options = { nthreads = 1 }
scheduler_options = { dashboard_address = "127.0.0.1:0" }
%s
"""


@pytest.fixture
def opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doubling:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "log").touch()
    return Doubling(tmp_path / "log", seconds=0.01)


def lab(text: str) -> Address:
    Path("lab.toml").write_text(text)
    return Address.parse("lab.toml")


def workers() -> list[psutil.Process]:
    """Processes of Dask that this one started, directly or not."""
    every = psutil.Process().children(recursive=True)
    return [p for p in every if p.status() != psutil.STATUS_ZOMBIE and "dask" in str(p.cmdline())]


@pytest.mark.slow
def test_jobs_are_started_again_after_their_time_and_gone_at_the_end(opening: Doubling) -> None:
    before, killed, found = signal.getsignal(signal.SIGINT), False, []
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "100ms"}),
        connected(lab(JOBS), opening) as spread,
    ):
        for item, result in spread.run(range(1500)):
            assert result == 2 * item
            found.append(item)
            if len(found) == 50:
                for process in workers():
                    process.kill()
                killed = True
        assert killed
        # Dask's jobs have a handler of their own for Ctrl-C, which ends a process without a word.
        assert signal.getsignal(signal.SIGINT) is before
    assert sorted(found) == list(range(1500))
    _, alive = psutil.wait_procs(workers(), timeout=30)
    assert not alive


class Server(asyncssh.SSHServer):  # type: ignore[misc, name-defined, unused-ignore]
    """Lets everybody in."""

    def begin_auth(self, username: str) -> bool:
        return False


@pytest.fixture
def sshd(opening: Doubling) -> Iterator[int]:
    """The port of an ssh server of this process, whose key the file `known` has."""
    key, loop = asyncssh.generate_private_key("ssh-ed25519"), asyncio.new_event_loop()
    children: list[asyncio.subprocess.Process] = []

    async def run(process: Any) -> None:
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_shell(process.command, stdout=pipe, stderr=pipe)
        children.append(child)
        await process.redirect(stdout=child.stdout, stderr=child.stderr)
        process.exit(await child.wait())

    async def listen() -> Any:
        return await asyncssh.listen(
            "127.0.0.1", 0, server_factory=Server, server_host_keys=[key], process_factory=run
        )

    async def end() -> None:
        server.close()
        await server.wait_closed()
        for child in children:
            await child.wait()

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(5)
    port = server.get_port()
    Path("known").write_text(f"[127.0.0.1]:{port} {key.export_public_key().decode()}")
    yield port
    asyncio.run_coroutine_threadsafe(end(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.slow
def test_machines_over_ssh(opening: Doubling, sshd: int) -> None:
    with connected(lab(SSH % (sshd, "")), opening) as spread:
        assert sorted(spread.run(range(20))) == [(i, 2 * i) for i in range(20)]
    _, alive = psutil.wait_procs(workers(), timeout=30)
    assert not alive


def refused(text: str, opening: Doubling) -> str:
    with pytest.raises(TrimixError) as error, connected(lab(text), opening):
        pass
    assert "\n" not in str(error.value)
    assert not workers()
    return str(error.value)


def test_what_the_other_side_says_is_told(opening: Doubling, sshd: int) -> None:
    said = refused(SSH % (sshd, "remote_python = '/nowhere/python'"), opening)
    assert "lab.toml: ssh does not start" in said
    assert "/nowhere/python" in said


def test_a_batch_system_that_takes_no_job_is_told_at_once(
    opening: Doubling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2\nexit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    said = refused(JOBS.replace("jobs-here", "slurm"), opening)
    assert said == "lab.toml: slurm does not start: sbatch: error: invalid partition"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("", "hosts are names"),
        ("hosts = 'localhost'", "hosts are names"),
        ("hosts = ['localhost']", "hosts are names"),
        ("hosts = [1, 2]", "hosts are names"),
        ("hosts = ['a', 'b']\nnprocs = 3", "unexpected nprocs: its options are hosts, connect"),
        ("hosts = ['a', 'b']\nkwargs = 3", "unexpected kwargs"),
        ("hosts = ['127.0.0.1', 'b']\nconnect_options = 3", "ssh does not start"),
        ("hosts = ['127.0.0.1', 'b']\nconnect_options = { port = 1 }", "ssh does not start"),
        ("hosts = ['127.0.0.1', 'b']\nconnect_options = { prot = 1 }", "prot"),
    ],
)
def test_options_of_ssh_that_make_no_sense(options: str, told: str, opening: Doubling) -> None:
    assert told in refused(f"cluster = 'ssh'\n[options]\n{options}", opening)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("", "cores"),
        ("cores = 1\nmemory = 'lots'", "lots"),
        ("cores = 1\nmemory = '1GB'\nx = 1", "x"),
    ],
)
def test_options_of_jobs_that_make_no_sense(options: str, told: str, opening: Doubling) -> None:
    text = f"cluster = 'slurm'\nworkers = 1\n[options]\n{options}"
    assert told in refused(text, opening)
