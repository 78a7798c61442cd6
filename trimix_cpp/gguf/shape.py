"""The sizes of a model that memory depends on: from a GGUF header, or from a config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import TrimixError
from .header import Header

_MOST_SIZE, _MOST_LAYERS = 1 << 24, 1 << 12


@dataclass(frozen=True)
class Tensor:
    """A tensor's shape, fastest first, and its `ggml_type`; None where it is not made yet."""

    shape: tuple[int, ...]
    type: int | None = None
    nbytes: int = 0


@dataclass(frozen=True)
class ModelShape:
    """The sizes of one model.

    Attributes:
        name: what two roles that share a file have in common: its path, or a repository.
        tensors: by GGUF name.
        n_vocab, n_merges: entries of the vocabulary, and rules of a BPE tokenizer.
        n_embd, n_ff: widths of the residual stream and of the widest feed-forward network.
        n_head: query heads of the widest layer.
        kv_heads: heads of the KV cache, layer by layer.
        key_length, value_length: values of one head of the cache.
        windowed: some layers see a sliding window, and have a mask of their own.
    """

    name: str
    tensors: Mapping[str, Tensor]
    n_vocab: int
    n_merges: int
    n_embd: int
    n_ff: int
    n_head: int
    kv_heads: tuple[int, ...]
    key_length: int
    value_length: int
    windowed: bool

    @property
    def n_layer(self) -> int:
        """Layers."""
        return len(self.kv_heads)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors as they are; 0 before they are made."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


def shape_of_header(header: Header) -> ModelShape:
    """The sizes of the model with this header; 0 for what it does not tell."""
    n_embd, n_head = header.number("embedding_length"), header.number("attention.head_count")
    head_size = n_embd // max(n_head, 1)
    return ModelShape(
        name=str(header.path),
        tensors={t.name: Tensor(t.shape, t.type, t.nbytes) for t in header.tensors},
        n_vocab=header.n_vocab,
        n_merges=getattr(header.metadata.get("tokenizer.ggml.merges"), "count", 0),
        n_embd=n_embd,
        n_ff=header.number("feed_forward_length"),
        n_head=n_head,
        kv_heads=header.per_layer("attention.head_count_kv", n_head),
        key_length=header.number("attention.key_length", head_size),
        value_length=header.number("attention.value_length", head_size),
        windowed=header.number("attention.sliding_window") > 0,
    )


def shape_of_config(
    config: Mapping[str, Any], name: str, *, n_vocab: int | None = None, n_merges: int | None = None
) -> ModelShape:
    """The sizes of a Hugging Face checkpoint of the families that are converted, not yet made.

    Args:
        config: its config.json; of one with several modalities the text part counts.
        name: what names it, such as the repository.
        n_vocab: rows of the embedding, where the config does not say.
        n_merges: of a BPE tokenizer; as many as tokens if not given, none for Gemma.

    Raises:
        TrimixError: sizes are missing, or none that a model has.
    """
    names = config.get("architectures")
    named = names[0] if isinstance(names, list) and names else config.get("model_type", "")
    family = str(named).lower()
    text = config.get("text_config") or config
    if not isinstance(text, Mapping):
        raise TrimixError(f"{name}: text_config in its config.json is no table")

    def size(key: str, otherwise: int | None = None, most: int = _MOST_SIZE) -> int:
        value = text.get(key)
        value = otherwise if value is None else value
        if type(value) is not int or not 0 < value <= most:
            raise TrimixError(f"{name}: its config.json does not tell {key!r}")
        return value

    n_embd, n_layer = size("hidden_size"), size("num_hidden_layers", most=_MOST_LAYERS)
    n_ff, n_head = size("intermediate_size"), size("num_attention_heads")
    vocabulary = n_vocab or size("vocab_size")
    default = 256 if "gemma" in family else 128 if "qwen3" in family else max(n_embd // n_head, 1)
    head_size = size("head_dim", default)
    kv_heads = size("num_key_value_heads", n_head)
    gemma = "gemma" in family
    tied = bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", gemma)))
    tensors = {"token_embd.weight": (n_embd, vocabulary), "output_norm.weight": (n_embd,)}
    if not tied:
        tensors["output.weight"] = (n_embd, vocabulary)
    layer = {
        "attn_norm": (n_embd,),
        "attn_q": (n_embd, n_head * head_size),
        "attn_k": (n_embd, kv_heads * head_size),
        "attn_v": (n_embd, kv_heads * head_size),
        "attn_output": (n_head * head_size, n_embd),
        "ffn_norm": (n_embd,),
        "ffn_gate": (n_embd, n_ff),
        "ffn_up": (n_embd, n_ff),
        "ffn_down": (n_ff, n_embd),
    }
    if gemma:
        layer |= {"post_attention_norm": (n_embd,), "post_ffw_norm": (n_embd,)}
    if "gemma3" in family or "qwen3" in family:
        layer |= {"attn_q_norm": (head_size,), "attn_k_norm": (head_size,)}
    if "qwen2" in family or text.get("attention_bias"):
        biased = ("attn_q", "attn_k", "attn_v", *(["attn_output"] * ("qwen2" not in family)))
        biases = {f"{part}.bias": layer[part][1:] for part in biased}
    else:
        biases = {}
    for index in range(n_layer):
        tensors |= {f"blk.{index}.{part}.weight": shape for part, shape in layer.items()}
        tensors |= {f"blk.{index}.{part}": shape for part, shape in biases.items()}
    return ModelShape(
        name=name,
        tensors={key: Tensor(shape) for key, shape in tensors.items()},
        n_vocab=vocabulary,
        n_merges=n_merges if n_merges is not None else 0 if gemma else vocabulary,
        n_embd=n_embd,
        n_ff=n_ff,
        n_head=n_head,
        kv_heads=(kv_heads,) * n_layer,
        key_length=head_size,
        value_length=head_size,
        windowed=gemma,
    )
