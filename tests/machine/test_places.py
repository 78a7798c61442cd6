"""Files of other programs are found by hash, taken over whole, and left as they are."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from trimix_cpp.machine import find_by_hash, links, model_files, take_over

from ..support.cli import trimix
from ..support.tiny import write_tiny_model


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    return write_tiny_model(tmp_path / "own" / "model.gguf", seed=3)


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The folders that other programs have here, all empty."""
    home = tmp_path / "home"
    for name in ("HF_HOME", "HF_HUB_CACHE", "OLLAMA_MODELS", "LLAMA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.setenv("LLAMA_CACHE", str(tmp_path / "llama"))
    return {
        "Ollama": home / ".ollama" / "models" / "blobs",
        "Hugging Face": home / ".cache/huggingface/hub/models--O--m/blobs",
        "llama.cpp": tmp_path / "llama",
        "LM Studio": home / ".lmstudio/models/O/m",
    }


NAMES = {"Ollama": "sha256-{}", "Hugging Face": "{}", "llama.cpp": "a.gguf", "LM Studio": "b.gguf"}


def put(model: Path, homes: dict[str, Path], program: str) -> Path:
    path = homes[program] / NAMES[program].format(sha256(model))
    path.parent.mkdir(parents=True)
    shutil.copy(model, path)
    return path


@pytest.mark.parametrize("program", NAMES)
def test_each_program_s_files_are_found(model: Path, homes: dict[str, Path], program: str) -> None:
    size, digest = model.stat().st_size, sha256(model)
    assert list(find_by_hash(digest, size)) == []
    path = put(model, homes, program)
    assert list(find_by_hash(digest, size)) == [(path, program)]
    assert list(model_files()) == [(path, program)]
    assert list(find_by_hash(digest, size + 1)) == []
    assert list(find_by_hash("../" + digest, size)) == []
    assert list(find_by_hash("*", size)) == []


def test_a_snapshot_and_its_blob_are_one_file(model: Path, homes: dict[str, Path]) -> None:
    blob = put(model, homes, "Hugging Face")
    snapshot = blob.parent.parent / "snapshots" / "c0ffee" / "model.gguf"
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(blob)
    assert len(list(model_files())) == 1


@pytest.mark.parametrize("way", ["link", "blocks", "copy"])
def test_taken_over_whole(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way != "link":
        monkeypatch.setattr(os, "link", refuse)
    if way == "copy":
        monkeypatch.setattr(links, "_share_blocks", lambda *_: False)
    before, seen = sha256(model), []
    target = tmp_path / "ours.gguf"
    assert take_over(model, target, before, lambda done, total: seen.append((done, total)))
    assert sha256(target) == sha256(model) == before
    assert seen[-1] == (model.stat().st_size,) * 2
    assert (os.stat(target).st_ino == os.stat(model).st_ino) == (way == "link")
    target.unlink()
    assert sha256(model) == before


def refuse(*_: object) -> None:
    raise OSError("no links here")


def test_a_file_that_is_not_what_its_name_says_is_left(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "ours.gguf"
    assert not take_over(model, target, "0" * 64)
    assert not take_over(tmp_path / "gone", target, "0" * 64)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own"]


def test_a_file_that_changes_meanwhile_is_noticed(model: Path, tmp_path: Path) -> None:
    """At whatever byte: a hard link changes with its source."""
    digest, target = sha256(model), tmp_path / "ours.gguf"

    def change(done: int, total: int) -> None:
        with open(model, "rb+") as file:
            file.seek(total - 1)
            file.write(b"?")

    assert not take_over(model, target, digest, change)
    assert not target.exists()


def test_scan_tells_which_could_be_a_trio(tmp_path: Path) -> None:
    for name, seed, width in (("base", 0, 64), ("cpt", 1, 64), ("large", 2, 128)):
        write_tiny_model(tmp_path / f"{name}.gguf", seed=seed, n_embd=width)
    write_tiny_model(tmp_path / "stranger.gguf", merges=("a b",))
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(20))
    (tmp_path / "notes.gguf").write_bytes(b"not a model")
    done = trimix("scan", str(tmp_path), env={"HOME": str(tmp_path / "none")})
    assert done.returncode == 0, done.stderr
    rows = {
        Path(line.split()[-1]).stem: line.strip()
        for line in done.stdout.splitlines()
        if "/" in line
    }
    assert set(rows) == {"base", "cpt", "large", "stranger"}
    assert rows["large"].startswith("large")
    assert rows["base"].startswith("base, cpt")
    assert rows["cpt"].startswith("base, cpt")
    assert rows["stranger"].startswith("-")


def test_list_tells_that_other_programs_have_models(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path / "none"), "LLAMA_CACHE": str(tmp_path / "llama")}
    (tmp_path / "llama").mkdir()
    assert "other programs" not in trimix("list", env=env).stderr
    write_tiny_model(tmp_path / "llama" / "m.gguf")
    assert "have 1 GGUF file on this machine" in trimix("list", env=env).stderr
