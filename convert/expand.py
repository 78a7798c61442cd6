"""A quantized GGUF file back to F32: the values that its weights stand for, exactly.

Quantizing further from there measures the further loss alone: what the first quantization took
does not come back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

from trimix_cpp.errors import TrimixError
from trimix_cpp.files import check_destination, replacing
from trimix_cpp.gguf import read_header
from trimix_cpp.showing import Progress

from .space import check_space

# A tensor is dequantized whole, in float32.
_LONGEST = 1 << 33


def expand(
    src: str | Path,
    dst: str | Path,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write `src` with every tensor in F32 to `dst`, which appears whole or not at all.

    Args:
        src: a GGUF file.
        dst: the file to write.
        force: overwrite `dst`.
        progress: called with (tensors done, tensors in all).

    Raises:
        TrimixError: a file in parts, a type that gguf cannot read, `dst` exists, or no room.
        ModelFileError: `src` is no sound GGUF file.
    """
    src, dst = Path(src), Path(dst)
    header = read_header(src)
    if header.metadata.get("split.count", 0) > 1:
        raise TrimixError(f"{src}: is one of several parts; join them with llama-gguf-split first")
    check_destination(dst, force=force)
    reader = gguf.GGUFReader(src)
    n_values = sum(int(np.prod(tensor.shape)) for tensor in reader.tensors)
    check_space(dst.parent, 4 * n_values)
    with replacing(dst) as temporary:
        _write(reader, header.architecture, temporary, progress)
    return dst


def _write(reader: Any, architecture: str, dst: Path, progress: Progress | None) -> None:
    writer = gguf.GGUFWriter(dst, architecture)
    for name, field in reader.fields.items():
        # The writer has these keys from elsewhere.
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, inner)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        shape = [int(size) for size in reversed(tensor.shape)]
        n_bytes = 4 * int(np.prod(shape))
        if n_bytes > _LONGEST:
            raise TrimixError(f"{tensor.name}: is too large to be expanded")
        writer.add_tensor_info(tensor.name, shape, np.dtype(np.float32), n_bytes)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for done, tensor in enumerate(reader.tensors, 1):
        try:
            values = gguf.dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError:
            raise TrimixError(
                f"{tensor.name}: gguf cannot read {tensor.tensor_type.name}; start from an F32, "
                "F16 or BF16 file"
            ) from None
        writer.write_tensor_data(np.ascontiguousarray(values, np.float32))
        if progress:
            progress(done, len(reader.tensors))
    writer.close()
