"""Ready GGUF files, whole and in parts; adapters; files of one's own beside sources."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from trimix_cpp.errors import TrimixError, UsageError
from trimix_cpp.pull.run import pull
from trimix_cpp.store.trios import find_trio

from ..convert.adapters import write_adapter
from ..support.cli import trimix
from ..support.hub_server import Hub
from ..support.tiny import write_tiny_model
from .store_checks import PROFILE, TRIO, Puller, assert_whole, model_of


def test_a_ready_file_is_taken_where_its_type_fits(
    home: Path, hub: Hub, puller: Puller, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    from trimix_cpp.convert import convert

    offered = tmp_path / "offered"
    offered.mkdir()
    convert(checkpoints["large"], offered / "large-q8_0.gguf", "q8_0")
    convert(checkpoints["large"], offered / "large-fp16.gguf", "f16")
    (offered / "LICENSE").write_text("A licence.")
    hub.add("org/large-GGUF", offered)
    text = TRIO.replace('"org/large"', '"org/large", gguf = "org/large-GGUF"')
    (home.parent / "tiny.toml").write_text(text)
    assert model_of(puller(), "large").stem == "Q4_0"
    (home.parent / "mine.toml").write_text(PROFILE.replace("Q4_0", "Q8_0"))
    manifest = puller()
    ready = next(m for m in manifest.models if m.repository == "org/large-GGUF")
    path = home / "models" / ready.folder / ready.files[0].name
    assert path.read_bytes() == (offered / "large-q8_0.gguf").read_bytes()
    assert (path.parent / "LICENSE").exists()
    assert "large-fp16.gguf" not in hub.fetched("org/large-GGUF")
    assert_whole(home, manifest)

    # One that says of itself that it is something else is not taken for what its name says.
    shutil.rmtree(home)
    convert(checkpoints["large"], offered / "large-q8_0.gguf", "bf16", force=True)
    hub.add("org/large-GGUF", offered)
    with pytest.raises(TrimixError, match="says of itself that it is of another type"):
        puller()


def test_a_split_file_and_no_checkpoint(
    home: Path, hub: Hub, puller: Puller, tmp_path: Path
) -> None:
    parts = _split(write_tiny_model(tmp_path / "whole.gguf"), tmp_path / "parts")
    hub.add("org/split-GGUF", parts)
    (home.parent / "tiny.toml").write_text(
        'name = "split"\n[models]\nlarge = { gguf = "org/split-GGUF" }\n'
    )
    with pytest.raises(TrimixError, match=r"no file of the type .* \(Q4_0\); it has F32"):
        puller()
    (home.parent / "mine.toml").write_text(PROFILE.replace("Q4_0", "F32"))
    manifest = puller()
    names = [file.name for file in manifest.models[0].files]
    assert names == ["F32-00001-of-00002.gguf", "F32-00002-of-00002.gguf"]
    hub.close()
    texts = []
    for path in (find_trio("split").roles["large"].path, tmp_path / "whole.gguf"):
        done = trimix("generate", "--large", str(path), "-p", "the", "-n", "5", "-t", "1", "--json")
        assert done.returncode == 0, done.stderr
        texts.append(json.loads(done.stdout)["text"])
    assert texts[0] == texts[1] != ""
    assert_whole(home, manifest)


def _split(whole: Path, folder: Path) -> Path:
    """The parts of a GGUF file, as llama-gguf-split makes them: the first has the metadata."""
    import gguf

    folder.mkdir()
    reader = gguf.GGUFReader(whole)
    middle = len(reader.tensors) // 2
    for number, tensors in enumerate((reader.tensors[:middle], reader.tensors[middle:])):
        path = folder / f"tiny-f32-{number + 1:05d}-of-00002.gguf"
        writer = gguf.GGUFWriter(path, "qwen2")
        for name, value in reader.fields.items() if number == 0 else ():
            if not name.startswith("GGUF.") and name != "general.architecture":
                kind, sub = value.types[0], value.types[-1]
                writer.add_key_value(name, value.contents(), kind, sub_type=sub)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for tensor in tensors:
            writer.add_tensor(tensor.name, tensor.data.reshape(tensor.shape[::-1]))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return folder


def test_files_of_ones_own_beside_sources(
    home: Path, hub: Hub, puller: Puller, checkpoints: dict[str, Path]
) -> None:
    from trimix_cpp.convert import convert

    convert(checkpoints["cpt"], home.parent / "own.gguf", "q8_0")
    text = TRIO.replace('{ repo = "org/cpt" }', '"own.gguf"')
    (home.parent / "tiny.toml").write_text(text)
    manifest = puller()
    assert set(manifest.roles) == {"base", "large"}
    for name in ("tiny", str(home.parent / "tiny.toml")):
        assert find_trio(name).roles["cpt"].path == home.parent / "own.gguf"


def test_nothing_to_pull(home: Path, puller: Puller) -> None:
    with pytest.raises(UsageError, match="nothing to pull"):
        pull(find_trio("demo"), print)


def test_an_adapter_sits_on_the_pulled_base(
    home: Path, hub: Hub, puller: Puller, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    attention = {
        f"model.layers.{layer}.self_attn.{name}_proj": (128, 128)
        for layer in range(2)
        for name in "qo"
    }
    write_adapter(folder, attention)
    hub.add("org/lora", folder)
    (home.parent / "tiny.toml").write_text(
        'name = "adapted"\nlanguages = ["bod"]\n[models]\nbase = { repo = "org/base" }\n'
        'cpt = { lora = { repo = "org/lora" }, scale = 0.5 }\n'
    )
    manifest = puller()
    # One model for both roles: it is quantized as cpt, the role that bears it least.
    assert [(m.repository, m.stem) for m in manifest.models] == [
        ("org/base", "Q8_0"),
        ("org/lora", "lora-F16"),
    ]
    hub.close()
    spec = find_trio("adapted")
    assert spec.roles["cpt"].path == spec.roles["base"].path
    assert (spec.roles["base"].lora, spec.roles["cpt"].lora_scale) == (None, 0.5)
    texts = []
    for weights in ("0,1", "0,0"):
        done = trimix(
            *("generate", "--lang", "bo", "-p", "བོད་ཡིག", "--weights", weights),
            *("-n", "8", "-t", "1", "-c", "128", "--json"),
        )
        assert done.returncode == 0, done.stderr
        texts.append(json.loads(done.stdout)["text"])
    assert texts[0] != texts[1]
    assert_whole(home, manifest)
