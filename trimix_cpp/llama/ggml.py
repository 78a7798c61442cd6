"""ggml's registry of backends and devices, which llama-cpp-python does not bind."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from enum import IntEnum
from functools import cache

import llama_cpp.llama_cpp as lib

_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_size_t
_SIGNATURES = {
    "cpu_reg": (_POINTER, ()),
    "dev_backend_reg": (_POINTER, (_POINTER,)),
    "dev_by_type": (_POINTER, (ctypes.c_int,)),
    "dev_count": (_SIZE, ()),
    "dev_description": (ctypes.c_char_p, (_POINTER,)),
    "dev_get": (_POINTER, (_SIZE,)),
    "dev_memory": (None, (_POINTER, ctypes.POINTER(_SIZE), ctypes.POINTER(_SIZE))),
    "dev_init": (_POINTER, (_POINTER, ctypes.c_char_p)),
    "dev_name": (ctypes.c_char_p, (_POINTER,)),
    "dev_type": (ctypes.c_int, (_POINTER,)),
    "reg_by_name": (_POINTER, (ctypes.c_char_p,)),
    "reg_dev_count": (_SIZE, (_POINTER,)),
    "reg_dev_get": (_POINTER, (_POINTER, _SIZE)),
    "reg_get_proc_address": (_POINTER, (_POINTER, ctypes.c_char_p)),
    "buft_name": (ctypes.c_char_p, (_POINTER,)),
}

# Through libllama: a wheel holds copies of ggml under several names, and only one is in use.
# ggml_backend_load_all is not called: it opens libraries that lie in the current folder.
library = ctypes.CDLL(lib._lib._name)
for _name, (_result, _arguments) in _SIGNATURES.items():
    _function = getattr(library, f"ggml_backend_{_name}")
    _function.restype, _function.argtypes = _result, _arguments


class Kind(IntEnum):
    """`ggml_backend_dev_type`."""

    CPU, GPU, IGPU = 0, 1, 2


@cache
def supports_gpu() -> bool:
    """Whether llama.cpp can put layers on a GPU of this machine, a processor's own included.

    `llama_supports_gpu_offload` also says so of every build with RPC.
    """
    return any(library.ggml_backend_dev_by_type(kind) for kind in (Kind.GPU, Kind.IGPU))


def devices(*kinds: Kind) -> Iterator[int]:
    """The `ggml_backend_dev_t` of this machine's devices of these kinds."""
    for i in range(library.ggml_backend_dev_count()):
        device: int = library.ggml_backend_dev_get(i)
        if library.ggml_backend_dev_type(device) in kinds:
            yield device


def free_bytes(device: int) -> int:
    """Memory that a device calls free."""
    free, total = _SIZE(), _SIZE()
    library.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
    return free.value


def proc_address(backend: str, name: str) -> int | None:
    """Where a function that only this backend has is; None without the backend."""
    registry = library.ggml_backend_reg_by_name(backend.encode())
    if not registry:
        return None
    found: int | None = library.ggml_backend_reg_get_proc_address(registry, name.encode())
    return found
