"""Text, JSON and TOML of strangers: read, or refused in one line that names the place."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import tomllib
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.errors import TrimixError
from trimix_cpp.files import (
    as_type,
    decode_utf8,
    edit_toml,
    read_json,
    read_text,
    read_toml,
    write_json,
    write_text,
    write_toml,
)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_line_that_is_not_utf8(mark: bytes, tmp_path: Path) -> None:
    assert decode_utf8(mark + "ئا\nب".encode(), "x") == "ئا\nب"
    with pytest.raises(TrimixError, match="x: line 3 is not UTF-8"):
        decode_utf8(mark + b"a\nb\n\xff", "x")
    with pytest.raises(TrimixError, match="No such file"):
        read_text(tmp_path / "none")
    with pytest.raises(TrimixError, match="directory"):
        read_text(tmp_path)


READERS: list[Callable[[Path], Any]] = [
    read_json,
    lambda path: read_toml(path, "x"),
    edit_toml,
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"a = " + b"[" * 100_000,
        b"a = " + b"9" * 10_000,
        b"9" * 10_000,
        b'a = "\x00"',
        b"a = 1\na = 2",
        b"a = 2020-99-99",
    ],
)
def test_whatever_is_broken_is_one_line(
    read: Callable[[Path], Any], text: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "broken"
    path.write_bytes(text)
    with pytest.raises(TrimixError, match=r"broken: (line \d|is |cannot)") as error:
        read(path)
    assert len(str(error.value)) - len(str(path)) < 250
    assert "\n" not in str(error.value)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, d: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_bytes(d)
    for read in READERS:
        with suppress(TrimixError):  # anything else is a defect
            read(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_json_comes_back(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.mktemp("json") / "file"
    write_json(value, path)
    assert read_json(path) == value


def test_a_name_that_is_not_utf8_comes_back_in_json_and_is_refused_as_text(tmp_path: Path) -> None:
    write_json({"path": "\udcff"}, tmp_path / "a")
    assert read_json(tmp_path / "a") == {"path": "\udcff"}
    with pytest.raises(TrimixError, match=r"'x\\udcff' cannot be written as UTF-8"):
        write_text(tmp_path / "b", "x\udcff")
    assert not (tmp_path / "b").exists()


@dataclass(frozen=True)
class Inner:
    name: str
    size: int


@dataclass(frozen=True)
class Outer:
    inner: tuple[Inner, ...]
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.scale < 0:
            raise ValueError("scale is negative")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "Expected `object`, got `array`"),
        ({}, "missing required field `inner`"),
        ({"inner": [{"name": "a", "size": "1"}]}, r"Expected `int`, got `str` .*inner\[\.*0?"),
        ({"inner": [{"name": None, "size": 1}]}, "Expected `str`, got `null`"),
        ({"inner": [], "scale": [1]}, "Expected `float`"),
        ({"inner": [], "scale": -1}, "scale is negative"),
    ],
)
def test_types_are_checked(data: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        as_type(data, Outer)
    assert as_type({"inner": [{"name": "a", "size": 1}], "scale": 2}, Outer) == Outer(
        (Inner("a", 1),), 2.0
    )


def test_toml_keeps_comments_and_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_bytes(b"a = 1 # one\r\n")
    document = edit_toml(path)
    document["b"] = "ئا"
    write_toml(document, path, "\r\n")
    assert path.read_bytes() == 'a = 1 # one\r\nb = "ئا"\r\n'.encode()
    assert tomllib.loads(path.read_text()) == {"a": 1, "b": "ئا"}


def test_toml_that_the_writer_gets_wrong_does_not_reach_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.toml"
    path.write_text("a = 1\n")
    document = edit_toml(path)
    monkeypatch.setattr(tomlkit, "dumps", lambda _: "a = 2\n")
    with pytest.raises(TrimixError, match="change it by hand"):
        write_toml(document, path)
    assert path.read_text() == "a = 1\n"
