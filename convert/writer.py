"""Writes a GGUF file: metadata through gguf's writer, tensors streamed piece by piece.

gguf's own tensor writer wants each tensor whole in memory; here a tensor passes through in pieces
of a few million elements, so memory stays flat whatever the model's size.
"""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import (
    GGML_QUANT_SIZES,
    GGML_QUANT_VERSION,
    GGMLQuantizationType,
    GGUFType,
    GGUFWriter,
    LlamaFileType,
    Metadata,
    quants,
    size_label,
)

from trimix_cpp.errors import TrimixError
from trimix_cpp.files import real_path, replacing
from trimix_cpp.showing import Progress

from .architecture import Architecture
from .checkpoint import read_json
from .space import check_space
from .tensors import OutputTensor

logger = logging.getLogger(__name__)

OUTTYPES: dict[str, tuple[LlamaFileType, GGMLQuantizationType]] = {
    "f32": (LlamaFileType.ALL_F32, GGMLQuantizationType.F32),
    "f16": (LlamaFileType.MOSTLY_F16, GGMLQuantizationType.F16),
    "bf16": (LlamaFileType.MOSTLY_BF16, GGMLQuantizationType.BF16),
    "q8_0": (LlamaFileType.MOSTLY_Q8_0, GGMLQuantizationType.Q8_0),
}


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor of the file to be written: its type there and its size in bytes."""

    tensor: OutputTensor
    type: GGMLQuantizationType
    nbytes: int


def plan(tensors: Iterable[OutputTensor], outtype: str) -> list[PlannedTensor]:
    """Decide the type of every tensor, by llama.cpp's rules.

    Vectors, norms and biases stay F32, because llama.cpp computes with them as such; a matrix
    whose rows do not divide into the type's blocks becomes F16.
    """
    planned = []
    for tensor in tensors:
        shape = tensor.shape
        kind = OUTTYPES[outtype][1]
        matrix = tensor.name.endswith((".weight", ".lora_a", ".lora_b"))
        whole = tensor.name.endswith("_norm.weight") or not matrix
        if len(shape) < 2 or whole:
            kind = GGMLQuantizationType.F32
        elif shape[-1] % GGML_QUANT_SIZES[kind][0]:
            kind = GGMLQuantizationType.F16
        block, block_bytes = GGML_QUANT_SIZES[kind]
        planned.append(PlannedTensor(tensor, kind, math.prod(shape) // block * block_bytes))
    return planned


def write_gguf(
    dst: Path,
    model: Architecture,
    outtype: str,
    pre: str | None,
    progress: Progress | None,
) -> list[PlannedTensor]:
    """Write `model` to `dst`, whole or not at all; returns what was written.

    `progress` is called with the bytes of tensors written so far, and their total.

    Raises:
        TrimixError: the checkpoint is broken, the disk is full, or a value does not fit GGUF.
    """
    planned = plan(model.tensors(), outtype)
    writer = new_writer(model.name, planned)
    writer.add_type(GGUFType.MODEL)
    write_authorship(writer, model.checkpoint.folder)
    model.write_hyperparameters(writer)
    writer.add_file_type(OUTTYPES[outtype][0])
    model.write_more(writer)
    writer.add_quantization_version(GGML_QUANT_VERSION)
    model.vocabulary(pre).write(writer)
    write_file(dst, writer, planned, progress)
    return planned


def new_writer(architecture: str, planned: Iterable[PlannedTensor]) -> GGUFWriter:
    """A writer that knows the tensors to come, and no metadata yet."""
    writer = GGUFWriter(None, architecture)
    for item in planned:
        dtype = np.dtype(np.float32)  # any type but uint8, which would mean a shape in bytes
        shape = item.tensor.shape
        writer.add_tensor_info(item.tensor.name, shape, dtype, item.nbytes, item.type)
    return writer


def write_file(
    dst: Path, writer: GGUFWriter, planned: list[PlannedTensor], progress: Progress | None
) -> None:
    """Write what `writer` knows, then the planned tensors, to `dst`, whole or not at all."""
    check_space(dst.parent, sum(item.nbytes for item in planned))
    with replacing(dst) as temporary:
        _write_header(writer, temporary)
        _write_tensors(temporary, planned, writer.data_alignment, progress)


def _write_header(writer: GGUFWriter, path: Path) -> None:
    try:
        writer.write_header_to_file(path=path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
    except (struct.error, TypeError, ValueError, OverflowError) as error:
        raise TrimixError(f"a value of the configuration does not fit GGUF: {error}") from error
    finally:
        writer.close()


def _write_tensors(
    path: Path, planned: list[PlannedTensor], alignment: int, progress: Progress | None
) -> None:
    total = sum(item.nbytes for item in planned)
    done = 0
    with open(path, "ab") as file:
        file.write(b"\0" * (-file.tell() % alignment))
        for item in planned:
            for chunk in item.tensor.chunks():
                data = _encode(chunk, item)
                file.write(data.data)
                done += data.nbytes
                if progress:
                    progress(done, total)
            file.write(b"\0" * (-item.nbytes % alignment))


def _encode(chunk: npt.NDArray[Any], item: PlannedTensor) -> npt.NDArray[Any]:
    """A piece of whole rows, float16 or float32, in the bytes of the planned type."""
    with np.errstate(over="ignore"):  # told below, with the tensor's name
        data = np.ascontiguousarray(quants.quantize(chunk, item.type))
    if item.type == GGMLQuantizationType.F16 and np.isinf(data).any() and np.isfinite(chunk).all():
        name = item.tensor.name
        logger.warning("%s has values beyond the range of f16: use bf16 or f32 instead", name)
    return data


def write_authorship(writer: GGUFWriter, folder: Path) -> None:
    """`general.*`: name, size, licence and sampling hints, from the model card and the configs."""
    counts = writer.get_total_parameter_count()
    try:
        metadata = Metadata.load(None, folder, None, counts[0])
        if metadata.sampling_penalty_repeat is None:  # gguf 0.19 does not know this name yet
            generation = read_json(folder / "generation_config.json", optional=True)
            metadata.sampling_penalty_repeat = generation.get("repetition_penalty")
    except TrimixError:
        raise
    except Exception as error:  # a model card is free text: no reason to refuse the weights
        reason = " ".join(str(error).split())
        logger.warning("%s: the model card was not understood (%s)", folder, reason)
        metadata = Metadata()
    metadata.name = metadata.name or real_path(folder).name
    if metadata.size_label is None and counts[0] > 0:  # negative: an adapter, of unknown size
        metadata.size_label = size_label(*counts)
    metadata.set_gguf_meta_model(writer)
