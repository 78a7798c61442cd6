"""What llama.cpp takes on trust in a GGUF file that is well formed: numbers, types, vocabulary.

Each check stands for an assertion, a crash or an endless loop inside llama.cpp that some value of
the metadata sets off while the file is loaded, a context is made or a text is tokenized. What
llama.cpp itself refuses with an error is left to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .families import FAMILIES, Family
from .header import Header
from .types import F32, I32, NOT_WEIGHTS

MAX_LAYERS = 512
MAX_EXPERTS = 1024
MAX_TOKENS = 1 << 22
MAX_WINDOW = 1 << 24

_ROPE_SCALINGS = frozenset({"none", "linear", "yarn", "longrope"})
# Streams beside the text (images), which the graph adds to its layers.
_FOREIGN = ("deepstack_mapping",)

# The tokens that llama.cpp's tokenizers take for BOS and EOS when the file names none.
_DEFAULT_BOS = {"gpt2": 11, "hybriddna": 11, "whitespace": 11, "llama": 1, "plamo2": 1, "bert": 101}
_DEFAULT_EOS = {"gpt2": 11, "hybriddna": 11, "whitespace": 11, "llama": 2, "plamo2": 2, "t5": 1}
_NO_DEFAULT_BOS = frozenset({"chatglm-bpe", "glm4", "glm5"})
_ADD_BOS = frozenset(
    {
        "llama3",
        "llama-v3",
        "llama-bpe",
        "falcon3",
        "falcon-h1",
        "pixtral",
        "midm-2.0",
        "lfm2",
        "jina-v5-nano",
        "tekken",
        "chameleon",
    }
)
# Without text (none, no_vocab), or endless on a damaged vocabulary (rwkv).
_UNUSABLE = frozenset({"none", "no_vocab", "rwkv"})
_BYTE = 6


class MalformedError(Exception):
    """The file is not what llama.cpp takes it for; `str` says where, for a longer message."""


class UnsupportedError(Exception):
    """A sound file that is no model for this program; `str` says why."""


def check_header(header: Header) -> None:
    """Raise where llama.cpp would take the process down with this file.

    Without tensors a file holds a tokenizer alone, of whatever architecture.

    Raises:
        MalformedError: the file is damaged.
        UnsupportedError: it is an adapter, or a model of an architecture that is not run.
    """
    _check_text(header)
    if header.tensors:
        _check_model(header)
    _check_tokenizer(header)


def check_adapter(header: Header) -> None:
    """The same for a LoRA adapter; raises MalformedError."""
    _check_text(header)
    for tensor in header.tensors:
        if tensor.type in NOT_WEIGHTS:
            raise MalformedError(f"{tensor.name} has tensor type {tensor.type}")


def _check_model(header: Header) -> None:
    if header.metadata.get("general.type") == "adapter":
        raise UnsupportedError("is a LoRA adapter, not a model")
    family = FAMILIES.get(header.architecture)
    if family is None:
        raise UnsupportedError(
            f"is a model of the architecture {header.architecture[:40]!r}, which is not among "
            f"those that can be run: {', '.join(FAMILIES)}"
        )
    _check_layers(header)
    _check_experts(header, family)
    _check_attention(header, family)
    _check_window(header, family)
    for name in _FOREIGN:
        if header.value(name) is not None:
            raise UnsupportedError(f"is a model that also reads images ({name})")
    _check_tensors(header)


def _integer(header: Header, name: str, default: int) -> int:
    value = header.value(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise MalformedError(f"{name} is no whole number")
    return value


def _per_layer(header: Header, name: str, default: Sequence[int]) -> list[int]:
    """The distinct values of a number that may be one for all layers or an array of them."""
    key = f"{header.architecture}.{name}"
    if key not in header.metadata:
        return list(default)
    array = header.numbers(key)
    if array is None:
        return [_integer(header, name, 0)]
    if array.dtype.kind == "f" or len(array) != _integer(header, "block_count", 0):
        raise MalformedError(f"{name} is no list of one whole number for each layer")
    return sorted({int(value) for value in array})


def _check_text(header: Header) -> None:
    """A NUL ends a text for llama.cpp, so it would read another name than the one checked here."""
    for key in ("general.architecture", "tokenizer.ggml.model", "tokenizer.ggml.pre"):
        value = header.metadata.get(key)
        if isinstance(value, str) and "\0" in value:
            raise MalformedError(f"{key} holds a NUL")
    name = header.metadata.get("general.architecture")
    if not name or not isinstance(name, str):
        raise MalformedError("it does not name its architecture")


def _check_layers(header: Header) -> None:
    layers = _integer(header, "block_count", 0)
    if not 0 < layers <= MAX_LAYERS:
        raise MalformedError(f"block_count is {layers}")
    if not 0 <= _integer(header, "nextn_predict_layers", 0) < layers:
        raise MalformedError("nextn_predict_layers leaves no layer of block_count")
    scaling = header.value("rope.scaling.type", "linear")
    if scaling not in _ROPE_SCALINGS:
        raise MalformedError(f"rope.scaling.type is {str(scaling)[:40]!r}")
    for name in ("layer_norm_rms_epsilon", "layer_norm_epsilon"):
        epsilon = header.value(f"attention.{name}", 0.0)
        if not isinstance(epsilon, float) or not 0 <= epsilon < math.inf:
            raise MalformedError(f"{name} is {str(epsilon)[:40]}")


def _check_experts(header: Header, family: Family) -> None:
    """Experts of a mixture: every layer takes as many, and they stand in no groups."""
    count = _integer(header, "expert_count", 0)
    used = _per_layer(header, "expert_used_count", [0])
    if count == 0:
        good = used == [0] and family.experts != "always"
    else:
        good = family.experts != "never" and count <= MAX_EXPERTS
        good = good and len(used) == 1 and 0 < used[0] <= count
    if not good or _integer(header, "expert_group_count", 0):
        raise MalformedError(f"it uses {max(used)} of {count} experts, in groups or by layer")


def _check_attention(header: Header, family: Family) -> None:
    """Heads, their size and how much of it rotates, which the graphs divide by and assert."""
    heads = _per_layer(header, "attention.head_count", [0])
    kv_heads = _per_layer(header, "attention.head_count_kv", heads)
    if len(heads) != 1 or len(kv_heads) != 1:
        raise MalformedError("its layers have different numbers of heads")
    if heads[0] < 1 or kv_heads[0] < 1 or heads[0] % kv_heads[0]:
        raise MalformedError(f"it has {heads[0]} heads and {kv_heads[0]} KV heads")
    width = _integer(header, "embedding_length", 0)
    size = width // heads[0]
    key = _integer(header, "attention.key_length", size)
    others = {
        _integer(header, f"attention.{name}", default)
        for name, default in (
            ("value_length", size),
            ("key_length_swa", key),
            ("value_length_swa", key),
        )
    }
    if others != {key}:
        raise MalformedError(f"its heads have {key} values in keys and another number elsewhere")
    if family.heads_fill_width and key * heads[0] != width:
        raise MalformedError(f"{heads[0]} heads of {key} values are not {width} wide")
    rotated = _integer(header, "rope.dimension_count", key)
    for count in (rotated, _integer(header, "rope.dimension_count_swa", rotated)):
        whole = family.whole_head_rotates
        if not 2 <= count <= key or count % 2 or (whole and count != key):
            raise MalformedError(f"{count} of {key} values of a head are rotated")
    if header.value("attention.causal", True) is False:
        raise MalformedError("it reads text in both directions and cannot write any")


def _check_window(header: Header, family: Family) -> None:
    window = _integer(header, "attention.sliding_window", 0)
    if not 0 <= window <= MAX_WINDOW:
        raise MalformedError(f"sliding_window is {window}")
    key = f"{header.architecture}.attention.sliding_window_pattern"
    if key not in header.metadata or not (window or family.always_windowed):
        return
    pattern = header.numbers(key)
    # One layer in 1 without the window, or a list without a mark: llama.cpp wants one with it.
    if not (_integer(header, key.split(".", 1)[1], 0) != 1 if pattern is None else pattern.any()):
        raise MalformedError("no layer has the sliding window")


def _check_tensors(header: Header) -> None:
    """Types that the graphs can compute with, and matrices that llama.cpp does not ask for."""
    names = set()
    for tensor in header.tensors:
        names.add(tensor.name)
        if tensor.type in {*NOT_WEIGHTS, I32}:
            raise MalformedError(
                f"{tensor.name} has tensor type {tensor.type}, which no weights have"
            )
        # Norms, biases and scales are added and multiplied in, which ggml does in F32 alone.
        vector = all(size == 1 for size in tensor.shape[1:])
        if vector and tensor.type != F32 and not tensor.name.endswith((".lora_a", ".lora_b")):
            raise MalformedError(f"{tensor.name} is not F32")
    for block in (f"blk.{layer}.attn_" for layer in range(header.number("block_count"))):
        parts = {f"{block}{part}.weight" for part in "qkv"}
        if f"{block}qkv.weight" not in names and not parts <= names:
            raise MalformedError(f"{min(parts - names)} is missing")


def _check_tokenizer(header: Header) -> None:
    model = header.metadata.get("tokenizer.ggml.model")
    if model in _UNUSABLE:
        raise MalformedError(
            f"its tokenizer is of the kind {model!r}, with which nothing can be written"
        )
    if "tokenizer.ggml.tokens" not in header.metadata:
        return
    tokens = header.strings("tokenizer.ggml.tokens")
    if not tokens or len(tokens) > MAX_TOKENS:
        raise MalformedError("tokenizer.ggml.tokens is no list of strings, or an absurd one")
    # llama.cpp reads to the first NUL, names the empty ones, and asserts that all are distinct.
    texts = {text.split(b"\0", 1)[0] or b"[EMPTY_%d]" % index for index, text in enumerate(tokens)}
    if len(texts) != len(tokens):
        raise MalformedError("two tokens have the same text")
    _check_columns(header, len(tokens))
    # A byte without a token is looked up without asking; one may also stand as itself.
    if model in ("llama", "plamo2"):
        for byte in range(256):
            itself = model == "llama" and bytes([byte]) in texts
            if b"<0x%02X>" % byte not in texts and not itself:
                raise MalformedError(f"its vocabulary lacks the byte token <0x{byte:02X}>")
    types = header.numbers("tokenizer.ggml.token_type")
    if model == "bert" and types is not None and _BYTE in types:
        raise MalformedError("a WordPiece vocabulary has byte tokens")
    _check_specials(header, str(model), len(tokens))


def _check_columns(header: Header, n_tokens: int) -> None:
    """The arrays beside the tokens have one number for each; merges are strings."""
    for name, kinds in (("scores", ("f4",)), ("token_type", ("i4", "u4"))):
        key = f"tokenizer.ggml.{name}"
        array = header.numbers(key)
        if key in header.metadata and (
            array is None or len(array) != n_tokens or array.dtype.str[1:] not in kinds
        ):
            raise MalformedError(f"{key} does not match the {n_tokens} tokens")
    merges = header.metadata.get("tokenizer.ggml.merges")
    if merges is not None and header.strings("tokenizer.ggml.merges") is None:
        raise MalformedError("tokenizer.ggml.merges is no list of strings")


def _check_specials(header: Header, model: str, n_tokens: int) -> None:
    """Ids lie in the vocabulary, and a BOS or EOS that is to be added exists."""
    for name in ("bos", "eos", "unknown", "padding"):
        token = header.metadata.get(f"tokenizer.ggml.{name}_token_id")
        if token is not None and (
            not isinstance(token, int) or not (0 <= token < n_tokens or token == 2**32 - 1)
        ):
            raise MalformedError(f"{name}_token_id is not one of the {n_tokens} tokens")
    pre = header.metadata.get("tokenizer.ggml.pre")
    defaults = {
        "bos": None if pre in _NO_DEFAULT_BOS else _DEFAULT_BOS.get(model),
        "eos": _DEFAULT_EOS.get(model),
        "seperator": 102 if model == "bert" else None,  # spelt as the key is
    }
    for name, default in defaults.items():
        token = header.metadata.get(f"tokenizer.ggml.{name}_token_id", -1)
        if not isinstance(token, int) or not 0 <= token < n_tokens:
            token = n_tokens if default is None else default
        if token >= n_tokens and _adds(header, name, model, str(pre)):
            raise MalformedError(f"it wants {name.upper()} added to a text and does not name it")


def _adds(header: Header, name: str, model: str, pre: str) -> bool:
    """Whether the tokenizer adds this token (`llama_vocab::impl::load`)."""
    if name == "bos" and (model == "gemma4" or pre in ("gemma4", "granite-embed-multi-311m")):
        return True
    if model == "bert":
        return name != "eos"
    if name == "seperator":
        return False
    by_default = {
        "bos": model == "llama" or pre in _ADD_BOS,
        "eos": model == "t5",
    }
    return bool(header.metadata.get(f"tokenizer.ggml.add_{name}_token", by_default[name]))
