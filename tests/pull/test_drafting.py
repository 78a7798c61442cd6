"""`trio new`: vocabularies are compared before any weights are fetched, and the TOML names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimix_cpp.store.spec import load_spec

from ..convert.qwen2_checkpoints import qwen2_tokenizer, write_tokenizer
from ..support.cli import trimix
from ..support.hub_server import Hub
from ..support.tiny import write_tiny_model

REMOTE = [x for role in ("base", "cpt", "large") for x in (f"--{role}", f"org/{role}")]


def test_models_on_the_hub(home: Path, hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "mine-too.toml"
    done = trimix("trio", "new", *REMOTE, "--lang", "ug,bod", "--look", "-o", str(path))
    assert done.returncode == 0, done.stderr
    spec = load_spec(path)
    assert (spec.name, spec.languages) == ("mine-too", ("uig", "bod"))
    assert {role: source.repositories[0].name for role, source in spec.sources.items()} == {
        role: f"org/{role}" for role in ("base", "cpt", "large")
    }
    assert "compared" in spec.seen
    assert "laptop-16gb" in done.stderr
    assert not [f for f in hub.fetched("org/large") if f.endswith(".safetensors")]
    assert "tokenizer.json" in hub.fetched("org/cpt")
    again = trimix("trio", "new", *REMOTE, "--lang", "ug", "--no-look", "-o", str(path))
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert load_spec(path) == spec


def test_without_a_look_the_hub_is_not_asked(home: Path, hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    done = trimix(
        "trio", "new", *REMOTE, "--lang", "ug", "--gguf", "org/large-GGUF", "-o", str(path)
    )
    assert done.returncode == 0, done.stderr
    assert hub.log == []
    spec = load_spec(path)
    assert spec.seen == ""
    assert [r.name for r in spec.sources["large"].repositories] == ["org/large", "org/large-GGUF"]


def test_another_vocabulary_is_told_and_nothing_written(
    home: Path, hub: Hub, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    write_tokenizer(folder, qwen2_tokenizer(500))
    repo = hub.repos["org/cpt"]
    changed = {f.name: f.read_bytes() for f in folder.iterdir()}
    repo.push({**repo.commits[repo.head], **changed})
    done = trimix("trio", "new", *REMOTE, "--lang", "ug", "--look", "-o", str(tmp_path / "x.toml"))
    assert done.returncode == 3, done.stderr
    assert not (tmp_path / "x.toml").exists()


def test_files_of_this_machine(tmp_path: Path) -> None:
    files = {}
    for seed, role in enumerate(("base", "cpt", "large")):
        files[role] = write_tiny_model(tmp_path / f"{role}.gguf", seed=seed)
    flags = [x for role, path in files.items() for x in (f"--{role}", str(path))]
    path = tmp_path / "local.toml"
    done = trimix("trio", "new", *flags, "--lang", "ug", "--weights", "0.3,0.9", "-o", str(path))
    assert done.returncode == 0, done.stderr
    spec = load_spec(path)
    assert {role: s.path.resolve() for role, s in spec.roles.items()} == files
    assert spec.weights.numbers == (0.3, 0.9)
    assert str(tmp_path) not in path.read_text()
    said = trimix("generate", "--trio", str(path), "-p", "a", "-n", "2", "-t", "1")
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "give --lang"),
        (("--lang", "xx", *REMOTE, "-o", "x.toml"), 2, "unknown language"),
        (("--lang", "ug", *REMOTE[:-1], "../large", "-o", "x.toml"), 2, "neither a GGUF file"),
        (("--lang", "ug", *REMOTE, "--gguf", "a b", "-o", "x.toml"), 2, "--gguf"),
        (("--lang", "ug", *REMOTE, "-o", "/nowhere/x.toml"), 1, "/nowhere"),
        (("--lang", "ug", *REMOTE, "--weights", "much", "-o", "x.toml"), 1, "weights are"),
        (("--lang", "ug", *REMOTE, "--name", "../x", "-o", "x.toml"), 2, "cannot name"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = trimix("trio", "new", *arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
