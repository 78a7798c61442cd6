"""`pull` whole, against a Hub on this machine: real checkpoints, conversions and models."""

from __future__ import annotations

import json
import re
from pathlib import Path

from trimix_cpp.pull.run import pull
from trimix_cpp.store.spec import load_spec
from trimix_cpp.store.trios import find_trio

from ..support.cli import trimix
from ..support.hub_server import Hub
from .store_checks import PROFILE, Puller, assert_whole, files_of, model_of


def test_pull_then_generate_offline(home: Path, hub: Hub) -> None:
    toml, profile = str(home.parent / "tiny.toml"), str(home.parent / "mine.toml")
    done = trimix("pull", "--trio", toml, "--profile", profile)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"tiny: installed, \d+\.\d [KM]iB, profile mine\n", done.stdout)
    assert "training.log" not in hub.fetched("org/base")
    assert not (home.parent / "hf").exists()
    hub.close()

    manifest = json.loads((home / "trios/tiny/manifest.json").read_text())
    kinds = {m["repository"]: m["recipe"]["type"] for m in manifest["models"]}
    assert kinds == {"org/base": "BF16", "org/cpt": "Q8_0", "org/large": "Q4_0"}
    assert all(m["revision"] == hub.repos[m["repository"]].head for m in manifest["models"])
    large = manifest["models"][-1]
    shard = hub.repos["org/large"].commits[large["revision"]]
    assert {f["name"]: f["size"] for f in large["sources"]} == {
        name: len(data) for name, data in shard.items() if name != "training.log"
    }
    assert (home / "models" / large["folder"] / "README.md").read_text() == "The licence of large."
    assert not [f for f in files_of(home) if f.endswith(".safetensors")]

    spec = find_trio("tiny")
    assert spec.type_k == dict.fromkeys(("base", "cpt", "large"), "q8_0")
    assert set(spec.type_v.values()) == {"f16"}
    for arguments in (
        ["generate", "--trio", toml, "-p", "ئۇيغۇر", "--weights", "0.3,0.9"],
        ["generate", "--trio", "tiny", "-p", "بوdy", "-ctk", "f16"],
    ):
        done = trimix(*arguments, "-n", "4", "-t", "1", "-c", "128", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["tokens"] >= 1
    done = trimix("chat", "--lang", "ug", "-n", "4", "-t", "1", "-c", "128", stdin="سالام\n")
    assert (done.returncode, "demo" in done.stderr) == (0, False), done.stderr


def test_the_files_are_those_of_convert_and_quantize(
    home: Path, puller: Puller, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    from trimix_cpp.convert import convert

    from ..support.quantized import quantize

    manifest = puller()
    convert(checkpoints["base"], tmp_path / "base", "bf16")
    convert(checkpoints["cpt"], tmp_path / "cpt", "q8_0")
    convert(checkpoints["large"], tmp_path / "between.gguf", "bf16")
    quantize(tmp_path / "between.gguf", tmp_path / "large", "Q4_0")
    for model in manifest.models:
        path = home / "models" / model.folder / model.files[0].name
        made = (tmp_path / model.repository.removeprefix("org/")).read_bytes()
        # `general.name` comes from the folder's name; everything else is the same.
        assert len(path.read_bytes()) - len(made) in range(-64, 65)
        assert path.read_bytes()[-4096:] == made[-4096:]
    assert_whole(home, manifest)


def test_a_second_pull_asks_nobody(home: Path, hub: Hub, puller: Puller) -> None:
    first = puller()
    asked = len(hub.log)
    assert puller() == first
    assert puller(profile_name=None) == first
    assert len(hub.log) == asked


def test_update_takes_the_newest_commit_and_drops_the_old(
    home: Path, hub: Hub, puller: Puller
) -> None:
    before = puller()
    repo = hub.repos["org/cpt"]
    repo.push({**repo.commits[repo.head], "README.md": b"changed"})
    assert puller().models == before.models
    after = puller(update=True)
    changed = [r for r in ("base", "cpt", "large") if model_of(after, r) != model_of(before, r)]
    assert changed == ["cpt"]
    assert model_of(after, "cpt").revision == repo.head
    assert_whole(home, after)


def test_another_profile_replaces_the_models(home: Path, puller: Puller) -> None:
    before = puller()
    (home.parent / "mine.toml").write_text(PROFILE.replace('"BF16"', '"Q8_0"'))
    after = puller()
    assert model_of(before, "base").stem == "BF16"
    assert model_of(after, "base").stem == "Q8_0"
    assert model_of(after, "large") == model_of(before, "large")
    assert {m.revision for m in after.models} == {m.revision for m in before.models}
    assert_whole(home, after)


def test_dry_run_fetches_no_weights(home: Path, hub: Hub, puller: Puller) -> None:
    told: list[str] = []
    spec = load_spec(home.parent / "tiny.toml")
    assert pull(spec, told.append, profile_name=None, dry_run=True) is None
    assert {file for _, _, file, _ in hub.log} == {"api", "config.json"}
    assert "profile " in told[0]
    assert not (home / "trios").exists()
