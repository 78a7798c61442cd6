"""Qwen3, the dense models (`Qwen3Model` in llama.cpp's `conversion/qwen.py`).

As Qwen2, with norms of queries and keys in place of the biases, and heads of a size of their own.
"""

from __future__ import annotations

from typing import Any, ClassVar

from gguf import MODEL_ARCH, GGUFWriter

from trimix_cpp.errors import TrimixError

from .architecture import Architecture
from .tokenizer import open_tokenizer
from .vocab import BpeVocabulary, load_bpe


class Qwen3(Architecture):
    """Qwen3ForCausalLM."""

    arch = MODEL_ARCH.QWEN3
    defaults: ClassVar[dict[str, Any]] = {
        "max_position_embeddings": 32768, "num_key_value_heads": 32, "head_dim": 128,
    }  # fmt: skip
    writes_head_dim = True

    def vocabulary(self, pre: str | None) -> BpeVocabulary:
        """Byte-level BPE; rows of the embedding beyond the tokenizer's tokens are padding."""
        files = open_tokenizer(self.checkpoint.folder)
        return load_bpe(files, self.config, self.vocab_size, pre)

    def layer_shapes(self) -> dict[str, tuple[int, ...]]:
        """With norms of queries and keys."""
        norms = dict.fromkeys(
            ("self_attn.q_norm.weight", "self_attn.k_norm.weight"), (self.head_dim,)
        )
        return super().layer_shapes() | norms

    def write_hyperparameters(self, writer: GGUFWriter) -> None:
        """As for all, where llama.cpp's graph has a place for everything."""
        for key in ("attention_bias", "use_sliding_window"):
            if self.config.get(key):
                raise TrimixError(f"{self.config.path}: {key!r} has no place in llama.cpp's qwen3")
        super().write_hyperparameters(writer)
