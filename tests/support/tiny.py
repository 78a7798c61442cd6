"""Tiny random Qwen2 models, written as real GGUF files that llama.cpp loads in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_alphabet() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, in order of the byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    stand_in = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(stand_in)) for b in range(256)]


# "th", "he", and the Uyghur letters alef and yeh out of their two bytes.
MERGES = ("t h", "h e", "Ø §", "Ù Ĭ")


def tiny_vocabulary(
    merges: Sequence[str] = MERGES, special: Sequence[str] = SPECIAL
) -> tuple[list[str], list[int], list[str]]:
    """(tokens, types, merges): 256 bytes, the merged pieces, and the special tokens."""
    tokens = byte_alphabet() + [merge.replace(" ", "") for merge in merges]
    types = [int(gguf.TokenType.NORMAL)] * len(tokens)
    kinds = [*types, *[int(gguf.TokenType.CONTROL)] * len(special)]
    return [*tokens, *special], kinds, list(merges)


def write_tiny_model(
    path: Path,
    *,
    seed: int = 0,
    n_embd: int = 64,
    n_ff: int = 128,
    n_layer: int = 2,
    n_head: int = 2,
    n_ctx: int = 2048,
    merges: Sequence[str] = MERGES,
    special: Sequence[str] = SPECIAL,
    chat_template: str | None = CHATML,
    scale: float = 0.3,
    eos: str = SPECIAL[-1],
) -> Path:
    """A random F32 Qwen2 model with tied embeddings; the same seed gives the same file."""
    tokens, types, merges = tiny_vocabulary(merges, special)
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_context_length(n_ctx)
    writer.add_embedding_length(n_embd)
    writer.add_block_count(n_layer)
    writer.add_feed_forward_length(n_ff)
    writer.add_head_count(n_head)
    writer.add_head_count_kv(n_head)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens.index(eos))
    writer.add_add_bos_token(False)
    if chat_template:
        writer.add_chat_template(chat_template)

    def random(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    writer.add_tensor("token_embd.weight", random(len(tokens), n_embd))
    writer.add_tensor("output_norm.weight", np.ones(n_embd, np.float32))
    add_layers(writer, random, n_layer=n_layer, n_embd=n_embd, n_ff=n_ff)
    return finish(writer, path)


def add_layers(
    writer: gguf.GGUFWriter, random: Callable[..., Any], *, n_layer: int, n_embd: int, n_ff: int
) -> None:
    """The tensors of Qwen2's layers, of what `random` gives for their shapes."""
    for layer in range(n_layer):
        block = f"blk.{layer}"
        writer.add_tensor(f"{block}.attn_norm.weight", np.ones(n_embd, np.float32))
        writer.add_tensor(f"{block}.ffn_norm.weight", np.ones(n_embd, np.float32))
        for name in ("attn_q", "attn_k", "attn_v"):
            writer.add_tensor(f"{block}.{name}.weight", random(n_embd, n_embd))
            writer.add_tensor(f"{block}.{name}.bias", random(n_embd))
        writer.add_tensor(f"{block}.attn_output.weight", random(n_embd, n_embd))
        writer.add_tensor(f"{block}.ffn_gate.weight", random(n_ff, n_embd))
        writer.add_tensor(f"{block}.ffn_up.weight", random(n_ff, n_embd))
        writer.add_tensor(f"{block}.ffn_down.weight", random(n_embd, n_ff))


def write_lora(path: Path, *, n_embd: int) -> Path:
    """A random LoRA adapter of rank 2 on layer 0 of a Qwen2 model."""
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 4.0)
    for name in ("attn_q", "attn_output"):
        for part, shape in (("lora_a", (2, n_embd)), ("lora_b", (n_embd, 2))):
            tensor = rng.standard_normal(shape).astype(np.float32)
            writer.add_tensor(f"blk.0.{name}.weight.{part}", tensor)
    return finish(writer, path)


def finish(writer: gguf.GGUFWriter, path: Path) -> Path:
    """Write everything that `writer` was given, and close it."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
