"""Models on RPC servers: the same texts, and one clear line whatever becomes of a server.

Most of it needs a build of llama.cpp with RPC: `make test-rpc`.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from string import ascii_lowercase

import httpx
import llama_cpp.llama_cpp as lib
import psutil
import pytest

from trimix_cpp.commands import NAMES, group
from trimix_cpp.commands.supervised import death
from trimix_cpp.llama import supports_gpu
from trimix_cpp.llama.ggml import Kind, devices
from trimix_cpp.processes import Ended

from ..processes.test_children import HOSTILE
from ..support import listeners
from ..support.cli import trimix
from ..support.listeners import free_port, listener
from ..support.rpc import SERVE, kill, needs_rpc, rpc_server, start_server

DECODING = {"generate", "chat", "translate", "serve", "eval", "tune", "bench", "impact", "plan"}
GENERATE = ("generate", "--trio", "demo", "-p", "English: Open a file\nUyghur:", "-t", "1")
LINES = [f"{what} the file {name} and save it" for name in ascii_lowercase
         for what in ("Open", "Close", "Copy", "Remove")]  # fmt: skip
# One at a time: else what is in a batch together depends on when it was interrupted, and without
# exact mode so does the rounding.
TRANSLATE = ("translate", "in.txt", "-o", "out.txt", "--trio", "demo", "--from", "eng",
             "--to", "uig", "-n", "24", "-t", "1", "-np", "1", "-q")  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with rpc_server() as address:
        yield address


def one_line(error: str) -> str:
    assert error.startswith("trimix-cpp: ")
    assert error.count("\n") == 1
    return error


def test_every_command_that_decodes_has_it() -> None:
    context = group.make_context("trimix-cpp", ["demo"], resilient_parsing=True)
    options = {
        name: {one for param in group.get_command(context, name).params for one in param.opts}  # type: ignore[union-attr]
        for name in NAMES
    }
    assert {name for name in NAMES if "--rpc" in options[name]} == DECODING


def test_a_gpu_is_a_gpu() -> None:
    """llama.cpp says of every build with RPC that it offloads."""
    assert supports_gpu() == bool([*devices(Kind.GPU, Kind.IGPU)])
    if lib.llama_supports_rpc() and not supports_gpu():
        assert lib.llama_supports_gpu_offload()


@pytest.mark.parametrize("said", ["localhost", "localhost:0", "[::1]:2", "judge=a:1", "a:1,a:1"])
def test_a_bad_address_is_wrong_usage(said: str) -> None:
    done = trimix(*GENERATE, "--rpc", said, timeout=20)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--rpc" in one_line(done.stderr)


def test_exact_does_not_go_with_it() -> None:
    done = trimix(*GENERATE, "--rpc", "localhost:1", "--exact")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--rpc does not go with --exact" in one_line(done.stderr)


def test_a_cluster_does_not_go_with_it(folder: Path) -> None:
    done = trimix(*TRANSLATE, "--rpc", "localhost:1", "--cluster", "local:2")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--cluster does not go with --rpc" in one_line(done.stderr)


@pytest.mark.skipif(lib.llama_supports_rpc(), reason="the build has RPC")
@pytest.mark.parametrize("arguments", [(*GENERATE, "--rpc", "127.0.0.1:1"), ("rpc-serve",)])
def test_without_such_a_build_a_line_says_how_to_get_one(arguments: tuple[str, ...]) -> None:
    done = trimix(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert "CMAKE_ARGS=-DGGML_RPC=on pip install" in one_line(done.stderr)


def test_nothing_that_lies_in_the_current_folder_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*HOSTILE, "click", "trimix_cpp"):
        (tmp_path / f"{name}.py").write_text(
            f"open({str(tmp_path / 'mark')!r}, 'a').write({name!r} + ' ')\nraise SystemExit(66)\n"
        )
    for library in ("libggml-rpc.so", "libggml-cpu.so", "libggml-rpc-hostile.so"):
        (tmp_path / library).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    program = "import sys; sys.path.pop(0)\nfrom trimix_cpp.__main__ import run\nrun()"
    for arguments in ((*GENERATE, "--rpc", "127.0.0.1:1"), ("rpc-serve", "-H", "192.0.2.1")):
        done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True)
        assert not (tmp_path / "mark").exists(), (tmp_path / "mark").read_text()
        assert done.returncode == 1
        assert b"RPC" in done.stderr or b"192.0.2.1" in done.stderr


GONE = "127.0.0.1:1"  # in the names of tests, which all of pytest's workers must agree on


@pytest.mark.parametrize(
    ("code", "words", "told"),
    [
        (-6, "ggml-rpc.cpp:1: Remote RPC server crashed or returned malformed response",
         f"the RPC server at {GONE} went away; when it is back, X"),
        (-6, f"ggml-rpc.cpp:1: Failed to connect to {GONE}", f"at {GONE} went away"),
        (-6, f"other\nggml-rpc.cpp:1: RPC handshake failed for {GONE}", "another version"),
        (-6, "noise\nggml.c:1: GGML_ASSERT(a > b) failed\n", "(GGML_ASSERT(a > b) failed); X"),
        (-9, "", "(signal 9); X"),
        (66, "", "(exit code 66); X"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_death(code: int, words: str, told: str) -> None:
    with listener(listeners.answers(7)) as living:
        servers = [GONE, living] if "went away" in told else [GONE]
        assert told in death(Ended(code, words), servers, "X")


@needs_rpc
@pytest.mark.parametrize(
    "more",
    [(), ("--draft", "3"), ("--bytes", "-n", "20"), ("--temp", "1", "-s", "7"), ("-ngl", "2")],
)
def test_the_text_is_the_local_one(server: str, more: tuple[str, ...]) -> None:
    local = trimix(*GENERATE, "-n", "16", *more)
    assert local.returncode == 0, local.stderr
    for said in (server, f"large={server}", f"cpt={server},base={server}"):
        there = trimix(*GENERATE, "-n", "16", *more, "--rpc", said)
        assert (there.stdout, there.stderr, there.returncode) == (local.stdout, local.stderr, 0)


@needs_rpc
def test_layers_go_where_they_are_sent_and_no_others(server: str) -> None:
    done = trimix(*GENERATE, "-n", "2", "--rpc", f"large={server}", "-v")
    assert done.returncode == 0
    models = done.stderr.split("llama_model_loader: loaded meta data")
    on_server = ["assigned to device RPC" in part for part in models[1:] if "load_tensors" in part]
    assert on_server == [True, False, False]
    done = trimix(*GENERATE, "-n", "2", "--rpc", server, "-ngl", "large=2,cpt=0", "-v")
    counts = [
        part.count("assigned to device RPC")
        for part in done.stderr.split("llama_model_loader: loaded meta data")[1:]
        if "load_tensors" in part
    ]
    assert counts[:2] == [2, 0]
    assert counts[2] > 2


@needs_rpc
def test_layers_over_two_servers(server: str) -> None:
    local = trimix(*GENERATE, "-n", "16")
    with rpc_server() as other:
        there = trimix(*GENERATE, "-n", "16", "--rpc", f"{server},{other}", "-v")
        assert there.stdout == local.stdout
        assert "device RPC0" in there.stderr
        assert "device RPC1" in there.stderr
        apart = trimix(*GENERATE, "-n", "16", "--rpc", f"large={server},cpt={other}")
        assert apart.stdout == local.stdout
    port = server.partition(":")[2]
    twice = trimix(*GENERATE, "--rpc", f"{server},localhost:{port}")
    assert (twice.returncode, twice.stdout) == (1, "")
    assert "the same RPC server" in one_line(twice.stderr)


@needs_rpc
@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (listeners.is_http, "no RPC server of llama.cpp"),
        (listeners.hangs_up, "no RPC server of llama.cpp"),
        (listeners.says_nothing, "no answer in 5 s"),
        (listeners.answers(6), "another version of the protocol"),
        (listeners.answers(7, more=listeners.is_http), "went away"),
    ],
)
def test_what_is_no_server(behave: Callable[[socket.socket], None], words: str) -> None:
    with listener(behave) as address:
        done = trimix(*GENERATE, "--rpc", f"large={address}", timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in one_line(done.stderr)
    assert address in done.stderr


@needs_rpc
def test_a_server_serves_one_client_at_a_time() -> None:
    with rpc_server() as address:
        host, port = address.split(":")
        with socket.create_connection((host, int(port))) as other:
            other.sendall(listeners.HELLO)
            assert other.recv(36, socket.MSG_WAITALL)
            busy = trimix(*GENERATE, "--rpc", address)
        assert (busy.returncode, busy.stdout) == (1, "")
        assert "one client at a time" in one_line(busy.stderr)
        assert trimix(*GENERATE, "-n", "2", "--rpc", address).returncode == 0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("\n".join(LINES) + "\n")
    return tmp_path


@needs_rpc
@pytest.mark.slow
def test_a_server_that_is_killed_costs_nothing_that_was_finished(folder: Path, server: str) -> None:
    assert trimix(*TRANSLATE, "--rpc", server).returncode == 0
    whole = (folder / "out.txt").read_bytes()
    (folder / "out.txt").unlink()
    draw, finished, deaths = random.Random(20), b"", 0
    for _ in range(40):
        process, address = start_server()
        command = [sys.executable, "-m", "trimix_cpp", *TRANSLATE, "--rpc", f"large={address}"]
        client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with contextlib.suppress(subprocess.TimeoutExpired):
            client.wait(0.3 + 1.2 * draw.random())
        kill(process)
        out, err = client.communicate(timeout=60)
        if client.returncode == 0:
            break
        deaths += 1
        assert (client.returncode, out) == (1, b"")
        assert address in one_line(err.decode())
        journal = folder / "out.txt.journal"
        now = journal.read_bytes() if journal.exists() else b""
        assert now.startswith(finished)
        finished = now[: now.rfind(b"\n") + 1]
    assert deaths > 1
    assert finished
    assert (folder / "out.txt").read_bytes() == whole


def at_work(folder: Path, server: str) -> subprocess.Popen[bytes]:
    """A translation by way of the server, with its first text in the journal."""
    command = [sys.executable, "-m", "trimix_cpp", *TRANSLATE, "--rpc", server]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not (folder / "out.txt.journal").exists():
        time.sleep(0.02)
    return client


@needs_rpc
def test_ctrl_c_is_what_it_is_without(folder: Path, server: str) -> None:
    client = at_work(folder, server)
    client.send_signal(signal.SIGINT)
    out, err = client.communicate(timeout=60)
    assert (client.returncode, out) == (130, b"")
    assert one_line(err.decode())


@needs_rpc
@pytest.mark.slow
def test_every_command_that_decodes_works_with_it(folder: Path, server: str) -> None:
    trio = ("--trio", "demo", "-t", "1")
    for arguments, told in (
        (("chat", *trio, "-n", "8"), "Hello\nOpen file\n"),
        (("tune", "in.txt", *trio), ""),
        (("impact", *trio, "--profile", "Q8_0", "--text", "in.txt", "-c", "32", "--chunks", "1",
          "--cache", "cache"), ""),
    ):  # fmt: skip
        local = trimix(*arguments, stdin=told)
        shutil.rmtree("cache", ignore_errors=True)
        there = trimix(*arguments, "--rpc", server, stdin=told)
        assert (there.returncode, there.stdout) == (0, local.stdout), there.stderr
    bench = ("bench", *trio, "-r", "1", "-p", "4", "-n", "1", "-d", "2", "--batches", "2")
    assert trimix(*bench, "--rpc", server).returncode == 0
    speed = trimix("impact", *trio, "--profile", "Q8_0", "--text", "in.txt", "--speed",
                   "--rpc", server)  # fmt: skip
    assert speed.returncode == 2
    assert "--speed" in one_line(speed.stderr)


@needs_rpc
@pytest.mark.slow
def test_serve_ends_with_its_server() -> None:
    process, address = start_server()
    port = str(free_port())
    command = [sys.executable, "-m", "trimix_cpp", "serve", "--trio", "demo", "-t", "1", "-np", "1"]
    serving = subprocess.Popen(
        [*command, "--port", port, "--rpc", f"large={address}"], stderr=subprocess.PIPE, text=True
    )
    assert serving.stderr is not None
    while "Ctrl-C ends" not in serving.stderr.readline():
        pass
    url = f"http://127.0.0.1:{port}/v1/completions"

    def ask() -> httpx.Response:
        return httpx.post(url, json={"prompt": "Open", "max_tokens": 4}, timeout=60)

    assert ask().status_code == 200
    kill(process)
    with pytest.raises(httpx.TransportError):
        ask()
    _, told = serving.communicate(timeout=60)
    assert f"the RPC server at {address} went away" in one_line(told)
    assert serving.returncode == 1


@needs_rpc
def test_any_death_is_a_line(folder: Path, server: str) -> None:
    client = at_work(folder, server)
    for child in psutil.Process(client.pid).children():
        child.send_signal(signal.SIGSEGV)
    _, err = client.communicate(timeout=60)
    assert client.returncode == 1
    assert "signal 11" in one_line(err.decode())
    assert not [*folder.glob("core*")]


@needs_rpc
def test_a_servers_end() -> None:
    process, _ = start_server()
    os.kill(process.pid, signal.SIGINT)
    assert process.communicate(timeout=30)[1].strip() == "trimix-cpp: interrupted"
    assert process.returncode == 130
    process, _ = start_server()
    child = psutil.Process(process.pid).children()[0]
    process.terminate()
    assert process.wait(30) == -signal.SIGTERM
    child.wait(10)
    process, _address = start_server()
    psutil.Process(process.pid).children()[0].kill()
    assert "the RPC server ended" in process.communicate(timeout=30)[1]
    assert process.returncode == 1


@needs_rpc
def test_where_a_server_cannot_listen(server: str) -> None:
    for arguments, code, words in (
        (("-p", server.partition(":")[2]), 1, "another program listens there"),
        (("-H", "192.0.2.1"), 1, "no address of this machine"),
        (("-H", "no-such-host.invalid"), 1, "no such host"),
        (("-H", "::1"), 2, "IPv4"),
        (("-H", ""), 2, "no host's name"),
    ):
        done = subprocess.run([*SERVE, *arguments], capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stdout) == (code, "")
        assert words in done.stderr.splitlines()[-1]


@needs_rpc
def test_an_open_port_is_warned_of_and_the_cache_is_ours(tmp_path: Path) -> None:
    (tmp_path / "cache" / "rpc").mkdir(parents=True)
    for age, name in enumerate(("not-ours", "0123456789abcdef", "f" * 16)):
        path = tmp_path / "cache" / "rpc" / name
        path.touch()
        os.utime(path, (1e9 - age, 1e9 - age))
    port = str(free_port())
    process = subprocess.Popen(
        [*SERVE, "-H", "0.0.0.0", "-c", "-p", port],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "TRIMIX_HOME": str(tmp_path)},
        start_new_session=True,
    )
    assert process.stderr is not None
    assert "no authentication, no encryption" in process.stderr.readline()
    assert f"listens on 0.0.0.0:{port}" in process.stderr.readline()
    assert trimix(*GENERATE, "-n", "2", "--rpc", f"localhost:{port}").returncode == 0
    kill(process)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "cache", "f" * 16, "not-ours", "rpc"
    ]  # fmt: skip


@needs_rpc
def test_weights_that_no_server_holds_are_refused(server: str) -> None:
    """In a process of its own: a lost server would end the tests'."""
    code = (
        "from trimix_cpp.llama import rpc\n"
        f"assert len(rpc.devices([{server!r}], 1000)) == 2\n"
        f"rpc.devices([{server!r}], 1 << 50)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "1,024.0 TiB of weights are to go there" in done.stderr


@needs_rpc
def test_a_server_that_falls_silent_before_weights_are_sent_ends_the_process() -> None:
    with listener(listeners.answers(7)) as address:
        code = f"from trimix_cpp.llama import rpc\nrpc._PATIENCE = 0.5\nrpc.devices([{address!r}])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"RPC server {address}: it stopped answering" in one_line(done.stderr)
