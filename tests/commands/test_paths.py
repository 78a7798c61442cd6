"""Paths that are no files: links in a circle, folders, empty names, in every place for a path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import trimix_cpp
from trimix_cpp.commands import main

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links need a privilege there")
LARGE = str(Path(trimix_cpp.__file__).parent / "demo" / "large.gguf")
PLACES = [
    *(["generate", "-m", "@", "-p", "a"], ["generate", "--trio", "demo", "-f", "@"]),
    *(["generate", "--trio", "@.toml", "-p", "a"], ["check", "--trio", "@.toml"]),
    *(["convert", "@", "out.gguf"], ["convert", ".", "@"], ["convert", "@", "o", "--lora"]),
    *(["quantize", "@", "out.gguf", "Q8_0"], ["quantize", LARGE, "@", "COPY"]),
    *(["quantize", "--trio", "looped.toml", "--profile", "laptop-8gb"],),
    *(["quantize", "--trio", "demo", "--profile", "@.toml"],),
    *(["quantize", "--trio", "demo", "--profile", "tiny-4gb", "-o", "@"],),
    *(["imatrix", "@", "text", "-o", "out"], ["imatrix", LARGE, "@", "-o", "out"]),
    *(["imatrix", LARGE, "text", "-o", "@"],),
    *(["plan", "--ram", "1GiB", "--text", "text", "--trio", "demo", "-o", "@"],),
    *(["plan", "--ram", "1GiB", "--text", "@", "--trio", "demo"],),
    *(["impact", "--trio", "looped.toml", "--text", "text", "--profile", "Q8_0"],),
    *(["impact", "--trio", "demo", "--text", "text", "--profile", "Q8_0", "--plot", "@.png"],),
    *(["tune", "@", "--trio", "demo"], ["tune", "text", "--trio", "demo", "--plot", "@.png"]),
    *(["merge", "@", "@", "-o", "out"], ["show", "@.toml"], ["pull", "--trio", "@.toml"]),
    *(["verify", "@"], ["rm", "@"]),
]


@pytest.mark.parametrize("place", PLACES, ids=" ".join)
def test_every_path_may_be_a_circle_a_folder_or_nothing(
    place: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIMIX_HOME", str(tmp_path / "store"))
    Path("text").write_text("a text")
    Path("looped.toml").write_text('[models]\nlarge = "circle"\n')
    for name in ("circle", "circle.toml", "circle.png"):
        Path(name).symlink_to(name)
    for name in ("folder", "folder.toml", "folder.png"):
        Path(name).mkdir()
    ending = any("@." in part for part in place)  # "..png" is a name like any other
    for name in ("circle", "folder", "", "/", *([] if ending else ["."])):
        arguments = [part.replace("@", name) for part in place]
        code = main(arguments)
        err = capsys.readouterr().err
        assert code in (1, 2), (arguments, err)
        assert err.count("\n") <= 2, (arguments, err)
        assert "Traceback" not in err
    left = {path.name for path in tmp_path.iterdir()} - {"store"}
    assert {n for n in left if not n.startswith(("text", "looped", "circle", "folder"))} == set()
