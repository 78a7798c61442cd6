"""GGUF files in pieces, each of which can be put wrong, and tiny models of every architecture."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .tiny import tiny_vocabulary
from .vocab_files import sentencepiece

SCALARS = {2: "<H", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q"}
U16, U32, I32, F32, BOOL, STRING, U64 = 2, 4, 5, 6, 7, 8, 10
Tensor = tuple[tuple[int, ...], int, bytes]


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def one(kind: int, value: Any) -> bytes:
    """A typed value as it stands in a file."""
    return struct.pack("<I", kind) + plain(kind, value)


def many(kind: int, values: Sequence[Any]) -> bytes:
    """A typed array as it stands in a file."""
    return struct.pack("<IIQ", 9, kind, len(values)) + b"".join(plain(kind, v) for v in values)


def plain(kind: int, value: Any) -> bytes:
    return text(value) if kind == STRING else struct.pack(SCALARS[kind], value)


@dataclass(frozen=True)
class RawFile:
    """A GGUF file in pieces, each of which can be put wrong: gguf's own writer refuses to."""

    keys: dict[str, bytes]
    tensors: dict[str, Tensor]

    @property
    def architecture(self) -> str:
        """`general.architecture`, if it is sound."""
        return self.keys["general.architecture"][12:].decode()

    def with_keys(self, keys: dict[str, bytes | None]) -> RawFile:
        """With these keys; None takes one away."""
        merged = {**self.keys, **keys}
        return replace(self, keys={k: v for k, v in merged.items() if v is not None})

    def with_tensor(self, name: str, tensor: Tensor) -> RawFile:
        return replace(self, tensors={**self.tensors, name: tensor})

    def header(self) -> bytes:
        out = [b"GGUF", struct.pack("<IQQ", 3, len(self.tensors), len(self.keys))]
        out += [text(key) + value for key, value in self.keys.items()]
        offset = 0
        for name, (shape, kind, data) in self.tensors.items():
            out.append(text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
            out.append(struct.pack("<IQ", kind, offset))
            offset += len(data) + -len(data) % 32
        return b"".join(out)

    def data(self) -> bytes:
        header = self.header()
        parts = [header, *(data for _, _, data in self.tensors.values())]
        return b"".join(part + bytes(-len(part) % 32) for part in parts)

    def write(self, path: Path) -> Path:
        path.write_bytes(self.data())
        return path


HEADS, KV_HEADS, HEAD, WIDTH, INNER, EXPERTS = 4, 2, 16, 64, 96, 4
NUMBERS = {
    "context_length": 512,
    "embedding_length": WIDTH,
    "block_count": 2,
    "feed_forward_length": INNER,
    "attention.head_count": HEADS,
    "attention.head_count_kv": KV_HEADS,
}
QUERIES, KEYS = HEADS * HEAD, KV_HEADS * HEAD
ATTENTION = {
    "attn_norm": (WIDTH,),
    "attn_q": (WIDTH, QUERIES),
    "attn_k": (WIDTH, KEYS),
    "attn_v": (WIDTH, KEYS),
    "attn_output": (QUERIES, WIDTH),
}
GATED = {"ffn_gate": (WIDTH, INNER), "ffn_up": (WIDTH, INNER), "ffn_down": (INNER, WIDTH)}
LLAMA = {**ATTENTION, "ffn_norm": (WIDTH,), **GATED}
HEAD_NORMS = {"attn_q_norm": (HEAD,), "attn_k_norm": (HEAD,)}
POST_NORMS = {"post_attention_norm": (WIDTH,), "post_ffw_norm": (WIDTH,)}
MIXTURE = {
    **ATTENTION,
    "ffn_norm": (WIDTH,),
    "ffn_gate_inp": (WIDTH, EXPERTS),
    "ffn_gate_exps": (WIDTH, INNER, EXPERTS),
    "ffn_up_exps": (WIDTH, INNER, EXPERTS),
    "ffn_down_exps": (INNER, WIDTH, EXPERTS),
}
COHERE = {**ATTENTION, **GATED}
# Architecture -> the matrices of a layer; "mixtral" is llama with experts.
LAYERS: dict[str, dict[str, tuple[int, ...]]] = {
    "llama": LLAMA,
    "mixtral": MIXTURE,
    "mistral3": LLAMA,
    "granite": LLAMA,
    "smollm3": LLAMA,
    "apertus": {k: v for k, v in LLAMA.items() if k != "ffn_gate"} | HEAD_NORMS,
    "qwen2": LLAMA,
    "qwen3": LLAMA | HEAD_NORMS,
    "qwen3moe": MIXTURE | HEAD_NORMS,
    "olmo2": {k: v for k, v in COHERE.items() if k != "attn_norm"}
    | {"attn_q_norm": (WIDTH,), "attn_k_norm": (KEYS,)}
    | POST_NORMS,
    "gemma": LLAMA,
    "gemma2": LLAMA | POST_NORMS,
    "gemma3": LLAMA | HEAD_NORMS | POST_NORMS,
    "phi3": {
        "attn_norm": (WIDTH,),
        "attn_qkv": (WIDTH, QUERIES + 2 * KEYS),
        "attn_output": (QUERIES, WIDTH),
        "ffn_norm": (WIDTH,),
        "ffn_up": (WIDTH, 2 * INNER),
        "ffn_down": (INNER, WIDTH),
    },
    "command-r": COHERE,
    "cohere2": COHERE,
}
_BPE = ("qwen2", "qwen3", "qwen3moe", "olmo2", "apertus", "smollm3", "granite", "cohere2")
_OWN_HEAD = ("olmo2", "apertus")
_EXPERTS = {"expert_count": EXPERTS, "expert_used_count": 2}
_HEADS = {"attention.key_length": HEAD, "attention.value_length": HEAD}
_MORE: dict[str, dict[str, int | float]] = {
    "mixtral": _EXPERTS,
    "qwen3moe": {**_EXPERTS, **_HEADS, "expert_feed_forward_length": INNER},
    "qwen3": _HEADS,
    "gemma": _HEADS,
    "gemma2": _HEADS | {"attention.sliding_window": 64, "attn_logit_softcapping": 50.0},
    "gemma3": _HEADS | {"attention.sliding_window": 64},
    "olmo2": {"attention.sliding_window": 64},
    "granite": {"logit_scale": 8.0, "residual_scale": 0.22, "embedding_scale": 12.0},
    "command-r": {"logit_scale": 0.0625},
    "cohere2": {"logit_scale": 0.0625, "attention.sliding_window": 64},
    "mistral3": {"attention.temperature_scale": 0.1},
}
_XIELU = ("xielu.alpha_n", "xielu.alpha_p", "xielu.beta", "xielu.eps")


def raw_model(kind: str) -> RawFile:
    """A model of an architecture that llama.cpp runs: 2 layers, 4 heads of 16, 2 KV heads."""
    arch = "llama" if kind == "mixtral" else kind
    vocabulary = bpe_keys() if arch in _BPE else spm_keys()
    n_vocab = int.from_bytes(vocabulary["tokenizer.ggml.tokens"][8:16], "little")
    keys = {"general.architecture": one(STRING, arch)}
    for name, value in {**NUMBERS, **_MORE.get(kind, {})}.items():
        keys[f"{arch}.{name}"] = one(F32 if isinstance(value, float) else U32, value)
    epsilon = "layer_norm_epsilon" if arch in ("command-r", "cohere2") else "layer_norm_rms_epsilon"
    keys[f"{arch}.attention.{epsilon}"] = one(F32, 1e-6)
    if arch == "apertus":
        keys |= {name: many(F32, [0.8, 0.8]) for name in _XIELU}
    rng = np.random.default_rng(0)
    tensors: dict[str, Tensor] = {}

    def add(name: str, shape: tuple[int, ...]) -> None:
        values = rng.standard_normal(shape).astype("<f4") * 0.3
        tensors[name] = (shape, 0, values.tobytes())

    add("token_embd.weight", (WIDTH, n_vocab))
    add("output_norm.weight", (WIDTH,))
    if arch in _OWN_HEAD:
        add("output.weight", (WIDTH, n_vocab))
    for layer in range(2):
        for name, shape in LAYERS[kind].items():
            add(f"blk.{layer}.{name}.weight", shape)
    return RawFile(keys | vocabulary, tensors)


def tokenizer(**keys: bytes) -> dict[str, bytes]:
    return {f"tokenizer.ggml.{name}": value for name, value in keys.items()}


def bpe_keys() -> dict[str, bytes]:
    tokens, types, merges = tiny_vocabulary()
    return tokenizer(
        model=one(STRING, "gpt2"),
        pre=one(STRING, "qwen2"),
        tokens=many(STRING, tokens),
        token_type=many(I32, types),
        merges=many(STRING, merges),
        eos_token_id=one(U32, len(tokens) - 1),
    )


def spm_keys() -> dict[str, bytes]:
    file = sentencepiece()
    return tokenizer(
        model=one(STRING, "llama"),
        tokens=many(STRING, [token for token, _ in file.tokens]),
        token_type=many(I32, [kind for _, kind in file.tokens]),
        scores=many(F32, file.scores),
        bos_token_id=one(U32, 1),
        eos_token_id=one(U32, 2),
    )


MODELS = {kind: raw_model(kind) for kind in LAYERS}
