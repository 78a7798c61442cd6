"""Children import what their parent would, and nothing from where the user stands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import trimix_cpp
from trimix_cpp.errors import TrimixError
from trimix_cpp.processes import Call, ChildDiedError, Send

# Every top module that a child, or what starts it, may import first.
HOSTILE = (
    *("selectors", "runpy", "socket", "pickle", "json", "threading", "traceback", "importlib"),
    *("signal", "tempfile", "struct", "random", "numpy", "jinja2", "lazy_loader", "llama_cpp"),
    *("multiprocessing", "subprocess", "ctypes", "logging", "sitecustomize", "usercustomize"),
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests' own functions run in children, who import nothing from the current folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A folder in which every import leaves a mark."""
    folder = tmp_path / "trap"
    folder.mkdir()
    for name in HOSTILE:
        (folder / f"{name}.py").write_text(
            f"open({str(folder / 'mark')!r}, 'a').write({name!r} + ' ')\nraise SystemExit(66)\n"
        )
    return folder


def numbers(send: Send, count: int, where: str) -> None:
    import socket  # what multiprocessing's spawn begins with

    assert socket.__file__ != where
    for number in range(count):
        send([number, sys.path[0]])


def fails(send: Send, kind: str) -> None:
    if kind == "trimix":
        error = TrimixError("told in one line")
        error.exit_code = 3
        raise error
    if kind == "system":
        open("/no/such/file")  # noqa: SIM115
    if kind == "memory":
        raise MemoryError
    if kind == "defect":
        raise KeyError("a defect")
    print("from C, as it were", flush=True)
    send("said")
    os._exit(7)


def sleeps(send: Send) -> None:
    send(os.getpid())
    time.sleep(60)


def test_messages_come_as_they_are_sent_and_nothing_from_here(
    trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trap)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", ".", str(trap), "relative"]))
    with Call(numbers, 3, str(trap)) as call:
        found = list(call)
    assert [number for number, _ in found] == [0, 1, 2]
    assert found[0][1] not in ("", ".", str(trap))
    assert not (trap / "mark").exists()


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("trimix", TrimixError, "told in one line"),
        ("system", TrimixError, "/no/such/file: No such file"),
        ("memory", TrimixError, "not enough memory"),
        ("defect", RuntimeError, "KeyError: 'a defect'"),
        ("exit", ChildDiedError, r"died \(exit code 7\)"),
    ],
)
def test_what_a_child_may_die_of(kind: str, error: type[Exception], words: str) -> None:
    with Call(fails, kind) as call, pytest.raises(error, match=words) as raised:
        for message in call:
            assert message == "said"
    if kind == "trimix":
        assert raised.value.exit_code == 3  # type: ignore[attr-defined]


def test_it_is_gone_at_the_end_of_the_with() -> None:
    with Call(sleeps) as call:
        pid = next(iter(call))
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_it_dies_with_its_parent() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from tests.processes.test_children import *\n"
        "with Call(sleeps) as call:\n"
        "    print(next(iter(call)), flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    child.wait(10)


PACKAGE = Path(trimix_cpp.__file__).parent
DEMO = [str(PACKAGE / "demo" / f"{role}.gguf") for role in ("large", "cpt", "base")]


@pytest.mark.parametrize("how", ["module", "script"])
def test_commands_run_nothing_that_lies_in_the_current_folder(trap: Path, how: str) -> None:
    """A chat starts the template's process, `quantize` llama.cpp's, a bar would start tqdm's."""
    program = (
        [sys.executable, "-m", "trimix_cpp"]
        if how == "module"
        else [sys.executable, str(trap.parent / "trimix-cpp")]
    )
    (trap.parent / "trimix-cpp").write_text("from trimix_cpp.commands import run\nrun()\n")
    for arguments, told in (
        (("chat", "--trio", "demo", "-n", "2", "-t", "1"), b"Hello\n"),
        (("quantize", DEMO[0], str(trap / "q.gguf"), "COPY", "-t", "1"), b""),
    ):
        done = subprocess.run(
            [*program, *arguments], input=told, cwd=trap, capture_output=True, timeout=60
        )
        assert not (trap / "mark").exists(), (trap / "mark").read_text()
        assert done.returncode == 0, done.stderr


def test_a_bar_starts_no_process(tmp_path: Path) -> None:
    """Where children are spawned by default, tqdm's own lock starts one in the current folder."""
    (tmp_path / "shows.py").write_text(
        "import sys, multiprocessing, psutil\n"
        "multiprocessing.set_start_method('spawn')\n"
        "from trimix_cpp.showing import Bar\n"
        "sys.stderr.isatty = lambda: True\n"
        "with Bar('reading', 'B') as show:\n"
        "    show(1, 2)\n"
        "assert not psutil.Process().children()\n"
    )
    subprocess.run([sys.executable, "shows.py"], check=True, timeout=60, stderr=subprocess.PIPE)


def test_a_checkout_that_is_not_installed_works_too(tmp_path: Path) -> None:
    """The package is found by the parent's path alone, which is relative at that."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "trimix_cpp").symlink_to(PACKAGE)
    program = (
        "import sys; sys.path.insert(0, 'lib')\n"
        "from trimix_cpp.prompts import ChatTemplate\n"
        "with ChatTemplate('{{ messages[0].content }}') as t:\n"
        "    print(t.render([{'role': 'user', 'content': 'rendered'}]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("rendered\n", "")
