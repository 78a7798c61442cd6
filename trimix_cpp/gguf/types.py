"""The names of llama.cpp's quantizations and their numbers, in one place."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import UsageError

# llama-quantize's names for whole files (tools/quantize/quantize.cpp) -> `llama_ftype`.
TYPES = {
    "F32": 0, "F16": 1, "BF16": 32, "Q8_0": 7,
    "Q6_K": 18, "Q5_K_M": 17, "Q5_K_S": 16, "Q5_K": 17, "Q5_1": 9, "Q5_0": 8,
    "Q4_K_M": 15, "Q4_K_S": 14, "Q4_K": 15, "Q4_1": 3, "Q4_0": 2, "IQ4_NL": 25, "IQ4_XS": 30,
    "Q3_K_L": 13, "Q3_K_M": 12, "Q3_K_S": 11, "Q3_K": 12,
    "IQ3_M": 27, "IQ3_S": 26, "IQ3_XS": 22, "IQ3_XXS": 23,
    "Q2_K": 10, "Q2_K_S": 21, "IQ2_M": 29, "IQ2_S": 28, "IQ2_XS": 20, "IQ2_XXS": 19, "Q2_0": 41,
    "IQ1_M": 31, "IQ1_S": 24, "Q1_0": 40, "TQ2_0": 37, "TQ1_0": 36, "MXFP4_MOE": 38,
    "COPY": 0,
}  # fmt: skip

# Files of these types have tensors that llama.cpp quantizes only with an importance matrix.
NEED_IMATRIX = frozenset(
    ("IQ3_XS", "IQ3_XXS", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S", "Q2_K_S")
)


class TensorType(NamedTuple):
    """A type of one tensor: its `ggml_type`, values in a block, bytes of a block."""

    number: int
    block: int
    size: int

    def nbytes(self, n_values: int) -> int:
        """Bytes of `n_values` values."""
        return n_values // self.block * self.size


# All of ggml's types by their names (ggml.c, `type_traits`); gone ones left their numbers free.
GGML_TYPES = {
    "F32": TensorType(0, 1, 4), "F16": TensorType(1, 1, 2), "BF16": TensorType(30, 1, 2),
    "Q8_0": TensorType(8, 32, 34), "Q6_K": TensorType(14, 256, 210),
    "Q5_K": TensorType(13, 256, 176), "Q5_1": TensorType(7, 32, 24), "Q5_0": TensorType(6, 32, 22),
    "Q4_K": TensorType(12, 256, 144), "Q4_1": TensorType(3, 32, 20), "Q4_0": TensorType(2, 32, 18),
    "IQ4_NL": TensorType(20, 32, 18), "IQ4_XS": TensorType(23, 256, 136),
    "MXFP4": TensorType(39, 32, 17), "Q3_K": TensorType(11, 256, 110),
    "IQ3_S": TensorType(21, 256, 110), "IQ3_XXS": TensorType(18, 256, 98),
    "Q2_K": TensorType(10, 256, 84), "IQ2_S": TensorType(22, 256, 82),
    "IQ2_XS": TensorType(17, 256, 74), "IQ2_XXS": TensorType(16, 256, 66),
    "Q2_0": TensorType(42, 64, 18), "IQ1_M": TensorType(29, 256, 56),
    "IQ1_S": TensorType(19, 256, 50), "Q1_0": TensorType(41, 128, 18),
    "TQ2_0": TensorType(35, 256, 66), "TQ1_0": TensorType(34, 256, 54),
    "NVFP4": TensorType(40, 64, 36), "Q8_1": TensorType(9, 32, 36),
    "Q8_K": TensorType(15, 256, 292),
    "I8": TensorType(24, 1, 1), "I16": TensorType(25, 1, 2), "I32": TensorType(26, 1, 4),
    "I64": TensorType(27, 1, 8), "F64": TensorType(28, 1, 8),
}  # fmt: skip
BY_NUMBER = {entry.number: entry for entry in GGML_TYPES.values()}
F32, I32, NVFP4 = (GGML_TYPES[name].number for name in ("F32", "I32", "NVFP4"))
FLOATS = frozenset(GGML_TYPES[name].number for name in ("F32", "F16", "BF16"))
# ggml has no kernel that multiplies by them: they hold inputs, tables and indices.
NOT_WEIGHTS = frozenset(
    GGML_TYPES[name].number for name in ("Q8_1", "Q8_K", "I8", "I16", "I64", "F64")
)
# Those to which llama.cpp quantizes.
TENSOR_TYPES = {
    name: entry
    for name, entry in GGML_TYPES.items()
    if entry.number not in {*NOT_WEIGHTS, I32, NVFP4}
}

# `tensor_requires_imatrix` in llama-quant.cpp.
TENSORS_NEED_IMATRIX = frozenset(("IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"))


# What llama-cli takes for a KV cache (common/arg.cpp, `kv_cache_types`).
KV_TYPES = {
    name.lower(): TENSOR_TYPES[name]
    for name in ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "IQ4_NL", "Q5_0", "Q5_1")
}


def file_type(name: str) -> str:
    """`name` as `TYPES` has it, whatever its case; raises UsageError for any other."""
    if name.upper() not in TYPES:
        raise UsageError(f"unknown type {name!r}: choose one of {', '.join(TYPES)}")
    return name.upper()


def tensor_type(name: str) -> str:
    """`name` as `TENSOR_TYPES` has it, whatever its case; raises UsageError for any other."""
    if name.upper() not in TENSOR_TYPES:
        raise UsageError(f"unknown tensor type {name!r}: choose one of {', '.join(TENSOR_TYPES)}")
    return name.upper()


def file_type_name(number: object) -> str | None:
    """The first name of a `llama_ftype`, as `general.file_type` has it; None for no known one."""
    return next((name for name, known in TYPES.items() if known == number), None)


def tensor_type_name(number: int) -> str | None:
    """Ggml's name of a `ggml_type`; None for no known one."""
    return next((name for name, entry in GGML_TYPES.items() if entry.number == number), None)
