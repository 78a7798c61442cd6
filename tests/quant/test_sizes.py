"""Planned types against what llama.cpp makes of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimix_cpp.bench.random_models import Shape, write_model
from trimix_cpp.convert.quantize import quantize
from trimix_cpp.gguf.reader import read_header
from trimix_cpp.gguf.shape import shape_of_header
from trimix_cpp.gguf.types import NEED_IMATRIX, TENSOR_TYPES, TYPES
from trimix_cpp.quant.profiles import RoleProfile
from trimix_cpp.quant.sizes import planned_bytes, planned_type

from ..support.sparse import write_sparse_model

QUICK = ("Q2_K", "Q3_K_M", "Q4_K_S", "Q4_K_M", "BF16")
REST = sorted(set(TYPES) - NEED_IMATRIX - {*QUICK, "COPY"})


def compare(source: Path, target: Path, choice: RoleProfile) -> None:
    quantize(source, target, choice, threads=1)
    shape = shape_of_header(read_header(source))
    made = {tensor.name: tensor for tensor in read_header(target).tensors}
    numbers = {entry.number: name for name, entry in TENSOR_TYPES.items()}
    for name, tensor in shape.tensors.items():
        planned = planned_type(shape, name, tensor, choice) or numbers[tensor.type or 0]
        assert planned == numbers[made[name].type], name
    assert planned_bytes(shape, choice) == sum(tensor.nbytes for tensor in made.values())


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in REST)]
)
@pytest.mark.parametrize("tied", [True, False])
def test_types_are_those_that_llama_cpp_chooses(tmp_path: Path, name: str, tied: bool) -> None:
    # Eight heads share a key in the one, two in the other.
    sizes = {"n_layer": 16 if tied else 9, "n_head": 8, "n_head_kv": 1 if tied else 4}
    source = write_sparse_model(tmp_path / "s.gguf", n_embd=256, n_ff=512, tied=tied, **sizes)
    compare(source, tmp_path / "m.gguf", RoleProfile(name))


def test_rows_that_do_not_divide(tmp_path: Path) -> None:
    source = write_sparse_model(
        tmp_path / "s.gguf", n_embd=96, n_ff=160, n_layer=2, n_head=3, n_head_kv=3, tied=True
    )
    for name in ("Q4_K_M", "Q8_0", "IQ4_XS"):
        compare(source, tmp_path / f"{name}.gguf", RoleProfile(name))


def test_choices_for_single_tensors(tmp_path: Path) -> None:
    source = write_sparse_model(
        tmp_path / "s.gguf", n_embd=256, n_ff=512, n_layer=4, n_head=4, n_head_kv=4
    )
    choice = RoleProfile(
        "Q4_K_M", "Q5_K", "Q2_K", ((r"blk\.[0-2]\.ffn_", "Q3_K"), ("ffn_up", "Q8_0"))
    )
    compare(source, tmp_path / "m.gguf", choice)


@pytest.mark.parametrize("family", ["qwen3", "gemma2", "gemma3"])
def test_other_families_are_quantized_as_planned(tmp_path: Path, family: str) -> None:
    shape = Shape(256, 512, 9, 4, 2, 4000, 3900, True, family, 128)
    source = write_model(tmp_path / "s.gguf", shape, file_type="F16")
    for name in ("Q4_K_M", "Q2_K"):
        compare(source, tmp_path / f"{name}.gguf", RoleProfile(name))
