"""A pull that is killed anywhere goes on where it stopped; two at once do no harm."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ..support.cli import trimix
from ..support.hub_server import Hub, Stall
from .store_checks import Puller, assert_whole, files_of, kept_files


def start(home: Path) -> subprocess.Popen[str]:
    toml, profile = str(home.parent / "tiny.toml"), str(home.parent / "mine.toml")
    command = [sys.executable, "-m", "trimix_cpp", "pull", "--trio", toml, "--profile", profile]
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle_of_a_file(
    home: Path, hub: Hub, puller: Puller, how: signal.Signals
) -> None:
    shard = "model-00002-of-00003.safetensors"
    half = len(hub.repos["org/large"].commits[hub.repos["org/large"].head][shard]) // 2
    stall = hub.repos["org/large"].stalled[shard] = Stall(after=half)
    process = start(home)
    assert stall.reached.wait(60)
    while half not in [f.stat().st_size for f in (home / "downloads").rglob(f"{shard}.part")]:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (-9 if how == signal.SIGKILL else 130)
    assert how == signal.SIGKILL or errors.endswith("trimix-cpp: interrupted\n")
    assert trimix("generate", "--trio", "tiny", "-p", "a").returncode == 1
    assert "pull --trio tiny" in trimix("generate", "--trio", "tiny", "-p", "a").stderr

    stall.release.set()
    hub.repos["org/large"].stalled.clear()
    hub.log.clear()
    # A commit that comes in between is not for this pull.
    repo = hub.repos["org/large"]
    repo.push({**repo.commits[repo.head], "config.json": b"{}"})
    manifest = puller()
    assert ("GET", "org/large", shard, half) in hub.log
    assert not [entry for entry in hub.log if entry[2] in ("api", "config.json")]
    assert not hub.fetched("org/base")
    assert not hub.fetched("org/cpt")
    assert "model-00001-of-00003.safetensors" not in hub.fetched("org/large")
    assert_whole(home, manifest)


class _Interruption(BaseException):
    """Not an Exception: nothing may catch it and go on."""


@pytest.mark.parametrize("role", ["base", "large"])
def test_interrupted_before_every_change_of_the_disk(
    role: str, home: Path, hub: Hub, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a model that is written at once, and of one from the file between to the end."""
    (home.parent / "one.toml").write_text(
        f'name = "one"\n[models]\n{role} = {{ repo = "org/{role}" }}\n'
    )
    whole = puller("one.toml")
    shutil.rmtree(home)
    left = -1

    def interrupting(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any, **options: Any) -> Any:
            nonlocal left
            if role == "base" or any((home / "downloads").glob("*/between-*.gguf")):
                left -= 1
            if left == 0:
                raise _Interruption
            return change(*args, **options)

        return changed

    monkeypatch.setattr(os, "replace", interrupting(os.replace))
    monkeypatch.setattr(os, "unlink", interrupting(os.unlink))
    for point in range(1, 200):
        left = point
        interrupted = False
        try:
            manifest = puller("one.toml")
        except _Interruption:
            interrupted = True
            manifest = puller("one.toml")
        left = -1
        undated = [replace(m, date=whole.models[0].date) for m in manifest.models]
        assert undated == list(whole.models)
        assert kept_files(home) == [f"{m.stem}.gguf" for m in whole.models]
        assert not files_of(home / "downloads")
        shutil.rmtree(home)
        if not interrupted:
            break
    assert point > (15 if role == "base" else 5)


@pytest.mark.parametrize("line", ["converting org/large", "quantizing org/large"])
def test_killed_while_converting(home: Path, hub: Hub, puller: Puller, line: str) -> None:
    process = start(home)
    assert process.stderr is not None
    for text in process.stderr:
        if line in text:
            process.kill()
            break
    process.communicate()
    hub.log.clear()
    manifest = puller()
    assert not [file for _, _, file, _ in hub.log if file.endswith(".safetensors")]
    assert_whole(home, manifest)


def test_two_at_once(home: Path, hub: Hub) -> None:
    both = [start(home), start(home)]
    results = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert sum("waiting for it" in errors for _, errors in results) == 1
    assert sum("is installed already" in errors for _, errors in results) == 1
    files = [entry for entry in hub.log if entry[2] != "api"]
    assert len(files) == len(set(files))
