"""Tiny random models that speak with somebody's tokenizer."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from .tiny import add_layers, finish

N_EMBD, N_FF, N_LAYER, N_HEAD = 32, 64, 2, 2


def dress(
    source: Path,
    target: Path,
    *,
    seed: int = 0,
    half: bool = False,
    chat_template: str | None = None,
) -> Path:
    """A random Qwen2 model with the tokenizer of `source`, a GGUF file; F16 rows if `half`."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "qwen2")
    writer.add_context_length(2048)
    writer.add_embedding_length(N_EMBD)
    writer.add_block_count(N_LAYER)
    writer.add_feed_forward_length(N_FF)
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv(N_HEAD)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    for name, item in reader.fields.items():
        if name.startswith("tokenizer."):
            kind = item.types[0]
            inner = item.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, item.contents(), kind, sub_type=inner)
    if chat_template:
        writer.add_chat_template(chat_template)
    n_vocab = len(reader.fields["tokenizer.ggml.tokens"].data)
    rng = np.random.default_rng(seed)

    def random(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape, np.float32) * 0.3).astype(np.float32)

    rows = random(n_vocab, N_EMBD) / 2
    writer.add_tensor("token_embd.weight", rows.astype(np.float16) if half else rows)
    writer.add_tensor("output_norm.weight", np.ones(N_EMBD, np.float32))
    add_layers(writer, random, n_layer=N_LAYER, n_embd=N_EMBD, n_ff=N_FF)
    return finish(writer, target)
