"""How large a file will be, before it is made: which type llama.cpp gives to which tensor.

After `llama_tensor_get_type_impl` and `tensor_type_fallback` in llama-quant.cpp, for dense models.
The types that need an importance matrix are not followed tensor by tensor: with them every matrix
counts as of the file's own type, a few percent too little.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from math import prod
from typing import NamedTuple

from ..gguf import BY_NUMBER, TENSOR_TYPES, ModelShape, Tensor, TensorType
from .profiles import RoleProfile

_FLOATS = ("F32", "F16", "BF16")


class _Layer(NamedTuple):
    """Where a tensor stands: its layer, of how many, and how many heads share a key."""

    number: int
    n_layer: int
    grouped: int


def _more_bits(at: _Layer) -> bool:
    """The layers that llama.cpp gives more: first and last eighth, and every third between."""
    eighth = at.n_layer // 8
    return at.number < eighth or at.number >= 7 * at.n_layer // 8 or (at.number - eighth) % 3 == 2


def _always(_at: _Layer) -> bool:
    return True


def _first_eighth(at: _Layer) -> bool:
    return at.number < at.n_layer // 8


def _grouped(at: _Layer) -> bool:
    return at.grouped >= 4


Rule = tuple[Callable[[_Layer], bool], str]
# File type -> (type of its matrices, {part of a layer: rules}); the first rule that holds counts.
_MIXTURES: dict[str, tuple[str, dict[str, list[Rule]]]] = {
    "Q2_K": (
        "Q2_K",
        {
            "attn_v": [(_grouped, "Q4_K"), (_always, "Q3_K")],
            "ffn_down": [(_always, "Q3_K")],
            "attn_output": [(_always, "Q3_K")],
        },
    ),
    "Q3_K_S": ("Q3_K", {}),
    "Q3_K_M": (
        "Q3_K",
        {
            "attn_v": [(lambda at: at.number < 2, "Q5_K"), (_always, "Q4_K")],
            "ffn_down": [(lambda at: at.number < at.n_layer // 16, "Q5_K"), (_always, "Q4_K")],
            "attn_output": [(_always, "Q4_K")],
        },
    ),
    "Q3_K_L": (
        "Q3_K",
        {part: [(_always, "Q5_K")] for part in ("attn_v", "ffn_down", "attn_output")},
    ),
    "Q4_K_S": (
        "Q4_K",
        {
            "attn_v": [(lambda at: at.number < 4, "Q5_K")],
            "ffn_down": [(_first_eighth, "Q5_K")],
        },
    ),
    "Q4_K_M": ("Q4_K", {part: [(_more_bits, "Q6_K")] for part in ("attn_v", "ffn_down")}),
    "Q5_K_S": ("Q5_K", {}),
    "Q5_K_M": ("Q5_K", {part: [(_more_bits, "Q6_K")] for part in ("attn_v", "ffn_down")}),
    "IQ3_S": ("IQ3_S", {"attn_v": [(_grouped, "Q4_K")]}),
    "IQ3_M": (
        "IQ3_S",
        {
            "attn_v": [(_always, "Q4_K")],
            "ffn_down": [(_first_eighth, "Q4_K")],
            "attn_output": [(_always, "Q4_K")],
        },
    ),
    **{
        name: (name, {"attn_v": [(_grouped, "Q5_K")], "ffn_down": [(_first_eighth, "Q5_K")]})
        for name in ("IQ4_NL", "IQ4_XS")
    },
}
for _alias in ("Q3_K", "Q4_K", "Q5_K"):
    _MIXTURES[_alias] = _MIXTURES[f"{_alias}_M"]
# Files whose name is no tensor type: what most of their tensors are.
_DEFAULTS = {
    "IQ3_XS": "IQ3_S",
    "IQ2_M": "IQ2_S",
    "IQ2_S": "IQ2_XS",
    "Q2_K_S": "Q2_K",
    "MXFP4_MOE": "Q8_0",
}
_HEAD_Q5 = frozenset(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS"))
# An embedding beside an output head, where it is not of the file's own type.
_EMBEDDINGS = {
    **dict.fromkeys(("IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M"), "Q2_K"),
    **dict.fromkeys(("IQ2_S", "IQ2_M", "IQ3_XXS"), "IQ3_S"),
    **dict.fromkeys(("TQ1_0", "TQ2_0", "Q2_0"), "Q4_K"),
}
# Where rows do not divide into blocks of 256 (`tensor_type_fallback`).
_FALLBACKS = {
    **dict.fromkeys(
        ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"
    ),
    **dict.fromkeys(("Q2_0", "Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
_LAYER = re.compile(r"blk\.(\d+)\.(\w+)\.weight")


def planned_bytes(shape: ModelShape, choice: RoleProfile) -> int:
    """Bytes of the tensors of a model once it is quantized so."""
    return sum(
        _final_type(shape, name, tensor, choice).nbytes(prod(tensor.shape))
        for name, tensor in shape.tensors.items()
    )


def repacked_bytes(shape: ModelShape, choice: RoleProfile | None, types: Collection[int]) -> int:
    """Bytes of the matrices that llama.cpp repacks, for those `ggml_type`s that it does.

    The token embedding is looked up as well as multiplied, and is not repacked.
    """
    total = 0
    for name, tensor in shape.tensors.items():
        if len(tensor.shape) != 2 or name == "token_embd.weight" or tensor.shape[1] % 8:
            continue
        kind = _final_type(shape, name, tensor, choice)
        if kind.number in types:
            total += kind.nbytes(prod(tensor.shape))
    return total


def _final_type(
    shape: ModelShape, name: str, tensor: Tensor, choice: RoleProfile | None
) -> TensorType:
    planned = planned_type(shape, name, tensor, choice) if choice else None
    if planned:
        return TENSOR_TYPES[planned]
    if tensor.type is None:
        return TENSOR_TYPES["F32"]
    return BY_NUMBER.get(tensor.type, TENSOR_TYPES["F32"])


def planned_type(shape: ModelShape, name: str, tensor: Tensor, choice: RoleProfile) -> str | None:
    """The type that a tensor will have; None where it stays as it is."""
    if len(tensor.shape) < 2 or not name.endswith("weight") or "_norm.weight" in name:
        return None
    if choice.type == "COPY":
        return None
    special = {
        "output.weight": choice.output_tensor_type,
        "token_embd.weight": choice.token_embedding_type,
    }
    if kind := special.get(name):
        return kind
    if choice.type in _FLOATS:
        return choice.type
    kind = _overridden(name, choice) or _mixed(shape, name, tensor, choice)
    return _fitting(kind, tensor.shape[0])


def _overridden(name: str, choice: RoleProfile) -> str | None:
    """The type of the first pattern that is found in `name`."""
    return next((kind for pattern, kind in choice.tensors if re.search(pattern, name)), None)


def _mixed(shape: ModelShape, name: str, tensor: Tensor, choice: RoleProfile) -> str:
    default, rules = _MIXTURES.get(choice.type, (choice.type, {}))
    default = _DEFAULTS.get(default, default)
    if name == "output.weight" or (
        name == "token_embd.weight" and "output.weight" not in shape.tensors
    ):
        return choice.output_tensor_type or _head(default, tensor.shape[0], choice.type)
    if name == "token_embd.weight":
        return _EMBEDDINGS.get(choice.type, default)
    match = _LAYER.fullmatch(name)
    if match is None:
        return default
    kv_heads = max(min(shape.kv_heads, default=1), 1)
    # llama.cpp counts only the layers whose type it chooses itself.
    number = int(match[1])
    if choice.tensors:
        before = (f"blk.{index}.{match[2]}.weight" for index in range(number))
        number = sum(not _overridden(other, choice) for other in before)
    at = _Layer(number, shape.n_layer, shape.n_head // kv_heads)
    return next((kind for holds, kind in rules.get(match[2], ()) if holds(at)), default)


def _head(default: str, row: int, file_type: str) -> str:
    """The output head's type, also that of an embedding which is the head as well."""
    if row % TENSOR_TYPES[default].block or default == "Q8_0":
        return "Q8_0"
    return "Q5_K" if file_type in _HEAD_Q5 else "Q6_K"


def _fitting(kind: str, row: int) -> str:
    """`kind`, or what llama.cpp takes instead where rows do not divide into its blocks."""
    if row % TENSOR_TYPES[kind].block:
        kind = _FALLBACKS.get(kind, kind)
    return "F16" if row % TENSOR_TYPES[kind].block else kind
