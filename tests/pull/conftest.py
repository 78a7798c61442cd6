"""Fixtures of the pull tests: tiny checkpoints, a Hub on this machine, an empty store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trimix_cpp.pull import hub as hub_module
from trimix_cpp.pull.run import pull
from trimix_cpp.store.manifest import Manifest
from trimix_cpp.store.spec import load_spec

from ..convert.qwen2_checkpoints import write_checkpoint
from ..support.hub_server import Hub
from .store_checks import PROFILE, TRIO, Puller


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three different tiny checkpoints of one family, with a trained tokenizer."""
    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoint(folder / "base", dtype="bfloat16", width=128)
    write_checkpoint(folder / "cpt", dtype="float16", width=128)
    write_checkpoint(folder / "large", dtype="bfloat16", width=256, shards=3)
    for role in ("base", "cpt", "large"):
        (folder / role / "README.md").write_text(f"The licence of {role}.")
        (folder / role / "training.log").write_text("not needed")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def hub(checkpoints: dict[str, Path]) -> Iterator[Hub]:
    with Hub() as server:
        for role, folder in checkpoints.items():
            server.add(f"org/{role}", folder)
        yield server


@pytest.fixture
def home(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store; the Hub is ours, and nothing is tried twice for long."""
    monkeypatch.setenv("TRIMIX_HOME", str(tmp_path / "store"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    # It is read when the package is imported, which other tests do offline.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(hub_module, "_WAITS", (0, 0))
    (tmp_path / "tiny.toml").write_text(TRIO)
    (tmp_path / "mine.toml").write_text(PROFILE)
    return tmp_path / "store"


@pytest.fixture
def puller(home: Path) -> Puller:
    """A pull in this process; what it tells is in `told`."""

    def run(toml: str = "tiny.toml", **options: Any) -> Manifest:
        options.setdefault("profile_name", str(home.parent / "mine.toml"))
        run.told.clear()  # type: ignore[attr-defined]
        done = pull(load_spec(home.parent / toml), run.told.append, **options)  # type: ignore[attr-defined]
        assert done is not None
        return done

    run.told = []  # type: ignore[attr-defined]
    return run
