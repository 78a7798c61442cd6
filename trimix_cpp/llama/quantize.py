"""llama.cpp's quantization, in a process of its own.

A sibling of `llama`, which runs models; nothing else calls llama.cpp.
`llama_model_quantize` runs for minutes, cannot be interrupted, and aborts its process on input it
did not expect; a child can be killed, and its death is an error like any other.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np
from numpy.typing import NDArray

from ..errors import TrimixError
from ..processes import Call, ChildDiedError, Send
from ..showing import Progress, size_text

_ERROR_LEVEL = 4  # ggml.h, `ggml_log_level`
_TENSOR_LINE = re.compile(r"\[ *(\d+)/ *(\d+)\]")
_SIZE_LINE = re.compile(r"quant size *= *([\d.]+) MiB")
# What to do about the two refusals that everybody meets.
_ADVICE = {
    "requantizing": "start from an F32, F16 or BF16 file",
    "imatrix": "choose a type of more bits, such as Q2_K or IQ3_S, or give an importance matrix",
}


class QuantizeError(TrimixError):
    """llama.cpp refused to quantize a file, or died over it."""


@dataclass(frozen=True)
class Request:
    """What to do: paths, `llama_ftype`, `ggml_type`s for two tensors (None: llama.cpp's choice).

    Attributes:
        tensors: (regular expression, `ggml_type`) for other tensors, the first that matches.
        imatrix: tensor -> float32 [n_columns], the mean squares of its inputs.
        metadata: keys to set in the result.
    """

    src: Path
    dst: Path
    file_type: int
    output_tensor_type: int | None = None
    token_embedding_type: int | None = None
    threads: int | None = None
    only_copy: bool = False
    tensors: tuple[tuple[str, int], ...] = ()
    imatrix: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    metadata: Mapping[str, str | int] = field(default_factory=dict)


def quantize_file(request: Request, progress: Progress | None = None) -> None:
    """Quantize `request.src` into `request.dst`, which is left incomplete on failure.

    `progress` is called with (tensors begun, tensors in all).

    Raises:
        QuantizeError: llama.cpp's own words, or that its process died.
    """
    try:
        with Call(_work, request) as call:
            for message in call:
                if isinstance(message, str):
                    advice = [f"; {text}" for word, text in _ADVICE.items() if word in message]
                    raise QuantizeError(
                        f"{request.src}: llama.cpp says: {message}{''.join(advice)}"
                    )
                if progress:
                    progress(*message)
    except ChildDiedError as error:
        raise QuantizeError(
            f"{request.src}: llama.cpp cannot quantize it: {error}; "
            "this file and these types do not go together"
        ) from None


def _work(send: Send, request: Request) -> None:
    """The child: send [tensor, tensors] on the way, and what went wrong."""
    # A failed assertion in C prints a backtrace, through a debugger if it finds one: the parent
    # tells it in one line.
    os.environ["GGML_NO_BACKTRACE"] = "1"
    watch = _Watch(send)
    callback = lib.llama_log_callback(watch)
    lib.llama_log_set(callback, ctypes.c_void_p(0))
    params = _params(request)
    params.dry_run = True  # finds out the size, and most of what could be wrong
    if not _call(request, params):
        send(watch.error or "unknown reason")
    elif (free := shutil.disk_usage(request.dst.parent).free) < watch.size:
        send(f"{size_text(watch.size)} needed on disk, {size_text(free)} free")
    else:
        params.dry_run, watch.reporting = False, True
        if not _call(request, params):
            send(watch.error or "unknown reason")


class _Watch:
    """Reads llama.cpp's log, which is the only place where progress and reasons are told."""

    def __init__(self, send: Send) -> None:
        self.send, self.reporting, self.size, self.error = send, False, 0, ""

    def __call__(self, level: int, text: bytes, _user_data: Any) -> None:
        line = text.decode("utf-8", "replace").strip()
        if level == _ERROR_LEVEL and line.strip("="):
            self.error = " ".join(line.rpartition("failed to quantize:")[2].split()).rstrip("!.")
        elif size := _SIZE_LINE.search(line):
            self.size = int(float(size[1]) * 2**20)
        elif self.reporting and (tensor := _TENSOR_LINE.match(line)):
            self.send((int(tensor[1]), int(tensor[2])))


def _params(request: Request) -> Any:
    params = lib.llama_model_quantize_default_params()
    params.ftype = request.file_type
    params.only_copy = request.only_copy
    params.nthread = request.threads or 0  # 0: all of them
    if request.output_tensor_type is not None:
        params.output_tensor_type = request.output_tensor_type
    if request.token_embedding_type is not None:
        params.token_embedding_type = request.token_embedding_type
    # Each array ends with an entry of zeros; the structs keep what they point to.
    if request.tensors:
        params.tt_overrides = (lib.llama_model_tensor_override * (len(request.tensors) + 1))(
            *((pattern.encode(), number) for pattern, number in request.tensors)
        )
    if request.imatrix:
        params.imatrix = (lib.llama_model_imatrix_data * (len(request.imatrix) + 1))(
            *(
                (name.encode(), values.ctypes.data_as(ctypes.POINTER(ctypes.c_float)), values.size)
                for name, values in request.imatrix.items()
            )
        )
    if request.metadata:
        params.kv_overrides = (lib.llama_model_kv_override * (len(request.metadata) + 1))(
            *(_override(key, value) for key, value in request.metadata.items())
        )
    return params


def _override(key: str, value: str | int) -> Any:
    struct = lib.llama_model_kv_override(key=key.encode())
    if isinstance(value, int):
        struct.tag, struct.value.val_i64 = lib.LLAMA_KV_OVERRIDE_TYPE_INT, value
    else:
        # 128 bytes with the NUL; never half a character.
        cut = value.encode()[:127].decode("utf-8", "ignore").encode()
        struct.tag, struct.value.val_str = lib.LLAMA_KV_OVERRIDE_TYPE_STR, cut
    return struct


def _call(request: Request, params: Any) -> bool:
    src, dst = os.fsencode(request.src), os.fsencode(request.dst)
    return int(lib.llama_model_quantize(src, dst, ctypes.byref(params))) == 0
