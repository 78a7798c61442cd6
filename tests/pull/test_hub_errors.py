"""What a Hub and a disk may do to a pull: every failure is one line, and nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trimix_cpp.errors import TrimixError, UsageError

from ..support.hub_server import Hub
from .store_checks import TRIO, Puller, assert_whole, files_of, model_of


def test_a_connection_that_breaks_again_and_again(home: Path, hub: Hub, puller: Puller) -> None:
    hub.repos["org/base"].cut["model.safetensors"] = [1000] * 8
    hub.repos["org/cpt"].cut["tokenizer.json"] = [10]
    manifest = puller()
    file = ("org/base", "model.safetensors")
    starts = [start for _, *asked, start in hub.log if tuple(asked) == file]
    assert starts[:9] == [1000 * n for n in range(9)]
    assert_whole(home, manifest)


def test_a_server_without_ranges(home: Path, hub: Hub, puller: Puller) -> None:
    hub.repos["org/base"].ranges = False
    hub.repos["org/base"].cut["model.safetensors"] = [1000, 5000]
    assert_whole(home, puller())


def test_something_that_is_no_hub(home: Path, hub: Hub, puller: Puller) -> None:
    hub.repos["org/base"].failing["api"] = [200]
    with pytest.raises(TrimixError, match="what answers there is no Hub") as error:
        puller()
    assert "\n" not in str(error.value)


def test_a_name_that_is_taken(home: Path, hub: Hub, puller: Puller) -> None:
    text = TRIO.replace('"tiny"', '"qwen2.5-1.5b-7b-uig"')
    (home.parent / "tiny.toml").write_text(text)
    with pytest.raises(UsageError, match="is the name of a known trio"):
        puller()
    assert not hub.log


def test_busy_for_a_while(home: Path, hub: Hub, puller: Puller) -> None:
    hub.repos["org/base"].failing |= {"api": [503, 502], "model.safetensors": [429, 504]}
    manifest = puller()
    assert sum("trying again" in line for line in puller.told) == 4  # type: ignore[attr-defined]
    assert_whole(home, manifest)


@pytest.mark.parametrize("file", ["api", "config.json", "model.safetensors"])
def test_busy_for_good(home: Path, hub: Hub, puller: Puller, file: str) -> None:
    hub.repos["org/base"].failing[file] = [503] * 9
    with pytest.raises(TrimixError, match=r"the Hub answers 503; try again later"):
        puller()
    hub.repos["org/base"].failing.clear()
    assert_whole(home, puller())


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_wrong_hash(home: Path, hub: Hub, puller: Puller, file: str) -> None:
    hub.repos["org/cpt"].corrupt[file] = 1
    with pytest.raises(TrimixError, match=f"what came for {file} has another hash"):
        puller()
    assert not [f for f in files_of(home) if file in f]
    assert_whole(home, puller())


def test_a_damaged_partial_file_is_fetched_anew(home: Path, hub: Hub, puller: Puller) -> None:
    hub.repos["org/base"].failing["model.safetensors"] = [503] * 3
    with pytest.raises(TrimixError):
        puller()
    folder = next((home / "downloads").glob("org--base*"))
    (folder / "model.safetensors.part").write_bytes(b"something else")
    manifest = puller()
    assert any("damaged" in line for line in puller.told)  # type: ignore[attr-defined]
    assert_whole(home, manifest)


def test_a_file_that_is_listed_but_gone(home: Path, hub: Hub, puller: Puller) -> None:
    hub.repos["org/cpt"].lost.add("tokenizer.json")
    with pytest.raises(TrimixError, match=r"org/cpt has no file tokenizer.json \(at [0-9a-f]{12}"):
        puller()


def test_no_such_repository(home: Path, hub: Hub, puller: Puller) -> None:
    del hub.repos["org/cpt"]
    with pytest.raises(TrimixError, match="/org/cpt: no such repository; if it is private, log in"):
        puller()
    assert not hub.fetched("org/base")


def test_no_such_revision(home: Path, puller: Puller) -> None:
    text = TRIO.replace('"org/cpt"', '"org/cpt", revision = "v9"')
    (home.parent / "tiny.toml").write_text(text)
    with pytest.raises(TrimixError, match="org/cpt has no revision 'v9'"):
        puller()


def test_a_pinned_revision(home: Path, hub: Hub, puller: Puller) -> None:
    repo = hub.repos["org/cpt"]
    old = repo.head
    repo.push({**repo.commits[old], "README.md": b"newer"})
    text = TRIO.replace('"org/cpt"', f'"org/cpt", revision = "{old}"')
    (home.parent / "tiny.toml").write_text(text)
    assert model_of(puller(), "cpt").revision == old


@pytest.mark.parametrize("kind", ["private", "gated"])
def test_access(
    home: Path, hub: Hub, puller: Puller, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setattr(hub.repos["org/cpt"], kind, True)
    advice = "accept its licence on .*/org/cpt, then log in" if kind == "gated" else "if it is priv"
    with pytest.raises(TrimixError, match=advice) as error:
        puller()
    assert "hf auth login" in str(error.value)
    assert "HF_TOKEN" in str(error.value)
    assert not [f for f in hub.fetched("org/base") if f != "config.json"]
    monkeypatch.setenv("HF_TOKEN", hub.TOKEN)
    assert_whole(home, puller())
    assert not hub.leaked


def test_offline(home: Path, hub: Hub, puller: Puller) -> None:
    hub.close()
    with pytest.raises(TrimixError, match="no connection"):
        puller()


def test_a_full_disk_is_seen_before(home: Path, hub: Hub, puller: Puller) -> None:
    hub.repos["org/large"].claimed["model-00001-of-00003.safetensors"] = 10**16
    with pytest.raises(TrimixError, match=r"needs about .* TiB of disk .* are free; make room"):
        puller()
    assert not [f for f in files_of(home) if f.endswith(".safetensors")]


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_a_disk_that_fills_up_on_the_way(home: Path, hub: Hub, puller: Puller) -> None:
    import resource

    toml, profile = str(home.parent / "tiny.toml"), str(home.parent / "mine.toml")
    largest = max(len(d) for r in hub.repos.values() for d in r.commits[r.head].values())

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, largest // 2))

    done = subprocess.run(
        [sys.executable, "-m", "trimix_cpp", "pull", "--trio", toml, "--profile", profile],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.endswith(
        "File too large; what is done is kept, the same command goes on from there"
    )
    assert_whole(home, puller())


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"config.json": b'{"architectures": ["BertModel"]}'}, "cannot be converted"),
        ({"config.json": b"no JSON"}, "is not JSON"),
        ({"model.safetensors": None, "pytorch_model.bin": b"x"}, "pickle"),
        ({"model.safetensors": None}, "wanted as safetensors; it has none"),
        ({"config.json": None}, "has no file config.json"),
    ],
)
def test_repositories_that_cannot_be_used(
    home: Path, hub: Hub, puller: Puller, files: dict[str, bytes | None], words: str
) -> None:
    repo = hub.repos["org/cpt"]
    merged = {**repo.commits[repo.head], **files}
    repo.push({name: data for name, data in merged.items() if data is not None})
    with pytest.raises(TrimixError, match=words):
        puller()
    assert not [f for _, _, f, _ in hub.log if f.endswith(".safetensors")]
