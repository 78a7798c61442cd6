"""What the Gemma families have in common (`conversion/gemma.py` in llama.cpp)."""

from __future__ import annotations

from typing import Any, ClassVar

from trimix_cpp.errors import TrimixError

from .architecture import Architecture
from .spm import SpmVocabulary, load_spm
from .tensors import PLUS_ONE, Transform
from .tokenizer import open_tokenizer

FULL, SLIDING = "full_attention", "sliding_attention"


class Gemma(Architecture):
    """A family of Gemma: SentencePiece, norms that multiply by one more than their weight."""

    # The largest model scales queries by hidden size over heads; llama.cpp knows it by its layers.
    largest: ClassVar[int]
    # Every so many layers one has full attention, the others a window.
    pattern: ClassVar[int]
    # What must be false or absent: llama.cpp's graph has no place for it.
    refused: ClassVar[tuple[str, ...]] = ("use_bidirectional_attention", "attention_bias")
    activation = ("hidden_activation", "gelu_pytorch_tanh")

    def vocabulary(self, pre: str | None) -> SpmVocabulary:
        """SentencePiece, without a space before the text."""
        files = open_tokenizer(self.checkpoint.folder)
        return load_spm(files, self.config, self.vocab_size, pre)

    def layer_shapes(self) -> dict[str, tuple[int, ...]]:
        """With norms around both blocks."""
        norms = ("pre_feedforward_layernorm.weight", "post_feedforward_layernorm.weight")
        return super().layer_shapes() | dict.fromkeys(norms, (self.hidden,))

    def transform(self, name: str) -> Transform | None:
        """Norms multiply by one more than their weight."""
        return PLUS_ONE if name.endswith("norm.weight") else None

    def layer_types(self) -> list[str]:
        """The kind of attention of each layer."""
        stated = self.config.get("layer_types")
        if isinstance(stated, list):
            return [str(kind) for kind in stated]
        return self.alternating(self.config.integer("sliding_window_pattern", self.pattern))

    def alternating(self, pattern: int) -> list[str]:
        """Every layer of number `pattern` with full attention, the others with a window."""
        return [SLIDING if (layer + 1) % pattern else FULL for layer in range(self.layers)]

    def check_attention(self, *allowed: list[str]) -> None:
        """Refuse what llama.cpp takes for granted where the model is otherwise."""
        if self.layer_types() not in allowed:
            raise TrimixError(
                f"{self.config.path}: layers of full and sliding attention alternate otherwise "
                f"than llama.cpp assumes for {self.name} (one in {self.pattern} is full)"
            )
        scale = self.hidden // self.heads if self.layers == self.largest else self.head_dim
        if self.config.number("query_pre_attn_scalar", 256) != scale:
            raise TrimixError(
                f"{self.config.path}: 'query_pre_attn_scalar' must be {scale} for llama.cpp"
            )
        for key in self.refused:
            if self.config.get(key):
                raise self.no_place(key)

    def no_place(self, key: str) -> TrimixError:
        """The error for a setting that the graph of llama.cpp does not have."""
        return TrimixError(f"{self.config.path}: {key!r} has no place in llama.cpp's {self.name}")

    @classmethod
    def common_defaults(cls, **own: Any) -> dict[str, Any]:
        """What transformers assumes for all of them where config.json is silent."""
        return {
            "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
            "rms_norm_eps": 1e-6, "sliding_window": 4096, "query_pre_attn_scalar": 256,
            "tie_word_embeddings": True, "hidden_activation": "gelu_pytorch_tanh", **own,
        }  # fmt: skip
