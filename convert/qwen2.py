"""Qwen2 and Qwen2.5 (`Qwen2Model` in llama.cpp's `conversion/qwen.py`).

No permutation of q and k: both sides rotate in halves ("NeoX" order). Attention has biases on
q, k and v, none on the output.
"""

from __future__ import annotations

from typing import Any, ClassVar

from gguf import MODEL_ARCH

from .architecture import Architecture
from .tokenizer import open_tokenizer
from .vocab import BpeVocabulary, load_bpe


class Qwen2(Architecture):
    """Qwen2ForCausalLM."""

    arch = MODEL_ARCH.QWEN2
    defaults: ClassVar[dict[str, Any]] = {"max_position_embeddings": 32768}

    def vocabulary(self, pre: str | None) -> BpeVocabulary:
        """Byte-level BPE; rows of the embedding beyond the tokenizer's tokens are padding."""
        files = open_tokenizer(self.checkpoint.folder)
        return load_bpe(files, self.config, self.vocab_size, pre)

    def layer_shapes(self) -> dict[str, tuple[int, ...]]:
        """With biases on q, k and v."""
        shapes = super().layer_shapes()
        for part in "qkv":
            rows = shapes[f"self_attn.{part}_proj.weight"][0]
            shapes[f"self_attn.{part}_proj.bias"] = (rows,)
        return shapes
