"""What a converted file holds, read back with gguf's reader and loaded by llama.cpp."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, normalizers

from trimix_cpp.convert import OUTTYPES, convert
from trimix_cpp.convert.checkpoint import StoredTensor
from trimix_cpp.convert.tensors import OutputTensor
from trimix_cpp.convert.writer import plan
from trimix_cpp.errors import TrimixError
from trimix_cpp.gguf.reader import read_header
from trimix_cpp.llama.model import Model

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]
F16, F32 = gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.F32
NAMES = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, 2)


def read(path: Path) -> tuple[dict[str, Any], dict[str, gguf.ReaderTensor]]:
    reader = gguf.GGUFReader(path)
    keys = {name: field.contents() for name, field in reader.fields.items()}
    return keys, {tensor.name: tensor for tensor in reader.tensors}


def values(tensor: gguf.ReaderTensor) -> np.ndarray:
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("outtype", ["f32", "f16", "bf16", "q8_0"])
def test_tensors_round_trip(checkpoint: Make, tmp_path: Path, dtype: str, outtype: str) -> None:
    src, tensors = checkpoint(dtype=dtype)
    convert(src, tmp_path / "m.gguf", outtype)
    _, written = read(tmp_path / "m.gguf")
    assert len(written) == len(tensors)
    for name, array in tensors.items():
        tensor = written[NAMES.get_name(name, (".weight", ".bias"))]
        vector = array.ndim == 1
        assert tensor.tensor_type == (F32 if vector else OUTTYPES[outtype][1])
        assert tuple(reversed(tensor.shape)) == array.shape
        source = array.astype(dtype).astype(np.float32) if dtype == "float16" else array
        expected = gguf.quants.quantize(source, tensor.tensor_type)
        assert tensor.data.tobytes() == expected.tobytes(), name
        assert np.abs(values(tensor).reshape(array.shape) - array).max() < 0.01


def test_types_of_tensors() -> None:
    def kind(name: str, shape: tuple[int, ...], outtype: str) -> gguf.GGMLQuantizationType:
        source = StoredTensor(name, "F32", shape, Path(), 0)
        return plan([OutputTensor(name, source)], outtype)[0].type

    for outtype, (_, matrix) in OUTTYPES.items():
        assert kind("blk.0.attn_q.weight", (64, 64), outtype) == matrix
        assert kind("blk.0.attn_q.bias", (64,), outtype) == F32
        assert kind("blk.0.attn_norm.weight", (64,), outtype) == F32
        assert kind("blk.0.strange_norm.weight", (64, 64), outtype) == F32
        assert kind("blk.0.strange.bias", (64, 64), outtype) == F32
    assert kind("blk.0.attn_q.weight", (64, 80), "q8_0") == F16  # no multiple of 32


def test_large_tensors_pass_in_pieces(
    checkpoint: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    src, _ = checkpoint(dtype="bfloat16")
    for outtype in OUTTYPES:
        convert(src, tmp_path / f"whole-{outtype}.gguf", outtype)
    monkeypatch.setattr("trimix_cpp.convert.checkpoint.CHUNK_ELEMENTS", 1000)
    for outtype in OUTTYPES:
        convert(src, tmp_path / f"pieces-{outtype}.gguf", outtype)
        whole = (tmp_path / f"whole-{outtype}.gguf").read_bytes()
        assert (tmp_path / f"pieces-{outtype}.gguf").read_bytes() == whole


@pytest.mark.parametrize(
    ("tied", "lm_head", "output"), [(True, False, False), (False, True, True), (True, True, True)]
)
def test_output_head(
    checkpoint: Make, tmp_path: Path, tied: bool, lm_head: bool, output: bool
) -> None:
    src, tensors = checkpoint(tied=tied, lm_head=lm_head)
    convert(src, tmp_path / "m.gguf", "f32")
    _, written = read(tmp_path / "m.gguf")
    assert ("output.weight" in written) == output
    if output:
        assert np.array_equal(values(written["output.weight"]), tensors["lm_head.weight"])
    with Model(tmp_path / "m.gguf") as model:
        assert model.n_vocab == 640


def test_shards_give_the_same_tensors(checkpoint: Make, tmp_path: Path) -> None:
    for name, shards in (("one", 1), ("three", 3)):
        src, _ = checkpoint(name, shards=shards)
        convert(src, tmp_path / f"{name}.gguf", "f16")
    one, three = (read(tmp_path / f"{name}.gguf")[1] for name in ("one", "three"))
    assert one.keys() == three.keys()
    assert all(one[name].data.tobytes() == three[name].data.tobytes() for name in one)


def test_hyperparameters(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint()
    done = convert(src, tmp_path / "m.gguf", "q8_0")
    keys, tensors = read(tmp_path / "m.gguf")
    assert (done.architecture, done.tensors) == ("qwen2", len(tensors))
    assert done.nbytes == (tmp_path / "m.gguf").stat().st_size
    assert keys["general.architecture"] == "qwen2"
    assert keys["general.type"] == "model"
    assert keys["general.file_type"] == gguf.LlamaFileType.MOSTLY_Q8_0
    assert keys["general.quantization_version"] == 2
    assert keys["qwen2.block_count"] == 2
    assert keys["qwen2.context_length"] == 256
    assert keys["qwen2.embedding_length"] == 64
    assert keys["qwen2.feed_forward_length"] == 128
    assert keys["qwen2.attention.head_count"] == 4
    assert keys["qwen2.attention.head_count_kv"] == 2
    assert keys["qwen2.rope.freq_base"] == 1e6
    assert keys["qwen2.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-6)
    assert not [key for key in keys if "scaling" in key or "key_length" in key]


YARN = {
    "rope_theta": 5e5, "rope_type": "yarn", "factor": 4.0, "beta_fast": 16,
    "original_max_position_embeddings": 64,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "scaling"),
    [
        ({"rope_theta": 5e5}, {}),
        ({"rope_theta": None, "rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, {}),
        ({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2}}, {"factor": 2.0}),
        (
            {"rope_theta": None, "rope_parameters": YARN},
            {"factor": 4.0, "original_context_length": 64, "yarn_beta_fast": 16.0},
        ),
        (
            {"rope_theta": 5e5, "rope_scaling": {"type": "yarn", "factor": 4.0}},
            {"factor": 4.0, "original_context_length": 256},
        ),
    ],
)
def test_rope_in_every_spelling(
    checkpoint: Make, tmp_path: Path, config: dict[str, Any], scaling: dict[str, float]
) -> None:
    src, _ = checkpoint(config=config)
    convert(src, tmp_path / "m.gguf", "f32")
    keys, _ = read(tmp_path / "m.gguf")
    assert keys["qwen2.rope.freq_base"] == 5e5
    found = {k.split(".")[-1]: v for k, v in keys.items() if k.startswith("qwen2.rope.scaling.")}
    found.pop("type", None)
    assert found == scaling
    with Model(tmp_path / "m.gguf") as model:
        assert model.n_vocab == 640


def test_vocabulary(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint()
    tokenizer = Tokenizer.from_file(str(src / "tokenizer.json"))
    convert(src, tmp_path / "m.gguf", "f32")
    keys, _ = read(tmp_path / "m.gguf")
    tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    size = tokenizer.get_vocab_size()
    assert len(tokens) == len(types) == 640
    assert tokens[:size] == [tokenizer.id_to_token(i) for i in range(size)]
    assert tokens[size:] == [f"[PAD{i}]" for i in range(size, 640)]
    assert set(types[size:]) == {gguf.TokenType.UNUSED}
    special = {tokens[i]: types[i] for i in range(size) if types[i] != gguf.TokenType.NORMAL}
    control, defined = gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED
    assert special == {
        "<|endoftext|>": control, "<|im_start|>": control, "<|im_end|>": control,
        "<|box|>": control, "<tool>": defined,
    }  # fmt: skip
    assert keys["tokenizer.ggml.model"] == "gpt2"
    assert keys["tokenizer.ggml.pre"] == "qwen2"
    assert keys["tokenizer.ggml.eos_token_id"] == tokenizer.token_to_id("<|im_end|>")
    assert keys["tokenizer.ggml.padding_token_id"] == tokenizer.token_to_id("<|endoftext|>")
    assert "tokenizer.ggml.bos_token_id" not in keys
    assert keys["tokenizer.ggml.add_bos_token"] is False
    assert keys["tokenizer.chat_template"].endswith("ئا")
    merges = json.loads((src / "tokenizer.json").read_text())["model"]["merges"]
    assert keys["tokenizer.ggml.merges"] == [" ".join(pair) for pair in merges]


def test_the_settings_have_the_last_word_on_added_tokens(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint()
    token_id = Tokenizer.from_file(str(src / "tokenizer.json")).token_to_id("<tool>")
    settings = json.loads((src / "tokenizer_config.json").read_text())
    settings["added_tokens_decoder"] = {str(token_id): {"content": "<tool>", "special": True}}
    (src / "tokenizer_config.json").write_text(json.dumps(settings))
    convert(src, tmp_path / "m.gguf", "f32")
    keys, _ = read(tmp_path / "m.gguf")
    assert keys["tokenizer.ggml.token_type"][token_id] == gguf.TokenType.CONTROL


def test_chat_template_from_its_own_file(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint()
    settings = json.loads((src / "tokenizer_config.json").read_text())
    del settings["chat_template"]
    (src / "tokenizer_config.json").write_text(json.dumps(settings))
    (src / "chat_template.jinja").write_text("{{ བོད }}", encoding="utf-8")
    convert(src, tmp_path / "m.gguf", "f32")
    assert read(tmp_path / "m.gguf")[0]["tokenizer.chat_template"] == "{{ བོད }}"


def test_llama_cpp_reads_the_same_tokens(
    checkpoint: Make, tmp_path: Path, texts: list[str]
) -> None:
    src, _ = checkpoint()
    tokenizer = Tokenizer.from_file(str(src / "tokenizer.json"))
    convert(src, tmp_path / "m.gguf", "f16")
    with Model(tmp_path / "m.gguf", vocab_only=True) as model:
        for text in [*texts, "".join(texts), "<|im_start|>user\nhi<tool> x<|im_end|>"]:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            assert model.tokenize(text, parse_special=True) == ids, text


def test_a_stated_pre_tokenizer_is_taken(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint()
    convert(src, tmp_path / "m.gguf", "f32", pre="llama-bpe")
    assert read(tmp_path / "m.gguf")[0]["tokenizer.ggml.pre"] == "llama-bpe"


def test_nfc_is_accepted(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint()
    tokenizer = Tokenizer.from_file(str(src / "tokenizer.json"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.save(str(src / "tokenizer.json"))
    convert(src, tmp_path / "m.gguf", "f32")
    assert read(tmp_path / "m.gguf")[0]["tokenizer.ggml.pre"] == "qwen2"


def test_sampling_hints_and_model_card(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint()
    hints = {"temperature": 0.7, "top_k": 20, "repetition_penalty": 1.05}
    (src / "generation_config.json").write_text(json.dumps(hints))
    (src / "README.md").write_text("---\nlicense: apache-2.0\nlanguage: [ug]\n---\n")
    convert(src, tmp_path / "m.gguf", "f32")
    keys, _ = read(tmp_path / "m.gguf")
    assert keys["general.license"] == "apache-2.0"
    assert keys["general.languages"] == ["ug"]
    assert keys["general.sampling.top_k"] == 20
    assert keys["general.sampling.penalty_repeat"] == pytest.approx(1.05)


def test_a_broken_model_card_is_no_obstacle(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint()
    (src / "README.md").write_text("---\nlicense: [unclosed\n---\n")
    convert(src, tmp_path / "m.gguf", "f32")
    assert read_header(tmp_path / "m.gguf").metadata["general.name"] == src.name


def test_progress_ends_at_the_total(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint()
    steps: list[tuple[int, int]] = []
    convert(src, tmp_path / "m.gguf", "f16", progress=lambda *step: steps.append(step))
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]


def rename(src: Path, change: Callable[[str], str], architecture: str) -> None:
    """The same checkpoint with other names of tensors, and of its class."""
    path, config = src / "model.safetensors", src / "config.json"
    raw = path.read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    header = {change(name): entry for name, entry in json.loads(raw[8:end]).items()}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[end:])
    values = json.loads(config.read_text())
    config.write_text(json.dumps({**values, "architectures": [architecture]}))


@pytest.mark.parametrize(
    ("family", "architecture", "ours", "theirs"),
    [
        (None, "Qwen2Model", "model.", ""),
        (None, "Qwen2ForCausalLM", "model.", ""),
        ("gemma3", "Gemma3TextModel", "model.", ""),
        ("gemma3", "Gemma3Model", "model.", "language_model."),
        ("gemma3", "Gemma3ForConditionalGeneration", "model.", "model.language_model."),
        ("gemma3", "Gemma3ForConditionalGeneration", "model.", "language_model.model."),
    ],
)
def test_a_checkpoint_saved_without_its_prefix_gives_the_same_file(
    checkpoint: Make, tmp_path: Path, family: str | None, architecture: str, ours: str, theirs: str
) -> None:
    src, _ = checkpoint(family=family) if family else checkpoint()
    expected = convert(src, tmp_path / "a.gguf", "f16").path.read_bytes()
    rename(src, lambda name: name.replace(ours, theirs, 1), architecture)
    assert convert(src, tmp_path / "b.gguf", "f16").path.read_bytes() == expected


def test_a_checkpoint_without_its_head_is_told(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint(tied=False)
    path = src / "model.safetensors"
    tensors = load_file(path)
    del tensors["lm_head.weight"]
    save_file(tensors, path)
    rename(src, lambda name: name.removeprefix("model."), "Qwen2Model")
    with pytest.raises(TrimixError, match=r"lm_head.weight, the output head: .*ForCausalLM"):
        convert(src, tmp_path / "m.gguf", "f16")
