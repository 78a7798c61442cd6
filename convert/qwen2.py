"""Qwen2 and Qwen2.5 (`Qwen2Model` in llama.cpp's `conversion/qwen.py`).

No permutation of q and k: both sides rotate in halves ("NeoX" order). Attention has biases on
q, k and v, none on the output.
"""

from __future__ import annotations

from typing import Any, ClassVar

from gguf import MODEL_ARCH

from .architecture import Architecture
from .vocab import BpeVocabulary, load_bpe


class Qwen2(Architecture):
    """Qwen2ForCausalLM."""

    arch = MODEL_ARCH.QWEN2
    defaults: ClassVar[dict[str, Any]] = {"max_position_embeddings": 32768}

    def vocabulary(self, pre: str | None) -> BpeVocabulary:
        """Byte-level BPE; rows of the embedding beyond the tokenizer's tokens are padding."""
        folder = self.checkpoint.folder
        return load_bpe(folder, self.config, self.vocab_size, pre)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Hugging Face names with [out, in] shapes; the output head only where it is not tied."""
        width, inner = self.hidden, self.feed_forward
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        shapes: dict[str, tuple[int, ...]] = {
            "model.embed_tokens.weight": (self.vocab_size, width),
            "model.norm.weight": (width,),
        }
        for layer in range(self.layers):
            prefix = f"model.layers.{layer}."
            shapes |= {
                prefix + "input_layernorm.weight": (width,),
                prefix + "post_attention_layernorm.weight": (width,),
                prefix + "self_attn.o_proj.weight": (width, queries),
                prefix + "mlp.gate_proj.weight": (inner, width),
                prefix + "mlp.up_proj.weight": (inner, width),
                prefix + "mlp.down_proj.weight": (width, inner),
            }
            for part, rows in (("q", queries), ("k", keys), ("v", keys)):
                shapes[f"{prefix}self_attn.{part}_proj.weight"] = (rows, width)
                shapes[f"{prefix}self_attn.{part}_proj.bias"] = (rows,)
        if not self.config.get("tie_word_embeddings"):
            shapes |= self.optional_shapes()
        return shapes

    def optional_shapes(self) -> dict[str, tuple[int, ...]]:
        """Some trainers save the tied output head a second time; it is written as it stands."""
        return {"lm_head.weight": (self.vocab_size, self.hidden)}
