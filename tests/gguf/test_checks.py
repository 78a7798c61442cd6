"""Files that are well formed and would take llama.cpp's process down."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from trimix_cpp.errors import ModelFileError
from trimix_cpp.gguf.reader import read_header
from trimix_cpp.llama.model import Model
from trimix_cpp.showing import one_line

from ..support.raw_gguf import (
    BOOL,
    F32,
    I32,
    MODELS,
    STRING,
    U32,
    RawFile,
    Tensor,
    many,
    one,
    tiny_vocabulary,
    tokenizer,
)
from ..support.vocab_files import sentencepiece
from .test_header import refusal

QWEN, GEMMA = MODELS["qwen2"], MODELS["gemma3"]

TOKENS, TYPES, _ = tiny_vocabulary()


def tokens(changes: dict[int, str]) -> dict[str, bytes]:
    changed = [changes.get(index, token) for index, token in enumerate(TOKENS)]
    return {"tokenizer.ggml.tokens": many(STRING, changed)}


def without_byte() -> bytes:
    names = [name for name, _ in sentencepiece().tokens]
    return many(STRING, ["<0x4_>" if name == "<0x41>" else name for name in names])


# file, changed keys -> the reason; without the check the process ends by the signal named.
BAD_KEYS: list[tuple[RawFile, dict[str, bytes | None], str]] = [
    # SIGABRT: asserts in load_hparams
    (QWEN, {"qwen2.block_count": one(U32, 0)}, "block_count is 0"),
    (QWEN, {"qwen2.block_count": one(U32, 513)}, "block_count is 513"),
    (QWEN, {"qwen2.nextn_predict_layers": one(U32, 2)}, "nextn_predict_layers leaves no"),
    (QWEN, {"qwen2.rope.scaling.type": one(STRING, "bogus")}, "rope.scaling.type is 'bogus'"),
    (QWEN, {"qwen2.expert_count": one(U32, 4)}, "it uses 0 of 4 experts"),
    (QWEN, {"qwen2.expert_used_count": one(U32, 2)}, "it uses 2 of 0 experts"),
    (QWEN, {"qwen2.expert_used_count": many(U32, [0, 1])}, "it uses 1 of 0 experts"),
    (QWEN, {"qwen2.expert_group_count": one(U32, 1)}, "in groups"),
    (QWEN, {"qwen2.expert_count": one(U32, 2**20)}, "of 1048576 experts"),
    # SIGABRT: asserts when the graph is built or computed
    (QWEN, {"qwen2.attention.key_length": one(U32, 8)}, "its heads have 8 values in keys"),
    (QWEN, {"qwen2.rope.dimension_count": one(U32, 0)}, "0 of 16 values of a head are rotated"),
    (GEMMA, {"gemma3.rope.dimension_count": one(U32, 7)}, "7 of 16 values of a head"),
    (GEMMA, {"gemma3.rope.dimension_count": one(U32, 18)}, "18 of 16 values of a head"),
    (GEMMA, {"gemma3.rope.dimension_count_swa": one(U32, 0)}, "0 of 16"),  # endless
    (QWEN, {"qwen2.attention.head_count": one(U32, 0)}, "it has 0 heads and 2 KV heads"),
    (QWEN, {"qwen2.attention.head_count_kv": one(U32, 3)}, "it has 4 heads and 3 KV heads"),
    (QWEN, {"qwen2.attention.head_count_kv": many(U32, [2, 4])}, "different numbers of heads"),
    (QWEN, {"qwen2.attention.layer_norm_rms_epsilon": one(F32, -1)}, "epsilon is -1.0"),
    (QWEN, {"qwen2.attention.layer_norm_rms_epsilon": one(F32, float("nan"))}, "epsilon is nan"),
    (QWEN, {"qwen2.attention.causal": one(BOOL, False)}, "reads text in both directions"),
    (GEMMA, {"gemma3.attention.sliding_window_pattern": one(U32, 1)}, "no layer has the sliding"),
    (GEMMA, {"gemma3.attention.sliding_window_pattern": many(U32, [0, 0])}, "no layer has"),
    (GEMMA, {"gemma3.attention.sliding_window": one(U32, 2**31)}, "sliding_window is 2147483648"),
    (QWEN, {"general.alignment": one(U32, 1)}, "general.alignment is no power of two from 32"),
    (QWEN, {"general.alignment": one(U32, 0)}, "general.alignment is no power of two from 32"),
    # SIGABRT: the vocabulary, when it is loaded or a text is tokenized
    (QWEN, tokens({5: TOKENS[6]}), "two tokens have the same text"),
    (QWEN, tokens({5: TOKENS[6] + "\0x"}), "two tokens have the same text"),
    (QWEN, tokens({5: "", 6: "[EMPTY_5]"}), "two tokens have the same text"),
    (MODELS["llama"], {"tokenizer.ggml.tokens": without_byte()}, "lacks the byte token <0x41>"),
    (QWEN, tokenizer(model=one(STRING, "gemma4")), "it wants BOS added to a text and"),
    (QWEN, tokenizer(model=one(STRING, "none")), "its tokenizer is of the kind 'none'"),
    (QWEN, tokenizer(model=one(STRING, "rwkv")), "its tokenizer is of the kind 'rwkv'"),
    (QWEN, tokenizer(tokens=many(I32, [1])), "tokenizer.ggml.tokens is no list of strings"),
    (QWEN, tokenizer(token_type=many(I32, TYPES[1:])), "token_type does not match the 263"),
    (QWEN, tokenizer(merges=many(U32, [1])), "tokenizer.ggml.merges is no list of strings"),
    (QWEN, tokenizer(eos_token_id=one(U32, 263)), "eos_token_id is not one of the 263 tokens"),
    (
        QWEN,
        tokenizer(pre=one(STRING, "glm4"), add_bos_token=one(BOOL, True)),
        "it wants BOS added to a text and does not name it",
    ),
    # what llama.cpp would read as another key or name than is checked here
    (QWEN, {"tokenizer.ggml.tokens\0": many(STRING, ["a", "a"])}, "or holds a NUL"),
    (QWEN, {"general.architecture": one(STRING, "qwen2\0x")}, "architecture holds a NUL"),
    (QWEN, {"general.architecture": one(STRING, "")}, "it does not name its architecture"),
    (QWEN, {"general.architecture": None}, "it does not name its architecture"),
    # SIGABRT: the type of an adapter's keys, and of a split model's, is asserted
    (QWEN, {"split.no": one(U32, 0)}, "split.no is of another type than it must be"),
    (QWEN, {"adapter.lora.alpha": one(U32, 1)}, "adapter.lora.alpha is of another type"),
    (QWEN, {"adapter.type": one(U32, 1)}, "adapter.type is of another type"),
    (QWEN, {"general.type": one(U32, 1)}, "general.type is of another type"),
    # a name from the file neither breaks the line nor steers the terminal
    (QWEN, {"a\n\x1b[2J": struct.pack("<I", 99)}, r"a \x1b[2J has value type 99"),
]


@pytest.mark.parametrize(("file", "keys", "reason"), BAD_KEYS, ids=lambda value: str(value)[:60])
def test_metadata_that_would_end_the_process(
    file: RawFile, keys: dict[str, bytes | None], reason: str, tmp_path: Path
) -> None:
    message = refusal(file.with_keys(keys).write(tmp_path / "bad.gguf"))
    assert message.startswith("broken GGUF file (")
    assert reason in message


def resized(model: RawFile, shapes: dict[str, tuple[int, ...]]) -> RawFile:
    """With the tensors whose names end so in other shapes."""
    for name in model.tensors:
        for part, shape in shapes.items():
            if name.endswith(f"{part}.weight"):
                model = model.with_tensor(name, (shape, 0, bytes(4 * math.prod(shape))))
    return model


def wide_heads(kind: str) -> RawFile:
    """Heads of 32 values, which agree with all tensors but the queries'."""
    model = MODELS[kind].with_keys(
        {f"{kind}.attention.{name}": one(U32, 32) for name in ("key_length", "value_length")}
    )
    shapes = {"attn_k": (64, 64), "attn_v": (64, 64), "attn_qkv": (64, 192)}
    return resized(model, {**shapes, "attn_k_norm": (32,)})


def without(model: RawFile, part: str) -> RawFile:
    return replace(model, tensors={k: v for k, v in model.tensors.items() if part not in k})


def with_values(kind: str, **values: bytes) -> RawFile:
    model = MODELS[kind]
    return model.with_keys({f"{model.architecture}.{k}": v for k, v in values.items()})


# What only some architectures die of; each of them was seen to, with the check taken out.
BAD_MODELS: list[tuple[str, RawFile, str]] = [
    *((kind, wide_heads(kind), "4 heads of 32 values are not 64 wide")
      for kind in ("qwen2", "olmo2", "phi3", "command-r", "cohere2")),
    ("phi3", without(MODELS["phi3"], "attn_qkv"), "blk.0.attn_k.weight is missing"),  # SIGSEGV
    ("mixtral", with_values("mixtral", expert_used_count=many(U32, [2, 0])), "by layer"),  # SIGSEGV
    ("qwen3moe", with_values("qwen3moe", expert_used_count=many(U32, [1, 3])), "by layer"),
    ("mixtral", with_values("mixtral", expert_group_count=one(U32, 3)), "in groups"),
    ("qwen3moe", with_values("qwen3moe", expert_count=one(U32, 0)), "it uses 2 of 0 experts"),
    *((kind, with_values(kind, **{"attention.sliding_window_pattern": one(U32, 1),
                                  "attention.sliding_window": one(U32, 0)}), "no layer has the")
      for kind in ("gemma2", "cohere2")),
    ("olmo2", with_values("olmo2", **{"attention.sliding_window_pattern": one(U32, 1)}),
     "no layer has the"),
    ("olmo2", MODELS["olmo2"].with_keys({"olmo2.attention.head_count": None}), "it has 0 heads"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "model", "reason"), BAD_MODELS)
def test_models_that_would_end_the_process(
    kind: str, model: RawFile, reason: str, tmp_path: Path
) -> None:
    message = refusal(model.write(tmp_path / f"{kind}.gguf"))
    assert message.startswith("broken GGUF file (")
    assert reason in message


@pytest.mark.parametrize(
    "architecture",
    ["bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "eurobert",
     "t5", "t5encoder", "gemma-embedding", "llama-embed", "llada", "llada-moe", "dream", "rnd1",
     "smallthinker", "clip", "wavtokenizer-dec", "mamba", "rwkv7", "qwen2vl", "deepseek2",
     "x\n\x1b"],
)  # fmt: skip
def test_other_architectures_are_refused_by_name(architecture: str, tmp_path: Path) -> None:
    keys = {"general.architecture": one(STRING, architecture)}
    message = refusal(QWEN.with_keys(keys).write(tmp_path / "other.gguf"))
    shown = one_line(repr(architecture))[1:-1]
    assert message.startswith(f"is a model of the architecture '{shown}', which is not among those")
    assert "gemma3" in message


def test_adapters_and_models_that_read_images_are_told_apart(tmp_path: Path) -> None:
    adapter = QWEN.with_keys({"general.type": one(STRING, "adapter")})
    assert refusal(adapter.write(tmp_path / "a.gguf")) == "is a LoRA adapter, not a model"
    images = with_values("granite", deepstack_mapping=many(I32, [-1, 0]))
    assert "also reads images" in refusal(images.write(tmp_path / "i.gguf"))


def test_a_tokenizer_alone_is_read_and_not_run(tmp_path: Path) -> None:
    path = sentencepiece().write(tmp_path / "vocab.gguf")
    assert not read_header(path).tensors
    with Model(path, vocab_only=True) as model:
        assert model.tokenize("a")
    with pytest.raises(ModelFileError, match="holds a tokenizer alone, and no weights"):
        Model(path)


BAD_TENSORS: list[tuple[str, Tensor, str]] = [
    ("blk.0.attn_q.weight", ((64, 64), 9, bytes(4608)), "has tensor type 9"),  # SIGSEGV
    ("blk.0.attn_q.weight", ((64, 64), 24, bytes(4096)), "has tensor type 24"),  # SIGSEGV
    ("token_embd.weight", ((64, 263), 26, bytes(67328)), "has tensor type 26"),  # SIGABRT
    ("output_norm.weight", ((64,), 1, bytes(128)), "output_norm.weight is not F32"),  # SIGABRT
    ("output_norm.weight", ((64, 1), 8, bytes(68)), "output_norm.weight is not F32"),  # SIGABRT
    ("rope_freqs.weight", ((8,), 1, bytes(16)), "rope_freqs.weight is not F32"),  # SIGABRT
    ("x", ((64,), 99, b""), "x has the unknown tensor type 99"),
    ("x", ((33,), 8, b""), "rows of x are no multiple of 32"),
    ("x", ((0,), 0, b""), "x has the shape [0]"),
    ("x", ((2**40, 2**40), 0, b""), "x has the shape"),
    ("x", ((1,) * 5, 0, bytes(4)), "x has 5 dimensions"),
    ("x", ((2**30,), 0, bytes(4)), "the weights of x lie outside the file"),
    ("x" * 64, ((1,), 0, bytes(4)), "the name of tensor 20 is too long"),
    ("x\0", ((1,), 0, bytes(4)), "has a NUL"),
]


@pytest.mark.parametrize(("name", "tensor", "reason"), BAD_TENSORS)
def test_tensors_that_would_end_the_process(
    name: str, tensor: Tensor, reason: str, tmp_path: Path
) -> None:
    assert reason in refusal(QWEN.with_tensor(name, tensor).write(tmp_path / "bad.gguf"))
