"""Gemma 3, text part (`Gemma3Model` in llama.cpp's `conversion/gemma.py`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from gguf import MODEL_ARCH, GGUFWriter

from .architecture import Architecture
from .checkpoint import StoredTensor
from .errors import ConvertError
from .spm import SpmVocabulary, load_spm
from .tensors import PLUS_ONE, Transform
from .tokenizer import open_tokenizer

# llama.cpp's loader takes every sixth layer for one of full attention (`src/models/gemma3.cpp`).
_PATTERN = 6
_VISION = ("vision_tower.", "multi_modal_projector.")


class Gemma3(Architecture):
    """Gemma3ForCausalLM, and what is text in Gemma3ForConditionalGeneration."""

    arch = MODEL_ARCH.GEMMA3
    # Gemma3TextConfig: published files leave most of it out.
    defaults: ClassVar[dict[str, Any]] = {
        "vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
        "max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
        "rope_local_base_freq": 10000.0, "sliding_window": 4096, "query_pre_attn_scalar": 256,
        "tie_word_embeddings": True, "hidden_activation": "gelu_pytorch_tanh",
    }  # fmt: skip
    activation = ("hidden_activation", "gelu_pytorch_tanh")
    rope_types: ClassVar[tuple[str, ...]] = ("default", "linear")
    writes_head_dim = True

    def vocabulary(self, pre: str | None) -> SpmVocabulary:
        """SentencePiece, without a space before the text."""
        files = open_tokenizer(self.checkpoint.folder)
        return load_spm(files, self.config, self.vocab_size, pre)

    def layer_shapes(self) -> dict[str, tuple[int, ...]]:
        """With norms of queries and keys, and around both blocks."""
        wide, head = (self.hidden,), (self.head_dim,)
        return super().layer_shapes() | {
            "pre_feedforward_layernorm.weight": wide,
            "post_feedforward_layernorm.weight": wide,
            "self_attn.q_norm.weight": head,
            "self_attn.k_norm.weight": head,
        }

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

    def transform(self, name: str) -> Transform | None:
        """Norms multiply by one more than their weight."""
        return PLUS_ONE if name.endswith("norm.weight") else None

    def write_more(self, writer: GGUFWriter) -> None:
        """What stands behind the file type."""
        self._check_attention()
        if self.config.get("final_logit_softcapping"):
            writer.add_final_logit_softcapping(self.config.number("final_logit_softcapping", 0.0))
        if "sliding_attention" in self._layer_types():
            writer.add_sliding_window(self.config.integer("sliding_window"))

    def _layer_types(self) -> list[str]:
        stated = self.config.get("layer_types")
        if isinstance(stated, list):
            return [str(kind) for kind in stated]
        pattern = self.config.integer("sliding_window_pattern", _PATTERN)
        kinds = ("full_attention", "sliding_attention")
        return [kinds[bool((layer + 1) % pattern)] for layer in range(self.layers)]

    def _check_attention(self) -> None:
        """Refuse what llama.cpp takes for granted where the model is otherwise."""
        types, kinds = self._layer_types(), ("full_attention", "sliding_attention")
        usual = [kinds[bool((layer + 1) % _PATTERN)] for layer in range(self.layers)]
        if types not in (usual, [kinds[0]] * self.layers):
            raise ConvertError(
                f"{self.config.path}: layers of full and sliding attention alternate otherwise "
                "than llama.cpp assumes for gemma3 (every sixth is full)"
            )
        # The 27B model scales by hidden size over heads; llama.cpp knows it by its 62 layers.
        scale = self.hidden // self.heads if self.layers == 62 else self.head_dim
        if self.config.number("query_pre_attn_scalar", 256) != scale:
            raise ConvertError(
                f"{self.config.path}: 'query_pre_attn_scalar' must be {scale} for llama.cpp"
            )
        for key in ("attn_logit_softcapping", "use_bidirectional_attention", "attention_bias"):
            if self.config.get(key):
                raise ConvertError(
                    f"{self.config.path}: {key!r} has no place in llama.cpp's gemma3"
                )
