"""`list`, `show`, `rm` and `verify` on a store with two trios that share models."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from trimix_cpp.errors import TrimixError
from trimix_cpp.showing import size_text
from trimix_cpp.store.manifest import Manifest
from trimix_cpp.store.trios import find_trio, trio_for_language

from ..support.cli import trimix
from ..support.hub_server import Hub
from .store_checks import TRIO, Puller, files_of, kept_files, model_of

SECOND = (
    TRIO.replace('"tiny"', '"second"')
    .replace('"uig"', '"bod"')
    .replace("org/cpt", "org/other")
    .replace('name = "second"', 'name = "second"\nscripts = ["Tibt"]\nlicence = "none"')
)


@pytest.fixture
def two(home: Path, hub: Hub, puller: Puller, checkpoints: dict[str, Path]) -> tuple[Manifest, ...]:
    """`tiny` and `second`, which differ in cpt alone."""
    hub.add("org/other", checkpoints["cpt"])
    (home.parent / "second.toml").write_text(SECOND)
    first = puller()
    asked = len(hub.log)
    # The other repositories have moved on; what is here already is shared all the same.
    for name in ("org/base", "org/large"):
        repo = hub.repos[name]
        repo.push({**repo.commits[repo.head], "README.md": b"newer"})
    second = puller("second.toml")
    weights = {name for _, name, file, _ in hub.log[asked:] if file.endswith(".safetensors")}
    assert weights == {"org/other"}
    return first, second


def run_json(*arguments: str, code: int = 0) -> Any:
    done = trimix(*arguments, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_shared_models_stay_until_the_last_trio_goes(
    home: Path, two: tuple[Manifest, ...], hub: Hub
) -> None:
    first, second = two
    assert model_of(first, "base") == model_of(second, "base")
    assert len(kept_files(home)) == 4
    done = trimix("rm", "tiny")
    assert done.returncode == 0
    assert re.fullmatch(r"tiny: removed, \d+\.\d [KM]iB are free again\n", done.stdout)
    assert kept_files(home) == sorted(f.name for m in second.models for f in m.files)
    assert run_json("verify")["ok"]
    removed = run_json("rm", "second")["removed"]
    assert [r["name"] for r in removed] == ["second"]
    assert removed[0]["freed"] >= second.nbytes  # records and licences go too
    assert not files_of(home / "models")
    assert not list((home / "models").iterdir())
    done = trimix("rm", "second")
    assert done.returncode == 2
    assert "'second' is not in the store" in done.stderr


def test_removing_an_unfinished_pull(home: Path, hub: Hub, puller: Puller) -> None:
    hub.repos["org/large"].lost.add("tokenizer.json")
    with pytest.raises(TrimixError):
        puller()
    assert {row["name"]: row for row in run_json("list")["trios"]}["tiny"]["unfinished"]
    assert kept_files(home)
    assert files_of(home / "downloads")
    assert trimix("rm", "tiny").returncode == 0
    assert {f for f in files_of(home) if f != ".lock"} <= {"cache/sha256.json"}


@pytest.mark.parametrize("name", ["..", "../trios", "", "nobody", "demo"])
def test_rm_removes_nothing_else(home: Path, two: tuple[Manifest, ...], name: str) -> None:
    before = files_of(home)
    assert trimix("rm", name).returncode == 2
    assert files_of(home) == before


def test_verify_finds_a_flipped_byte_and_pull_mends_it(
    home: Path, two: tuple[Manifest, ...], puller: Puller
) -> None:
    model = model_of(two[0], "large")
    path = home / "models" / model.folder / model.files[0].name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    states = {row["file"]: row for row in run_json("verify", code=1)["files"]}
    assert states[str(path)] == {"file": str(path), "trios": ["second", "tiny"], "state": "damaged"}
    assert [row["state"] for row in states.values()].count("ok") == 3
    done = trimix("verify", "tiny")
    assert done.returncode == 1
    assert f"damaged: {path}" in done.stdout
    assert "1 of 3 files are not what was installed" in done.stderr

    path.unlink()
    assert run_json("verify", "second", code=1)["files"][-1]["state"] == "missing"
    with pytest.raises(TrimixError, match=r"is gone: `trimix-cpp pull --trio tiny` fetches"):
        find_trio("tiny")
    assert model_of(puller(), "large").files == model.files
    assert run_json("verify")["ok"]
    assert trimix("verify", "nobody").returncode == 2


def test_list_and_show(home: Path, two: tuple[Manifest, ...]) -> None:
    document = run_json("list")
    assert document["store"] == str(home)
    rows = {row["name"]: row for row in document["trios"]}
    assert rows["tiny"]["installed"]
    assert rows["tiny"]["nbytes"] == two[0].nbytes
    assert not rows["qwen2.5-1.5b-7b-uig"]["installed"]
    assert list(rows)[-1] == "demo"
    table = trimix("list").stdout.splitlines()
    assert table[0].split() == ["NAME", "LANGUAGES", "MODELS", "STATE", "SIZE", "PROFILE"]
    assert next(line for line in table if line.startswith("tiny")).split() == [
        *("tiny", "Uyghur", "(ئۇيغۇرچە)", "-", "installed"),
        *(*size_text(two[0].nbytes).split(), "mine"),
    ]
    basque = {row["name"] for row in run_json("list", "--lang", "eu")["trios"]}
    assert (
        basque == {row["name"] for row in document["trios"] if "eus" in row["languages"]} != set()
    )
    small = [row["billions"]["large"] for row in run_json("list", "--size", "9")["trios"]]
    assert all(size is None or size <= 9 for size in small)
    assert any(small)
    here = run_json("list", "--installed")["trios"]
    assert here == [row for row in document["trios"] if row["installed"]]
    assert trimix("list", "--lang", "eu", "--installed").stdout == ""

    shown = run_json("show", "second", "-c", "64")
    assert shown == run_json("show", "--lang", "bo", "-c", "64")
    assert shown["manifest"]["models"][0]["sources"]
    assert shown["presets"] == {"translation.eng-uig": [0.3, 0.9]}
    assert shown["memory"]["used"] == ["large", "cpt"]
    for role, model in (("base", "base"), ("cpt", "other"), ("large", "large")):
        need = shown["memory"]["roles"][role]
        size = model_of(two[1], model).nbytes
        assert 0 < size - need["weights"] - need["repacked"] < size / 2  # the rest is the header
        assert need["cache"] > 0
        assert need["logits"] == 4 * 640
    text = trimix("show", "second").stdout
    for word in ("org/other at", "KV cache", "0.5, 0.5", "Tibt", "licences"):
        assert word in text
    known = run_json("show", "qwen2.5-1.5b-7b-uig")
    assert (known["installed"], known["memory"]) == (False, None)


def test_an_installed_trio_goes_before_known_ones_and_the_demo(
    home: Path, two: tuple[Manifest, ...]
) -> None:
    assert trio_for_language("uig", "Uyghur").name == "tiny"
    assert trio_for_language("bod", "Tibetan").name == "second"
    trimix("rm", "tiny")
    assert trio_for_language("uig", "Uyghur").name == "demo"


def test_a_broken_manifest_is_mended_by_a_pull(
    home: Path, two: tuple[Manifest, ...], puller: Puller, hub: Hub
) -> None:
    manifest = home / "trios/tiny/manifest.json"
    for text in ("{", "[]", '{"format": 99}', json.dumps({"format": 1, "roles": {}})):
        manifest.write_text(text)
        assert "pull again" in trimix("verify").stderr
        # Which models it uses cannot be known: none is removed.
        assert "pull again" in trimix("rm", "second").stderr
        assert "not installed" in trimix("generate", "--trio", "tiny", "-p", "a").stderr
        assert len(kept_files(home)) == 4
    hub.log.clear()
    puller("second.toml", update=False)
    assert puller().models == two[0].models
    assert not [file for _, _, file, _ in hub.log if file.endswith(".safetensors")]


def test_other_sources_under_the_same_name(home: Path, two: tuple[Manifest, ...]) -> None:
    toml = home.parent / "tiny.toml"
    toml.write_text(TRIO.replace("org/cpt", "org/other"))
    with pytest.raises(TrimixError, match=f"not installed: `trimix-cpp pull --trio {toml}`"):
        find_trio(str(toml))
    assert find_trio("tiny").name == "tiny"


def test_pull_by_language_needs_the_right_trio(home: Path, two: tuple[Manifest, ...]) -> None:
    done = trimix("pull", "--lang", "bod", "--trio", "tiny")
    assert (done.returncode, "is for uig, not for bod" in done.stderr) == (2, True)
    done = trimix("pull", "--lang", "eng")
    assert (done.returncode, "no trio for English" in done.stderr) == (1, True)
    assert trimix("pull").returncode == 2
