"""The one table of ggml's types, against ggml and against gguf."""

from __future__ import annotations

import ctypes

import gguf
import pytest
from llama_cpp._ctypes_extensions import load_shared_library
from llama_cpp._ggml import libggml_base_path

from trimix_cpp.errors import UsageError
from trimix_cpp.gguf.types import (
    BY_NUMBER,
    FLOATS,
    GGML_TYPES,
    KV_TYPES,
    NOT_WEIGHTS,
    TENSOR_TYPES,
    TYPES,
    file_type,
    file_type_name,
    tensor_type,
    tensor_type_name,
)

# Types that ggml took out, or put beside others for one kind of kernel; no file has them.
GONE = {4, 5, 31, 32, 33, 36, 37, 38}


def test_every_type_is_as_ggml_has_it() -> None:
    ggml = load_shared_library("ggml-base", libggml_base_path)
    ggml.ggml_type_name.restype = ctypes.c_char_p
    ggml.ggml_blck_size.restype = ctypes.c_int64
    ggml.ggml_type_size.restype = ctypes.c_size_t
    count = max(BY_NUMBER) + 1
    assert set(BY_NUMBER) == set(range(count)) - GONE
    for name, (number, block, size) in GGML_TYPES.items():
        assert ggml.ggml_type_name(number).decode().upper() == name
        assert (ggml.ggml_blck_size(number), ggml.ggml_type_size(number)) == (block, size)
        assert tensor_type_name(number) == name


def test_numbers_are_those_of_gguf() -> None:
    numbers = {name: entry.number for name, entry in GGML_TYPES.items()}
    theirs = {kind.name: kind.value for kind in gguf.GGMLQuantizationType}
    assert numbers.items() >= theirs.items()
    files = {kind.value for kind in gguf.LlamaFileType}
    assert {number for name, number in TYPES.items() if name not in ("Q1_0", "Q2_0")} <= files


def test_groups() -> None:
    assert {tensor_type_name(number) for number in FLOATS} == {"F32", "F16", "BF16"}
    assert {entry.number for entry in TENSOR_TYPES.values()}.isdisjoint(NOT_WEIGHTS)
    assert all(TENSOR_TYPES[name.upper()] == entry for name, entry in KV_TYPES.items())


def test_names_in_any_case() -> None:
    assert (file_type("q4_k_m"), tensor_type("q4_k")) == ("Q4_K_M", "Q4_K")
    assert [file_type_name(TYPES[name]) for name in ("Q4_K_M", "Q4_K", "COPY")] == [
        "Q4_K_M", "Q4_K_M", "F32",
    ]  # fmt: skip
    assert file_type_name(999) is file_type_name("Q8_0") is tensor_type_name(4) is None


@pytest.mark.parametrize("name", ["", "Q9", "q8_1 ", "I32", "Q8_1"])
def test_unknown_names_are_wrong_usage(name: str) -> None:
    with pytest.raises(UsageError, match=r"unknown tensor type .*: choose one of F32, "):
        tensor_type(name)
    with pytest.raises(UsageError, match=r"unknown type .*: choose one of F32, "):
        file_type(name)
