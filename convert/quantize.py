"""One GGUF file to a smaller type, by llama.cpp's own quantization.

`TYPES` are llama-quantize's names for whole files (`tools/quantize/quantize.cpp`), with the
numbers of `llama_ftype`; `TENSOR_TYPES` the types that a single tensor may get, with the numbers
of `ggml_type`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trimix_cpp.gguf_header import Header, read_header

from .atomic import check_destination, replacing, system_error
from .errors import ConvertError

if TYPE_CHECKING:
    from trimix_cpp.llama_quantize import Progress

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

# name -> (ggml_type, values in a block)
TENSOR_TYPES = {
    "F32": (0, 1), "F16": (1, 1), "BF16": (30, 1), "Q8_0": (8, 32),
    "Q6_K": (14, 256), "Q5_K": (13, 256), "Q5_1": (7, 32), "Q5_0": (6, 32),
    "Q4_K": (12, 256), "Q4_1": (3, 32), "Q4_0": (2, 32), "IQ4_NL": (20, 32), "IQ4_XS": (23, 256),
    "MXFP4": (39, 32), "Q3_K": (11, 256), "IQ3_S": (21, 256), "IQ3_XXS": (18, 256),
    "Q2_K": (10, 256), "IQ2_S": (22, 256), "Q2_0": (42, 64), "IQ1_M": (29, 256),
    "Q1_0": (41, 128), "TQ2_0": (35, 256), "TQ1_0": (34, 256),
}  # fmt: skip


@dataclass(frozen=True)
class Quantized:
    """What a quantization wrote: the file, and bytes on disk before and after."""

    path: Path
    nbytes_before: int
    nbytes: int


def quantize(
    src: str | Path,
    dst: str | Path,
    type_name: str,
    *,
    output_tensor_type: str | None = None,
    token_embedding_type: str | None = None,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Quantized:
    """Quantize the GGUF file `src` into `dst`.

    Args:
        src: an F32, F16 or BF16 file (from a quantized one, llama.cpp refuses).
        dst: the file to write; it appears whole or not at all.
        type_name: one of `TYPES`, in any case; COPY copies the tensors as they are.
        output_tensor_type: one of `TENSOR_TYPES` for `output.weight`.
        token_embedding_type: one of `TENSOR_TYPES` for `token_embd.weight`.
        threads: all of the machine's by default.
        force: overwrite `dst`.
        progress: called with (tensors begun, tensors in all).

    Raises:
        ConvertError: wrong names, wrong files, or shapes that do not suit the types.
        ModelFileError: `src` is no sound GGUF file.
        QuantizeError: llama.cpp cannot do it; the message is its own.
    """
    src, dst = Path(src), Path(dst)
    name = type_name.upper()
    if name not in TYPES:
        raise ConvertError(f"unknown type {type_name!r}: choose one of {', '.join(TYPES)}")
    header = read_header(src)
    output = _tensor_type(header, "output.weight", output_tensor_type)
    embedding = _tensor_type(header, "token_embd.weight", token_embedding_type)
    try:
        check_destination(dst, force=force)
        if dst.exists() and dst.samefile(src):
            raise ConvertError(f"{dst} is the source itself: choose another destination")
        # Here, not above: names and files are checked without loading llama.cpp.
        from trimix_cpp.llama_quantize import Request, quantize_file

        with replacing(dst) as temporary:
            request = Request(
                src, temporary, TYPES[name], output, embedding, threads, only_copy=name == "COPY"
            )
            quantize_file(request, progress)
            # llama.cpp does not notice when a disk runs full; a short file has tensors outside.
            read_header(temporary)
        return Quantized(dst, header.file_size, dst.stat().st_size)
    except OSError as error:
        raise system_error(error, dst) from error


def _tensor_type(header: Header, tensor_name: str, type_name: str | None) -> int | None:
    """The `ggml_type` of a tensor that the caller chose a type for.

    llama.cpp falls back to another type where rows do not divide into blocks, but not for a type
    that was asked for by name: there it aborts.
    """
    if type_name is None:
        return None
    name = type_name.upper()
    if name not in TENSOR_TYPES:
        raise ConvertError(
            f"unknown tensor type {type_name!r}: choose one of {', '.join(TENSOR_TYPES)}"
        )
    number, block = TENSOR_TYPES[name]
    for tensor in header.tensors:
        if tensor.name == tensor_name and tensor.shape[0] % block:
            raise ConvertError(
                f"{header.path}: rows of {tensor_name} have {tensor.shape[0]} values, but {name} "
                f"needs a multiple of {block}: choose another type"
            )
    return number
