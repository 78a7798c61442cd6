"""What `llama` needs of llama.cpp besides models and contexts: its log, its switches, its batch.

With the other modules named `llama…` the only code that touches ctypes.
"""

from __future__ import annotations

import atexit
import ctypes
import logging
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np
import psutil
from numpy.typing import NDArray

from ..errors import TrimixError
from ..gguf import KV_TYPES, Header, shape_of_header
from ..quant import Hardware, free_memory, repacked_bytes
from . import amx as llama_amx
from .ggml import supports_gpu

log = logging.getLogger("trimix_cpp.llama")
log.addHandler(logging.NullHandler())

# ggml log level -> logging level (ggml.h, `ggml_log_level`); 5 continues the line before.
_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}
_last_level = logging.INFO
_first_error = ""

_TILED_SWITCH = "GGML_CPU_TILED_MM"
_fast_decode_done = False


@lib.llama_log_callback  # type: ignore[untyped-decorator]
def _log_callback(level: int, text: bytes, _user_data: object) -> None:
    global _last_level, _first_error
    _last_level = _LEVELS.get(level, _last_level)
    message = text.decode("utf-8", "replace").rstrip("\n")
    if message:
        log.log(_last_level, "%s", message)
        if _last_level == logging.ERROR and not _first_error:
            _first_error = message


def take_reason() -> str:
    """What llama.cpp's log gave as the first error since the last call; part of our message."""
    global _first_error
    reason, _first_error = _first_error, ""
    # "function: error loading model: what" -> "what"
    return " ".join(reason.rsplit(": ", 1)[-1].split()) or "-v shows its log"


@contextmanager
def interrupts_deferred() -> Iterator[list[Any]]:
    """Let Ctrl-C wait for the end of a call of llama.cpp that logs; yields what is waiting.

    Python would raise KeyboardInterrupt inside a callback, and ctypes would drop it there.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield []
        return
    caught: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda *arguments: caught.append(arguments))
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, before)
        if caught:
            before(*caught[0])


def freed_once(
    owner: object, free: Callable[[object], None], handle: object, *alive: object
) -> Callable[[], object]:
    """What frees a handle of llama.cpp: called, or left to run when `owner` is forgotten.

    It runs once, whatever interrupts it: Ctrl-C on the way leaves memory behind, never a pointer
    that is freed again. What is in `alive` outlives the handle. To be made with Ctrl-C deferred,
    together with the handle. At the interpreter's end the system frees.
    """
    done = weakref.finalize(owner, _free, free, handle, *alive)
    done.atexit = False
    return done


def _free(free: Callable[[object], None], handle: object, *_alive: object) -> None:
    free(handle)


def _start_backend() -> None:
    lib.llama_log_set(_log_callback, ctypes.c_void_p(0))
    lib.llama_backend_init()
    extra_buffers_work()  # before anything else makes ggml choose
    atexit.register(lib.llama_log_set, lib.llama_log_callback(0), ctypes.c_void_p(0))


@cache
def extra_buffers_work() -> bool:
    """Whether llama.cpp may repack weights into its extra buffer types on this machine."""
    return llama_amx.refuse()


_start_backend()

# As `llama_get_logits`, but the address as a number: no object of ctypes at every step.
get_logits = ctypes.CDLL(lib._lib._name).llama_get_logits
get_logits.restype, get_logits.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)

# What llama.cpp asks between two nodes of a graph: whether the text at an address is not empty.
# It is the C library's: an answer of Python's would wait for its lock at each of a thousand nodes.
leaves = ctypes.cast(
    (ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)).strlen,
    lib.ggml_abort_callback,
)


def repacked_types() -> frozenset[int]:
    """The `ggml_type`s of weights that llama.cpp copies into another order on this CPU.

    After `ggml_repack_get_optimal_repack_type` in ggml-cpu/repack.cpp.
    """
    if not extra_buffers_work():
        return frozenset()
    has = lib.llama_print_system_info()
    if b" NEON = 1" in has and (b"MATMUL_INT8 = 1" in has or b"DOTPROD = 1" in has):
        return frozenset((2, 8, 12, 13, 14, 20, 39, 41))
    x86 = (2, 12, 20, 39) if b" AVX2 = 1" in has else ()
    return frozenset((*x86, 10) if b" AVX512 = 1" in has else x86)


def may_repack(header: Header) -> bool:
    """Whether llama.cpp may copy a model's weights into that order; else they stay mapped pages."""
    copied = repacked_bytes(shape_of_header(header), None, repacked_types())
    return extra_buffers_work() and copied <= free_memory()


def version() -> str:
    """The release of llama-cpp-python, and so of the llama.cpp in it."""
    return metadata.version("llama-cpp-python")


def features() -> tuple[str, ...]:
    """What llama.cpp was built with, as its log says it: AVX512, AMX_INT8, CUDA and so on."""
    words = lib.llama_print_system_info().decode("utf-8", "replace").split("|")
    parts = (word.rpartition(":")[2].partition("=") for word in words)
    return tuple(name.strip() for name, _, value in parts if value.strip() == "1")


def note_fast_decode() -> None:
    """Remember that llama.cpp has read its switches for the fast mode."""
    global _fast_decode_done
    _fast_decode_done = True


def physical_cores() -> int:
    """Cores worth a thread each: the physical ones, as far as this process may use them."""
    try:
        allowed = len(os.sched_getaffinity(0))  # type: ignore[attr-defined,unused-ignore]
    except AttributeError:
        allowed = os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def hardware() -> Hardware:
    """What `quant.estimate` must know of this machine and this build."""
    return Hardware(repacked_types(), supports_gpu())


def require_exact() -> None:
    """Switch the tiled matrix kernels off; llama.cpp reads the switch once, at its first use."""
    if _fast_decode_done and os.environ.get(_TILED_SWITCH) != "0":
        raise TrimixError(
            "exact mode must be chosen before the first fast decode of a process: restart it"
        )
    os.environ[_TILED_SWITCH] = "0"


def kv_type(name: str) -> int:
    """The `ggml_type` of a name of `KV_TYPES`; raises TrimixError for any other."""
    if name not in KV_TYPES:
        raise TrimixError(f"unknown KV cache type {name!r}; known are {', '.join(KV_TYPES)}")
    return KV_TYPES[name].number


def flash_type(wanted: bool | None, type_v: str, exact: bool) -> int:
    """The `llama_flash_attn_type`; raises TrimixError where it is needed and not wanted."""
    needed = exact or type_v not in ("f32", "f16", "bf16")
    if wanted is False and needed:
        raise TrimixError("a quantized V cache and --exact need flash attention; drop -fa off")
    if wanted or needed:
        return int(lib.LLAMA_FLASH_ATTN_TYPE_ENABLED)
    return int(
        lib.LLAMA_FLASH_ATTN_TYPE_AUTO if wanted is None else lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
    )


def path_bytes(path: Path) -> bytes:
    """A path for the C library: UTF-8 on Windows, the file system's own bytes elsewhere."""
    return str(path).encode("utf-8") if sys.platform == "win32" else os.fsencode(path)


class Batch:
    """A `llama_batch` whose arrays are NumPy's, so that filling it needs no loop in Python."""

    def __init__(self, size: int) -> None:
        self.token = np.zeros(size, np.int32)
        self.pos = np.zeros(size, np.int32)
        self.n_seq_id = np.ones(size, np.int32)
        self.seq_id = np.zeros(size, np.int32)
        self.logits = np.zeros(size, np.int8)
        # seq_id is an array of pointers, one a token: each to its own entry.
        self.seq_ptr = (self.seq_id.ctypes.data + 4 * np.arange(size)).astype(np.uintp)
        self.struct = lib.llama_batch()
        for name, kind in (("token", lib.llama_token), ("pos", lib.llama_pos)):
            setattr(self.struct, name, getattr(self, name).ctypes.data_as(ctypes.POINTER(kind)))
        self.struct.n_seq_id = self.n_seq_id.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
        self.struct.seq_id = self.seq_ptr.ctypes.data_as(
            ctypes.POINTER(ctypes.POINTER(lib.llama_seq_id))
        )
        self.struct.logits = self.logits.ctypes.data_as(ctypes.POINTER(ctypes.c_int8))

    def fill(
        self,
        tokens: NDArray[np.int32],
        positions: NDArray[np.int32],
        sequences: NDArray[np.int32],
        outputs: NDArray[np.bool_],
    ) -> object:
        """The `llama_batch` of these tokens, all arrays of the shape [n_tokens]."""
        n = len(tokens)
        self.token[:n], self.pos[:n], self.seq_id[:n] = tokens, positions, sequences
        self.logits[:n] = outputs
        self.struct.n_tokens = n
        return self.struct

    def fill_one(self, token: int, position: int, sequence: int) -> object:
        """The `llama_batch` of one token whose logits are wanted."""
        self.token[0], self.pos[0], self.seq_id[0], self.logits[0] = token, position, sequence, 1
        self.struct.n_tokens = 1
        return self.struct
