"""A trio to a profile: what is written, what is kept after an interruption, what is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import pytest
from click.testing import CliRunner

from trimix_cpp.commands.quantize import command
from trimix_cpp.convert.quantize_trio import quantize_trio
from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.errors import TrimixError
from trimix_cpp.gguf.reader import read_header
from trimix_cpp.gguf.types import TYPES
from trimix_cpp.quant.profiles import Profile, load_profile
from trimix_cpp.showing import size_text
from trimix_cpp.store.spec import TrioSpec, load_spec

from ..support.quantized import quantize
from ..support.tiny import write_lora, write_tiny_model

TRIO = """
# whose trio this is
name = "tiny"
languages = ["uig"]
weights = [0.3, 0.9]
stops = ["།"]

[models]   # F32
large = "large.gguf"
cpt = "cpt.gguf"
base = "base.gguf"

[presets]
"translation.eng-uig" = [0.3, 1.0]
"""
PROFILE = """
[cache]
type_k = "q8_0"
type_v = "q8_0"
[large]
type = "Q4_0"
[cpt]
type = "Q8_0"
[base]
type = "Q5_0"
tensors = { attn_v = "q8_0" }
"""


@pytest.fixture
def spec(tmp_path: Path) -> TrioSpec:
    for seed, role in enumerate(("large", "cpt", "base")):
        write_tiny_model(tmp_path / f"{role}.gguf", seed=seed)
    (tmp_path / "tiny.toml").write_text(TRIO, encoding="utf-8")
    return load_spec(tmp_path / "tiny.toml")


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    (tmp_path / "small.toml").write_text(PROFILE, encoding="utf-8")
    return load_profile(str(tmp_path / "small.toml"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_trio_that_is_ready_to_use(spec: TrioSpec, profile: Profile, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "deep"
    made = quantize_trio(spec, profile, folder, threads=1)
    assert {file.roles: file.path.name for file in made} == {
        ("cpt",): "cpt-Q8_0.gguf",
        ("base",): "base-Q5_0.gguf",
        ("large",): "large-Q4_0.gguf",
    }
    assert names(folder) == sorted(
        ["base-Q5_0.gguf", "cpt-Q8_0.gguf", "large-Q4_0.gguf", "quantized.json", "trio.toml"]
    )
    again = load_spec(folder / "trio.toml")
    assert again.name == "tiny-small"
    assert (again.languages, again.weights, again.stops) == (("uig",), spec.weights, ("།",))
    assert again.presets == spec.presets
    assert set(again.type_k.values()) == set(again.type_v.values()) == {"q8_0"}
    assert "# whose trio this is" in (folder / "trio.toml").read_text(encoding="utf-8")
    for role, kind in (("large", "Q4_0"), ("cpt", "Q8_0"), ("base", "Q5_0")):
        header = read_header(again.roles[role].path)
        assert header.metadata["general.file_type"] == TYPES[kind]
    base = {t.name: t.type for t in read_header(again.roles["base"].path).tensors}
    assert base["blk.0.attn_v.weight"] == gguf.GGMLQuantizationType.Q8_0
    with Trio(again, ["large", "cpt", "base"], Options(n_ctx=256, n_threads=1)) as trio:
        assert Decoder(trio).trio is trio
        assert trio.tokenize("ئا")


def test_a_second_run_keeps_what_is_finished(
    spec: TrioSpec, profile: Profile, tmp_path: Path
) -> None:
    folder, begun = tmp_path / "out", list[str]()

    @contextmanager
    def interrupted(name: str) -> Iterator[None]:
        begun.append(name)
        if len(begun) == 3:
            raise KeyboardInterrupt
        yield None

    with pytest.raises(KeyboardInterrupt):
        quantize_trio(spec, profile, folder, threads=1, bar=interrupted)
    assert names(folder) == ["base-Q5_0.gguf", "cpt-Q8_0.gguf", "quantized.json"]
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.gguf")}
    made = quantize_trio(spec, profile, folder, threads=1)
    assert [file.kept for file in made] == [True, True, False]
    assert all((folder / name).stat().st_mtime_ns == when for name, when in before.items())
    assert all(file.kept for file in quantize_trio(spec, profile, folder, threads=1))


def test_an_interruption_at_any_rename_is_made_up_for(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_model(tmp_path / "cpt.gguf")
    write_lora(tmp_path / "lora.gguf", n_embd=64)
    text = 'name="t"\n[models]\ncpt = { path = "cpt.gguf", lora = "lora.gguf" }\n'
    (tmp_path / "t.toml").write_text(text, encoding="utf-8")
    spec, replace, stop_after, calls = load_spec(tmp_path / "t.toml"), os.replace, 0, 0

    def stopping(source: str, target: str) -> None:
        nonlocal calls
        replace(source, target)
        calls += 1
        if calls == stop_after:
            raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", stopping)
    for stop_after in range(1, 30):
        folder, calls = tmp_path / f"out{stop_after}", 0
        try:
            quantize_trio(spec, profile, folder, threads=1)
            break
        except KeyboardInterrupt:
            quantize_trio(spec, profile, folder, threads=1)
        assert names(folder) == ["cpt-Q8_0.gguf", "cpt-lora.gguf", "quantized.json", "trio.toml"]
        load_spec(folder / "trio.toml")
    assert 6 < stop_after < 30


def test_a_changed_source_or_profile_is_made_anew(
    spec: TrioSpec, profile: Profile, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    quantize_trio(spec, profile, folder, threads=1)
    write_tiny_model(tmp_path / "cpt.gguf", seed=9)
    made = quantize_trio(spec, profile, folder, threads=1)
    assert {file.roles[0]: file.kept for file in made} == {
        "cpt": False, "base": True, "large": True,
    }  # fmt: skip
    (tmp_path / "small.toml").write_text(PROFILE.replace("attn_v", "attn_k"), encoding="utf-8")
    made = quantize_trio(spec, load_profile(str(tmp_path / "small.toml")), folder, threads=1)
    assert {file.roles[0]: file.kept for file in made} == {
        "cpt": True, "base": False, "large": True,
    }  # fmt: skip


def test_a_strangers_file_is_not_overwritten(
    spec: TrioSpec, profile: Profile, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "cpt-Q8_0.gguf").write_bytes(b"mine")
    with pytest.raises(TrimixError, match="exists already"):
        quantize_trio(spec, profile, folder, threads=1)
    assert (folder / "cpt-Q8_0.gguf").read_bytes() == b"mine"
    quantize_trio(spec, profile, folder, threads=1, force=True)
    assert len(names(folder)) == 5


def test_a_source_that_is_quantized_already(
    spec: TrioSpec, profile: Profile, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    other = quantize(tmp_path / "large.gguf", tmp_path / "l.gguf", "Q8_0").path
    other.replace(tmp_path / "large.gguf")
    with pytest.raises(TrimixError, match="large is Q8_0 already, and the profile wants Q4_0"):
        quantize_trio(spec, profile, folder, threads=1)
    assert not folder.exists()
    same = quantize(tmp_path / "cpt.gguf", tmp_path / "c.gguf", "Q8_0").path
    same.replace(tmp_path / "cpt.gguf")
    write_tiny_model(tmp_path / "large.gguf")
    quantize_trio(spec, profile, folder, threads=1)
    assert (folder / "cpt-Q8_0.gguf").samefile(tmp_path / "cpt.gguf")


def test_roles_that_share_a_file(profile: Profile, tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "base.gguf")
    write_lora(tmp_path / "lora.gguf", n_embd=64)
    (tmp_path / "t.toml").write_text(
        'name = "t"\n[models]\nbase = "base.gguf"\ncpt = { lora = "lora.gguf", scale = 0.5 }\n',
        encoding="utf-8",
    )
    folder = tmp_path / "out"
    (made,) = quantize_trio(load_spec(tmp_path / "t.toml"), profile, folder, threads=1)
    assert (made.roles, made.type) == (("cpt", "base"), "Q8_0")
    again = load_spec(folder / "trio.toml")
    assert again.roles["cpt"].path == again.roles["base"].path == folder / "cpt-Q8_0.gguf"
    assert again.roles["cpt"].lora == folder / "cpt-lora.gguf"
    assert again.roles["cpt"].lora_scale == 0.5


def test_the_demo_is_quantized_already() -> None:
    result = CliRunner().invoke(command, ["--trio", "demo", "--profile", "reference"])
    assert isinstance(result.exception, TrimixError)
    assert "start from an F32, F16 or BF16 file" in str(result.exception)


def test_command(spec: TrioSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert spec.path
    monkeypatch.chdir(tmp_path)
    arguments = ["--trio", str(spec.path), "--profile", "paper-int8", "-t", "1"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    folder = Path("tiny-paper-int8")
    lines = result.stdout.splitlines()
    size = (folder / "cpt-Q8_0.gguf").stat().st_size
    assert lines[0] == f"{folder / 'cpt-Q8_0.gguf'}: Q8_0 for cpt, {size_text(size)}"
    assert lines[-1] == str(folder / "trio.toml")
    assert CliRunner().invoke(command, arguments).stdout.count(", kept") == 3
