"""Gemma 2 (`Gemma2Model` in llama.cpp's `conversion/gemma.py`)."""

from __future__ import annotations

from typing import Any, ClassVar

from gguf import MODEL_ARCH, GGUFWriter

from .gemma import Gemma

# llama.cpp turns positions by this base, for no converted file names another.
_ROPE_BASE = 10000.0
_CAPS = ("attn_logit_softcapping", "final_logit_softcapping")


class Gemma2(Gemma):
    """Gemma2ForCausalLM."""

    arch = MODEL_ARCH.GEMMA2
    # Gemma2Config.
    defaults: ClassVar[dict[str, Any]] = Gemma.common_defaults(
        vocab_size=256000, max_position_embeddings=8192, rope_theta=_ROPE_BASE,
        attn_logit_softcapping=50.0, final_logit_softcapping=30.0,
    )  # fmt: skip
    largest = 46
    pattern = 2

    def text_name(self, name: str) -> str | None:
        """The head is the embedding: llama.cpp has no place for a second copy of it."""
        return None if name == "lm_head.weight" else name

    def write_hyperparameters(self, writer: GGUFWriter) -> None:
        """In the order of llama.cpp's converter, which says nothing of rope."""
        self._check()
        writer.add_context_length(self.config.integer("max_position_embeddings"))
        writer.add_embedding_length(self.hidden)
        writer.add_block_count(self.layers)
        writer.add_feed_forward_length(self.feed_forward)
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self.kv_heads)
        writer.add_layer_norm_rms_eps(self.config.number("rms_norm_eps", 1e-6))
        writer.add_key_length(self.head_dim)
        writer.add_value_length(self.head_dim)

    def write_more(self, writer: GGUFWriter) -> None:
        """What stands behind the file type."""
        writer.add_attn_logit_softcapping(self.config.number("attn_logit_softcapping", 50.0))
        writer.add_final_logit_softcapping(self.config.number("final_logit_softcapping", 30.0))
        writer.add_sliding_window(self.config.integer("sliding_window"))

    def _check(self) -> None:
        """Refuse what llama.cpp takes for granted where the model is otherwise."""
        self.check_attention(self.alternating(self.pattern))
        for key in _CAPS:  # null means none, and llama.cpp always has them
            if self.checkpoint.config.values.get(key, self.defaults[key]) is None:
                raise self.no_place(f"{key}: null")
        if not self.config.get("tie_word_embeddings"):
            raise self.no_place("tie_word_embeddings: false")
        if self.rope_type != "default" or self.rope.number("rope_theta", 0.0) != _ROPE_BASE:
            raise self.no_place("rope_theta")
