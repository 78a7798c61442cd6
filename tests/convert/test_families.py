"""Llama, Qwen3 and Gemma: what their converted files hold, and what llama.cpp reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tokenizers import Tokenizer

from trimix_cpp.convert import convert
from trimix_cpp.convert.tensors import interleave_halves
from trimix_cpp.errors import TrimixError
from trimix_cpp.gguf import read_header, shape_of_config, shape_of_header
from trimix_cpp.llama.context import Context
from trimix_cpp.llama.model import Model

from .families import FAMILIES, LLAMA3_ROPE, ROWS
from .languages import TEXTS
from .spm_tokenizers import pieces
from .test_convert import read, values

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]
ARCHS = {
    "llama2": gguf.MODEL_ARCH.LLAMA, "llama3": gguf.MODEL_ARCH.LLAMA,
    "gemma3": gguf.MODEL_ARCH.GEMMA3, "gemma2": gguf.MODEL_ARCH.GEMMA2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
}  # fmt: skip


def expected(family: str, name: str, array: np.ndarray) -> np.ndarray:
    """The formulas of llama.cpp's converter, spelled out for whole tensors."""
    if family.startswith("llama") and "self_attn.q" in name:
        heads = 4
    elif family.startswith("llama") and "self_attn.k" in name:
        heads = 2
    else:
        return array + 1 if family.startswith("gemma") and name.endswith("norm.weight") else array
    out = np.empty_like(array)
    size = len(array) // heads
    for row in range(len(array)):
        head, within = divmod(row, size)
        half, pair = divmod(within, size // 2)
        out[head * size + 2 * pair + half] = array[row]
    return out


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("chunk", [4_000_000, 1500])
def test_tensors(
    checkpoint: Make, tmp_path: Path, family: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimix_cpp.convert.checkpoint.CHUNK_ELEMENTS", chunk)
    src, tensors = checkpoint(family=family, config={"attention_bias": family.startswith("llama")})
    convert(src, tmp_path / "m.gguf", "f32")
    _, written = read(tmp_path / "m.gguf")
    names = gguf.get_tensor_name_map(ARCHS[family], 7)
    assert len(written) == len(tensors)
    for name, array in tensors.items():
        tensor = written[names.get_name(name, (".weight", ".bias"))]
        found = values(tensor).reshape(array.shape)
        assert np.array_equal(found, expected(family, name, array)), name
    with Model(tmp_path / "m.gguf") as model:
        assert model.n_vocab == ROWS


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_a_config_tells_the_tensors_that_will_be(
    checkpoint: Make, tmp_path: Path, family: str, tied: bool
) -> None:
    """What is reckoned before a download is what a conversion writes."""
    if family == "gemma2" and not tied:
        pytest.skip("Gemma 2 has no head of its own")
    src, _ = checkpoint(family=family, tied=tied)
    convert(src, tmp_path / "m.gguf", "f32")
    config = json.loads((src / "config.json").read_text())
    shape, header = shape_of_config(config, "x"), read_header(tmp_path / "m.gguf")
    assert {name: t.shape for name, t in shape.tensors.items()} == {
        tensor.name: tensor.shape for tensor in header.tensors
    }
    made = shape_of_header(header)
    assert (shape.key_length, shape.kv_heads) == (made.key_length, made.kv_heads)


def test_interleaving_is_a_permutation_within_heads() -> None:
    rows = np.arange(48, dtype=np.float32)
    transform = interleave_halves(16)
    assert transform.apply(rows)[:6].tolist() == [0, 8, 1, 9, 2, 10]
    mixed = transform.apply(rows.reshape(48, 1))
    assert np.array_equal(mixed[:, 0], transform.apply(rows))
    parts = [transform.apply(part) for part in (rows[:16], rows[16:])]
    assert np.array_equal(np.concatenate(parts), transform.apply(rows))


@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_reads_the_same_tokens(checkpoint: Make, tmp_path: Path, family: str) -> None:
    for model_file in (False, True)[: 1 if family in ("llama3", "qwen3") else 2]:
        src, _ = checkpoint(f"model-{model_file}", family=family, model_file=model_file)
        tokenizer = Tokenizer.from_file(str(src / "tokenizer.json"))
        turn = {"llama2": "</s>", "llama3": "<|eot_id|>", "qwen3": "<|im_end|>"}.get(
            family, "<end_of_turn>"
        )
        path = convert(src, tmp_path / "m.gguf", "f16", force=True).path
        with Model(path, vocab_only=True) as model:
            for text in [*TEXTS, f"a{turn}\nb"]:
                ids = tokenizer.encode(text, add_special_tokens=False).ids
                assert model.tokenize(text, parse_special=True) == ids, text


@pytest.mark.parametrize("family", ["llama2", "gemma3"])
def test_scores_from_tokenizer_json(checkpoint: Make, tmp_path: Path, family: str) -> None:
    """The same file with and without tokenizer.model, whose pieces are all there."""
    for name, model_file in (("with", True), ("without", False)):
        src, _ = checkpoint(f"{name}/m", family=family, model_file=model_file)
        convert(src, tmp_path / f"{name}.gguf", "f32")
    assert (tmp_path / "with.gguf").read_bytes() == (tmp_path / "without.gguf").read_bytes()
    keys, _ = read(tmp_path / "with.gguf")
    written = list(
        zip(*(keys[f"tokenizer.ggml.{k}"] for k in ("tokens", "scores", "token_type")), strict=True)
    )
    for entry, (text, score, kind) in zip(written, pieces(family), strict=False):
        if kind in (1, 6):
            assert entry == (text, score, kind)
        else:
            control = kind != 4 or text in ("<mask>", "<unused0>")
            assert entry == (text.replace("\u2581", " "), -1000, 3 if control else 4)
    padding = written[len(pieces(family)) :]
    assert padding[0] == (f"[PAD{len(pieces(family))}]", -10000, 5)
    assert len(written) == ROWS


def test_merges_in_another_order_than_the_ids(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint(family="llama2")
    before = Tokenizer.from_file(str(src / "tokenizer.json"))
    for _ in range(3):
        change(src / "tokenizer.json", lambda t: to_the_end(t, alone=True))
    tokenizer = Tokenizer.from_file(str(src / "tokenizer.json"))
    convert(src, tmp_path / "m.gguf", "f16")
    text = " ".join(TEXTS)
    assert tokenizer.encode(text).ids != before.encode(text).ids
    with Model(tmp_path / "m.gguf", vocab_only=True) as model:
        for text in TEXTS:
            assert model.tokenize(text) == tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
def test_the_newer_way_to_write_spaces(checkpoint: Make, tmp_path: Path, scheme: str) -> None:
    src, _ = checkpoint(family="llama2")
    metaspace = {
        "type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": False,
    }  # fmt: skip
    rule = {"normalizer": None, "pre_tokenizer": metaspace}
    change(src / "tokenizer.json", lambda t: t.update(rule))
    tokenizer = Tokenizer.from_file(str(src / "tokenizer.json"))
    convert(src, tmp_path / "m.gguf", "f16")
    with Model(tmp_path / "m.gguf", vocab_only=True) as model:
        for text in TEXTS:
            # A text that begins with a space: Metaspace adds no second one, llama.cpp does.
            text = text.lstrip(" ") if scheme != "never" else text
            assert model.tokenize(text) == tokenizer.encode(text, add_special_tokens=False).ids


def test_special_tokens(checkpoint: Make, tmp_path: Path) -> None:
    wanted = {
        "llama2": ({"bos": 1, "eos": 2, "unknown": 0}, None),
        "gemma3": ({"bos": 2, "eos": 7, "unknown": 3, "padding": 0}, False),
    }
    for family, (ids, prefix) in wanted.items():
        src, _ = checkpoint(family, family=family)
        convert(src, tmp_path / f"{family}.gguf", "f32")
        keys, _ = read(tmp_path / f"{family}.gguf")
        ending = "_token_id"
        found = {k: v for k, v in keys.items() if k.endswith(ending)}
        assert found == {f"tokenizer.ggml.{k}{ending}": v for k, v in ids.items()}
        assert keys["tokenizer.ggml.add_bos_token"] is True
        assert keys["tokenizer.ggml.add_eos_token"] is False
        assert keys.get("tokenizer.ggml.add_space_prefix") is prefix


def test_hyperparameters(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint("llama", family="llama3", config={"rope_scaling": LLAMA3_ROPE})
    convert(src, tmp_path / "llama.gguf", "f16")
    keys, tensors = read(tmp_path / "llama.gguf")
    assert keys["llama.rope.dimension_count"] == keys["llama.attention.key_length"] == 16
    assert keys["llama.vocab_size"] == ROWS
    assert keys["tokenizer.ggml.pre"] == "llama-bpe"
    factors = values(tensors["rope_freqs.weight"])
    assert factors.dtype == np.float32
    # Wavelengths of 2 pi * 10000^(i / 8) against bounds of 16 and 64 positions.
    assert factors[:1].tolist() == [1.0]
    assert factors[-5:].tolist() == [8.0] * 5
    assert 1 < factors[1] < factors[2] < 8
    assert next(iter(tensors)) == "rope_freqs.weight"
    src, _ = checkpoint("gemma", family="gemma3", config={"final_logit_softcapping": 30})
    convert(src, tmp_path / "gemma.gguf", "f16")
    keys, _ = read(tmp_path / "gemma.gguf")
    assert keys["gemma3.attention.sliding_window"] == 16
    assert keys["gemma3.attention.key_length"] == 32
    assert keys["gemma3.final_logit_softcapping"] == 30
    assert (keys["gemma3.rope.freq_base"], keys["gemma3.rope.freq_base_swa"]) == (1e6, 1e4)


def test_gemma_without_sliding_layers(checkpoint: Make, tmp_path: Path) -> None:
    for name, config in {
        "pattern": {"sliding_window_pattern": 1},
        "types": {"layer_types": ["full_attention"] * 7},
    }.items():
        src, _ = checkpoint(name, family="gemma3", config=config)
        convert(src, tmp_path / f"{name}.gguf", "f16")
        assert "gemma3.attention.sliding_window" not in read(tmp_path / f"{name}.gguf")[0]


def test_the_text_part_of_a_multimodal_checkpoint(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint("plain/m", family="gemma3")
    convert(src, tmp_path / "plain.gguf", "f16")
    plain = read(tmp_path / "plain.gguf")[1]
    for name, prefix in (("four/m", "language_model."), ("five/m", "model.language_model.")):
        src, tensors = checkpoint(name, family="gemma3", text_config=True, prefix=prefix)
        convert(src, tmp_path / "m.gguf", "f16", force=True)
        assert len(tensors) == len(plain) + 2
        found = read(tmp_path / "m.gguf")[1]
        assert found.keys() == plain.keys()
        assert all(found[key].data.tobytes() == plain[key].data.tobytes() for key in plain)


def test_rows_beyond_the_vocabulary_are_cut(checkpoint: Make, tmp_path: Path) -> None:
    src, tensors = checkpoint(family="gemma3")
    values_ = json.loads((src / "config.json").read_text())
    (src / "config.json").write_text(json.dumps({**values_, "vocab_size": ROWS - 32}))
    convert(src, tmp_path / "m.gguf", "f32")
    embedding = values(read(tmp_path / "m.gguf")[1]["token_embd.weight"])
    assert np.array_equal(embedding, tensors["model.embed_tokens.weight"][: ROWS - 32])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("outtype", ["f16", "q8_0"])
def test_llama_cpp_runs_it(checkpoint: Make, tmp_path: Path, family: str, outtype: str) -> None:
    src, _ = checkpoint(family=family, shards=2, dtype="bfloat16", scale=0.05)
    convert(src, tmp_path / "m.gguf", outtype)
    with (
        Model(tmp_path / "m.gguf") as model,
        Context(model, n_ctx=64, n_outputs_max=32, n_threads=1) as context,
    ):
        at = np.arange(32, dtype=np.int32)
        context.decode(at + 300, at, at * 0, at >= 0)
        assert np.isfinite(context.logits()).all()


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def config(**values: Any) -> Callable[[Path], object]:
    return lambda src: change(src / "config.json", lambda c: c.update(values))


def tokenizer(edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    return lambda src: change(src / "tokenizer.json", edit)


def to_the_end(data: dict[str, Any], *, alone: bool) -> None:
    """Merge a pair last, whose union has no other pairs (`alone`) or has some."""
    merges = data["model"]["merges"]
    unions = ["".join(pair) for pair in merges]
    pair = next(p for p, u in zip(merges, unions, strict=True) if (unions.count(u) == 1) == alone)
    merges.remove(pair)
    merges.append(pair)


def drop_merge(data: dict[str, Any]) -> None:
    data["model"]["merges"].pop()


def collapse_spaces(data: dict[str, Any]) -> None:
    data["normalizer"] = {"type": "Strip", "strip_left": True, "strip_right": True}


BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "llama activation": ("llama3", config(hidden_act="gelu"), "computes silu for llama"),
    "odd heads": ("llama3", config(head_dim=15), "heads of odd length (15)"),
    "llama rope": ("llama3", config(rope_scaling={"rope_type": "longrope"}), "'longrope' is not"),
    "llama factors": (
        "llama3",
        config(rope_scaling={**LLAMA3_ROPE, "high_freq_factor": 1.0}),
        "make no sense",
    ),
    "gemma activation": ("gemma3", config(hidden_activation="gelu"), "gelu_pytorch_tanh"),
    "gemma pattern": ("gemma3", config(sliding_window_pattern=3), "alternate otherwise"),
    "gemma scale": ("gemma3", config(query_pre_attn_scalar=64), "must be 32 for llama.cpp"),
    "gemma both ways": ("gemma3", config(use_bidirectional_attention=True), "has no place"),
    "gemma rope": (
        "gemma3",
        config(rope_parameters={
            "full_attention": {"rope_type": "default"},
            "sliding_attention": {"rope_type": "linear", "factor": 2},
        }),
        "only full attention may have a rope type",
    ),
    "rope no object": ("gemma3", config(rope_parameters={"full_attention": 1}), "no JSON object"),
    "spaces": ("gemma3", tokenizer(collapse_spaces), "treats spaces otherwise"),
    "merges torn apart": (
        "llama2", tokenizer(lambda t: to_the_end(t, alone=False)), "are not a SentencePiece",
    ),
    "a merge too few": ("llama2", tokenizer(drop_merge), "are not a SentencePiece"),
    "no byte fallback": (
        "gemma3", tokenizer(lambda t: t["model"].update(byte_fallback=False)), "byte fallback",
    ),
    "unigram": (
        "gemma3", tokenizer(lambda t: t["model"].update(type="Unigram")), "SentencePiece-like BPE",
    ),
    "no tokenizer": (
        "llama2", lambda src: (src / "tokenizer.json").unlink(), "tokenizer.json is missing",
    ),
    "ids beyond": (
        "llama2", tokenizer(lambda t: t["model"]["vocab"].update(strange=ROWS)), "belongs to",
    ),
    "no biases": ("llama2", config(attention_bias=True), "lacks model.layers.0.self_attn.q_proj.b"),
}  # fmt: skip


@pytest.mark.parametrize(("family", "spoil", "message"), BAD.values(), ids=BAD.keys())
def test_bad_source(
    checkpoint: Make,
    tmp_path: Path,
    family: str,
    spoil: Callable[[Path], object],
    message: str,
) -> None:
    src, _ = checkpoint(family=family)
    spoil(src)
    with pytest.raises(TrimixError) as caught:
        convert(src, tmp_path / "m.gguf", "f16")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []


def test_a_pre_tokenizer_is_no_matter_of_sentencepiece(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint(family="gemma3")
    with pytest.raises(TrimixError, match="has a SentencePiece tokenizer, leave it out"):
        convert(src, tmp_path / "m.gguf", "f16", pre="llama-bpe")
    convert(src, tmp_path / "m.gguf", "f16", pre="default")


def test_added_tokens_without_a_row_are_left_out(
    checkpoint: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    src, _ = checkpoint(family="llama2")
    entry = {"id": ROWS, "content": "[PAD]", "special": True, "normalized": False}
    change(src / "tokenizer.json", lambda t: t["added_tokens"].append(entry))
    convert(src, tmp_path / "m.gguf", "f16")
    assert "no rows for 1 added tokens, such as '[PAD]'" in caplog.text
    assert len(read(tmp_path / "m.gguf")[0]["tokenizer.ggml.tokens"]) == ROWS
