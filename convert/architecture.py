"""What all architectures have in common: hyperparameters, tensor names, shapes.

The oracle is `TextModel` in llama.cpp's `conversion/base.py`: same keys, same order, same values.
A new architecture is a subclass in a module of its own, entered in `ARCHITECTURES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, GGUFWriter, RopeScalingType, get_tensor_name_map

from .checkpoint import Checkpoint, Config, StoredTensor
from .errors import ConvertError

# Buffers that old checkpoints saved beside their weights.
_SKIPPED = (".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq")


class Vocabulary(Protocol):
    """A tokenizer that can write itself into a GGUF file's metadata."""

    def write(self, writer: GGUFWriter) -> None:
        """Add the `tokenizer.*` keys."""


@dataclass(frozen=True)
class OutputTensor:
    """A tensor of the GGUF file: its name there, and where its values come from."""

    name: str
    source: StoredTensor


class Architecture:
    """One model family's way from a checkpoint to GGUF."""

    arch: ClassVar[MODEL_ARCH]
    # Values that transformers assumes where config.json is silent.
    defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        given = {key: value for key, value in checkpoint.config.values.items() if value is not None}
        self.config = Config(checkpoint.config.path, self.defaults).merged(given)
        self.layers = self.config.integer("num_hidden_layers")
        self.hidden = self.config.integer("hidden_size")
        self.feed_forward = self.config.integer("intermediate_size")
        self.heads = self.config.integer("num_attention_heads")
        self.kv_heads = self.config.integer("num_key_value_heads", self.heads)
        self.vocab_size = self.config.integer("vocab_size")
        if self.heads % self.kv_heads:
            raise ConvertError(
                f"{self.config.path}: {self.heads} attention heads cannot share "
                f"{self.kv_heads} key-value heads"
            )

    @property
    def name(self) -> str:
        """GGUF's name of the architecture, e.g. qwen2."""
        return str(MODEL_ARCH_NAMES[self.arch])

    @property
    def head_dim(self) -> int:
        """Length of one attention head's vectors."""
        return self.config.integer("head_dim", self.hidden // self.heads)

    def vocabulary(self, pre: str | None) -> Vocabulary:
        """The tokenizer; `pre` names the pre-tokenizer, None recognises it."""
        raise NotImplementedError

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors that the checkpoint must hold, by Hugging Face name."""
        raise NotImplementedError

    def optional_shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors that it may hold."""
        return {}

    def tensors(self) -> list[OutputTensor]:
        """The tensors to write, in the checkpoint's order, after a check of their shapes.

        Raises:
            ConvertError: a tensor is missing, has another shape than the configuration says, or
                has no place in this architecture.
        """
        required, known = self.shapes(), {**self.shapes(), **self.optional_shapes()}
        present = self.checkpoint.tensors
        missing = [name for name in required if name not in present]
        if missing:
            raise ConvertError(
                f"{self.checkpoint.folder} lacks {missing[0]}"
                + (f" and {len(missing) - 1} more tensors" if len(missing) > 1 else "")
                + ": the checkpoint is incomplete, or config.json belongs to another model"
            )
        names = get_tensor_name_map(self.arch, self.layers)
        output = []
        for name, tensor in present.items():
            if name.endswith(_SKIPPED):
                continue
            if name not in known:
                raise ConvertError(f"{tensor.path}: {name} has no place in a {self.name} model")
            if tensor.shape != known[name]:
                raise ConvertError(
                    f"{tensor.path}: {name} has shape {list(tensor.shape)}, but config.json "
                    f"makes it {list(known[name])}"
                )
            mapped = names.get_name(name, try_suffixes=(".weight", ".bias"))
            if mapped is None:
                raise ConvertError(f"{tensor.path}: {name} has no name in GGUF")
            output.append(OutputTensor(mapped, tensor))
        return output

    def write_hyperparameters(self, writer: GGUFWriter) -> None:
        """Add the `<architecture>.*` keys."""
        writer.add_block_count(self.layers)
        writer.add_context_length(self.config.integer("max_position_embeddings"))
        writer.add_embedding_length(self.hidden)
        writer.add_feed_forward_length(self.feed_forward)
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self.kv_heads)
        self._write_rope(writer)
        writer.add_layer_norm_rms_eps(self.config.number("rms_norm_eps", 1e-6))
        if self.config.get("head_dim") is not None:
            writer.add_key_length(self.head_dim)
            writer.add_value_length(self.head_dim)

    def _write_rope(self, writer: GGUFWriter) -> None:
        """Rotary embeddings, in transformers 5's spelling (rope_parameters) or the older ones."""
        values = self.config.get("rope_parameters") or self.config.get("rope_scaling") or {}
        if not isinstance(values, dict):
            raise ConvertError(f"{self.config.path}: the rope parameters are no JSON object")
        rope = self.config.merged(values)
        kind = values.get("rope_type", values.get("type", "default"))
        if kind in ("linear", "yarn"):
            writer.add_rope_scaling_type(
                RopeScalingType.LINEAR if kind == "linear" else RopeScalingType.YARN
            )
            writer.add_rope_scaling_factor(rope.number("factor", 1.0))
        elif kind != "default":
            raise ConvertError(
                f"{self.config.path}: rope type {kind!r} is not supported "
                f"for {self.name} (supported: default, linear, yarn)"
            )
        if kind == "yarn":
            _write_yarn(writer, rope)
        writer.add_rope_freq_base(rope.number("rope_theta", 10000.0))


def _write_yarn(writer: GGUFWriter, rope: Config) -> None:
    original = rope.integer(
        "original_max_position_embeddings", rope.integer("max_position_embeddings")
    )
    writer.add_rope_scaling_orig_ctx_len(original)
    for key, add in (
        ("extrapolation_factor", writer.add_rope_scaling_yarn_ext_factor),
        ("attention_factor", writer.add_rope_scaling_yarn_attn_factor),
        ("beta_fast", writer.add_rope_scaling_yarn_beta_fast),
        ("beta_slow", writer.add_rope_scaling_yarn_beta_slow),
    ):
        if rope.get(key) is not None:
            add(rope.number(key, 0.0))
