"""Patterns, folders and templates name files: each once, and none over another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.errors import TrimixError, UsageError
from trimix_cpp.translate.places import (
    Source,
    is_template,
    make_folders,
    output_of,
    paired,
    sources,
)

names = st.from_regex(r"[a-z][a-z0-9]{0,5}(\.[a-z]{1,3})?", fullmatch=True)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        "res/a.po",
        "res/deep/b.po",
        "res/deep/c.bin",
        "res/.git/d.po",
        "res/.e.po",
        "f.po",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("named", "found"),
    [
        (["res"], {"res/a.po": "a.po", "res/deep/b.po": "deep/b.po"}),
        (["res/**/*.po"], {"res/a.po": "res/a.po", "res/deep/b.po": "res/deep/b.po"}),
        (["res/a.po", "res/deep/b.po"], {"res/a.po": "res/a.po", "res/deep/b.po": "res/deep/b.po"}),
        (["f.po", "./f.po", "res/../f.po"], {"f.po": "f.po"}),
        (["f.p?", "res"], {"f.po": "f.po", "res/a.po": "a.po", "res/deep/b.po": "deep/b.po"}),
    ],
)
def test_sources(tree: Path, named: list[str], found: dict[str, str]) -> None:
    got = sources([Path(name) for name in named], None)
    assert {each.path.as_posix(): each.below.as_posix() for each in got if each.below} == found


@pytest.mark.parametrize("named", ["*.xyz", "res/.git", "res/deep/**/*.md"])
def test_what_names_no_file_is_told(tree: Path, named: str) -> None:
    (tree / "res/.git/d.po").unlink()
    with pytest.raises(TrimixError, match="no file"):
        sources([Path(named)], None)


def test_a_name_with_the_signs_of_a_pattern_is_a_name(tree: Path) -> None:
    (tree / "a[1].po").write_text("", encoding="utf-8")
    (tree / "a1.po").write_text("", encoding="utf-8")
    assert [each.path for each in sources([Path("a[1].po")], None)] == [Path("a[1].po")]


@given(st.lists(names, min_size=1, max_size=4), names)
def test_fields(parts: list[str], lang: str) -> None:
    below = Path(*parts)
    source = Source(Path("x") / below, below)
    assert output_of("out/{path}", source, lang) == Path("out") / below
    assert output_of("{folder}/{stem}.{lang}{ext}", source, lang) == (
        below.parent / f"{below.stem}.{lang}{below.suffix}"
    )
    assert output_of("{name}", source, "../..") == Path(below.name)
    assert output_of("{lang}", source, "a/../b").parent == Path()


def test_what_leads_elsewhere_is_refused(tree: Path) -> None:
    for name in ("../x/a.po", str(tree.parent / "a.po")):
        (outside,) = sources([Path(name)], None)
        for field in ("path", "folder"):
            with pytest.raises(UsageError, match="not below the current folder"):
                output_of(f"out/{{{field}}}", outside, "ug")
        assert output_of("out/{name}", outside, "ug") == Path("out/a.po")
    (inside,) = sources([tree / "f.po"], None)
    assert output_of("out/{path}", inside, "ug") == Path("out/f.po")
    with pytest.raises(UsageError, match=r"no \{nmae\}; fields are \{path\}"):
        output_of("{path}{nmae}", inside, "ug")


def test_is_template() -> None:
    assert is_template("out/{path}")
    assert not is_template("{x}")
    assert not is_template("path")


def test_no_two_go_into_one_and_none_over_a_source(tree: Path) -> None:
    found = sources([Path("res")], None)
    with pytest.raises(UsageError, match="would both go there"):
        paired(found, [Path("out.po"), Path("out.po")])
    with pytest.raises(UsageError, match="is the input"):
        paired(found, [each.path for each in found])
    # What an earlier run wrote, found by the same pattern.
    (tree / "res/a.ug.po").write_text("", encoding="utf-8")
    found = sources([Path("res")], None)
    kept, told = paired(found, [output_of("res/{folder}/{stem}.ug.po", each, "") for each in found])
    assert [found[i].path.name for i in kept] == ["a.po", "b.po"]
    assert told == [f"{Path('res/a.ug.po')}: is where {Path('res/a.po')} goes; left out"]


def test_folders_are_made(tree: Path) -> None:
    made = make_folders(tree / "x/y/z.po")
    assert made == [tree / "x/y", tree / "x"]
    assert os.path.isdir(tree / "x/y")
    assert make_folders(tree / "x/y/z.po") == []
