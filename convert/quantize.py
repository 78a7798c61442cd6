"""One GGUF file to a smaller type, by llama.cpp's own quantization.

What llama.cpp would abort over, or pass over in silence, is refused here before it sees the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trimix_cpp.errors import TrimixError
from trimix_cpp.files import check_destination, replacing
from trimix_cpp.gguf import (
    NEED_IMATRIX,
    TENSOR_TYPES,
    TENSORS_NEED_IMATRIX,
    TYPES,
    Header,
    ImportanceMatrix,
    TensorInfo,
    read_header,
    read_imatrix,
)
from trimix_cpp.quant import RoleProfile
from trimix_cpp.showing import Progress

if TYPE_CHECKING:
    from trimix_cpp.llama import Request

_FLOAT_TYPES = frozenset(("F32", "F16", "BF16", "COPY"))
_OUTPUT, _EMBEDDING = "output.weight", "token_embd.weight"
# These may be quantized to nearly every type without a matrix (`tensor_requires_imatrix` in
# llama-quant.cpp); to the types below ggml aborts (`ggml_quantize_requires_imatrix` in ggml.c).
_ENDS = frozenset((_OUTPUT, _EMBEDDING, "per_layer_token_embd.weight"))
_ABORT_WITHOUT = frozenset(("IQ2_XXS", "IQ2_XS", "IQ1_S"))

Matrix = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Quantized:
    """What a quantization wrote: the file, and bytes on disk before and after.

    `uncovered` are the weight matrices for which a given importance matrix has no entry.
    """

    path: Path
    nbytes_before: int
    nbytes: int
    uncovered: tuple[str, ...] = ()


def quantize(
    src: str | Path,
    dst: str | Path,
    choice: RoleProfile,
    *,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Quantized:
    """Quantize the GGUF file `src` into `dst`.

    Args:
        src: an F32, F16 or BF16 file (from a quantized one, llama.cpp refuses).
        dst: the file to write; it appears whole or not at all.
        choice: its type and what else a profile says of a role; COPY copies the tensors as they
            are.
        threads: all of the machine's by default.
        force: overwrite `dst`.
        progress: called with (tensors begun, tensors in all).

    Raises:
        TrimixError: wrong files, or shapes that do not suit the types.
        ImatrixError: the importance matrix is not sound.
        ModelFileError: `src` is no sound GGUF file.
        QuantizeError: llama.cpp cannot do it; the message is its own.
    """
    src, dst = Path(src), Path(dst)
    header = read_header(src)
    overrides = _overrides(header, choice)
    matrix = read_imatrix(choice.imatrix) if choice.imatrix else None
    values = _fitting(header, matrix, choice) if matrix else {}
    _check_covered(header, choice, overrides, values)
    check_destination(dst, force=force)
    if dst.exists() and dst.samefile(src):
        raise TrimixError(f"{dst} is the source itself: choose another destination")
    # Here, not above: names and files are checked without loading llama.cpp.
    from trimix_cpp.llama import quantize_file

    with replacing(dst) as temporary:
        quantize_file(_request(src, temporary, choice, matrix, values, threads), progress)
        # llama.cpp does not notice when a disk runs full; a short file has tensors outside.
        read_header(temporary)
    uncovered = tuple(t.name for t in _matrices(header) if matrix and t.name not in values)
    return Quantized(dst, header.file_size, dst.stat().st_size, uncovered)


def _matrices(header: Header) -> list[TensorInfo]:
    """The tensors of the layers that llama.cpp quantizes, as far as a matrix concerns them."""
    return [
        tensor
        for tensor in header.tensors
        if tensor.name.startswith("blk.")
        and tensor.name.endswith(".weight")
        and len(tensor.shape) > 1
        and "_norm." not in tensor.name
    ]


def _overrides(header: Header, choice: RoleProfile) -> dict[str, str]:
    """Tensor -> type that was chosen for it.

    llama.cpp falls back to another type where rows do not divide into blocks, but not for the two
    types that are asked for by name: there it aborts.

    Raises:
        TrimixError: rows that do not divide, a pattern that finds nothing, or no choice at all.
    """
    special = {_OUTPUT: choice.output_tensor_type, _EMBEDDING: choice.token_embedding_type}
    if choice.type == "COPY" and (choice.tensors or any(special.values())):
        raise TrimixError("COPY leaves every tensor as it is: drop the types of tensors")
    if choice.tensors and choice.type in _FLOAT_TYPES:
        raise TrimixError(
            f"{choice.type} is not quantized, and only in a quantized file do single tensors have "
            "types of their own: drop --tensor-type"
        )
    unused, chosen = dict(choice.tensors), dict[str, str]()
    ends = [tensor for tensor in header.tensors if tensor.name in _ENDS]
    for tensor in [*ends, *_matrices(header)]:
        found = [(p, name) for p, name in choice.tensors if re.search(p, tensor.name)]
        if name := special.get(tensor.name):
            block = TENSOR_TYPES[name].block
            if tensor.shape[0] % block:
                raise TrimixError(
                    f"{header.path}: rows of {tensor.name} have {tensor.shape[0]} values, but "
                    f"{name} needs a multiple of {block}: choose another type"
                )
            chosen[tensor.name] = name
        elif found:
            chosen[tensor.name] = found[0][1]
        for pattern, _ in found:
            unused.pop(pattern, None)
    if unused:
        raise TrimixError(f"{header.path}: no matrix's name contains {next(iter(unused))!r}")
    return chosen


def _fitting(header: Header, matrix: ImportanceMatrix, choice: RoleProfile) -> Matrix:
    """The means of the tensors that the model has, checked against their shapes."""
    columns = {t.name: t.shape[0] * (t.shape[2] if len(t.shape) > 2 else 1) for t in header.tensors}
    values = {name: entry.means() for name, entry in matrix.entries.items() if name in columns}
    for name, means in values.items():
        if means.size != columns[name]:
            raise TrimixError(
                f"{choice.imatrix}: {name} has {means.size} values and the model {columns[name]}: "
                "it was made from another model"
            )
    if not any(tensor.name in values for tensor in _matrices(header)):
        raise TrimixError(f"{choice.imatrix}: names none of the model's tensors")
    return values


def _check_covered(
    header: Header, choice: RoleProfile, overrides: Mapping[str, str], values: Matrix
) -> None:
    """Refuse what llama.cpp would quantize to garbage, or abort over, without a matrix."""
    for name, kind in overrides.items():
        needing = _ABORT_WITHOUT if name in _ENDS else TENSORS_NEED_IMATRIX
        if kind in needing and name not in values:
            raise TrimixError(
                f"{name} as {kind} needs an importance matrix with an entry for it (--imatrix)"
            )
    if choice.type not in NEED_IMATRIX:
        return
    if choice.imatrix is None:
        raise TrimixError(
            f"{choice.type} needs an importance matrix (--imatrix; `trimix-cpp imatrix` makes "
            "one): give it, or choose a type of more bits, such as Q2_K or IQ3_S"
        )
    missing = [t.name for t in _matrices(header) if t.name not in {*values, *overrides}]
    if missing:
        raise TrimixError(
            f"{choice.imatrix}: has no entry for {missing[0]}, and {choice.type} needs one; make "
            "it from this model"
        )


def _request(
    src: Path,
    dst: Path,
    choice: RoleProfile,
    matrix: ImportanceMatrix | None,
    values: Matrix,
    threads: int | None,
) -> Request:
    from trimix_cpp.llama import Request

    def number(name: str | None) -> int | None:
        return TENSOR_TYPES[name].number if name else None

    return Request(
        src,
        dst,
        TYPES[choice.type],
        number(choice.output_tensor_type),
        number(choice.token_embedding_type),
        threads,
        only_copy=choice.type == "COPY",
        tensors=tuple((pattern, TENSOR_TYPES[name].number) for pattern, name in choice.tensors),
        imatrix=values,
        metadata=_metadata(choice.imatrix, matrix, len(values)) if matrix else {},
    )


def _metadata(path: Path | None, matrix: ImportanceMatrix, n_entries: int) -> dict[str, str | int]:
    """What llama-quantize notes about the matrix; of the file only its name."""
    return {
        "quantize.imatrix.file": path.name if path else "",
        **({"quantize.imatrix.dataset": matrix.datasets[0]} if matrix.datasets else {}),
        "quantize.imatrix.entries_count": n_entries,
        **({"quantize.imatrix.chunks_count": matrix.n_chunks} if matrix.n_chunks else {}),
    }
