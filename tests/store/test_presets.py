"""Presets that `tune --save` keeps: round trips, comments that stay, writers that meet."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.errors import TrimixError
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.store import presets
from trimix_cpp.store.spec import RoleSpec, TrioSpec, load_spec

OWN = """\
# my trio
name = "mine"            # a comment
weights = [0.1, 0.9]

[models]
large = "large.gguf"     # 7B

[presets]  # tuned by hand
"translation.eng-uig" = [0.3, 0.9] # published
"""


def a_spec(**fields: object) -> TrioSpec:
    return TrioSpec("demo", {"large": RoleSpec(Path("large.gguf"))}, **fields)  # type: ignore[arg-type]


def test_saved_presets_lie_over_those_the_trio_came_with(tmp_path: Path) -> None:
    packaged = {"a": Weights(0.1, 0.9), "b": Weights(0.3, 0.9)}
    spec = a_spec(presets=packaged)
    assert presets.with_saved(spec, tmp_path) is spec
    path = presets.saved_file(tmp_path, spec.name)
    presets.save(path, tmp_path, "b", Weights(1, 0.5))
    presets.save(path, tmp_path, "c", Weights(0.25, 0.125, 0.5))
    presets.save(path, tmp_path, "b", Weights(0.7, 0.5))
    assert presets.with_saved(spec, tmp_path).presets == {
        "a": Weights(0.1, 0.9),
        "b": Weights(0.7, 0.5),
        "c": Weights(0.25, 0.125, 0.5),
    }


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_users_file_keeps_its_comments_and_line_ends(tmp_path: Path, newline: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(OWN.replace("\n", newline).encode())
    presets.save(path, tmp_path, "titles ئۇيغۇرچە", Weights(0.5, 0.7))
    presets.save(path, tmp_path, "translation.eng-uig", Weights(0.1, 1))
    text = path.read_bytes().decode()
    for comment in ("# my trio", "# a comment", "# 7B", "# tuned by hand"):
        assert comment in text
    assert text.count("\r\n") == (text.count("\n") if newline == "\r\n" else 0)
    spec = load_spec(path)
    assert spec.name == "mine"
    assert spec.presets == {
        "translation.eng-uig": Weights(0.1, 1),
        "titles ئۇيغۇرچە": Weights(0.5, 0.7),
    }


@pytest.mark.parametrize(
    "text",
    [
        '[models]\nlarge = "l"',  # no end of line, no table
        'presets = { a = [0.1, 0.9] }\n[models]\nlarge = "l"\n',  # an inline table
        'presets."x" = [0.1, 0.9]\n[models]\nlarge = "l"\n',  # dotted keys
    ],
)
def test_every_way_to_write_a_table(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    before = dict(load_spec(path).presets)
    presets.save(path, tmp_path, "new.task", Weights(0.5, 0.7))
    assert load_spec(path).presets == {**before, "new.task": Weights(0.5, 0.7)}


@given(
    task=st.text(min_size=1, max_size=20).filter(
        lambda text: text.strip() != "" and text.isprintable()
    ),
    numbers=st.lists(st.floats(-2, 2), min_size=2, max_size=3),
)
def test_any_name_and_any_pair_come_back(
    tmp_path_factory: pytest.TempPathFactory, task: str, numbers: list[float]
) -> None:
    home = tmp_path_factory.mktemp("home")
    presets.save(presets.saved_file(home, "t"), home, task, Weights(*numbers))
    spec = TrioSpec("t", {"large": RoleSpec(Path("large.gguf"))})
    assert presets.with_saved(spec, home).presets == {task: Weights(*numbers)}


@pytest.mark.parametrize("name", ["a/b", "..", "../../etc", "ئۇيغۇرچە", "CON", "a:b*?", " "])
def test_any_trio_name_is_a_file_in_the_folder(tmp_path: Path, name: str) -> None:
    path = presets.saved_file(tmp_path, name)
    presets.save(path, tmp_path, "task", Weights(0, 1))
    assert path.resolve().parent == (tmp_path / "presets").resolve()
    assert path != presets.saved_file(tmp_path, name + "x")


@pytest.mark.parametrize("task", ["", "  ", "a\nb", "a\x00b"])
def test_a_task_needs_a_name(tmp_path: Path, task: str) -> None:
    with pytest.raises(TrimixError, match="name"):
        presets.save(tmp_path / "p.toml", tmp_path, task, Weights(0, 1))
    assert not (tmp_path / "p.toml").exists()


@pytest.mark.parametrize(
    "text", ["[presets", "presets = 3", "[presets]\na = 3", "[presets]\na = ['x', 1]"]
)
def test_a_broken_saved_file_is_named(tmp_path: Path, text: str) -> None:
    path = presets.saved_file(tmp_path, "demo")
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(TrimixError, match=r"demo\.toml"):
        presets.with_saved(a_spec(), tmp_path)


@pytest.mark.parametrize("text", [b"[presets", b"presets = 3\n", b"\xff"])
def test_a_broken_file_is_left_as_it_was(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(text)
    with pytest.raises(TrimixError, match=r"mine\.toml"):
        presets.save(path, tmp_path, "task", Weights(0, 1))
    assert path.read_bytes() == text


def test_an_interruption_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(OWN)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trimix_cpp.files.atomic.os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        presets.save(path, tmp_path, "task", Weights(0, 1))
    assert path.read_text() == OWN
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["mine.toml"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text(OWN)
    (tmp_path / "mine.toml").symlink_to("real.toml")
    presets.save(tmp_path / "mine.toml", tmp_path, "task", Weights(0, 1))
    assert (tmp_path / "mine.toml").is_symlink()
    assert "task" in load_spec(tmp_path / "real.toml").presets


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    path = presets.saved_file(tmp_path, "demo")
    threads = [
        threading.Thread(target=presets.save, args=(path, tmp_path, f"task {i}", Weights(i / 8, 1)))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    saved = tomlkit.parse(path.read_text()).unwrap()["presets"]
    assert saved == {f"task {i}": [i / 8, 1] for i in range(8)}
