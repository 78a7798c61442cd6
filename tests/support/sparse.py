"""Models of real sizes whose weights are all zeros: files with holes, written in no time.

llama.cpp loads and runs them; they take memory, but no disk.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from .tiny import tiny_vocabulary

ALIGNMENT = 32


def write_sparse_model(
    path: Path,
    architecture: str = "qwen2",
    *,
    n_embd: int,
    n_ff: int,
    n_layer: int,
    n_head: int,
    n_head_kv: int,
    head_size: int | None = None,
    tied: bool = False,
    window: int = 0,
    n_ctx: int = 32768,
) -> Path:
    """An F16 model of the family "qwen2", "llama" or "gemma3", with the tiny vocabulary."""
    tokens, types, merges = tiny_vocabulary()
    size = head_size or n_embd // n_head
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(n_ctx)
    writer.add_embedding_length(n_embd)
    writer.add_block_count(n_layer)
    writer.add_feed_forward_length(n_ff)
    writer.add_head_count(n_head)
    writer.add_head_count_kv(n_head_kv)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    if window:
        writer.add_sliding_window(window)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(len(tokens) - 1)
    n_bytes = 0

    def add(name: str, *shape: int) -> None:
        nonlocal n_bytes
        kind = np.dtype(np.float16 if len(shape) > 1 else np.float32)
        nbytes = int(np.prod(shape)) * kind.itemsize
        writer.add_tensor_info(name, shape, kind, nbytes)
        n_bytes += -(-nbytes // ALIGNMENT) * ALIGNMENT

    add("token_embd.weight", len(tokens), n_embd)
    add("output_norm.weight", n_embd)
    if not tied:
        add("output.weight", len(tokens), n_embd)
    for layer in range(n_layer):
        block, heads = f"blk.{layer}", (("q", n_head), ("k", n_head_kv), ("v", n_head_kv))
        for part, count in heads:
            add(f"{block}.attn_{part}.weight", count * size, n_embd)
            if architecture == "qwen2":
                add(f"{block}.attn_{part}.bias", count * size)
        add(f"{block}.attn_output.weight", n_embd, n_head * size)
        add(f"{block}.ffn_gate.weight", n_ff, n_embd)
        add(f"{block}.ffn_up.weight", n_ff, n_embd)
        add(f"{block}.ffn_down.weight", n_embd, n_ff)
        add(f"{block}.attn_norm.weight", n_embd)
        add(f"{block}.ffn_norm.weight", n_embd)
        if architecture == "gemma3":
            add(f"{block}.post_attention_norm.weight", n_embd)
            add(f"{block}.post_ffw_norm.weight", n_embd)
            add(f"{block}.attn_q_norm.weight", size)
            add(f"{block}.attn_k_norm.weight", size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    start = -(-path.stat().st_size // ALIGNMENT) * ALIGNMENT
    with open(path, "rb+") as file:
        file.truncate(start + n_bytes)
    return path
