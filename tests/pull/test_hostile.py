"""A Hub that means harm, and what others have put into the store: nothing of theirs is touched."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.commands import main
from trimix_cpp.errors import TrimixError
from trimix_cpp.gguf import shape_of_config
from trimix_cpp.pull.hub import Listing, RemoteFile, list_repository
from trimix_cpp.store import Repository, inside, remove
from trimix_cpp.store.names import is_file_name, is_trio_name

from ..support.cli import trimix
from ..support.hub_server import Hub
from .store_checks import TRIO, Puller, assert_whole, files_of

posix = pytest.mark.skipif(os.name != "posix", reason="links need a privilege there")


def whole_tree(folder: Path) -> dict[str, Any]:
    """Everything below a folder: the text of files, the targets of links."""
    return {
        str(p.relative_to(folder)): os.readlink(p) if p.is_symlink() else p.read_bytes()
        for p in folder.rglob("*")
        if p.is_symlink() or p.is_file()
    }


COMMITS = [
    *("/../../..", "../../../x", "", "a" * 39, "a" * 41, "A" * 40, "a" * 39 + "/", "main", "\n"),
    *(None, 3, True, ["a" * 40], {"a": 1}, "a" * 40 + "\n", "٠" * 40),
]


@pytest.mark.parametrize("commit", COMMITS)
def test_a_commit_is_a_commit(home: Path, hub: Hub, puller: Puller, commit: Any) -> None:
    (home.parent / "precious.txt").write_text("mine")
    before = whole_tree(home.parent)
    hub.repos["org/cpt"].info = {"sha": commit}
    with pytest.raises(TrimixError, match=r"is no commit|what answers there is no Hub") as error:
        puller()
    assert "\n" not in str(error.value)
    after = whole_tree(home.parent)
    assert {name: after[name] for name in before} == before
    assert all(name.startswith("store/") for name in after.keys() - before.keys())


PATHS = [
    *("../../../evil", "/evil", "..", "a/../../evil", "a\\..\\evil", "C:evil", "a\0b", "\x1b[2J"),
    *(".contents.json", "a/.hidden", "con", "n" * 300, "", "a//b", "a/", "LICENSE\n", "LICENSE ."),
]


@pytest.mark.parametrize("path", PATHS)
def test_files_that_lead_elsewhere_are_left_out(hub: Hub, home: Path, path: str) -> None:
    sibling = {"rfilename": path, "size": 4, "blobId": None}
    good = {"rfilename": "sub/README.md", "size": 4}
    hub.repos["org/cpt"].info = {"siblings": [sibling, good]}
    listing = list_repository(Repository("org/cpt"), print)
    assert [file.path for file in listing.files] == ["sub/README.md"]
    with pytest.raises(ValueError, match="is no path of a file"):
        RemoteFile(path, 4, None, None)


WRONG = [
    *({"siblings": 3}, {"siblings": ["a"]}, {"siblings": [{}]}, {"siblings": {"a": 1}}),
    *({"siblings": [{"rfilename": "a", "size": size}]} for size in ("1", -1, 1e300, [], 10**30)),
    *({"siblings": [{"rfilename": "a", "lfs": lfs}]} for lfs in (3, "x", {"sha256": "zz"}, [1])),
    *({"siblings": [{"rfilename": "a", "blobId": blob}]} for blob in (3, "../x", ["a"])),
    *({"whole": text} for text in (b"", b"1", b"[]", b"null", b"\xff", b"[" * 10**5, b"9" * 9999)),
]


@pytest.mark.parametrize("info", WRONG, ids=lambda info: str(info)[:40])
def test_answers_that_no_hub_gives(hub: Hub, home: Path, info: dict[str, Any]) -> None:
    hub.repos["org/cpt"].info = info
    with pytest.raises(TrimixError, match="what answers there is no Hub") as error:
        list_repository(Repository("org/cpt"), print)
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@pytest.mark.parametrize("value", [None, 3, [], [[]], [{}], {}, {"a": 1}, "Qwen2", ["Nobody's"]])
def test_any_architectures_are_taken_or_told(
    home: Path, hub: Hub, puller: Puller, value: Any
) -> None:
    repo = hub.repos["org/base"]
    config = json.loads(repo.commits[repo.head]["config.json"]) | {"architectures": value}
    repo.push({**repo.commits[repo.head], "config.json": json.dumps(config).encode()})
    with pytest.raises(TrimixError, match=r"its architecture .* cannot be converted"):
        puller()


@given(
    key=st.sampled_from(
        ["hidden_size", "num_hidden_layers", "vocab_size", "head_dim", "text_config", "model_type",
         "num_attention_heads", "num_key_value_heads", "intermediate_size", "sliding_window",
         "tie_word_embeddings", "layer_types", "max_position_embeddings"]
    ),
    value=junk,
)  # fmt: skip
def test_any_configuration_has_a_size_or_is_told(
    checkpoints: dict[str, Path], key: str, value: Any
) -> None:
    config = json.loads((checkpoints["base"] / "config.json").read_text())
    try:
        shape_of_config({**config, key: value}, "org/base")
    except TrimixError as error:
        assert str(error)  # noqa: PT017 - anything else is a defect


@given(st.text(max_size=12) | st.sampled_from(PATHS))
def test_no_name_leads_out_of_the_store(tmp_path_factory: pytest.TempPathFactory, n: str) -> None:
    root = tmp_path_factory.getbasetemp() / "store"
    try:
        path = inside(root, "models", n)
    except TrimixError:
        return
    assert path.parent == root / "models"
    assert is_file_name(n)
    assert path.name == n


@pytest.mark.parametrize("name", [*PATHS, "a/b", "trio?", " a", "a ", "aux.toml"])
def test_names_that_no_trio_may_have(
    name: str, home: Path, hub: Hub, puller: Puller, checkpoints: dict[str, Path]
) -> None:
    assert not is_trio_name(name)
    if "\0" not in name and name.isprintable() and name:
        text = TRIO.replace('"tiny"', json.dumps(name))
        (home.parent / "tiny.toml").write_text(text)
        with pytest.raises(TrimixError, match="cannot name a folder"):
            puller()
        assert not hub.log


# --- links, and files of others, in the store ----------------------------------------------------


@pytest.fixture
def outside(home: Path) -> Path:
    """A folder of the user's beside the store."""
    folder = home.parent / "outside"
    folder.mkdir()
    for name in ("precious.txt", "Q8_0.gguf", "config.json", "manifest.json", ".contents.json"):
        (folder / name).write_text("mine")
    return folder


@posix
@pytest.mark.parametrize("where", ["models", "downloads", "trios", "trios/tiny"])
def test_a_link_out_of_the_store_is_not_gone_through(
    home: Path, hub: Hub, puller: Puller, outside: Path, where: str
) -> None:
    before = whole_tree(outside)
    (home / where).parent.mkdir(parents=True, exist_ok=True)
    (home / where).symlink_to(outside)
    with pytest.raises(TrimixError, match="leads out of the store"):
        puller()
    trimix("rm", "tiny")
    assert whole_tree(outside) == before
    assert (home / where).is_symlink()


@posix
@pytest.mark.parametrize(
    "name", ["config.json", "config.json.part", "sources.json", "model.safetensors.part"]
)
def test_a_linked_file_is_not_written_through(
    home: Path, hub: Hub, puller: Puller, outside: Path, name: str
) -> None:
    folder = home / "downloads" / f"org--cpt@{hub.repos['org/cpt'].head[:12]}"
    folder.mkdir(parents=True)
    (folder / name).symlink_to(outside / "precious.txt")
    before = whole_tree(outside)
    if not name.endswith(".part"):  # that is no link that anybody needs
        with pytest.raises(TrimixError, match="leads out of the store"):
            puller()
        assert whole_tree(outside) == before
        (folder / name).unlink()
    assert_whole(home, puller())
    assert whole_tree(outside) == before


def plant(home: Path, outside: Path, models: list[Path]) -> dict[str, Any]:
    """Put files, folders and links of somebody else's everywhere into the store."""
    places = [home, *(home / name for name in ("models", "downloads", "trios", "trios/tiny"))]
    for place in (*places, *models):
        place.mkdir(exist_ok=True)
        (place / "mine.gguf").write_text("mine")
        (place / "notes.json").write_text("mine")
        (place / "folder").mkdir()
        (place / "folder" / "Q8_0.gguf").write_text("mine")
        (place / "file-link").symlink_to(outside / "precious.txt")
        (place / "folder-link").symlink_to(outside)
        (place / ".mine.12345678.tmp").write_text("mine")
    for parent in ("models", "downloads"):
        stranger = home / parent / "org--strange@0123456789ab"
        stranger.mkdir()
        (stranger / "Q8_0.gguf").write_text("mine")
        (stranger / "Q8_0.json").write_text("mine")
    planted = ("mine", "notes", "folder", "file-link", "strange")
    return {n: v for n, v in whole_tree(home).items() if any(word in n for word in planted)}


@posix
def test_removal_leaves_what_others_put_into_the_store(
    home: Path, hub: Hub, puller: Puller, outside: Path
) -> None:
    manifest = puller()
    beside = whole_tree(outside)
    models = [home / "models" / model.folder for model in manifest.models]
    planted = plant(home, outside, models)
    # A model that was moved away by hand, and a link in its place: the link is what is removed.
    moved = models[0] / manifest.models[0].files[0].name
    moved.rename(outside / "moved.gguf")
    moved.symlink_to(outside / "moved.gguf")
    beside["moved.gguf"] = (outside / "moved.gguf").read_bytes()

    (home.parent / "mine.toml").write_text(
        (home.parent / "mine.toml").read_text().replace('"BF16"', '"Q8_0"')
    )
    puller()  # sweeps what the new profile replaces
    now = whole_tree(home)
    assert {name: now[name] for name in planted} == planted
    done = trimix("rm", "tiny")
    assert (done.returncode, done.stdout[:14]) == (0, "tiny: removed,"), done.stderr
    left = whole_tree(home)
    assert {n: v for n, v in left.items() if n not in (".lock", "cache/sha256.json")} == planted
    assert whole_tree(outside) == beside
    assert trimix("rm", "tiny").returncode == 2


def _interrupting(monkeypatch: pytest.MonkeyPatch, after: int) -> Callable[[], bool]:
    """Ctrl-C comes before the next removal or renaming after so many; tells whether it came."""
    count = [after]

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            count[0] -= 1
            if count[0] == -1:
                raise KeyboardInterrupt
            return function(*arguments, **options)

        return call

    for name in ("unlink", "rmdir", "replace"):
        monkeypatch.setattr(os, name, wrap(getattr(os, name)))
    for name in ("unlink", "rmdir", "touch"):
        monkeypatch.setattr(Path, name, wrap(getattr(Path, name)))
    return lambda: count[0] < 0


def test_a_removal_that_was_stopped_anywhere_goes_on(
    home: Path, hub: Hub, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    puller()
    shutil.copytree(home, home.parent / "kept")
    for point in range(0, 200, 3):
        with monkeypatch.context() as patch:
            came = _interrupting(patch, point)
            with suppress(KeyboardInterrupt):
                remove("tiny", print)
            interrupted = came()
        if not interrupted:
            break
        if files_of(home / "trios"):
            remove("tiny", print)
        assert {f for f in files_of(home) if f not in (".lock", "cache/sha256.json")} == set()
        assert not list((home / "models").iterdir())
        shutil.rmtree(home)
        shutil.copytree(home.parent / "kept", home)
    assert point > 15


# --- what is kept, damaged -----------------------------------------------------------------------

STATES = [
    "1",
    "[]",
    "null",
    "{",
    "\xff",
    '{"folders": 3}',
    '{"folders": ["../../outside"]}',
    "[" * 9999,
]


def test_a_broken_state_of_one_pull_stands_in_nobodys_way(
    home: Path, hub: Hub, puller: Puller, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    puller()
    shutil.copytree(home, home.parent / "kept")
    before = whole_tree(outside)
    for text in STATES:
        other = home / "trios" / "other"
        other.mkdir()
        (other / "pull.json").write_text(text, encoding="latin-1")
        assert main(["list"]) == 0
        assert main(["rm", "tiny"]) == 0, capsys.readouterr().err
        assert not list((home / "models").glob("org--*"))
        assert main(["rm", "other"]) == 0
        assert not other.exists()
        shutil.rmtree(home)
        shutil.copytree(home.parent / "kept", home)
    assert whole_tree(outside) == before


@pytest.mark.parametrize("text", STATES[:1] + STATES[-2:])
def test_a_pull_whose_state_is_broken_begins_anew(
    home: Path, hub: Hub, puller: Puller, text: str
) -> None:
    hub.repos["org/large"].lost.add("tokenizer.json")
    with pytest.raises(TrimixError):
        puller()
    (home / "trios/tiny/pull.json").write_text(text)
    hub.repos["org/large"].lost.clear()
    assert_whole(home, puller())


def places_of(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    if not isinstance(value, (dict, list)):
        return [at]
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    return [at, *(place for key, one in inner for place in places_of(one, (*at, key)))]


DAMAGE = (None, 3, "../../outside", [], {"a": []}, 1e300)
COMMANDS = (["list"], ["show", "tiny"], ["verify", "tiny"])


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_any_damage_of_a_manifest_is_told_in_a_line(
    home: Path,
    hub: Hub,
    puller: Puller,
    outside: Path,
    capsys: pytest.CaptureFixture[str],
    every: bool,
) -> None:
    puller()
    path = home / "trios/tiny/manifest.json"
    whole = json.loads(path.read_text())
    before = whole_tree(outside)
    # Every value at every place for every command takes a minute; else each place gets one.
    cases = list(itertools.product(places_of(whole), DAMAGE, COMMANDS))
    for place, value, arguments in cases if every else cases[::61]:
        damaged = json.loads(json.dumps(whole))
        part = damaged
        for key in place[:-1]:
            part = part[key]
        if place:
            part[place[-1]] = value
        path.write_text(json.dumps(damaged if place else value))
        assert main(arguments) in (0, 1, 2), (place, value)
        captured = capsys.readouterr()
        assert captured.err.count("\n") <= 1, (place, value, captured.err)
        assert str(outside) not in captured.out
    assert main(["rm", "tiny"]) == 0
    assert whole_tree(outside) == before


def test_listings_are_checked_wherever_they_come_from() -> None:
    for name, commit in (("../x", "a" * 40), ("org/x", "../../../x"), ("a/b/c", "a" * 40)):
        with pytest.raises(ValueError, match="is no"):
            Listing(name, commit, ())
