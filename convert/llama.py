"""Llama 2 and Llama 3.x (`LlamaModel` in llama.cpp's `conversion/llama.py`)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from gguf import MODEL_ARCH, GGUFWriter

from trimix_cpp.errors import TrimixError

from .architecture import Architecture
from .spm import SpmVocabulary, load_spm
from .tensors import Array, GeneratedTensor, OutputTensor, Transform, interleave_halves
from .tokenizer import open_tokenizer
from .vocab import BpeVocabulary, load_bpe


class Llama(Architecture):
    """LlamaForCausalLM: SentencePiece or byte-level BPE, whichever the tokenizer is."""

    arch = MODEL_ARCH.LLAMA
    defaults: ClassVar[dict[str, Any]] = {"max_position_embeddings": 2048}
    rope_types: ClassVar[tuple[str, ...]] = ("default", "linear", "yarn", "llama3")
    writes_head_dim = True

    def vocabulary(self, pre: str | None) -> SpmVocabulary | BpeVocabulary:
        """The tokenizer; where its settings name a space prefix, what it really does is written."""
        files = open_tokenizer(self.checkpoint.folder)
        stated = files.settings.get("add_prefix_space")
        if files.data and not files.byte_fallback:
            return load_bpe(files, self.config, self.vocab_size, pre)
        vocabulary = load_spm(files, self.config, self.vocab_size, pre)
        if stated is None and vocabulary.space_prefix:
            return replace(vocabulary, space_prefix=None)
        return vocabulary

    def layer_shapes(self) -> dict[str, tuple[int, ...]]:
        """With biases where the configuration says so."""
        shapes = super().layer_shapes()
        for part, key in (("self_attn", "attention_bias"), ("mlp", "mlp_bias")):
            if self.config.get(key):
                weights = [name for name in shapes if name.startswith(part)]
                for name in weights:
                    shapes[name.replace(".weight", ".bias")] = shapes[name][:1]
        return shapes

    def transform(self, name: str) -> Transform | None:
        """Queries and keys rotate in pairs of neighbours, not in halves."""
        if name.endswith(("q_proj.weight", "q_proj.bias", "k_proj.weight", "k_proj.bias")):
            return interleave_halves(self.head_dim)
        return None

    def generated(self) -> list[OutputTensor]:
        """Rope type llama3: a factor for each rotated pair, which llama.cpp divides by."""
        if self.rope_type != "llama3":
            return []
        return [OutputTensor("rope_freqs.weight", GeneratedTensor(self._rope_factors()))]

    def _rope_factors(self) -> Array:
        """1 for short waves, `factor` for long ones, between them a smooth passage.

        In float32 as in llama.cpp's converter, whose power (torch's) may differ in the last bit.
        """
        rope, single = self.rope, np.float32
        factor = rope.number("factor", 8.0)
        low, high = rope.number("low_freq_factor", 1.0), rope.number("high_freq_factor", 4.0)
        context = rope.number("original_max_position_embeddings", 8192)
        if not 0 < low < high or factor <= 0 or context <= 0:
            raise TrimixError(f"{self.config.path}: the factors of rope type llama3 make no sense")
        exponents = np.arange(0, self.head_dim, 2, dtype=single) / single(self.head_dim)
        powers = rope.number("rope_theta", 10000.0) ** exponents.astype(np.float64)
        waves = single(2 * math.pi) / (single(1) / powers.astype(single))
        smooth = (single(context) / waves - single(low)) / single(high - low)
        between = single(1) / ((single(1) - smooth) / single(factor) + smooth)
        short, long = waves < single(context / high), waves > single(context / low)
        return np.asarray(np.where(short, single(1), np.where(long, single(factor), between)))

    def write_more(self, writer: GGUFWriter) -> None:
        """What stands behind the file type."""
        writer.add_vocab_size(self.vocab_size)
        writer.add_rope_dimension_count(self.head_dim)
