"""What llama.cpp takes on trust in a GGUF file that is well formed: numbers, types, vocabulary.

Each check stands for an assertion, a crash or an endless loop inside llama.cpp that some value of
the metadata sets off while the file is loaded, a context is made or a text is tokenized. What
llama.cpp itself refuses with an error is left to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .header import Header
from .types import F32, I32, NOT_WEIGHTS

MAX_LAYERS = 512
MAX_EXPERTS = 1024
MAX_TOKENS = 1 << 22
MAX_WINDOW = 1 << 24

# Plain decoders whose graphs have been read: every layer is alike, and every tensor is computed
# with. Of other architectures only that is checked which llama.cpp asserts for all of them.
DENSE = frozenset({"llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3"})
_WHOLE_HEAD_ROTATES = frozenset({"llama", "qwen2", "qwen3"})
_ROPE_SCALINGS = frozenset({"none", "linear", "yarn", "longrope"})

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


def check_header(header: Header) -> None:
    """Raise `MalformedError` where llama.cpp would take the process down with this file."""
    _check_text(header)
    if f"{header.architecture}.block_count" in header.metadata:
        _check_layers(header)
        _check_experts(header)
        if header.architecture in DENSE:
            _check_attention(header)
            _check_window(header)
    _check_tensor_types(header)
    _check_tokenizer(header)


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
    if not header.architecture:
        raise MalformedError("it does not name its architecture")


def _check_layers(header: Header) -> None:
    layers = _integer(header, "block_count", 0)
    if not 0 < layers <= MAX_LAYERS:
        raise MalformedError(f"block_count is {layers}")
    if not 0 <= _integer(header, "nextn_predict_layers", 0) <= layers:
        raise MalformedError("nextn_predict_layers is more than block_count")
    scaling = header.value("rope.scaling.type", "linear")
    if scaling not in _ROPE_SCALINGS:
        raise MalformedError(f"rope.scaling.type is {str(scaling)[:40]!r}")
    for name in ("layer_norm_rms_epsilon", "layer_norm_epsilon"):
        epsilon = header.value(f"attention.{name}", 0.0)
        if not isinstance(epsilon, float) or not 0 <= epsilon < math.inf:
            raise MalformedError(f"{name} is {str(epsilon)[:40]}")


def _check_experts(header: Header) -> None:
    experts = _integer(header, "expert_count", 0)
    used = max(_per_layer(header, "expert_used_count", [0]))
    groups = _integer(header, "expert_group_count", 0)
    if header.architecture.startswith("hunyuan") and experts <= 1:
        return
    if experts == 0:
        good = used == 0 and groups == 0
    else:
        good = experts <= MAX_EXPERTS and 0 < used <= experts and 0 <= groups < experts
        if good and groups > 1:
            used_groups = _integer(header, "expert_group_used_count", 0)
            good = experts % groups == 0 and 0 < used_groups < groups
    if not good:
        raise MalformedError(f"it uses {used} of {experts} experts in {groups} groups")


def _check_attention(header: Header) -> None:
    """Heads, their size and how much of it rotates, which the graphs divide by and assert."""
    heads = _per_layer(header, "attention.head_count", [0])
    kv_heads = _per_layer(header, "attention.head_count_kv", heads)
    if len(heads) != 1 or len(kv_heads) != 1:
        raise MalformedError("its layers have different numbers of heads")
    if heads[0] < 1 or kv_heads[0] < 1 or heads[0] % kv_heads[0]:
        raise MalformedError(f"it has {heads[0]} heads and {kv_heads[0]} KV heads")
    size = _integer(header, "embedding_length", 0) // heads[0]
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
    rotated = _integer(header, "rope.dimension_count", key)
    for count in (rotated, _integer(header, "rope.dimension_count_swa", rotated)):
        whole = header.architecture in _WHOLE_HEAD_ROTATES
        if not 2 <= count <= key or count % 2 or (whole and count != key):
            raise MalformedError(f"{count} of {key} values of a head are rotated")
    if header.value("attention.causal", True) is False:
        raise MalformedError("it reads text in both directions and cannot write any")


def _check_window(header: Header) -> None:
    window = _integer(header, "attention.sliding_window", 0)
    if not 0 <= window <= MAX_WINDOW:
        raise MalformedError(f"sliding_window is {window}")
    key = f"{header.architecture}.attention.sliding_window_pattern"
    if window == 0 or key not in header.metadata:
        return
    pattern = header.numbers(key)
    # One layer in 1 without the window, or a list without a mark: llama.cpp wants one with it.
    if not (_integer(header, key.split(".", 1)[1], 0) != 1 if pattern is None else pattern.any()):
        raise MalformedError("no layer has the sliding window")


def _check_tensor_types(header: Header) -> None:
    dense = header.architecture in DENSE
    for tensor in header.tensors:
        if tensor.type in NOT_WEIGHTS or (dense and tensor.type == I32):
            raise MalformedError(
                f"{tensor.name} has tensor type {tensor.type}, which no weights have"
            )
        # Norms, biases and scales are added and multiplied in, which ggml does in F32 alone.
        vector = all(size == 1 for size in tensor.shape[1:])
        if dense and vector and tensor.type != F32 and ".lora_" not in tensor.name:
            raise MalformedError(f"{tensor.name} is not F32")


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
