"""What all architectures have in common: hyperparameters, tensor names, shapes.

The oracle is `TextModel` in llama.cpp's `conversion/base.py`: same keys, same order, same values.
A new architecture is a subclass in a module of its own, entered in `ARCHITECTURES`. It may say
which tensors it knows (`layer_shapes`), what happens to their rows on the way (`transform`), and
which tensors no checkpoint holds (`generated`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, ClassVar, Protocol

from gguf import (
    MODEL_ARCH,
    MODEL_ARCH_NAMES,
    GGUFWriter,
    RopeScalingType,
    TensorNameMap,
    get_tensor_name_map,
)

from trimix_cpp.errors import TrimixError
from trimix_cpp.gguf import MAX_LAYERS

from .checkpoint import Checkpoint, Config, StoredTensor, shown
from .tensors import OutputTensor, Transform

# Buffers that old checkpoints saved beside their weights.
SKIPPED = (".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq")


class Vocabulary(Protocol):
    """A tokenizer that can write itself into a GGUF file's metadata."""

    def write(self, writer: GGUFWriter) -> None:
        """Add the `tokenizer.*` keys."""


class Architecture:
    """One model family's way from a checkpoint to GGUF."""

    arch: ClassVar[MODEL_ARCH]
    # Values that transformers assumes where config.json is silent.
    defaults: ClassVar[dict[str, Any]] = {}
    # The only activation that llama.cpp computes for the architecture, and its key.
    activation: ClassVar[tuple[str, str]] = ("hidden_act", "silu")
    rope_types: ClassVar[tuple[str, ...]] = ("default", "linear", "yarn")
    # Whether transformers gives the heads' size a value where config.json is silent.
    writes_head_dim: ClassVar[bool] = False

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        given = {key: value for key, value in checkpoint.config.values.items() if value is not None}
        self.config = Config(checkpoint.config.path, self.defaults).merged(given)
        self.layers = self.config.integer("num_hidden_layers")
        if self.layers > MAX_LAYERS:
            raise TrimixError(f"{self.config.path}: {self.layers} layers, of {MAX_LAYERS} at most")
        self.hidden = self.config.integer("hidden_size")
        self.feed_forward = self.config.integer("intermediate_size")
        self.heads = self.config.integer("num_attention_heads")
        self.kv_heads = self.config.integer("num_key_value_heads", self.heads)
        self.vocab_size = self.config.integer("vocab_size")
        if self.heads % self.kv_heads:
            raise TrimixError(
                f"{self.config.path}: {self.heads} attention heads cannot share "
                f"{self.kv_heads} key-value heads"
            )
        if self.head_dim % 2:
            raise TrimixError(f"{self.config.path}: heads of odd length ({self.head_dim})")
        key, expected = self.activation
        if self.config.get(key) not in (None, expected):
            raise TrimixError(
                f"{self.config.path}: {key!r} is {shown(self.config.get(key))}, but llama.cpp "
                f"computes {expected} for {self.name}"
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
        """The tensors that the checkpoint must hold: Hugging Face names, [out, in] shapes."""
        shapes: dict[str, tuple[int, ...]] = {
            "model.embed_tokens.weight": (self.vocab_size, self.hidden),
            "model.norm.weight": (self.hidden,),
        }
        for layer in range(self.layers):
            parts = self.layer_shapes()
            shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in parts.items()}
        if not self.config.get("tie_word_embeddings"):
            shapes |= self.optional_shapes()
        return shapes

    def layer_shapes(self) -> dict[str, tuple[int, ...]]:
        """One layer's tensors: here what every decoder with gated feed-forward layers has."""
        width, inner = self.hidden, self.feed_forward
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "input_layernorm.weight": (width,),
            "post_attention_layernorm.weight": (width,),
            "self_attn.q_proj.weight": (queries, width),
            "self_attn.k_proj.weight": (keys, width),
            "self_attn.v_proj.weight": (keys, width),
            "self_attn.o_proj.weight": (width, queries),
            "mlp.gate_proj.weight": (inner, width),
            "mlp.up_proj.weight": (inner, width),
            "mlp.down_proj.weight": (width, inner),
        }

    def optional_shapes(self) -> dict[str, tuple[int, ...]]:
        """Some trainers save the tied output head a second time; it is written as it stands."""
        return {"lm_head.weight": (self.vocab_size, self.hidden)}

    def text_name(self, name: str) -> str | None:
        """`name` as a model of text alone would have it; None for what is no part of that."""
        return name

    def text_names(self, names: Iterable[str]) -> dict[str, str | None]:
        """Names -> `text_name`; those of a class without a head lack `model.`, and get it."""
        found = {name: self.text_name(name) for name in names}
        if any(name.startswith("model.") for name in found.values() if name):
            return found
        return {
            k: f"model.{v}" if v and not v.startswith("lm_head") else v for k, v in found.items()
        }

    def transform(self, name: str) -> Transform | None:
        """What happens to the rows of the tensor `name` on the way; None if nothing does."""
        return None

    def used(self, name: str, tensor: StoredTensor) -> StoredTensor:
        """The part of the stored `tensor` that the model uses: as a rule all of it."""
        return tensor

    def generated(self) -> list[OutputTensor]:
        """Tensors that follow from the configuration alone; they come first in the file."""
        return []

    def gguf_name(self, name: str) -> str | None:
        """GGUF's name of the tensor `name`; None if it has none."""
        mapped = self._names.get_name(name, try_suffixes=(".weight", ".bias"))
        return None if mapped is None else str(mapped)

    @cached_property
    def _names(self) -> TensorNameMap:
        return get_tensor_name_map(self.arch, self.layers)

    def tensors(self) -> list[OutputTensor]:
        """The tensors to write: the generated ones, then the checkpoint's in its order.

        Raises:
            TrimixError: a tensor is missing, has another shape than the configuration says, or
                has no place in this architecture.
        """
        required, known = self.shapes(), {**self.shapes(), **self.optional_shapes()}
        names = self.text_names(self.checkpoint.tensors)
        present = {names[name]: tensor for name, tensor in self.checkpoint.tensors.items()}
        missing = [name for name in required if name not in present]
        if missing:
            if missing == ["lm_head.weight"]:
                raise TrimixError(
                    f"{self.checkpoint.folder} lacks lm_head.weight, the output head: save the "
                    "model from its class for language modelling (…ForCausalLM)"
                )
            raise TrimixError(
                f"{self.checkpoint.folder} lacks {missing[0]}"
                + (f" and {len(missing) - 1} more tensors" if len(missing) > 1 else "")
                + ": the checkpoint is incomplete, or config.json belongs to another model"
            )
        output = self.generated()
        for name, tensor in present.items():
            if name is None or name.endswith(SKIPPED):
                continue
            if name not in known:
                raise TrimixError(f"{tensor.path}: {name} has no place in a {self.name} model")
            tensor = self.used(name, tensor)
            if tensor.shape != known[name]:
                raise TrimixError(
                    f"{tensor.path}: {name} has shape {list(tensor.shape)}, but config.json "
                    f"makes it {list(known[name])}"
                )
            mapped = self.gguf_name(name)
            if mapped is None:
                raise TrimixError(f"{tensor.path}: {name} has no name in GGUF")
            output.append(OutputTensor(mapped, tensor, self.transform(name)))
        return output

    def write_hyperparameters(self, writer: GGUFWriter) -> None:
        """Add the `<architecture>.*` keys that stand before the file type."""
        writer.add_block_count(self.layers)
        writer.add_context_length(self.config.integer("max_position_embeddings"))
        writer.add_embedding_length(self.hidden)
        writer.add_feed_forward_length(self.feed_forward)
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self.kv_heads)
        self._write_rope(writer)
        writer.add_layer_norm_rms_eps(self.config.number("rms_norm_eps", 1e-6))
        if self.writes_head_dim or self.config.get("head_dim") is not None:
            writer.add_key_length(self.head_dim)
            writer.add_value_length(self.head_dim)

    def write_more(self, writer: GGUFWriter) -> None:
        """Add the `<architecture>.*` keys that stand behind the file type."""

    @cached_property
    def _rope_sections(self) -> dict[str, Any]:
        """What the configuration says on rope: transformers 5's rope_parameters, or the older."""
        values = self.config.get("rope_parameters") or self.config.get("rope_scaling") or {}
        if not isinstance(values, dict):
            raise TrimixError(f"{self.config.path}: the rope parameters are no JSON object")
        sections = values.values() if "full_attention" in values else ()
        if not all(isinstance(section, dict) for section in sections):
            raise TrimixError(f"{self.config.path}: the rope parameters are no JSON object")
        return dict(values)

    @property
    def rope(self) -> Config:
        """The rope parameters (of full attention, where there are two kinds) over the rest."""
        return self.config.merged(self._rope_sections.get("full_attention", self._rope_sections))

    @property
    def rope_type(self) -> str:
        """The rope type in the spelling of transformers 5: default, linear, and so on."""
        values = self._rope_sections.get("full_attention", self._rope_sections)
        return str(values.get("rope_type", values.get("type", "default")))

    def _write_rope(self, writer: GGUFWriter) -> None:
        rope, kind = self.rope, self.rope_type
        if kind not in self.rope_types:
            raise TrimixError(
                f"{self.config.path}: rope type {shown(kind)} is not supported "
                f"for {self.name} (supported: {', '.join(self.rope_types)})"
            )
        if kind in ("linear", "yarn"):
            writer.add_rope_scaling_type(
                RopeScalingType.LINEAR if kind == "linear" else RopeScalingType.YARN
            )
            writer.add_rope_scaling_factor(rope.number("factor", 1.0))
        if kind == "yarn":
            _write_yarn(writer, rope)
        writer.add_rope_freq_base(rope.number("rope_theta", 10000.0))
        sliding = self._rope_sections.get("sliding_attention", {})
        if sliding.get("rope_type", "default") != "default":
            raise TrimixError(
                f"{self.config.path}: only full attention may have a rope type of its own"
            )
        if self.config.get("rope_local_base_freq") is not None:
            local = self.config.number("rope_local_base_freq", 10000.0)
            writer.add_rope_freq_base_swa(Config(rope.path, sliding).number("rope_theta", local))


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
