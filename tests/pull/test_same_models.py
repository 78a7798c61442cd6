"""A trio on another machine: the same files by hash, wherever they lie, or pulled."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from trimix_cpp.errors import TrimixError
from trimix_cpp.runtime import SentModels
from trimix_cpp.store import RoleSpec, TrioSpec, find_trio

from ..support.hub_server import Hub
from ..support.tiny import write_tiny_model
from .store_checks import Puller


def test_files_under_the_same_path_are_taken_only_where_they_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_model(tmp_path / "a.gguf", seed=1)
    write_tiny_model(tmp_path / "b.gguf", seed=2)
    monkeypatch.chdir(tmp_path)
    sent = SentModels.of(TrioSpec("some", {"large": RoleSpec(Path("a.gguf"))}), ["large"])
    monkeypatch.chdir("/")
    assert sent.here(0).roles["large"].path == tmp_path / "a.gguf"
    with pytest.raises(TrimixError, match="a worker --memory-limit 0"):
        sent.here(1 << 20)
    shutil.copy(tmp_path / "b.gguf", tmp_path / "a.gguf")
    with pytest.raises(TrimixError, match=r"its large, .*a\.gguf, is another file than the client"):
        sent.here(0)
    (tmp_path / "a.gguf").unlink()
    with pytest.raises(TrimixError, match=r"it has no .*a\.gguf, the model of large"):
        sent.here(0)


def test_a_trio_of_the_same_name_is_looked_into(tmp_path: Path) -> None:
    demo = find_trio("demo")
    sent = SentModels.of(demo, demo.roles)
    elsewhere = {role: RoleSpec(tmp_path / f"{role}.gguf") for role in demo.roles}
    sent = replace(sent, spec=replace(demo, roles=elsewhere))
    assert sent.here(0).roles == demo.roles


def test_what_is_not_here_is_pulled_with_the_clients_profile(
    home: Path, hub: Hub, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    puller()
    client = find_trio("tiny")
    sent = SentModels.of(client, client.roles)
    worker = home.parent / "worker"
    monkeypatch.setenv("TRIMIX_HOME", str(worker))
    assert sent.here(0).roles == client.roles  # on this machine the client's own are there
    assert not worker.exists()

    shutil.rmtree(home)
    found = sent.here(0)
    assert all(model.path.is_relative_to(worker) for model in found.roles.values())
    hub.close()
    assert sent.here(0).roles == found.roles  # and the next time they are there
