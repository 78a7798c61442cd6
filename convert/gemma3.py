"""Gemma 3, text part (`Gemma3Model` in llama.cpp's `conversion/gemma.py`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from gguf import MODEL_ARCH, GGUFWriter

from .checkpoint import StoredTensor
from .gemma import FULL, SLIDING, Gemma

_VISION = ("vision_tower.", "multi_modal_projector.")


class Gemma3(Gemma):
    """Gemma3ForCausalLM, and what is text in Gemma3ForConditionalGeneration."""

    arch = MODEL_ARCH.GEMMA3
    # Gemma3TextConfig: published files leave most of it out.
    defaults: ClassVar[dict[str, Any]] = Gemma.common_defaults(
        vocab_size=262208, max_position_embeddings=131072, rope_theta=1e6,
        rope_local_base_freq=10000.0,
    )  # fmt: skip
    largest = 62
    pattern = 6
    refused = (*Gemma.refused, "attn_logit_softcapping")
    rope_types: ClassVar[tuple[str, ...]] = ("default", "linear")
    writes_head_dim = True

    def layer_shapes(self) -> dict[str, tuple[int, ...]]:
        """With norms of queries and keys, too."""
        norms = ("self_attn.q_norm.weight", "self_attn.k_norm.weight")
        return super().layer_shapes() | dict.fromkeys(norms, (self.head_dim,))

    def text_name(self, name: str) -> str | None:
        """Multimodal checkpoints keep the text model under `language_model.`."""
        plain = name.replace("language_model.", "")
        return None if plain.removeprefix("model.").startswith(_VISION) else plain

    def used(self, name: str, tensor: StoredTensor) -> StoredTensor:
        """Rows of the embedding beyond the vocabulary are cut off."""
        rows, *rest = tensor.shape or (0,)
        if name == "model.embed_tokens.weight" and rows > self.vocab_size:
            return replace(tensor, shape=(self.vocab_size, *rest))
        return tensor

    def write_more(self, writer: GGUFWriter) -> None:
        """What stands behind the file type."""
        self.check_attention(self.alternating(self.pattern), [FULL] * self.layers)
        if self.config.get("final_logit_softcapping"):
            writer.add_final_logit_softcapping(self.config.number("final_logit_softcapping", 0.0))
        if SLIDING in self.layer_types():
            writer.add_sliding_window(self.config.integer("sliding_window"))
