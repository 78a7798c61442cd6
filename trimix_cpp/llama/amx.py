"""Keeps llama.cpp off AMX where its compiler broke it, so that it repacks weights instead.

GCC before 14 compiles `_tile_loadconfig` as if it read 8 bytes of the tile configuration: ggml's
stores to the rest are dropped, and the first batch of two tokens on a quantized matrix kills the
process (SIGILL, measured with GCC 12.2). ggml takes AMX when Linux permits its registers, before
any other order of weights; once refused, it takes the orders that any AVX machine has.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import llama_cpp.llama_cpp as lib

from .ggml import library

# Enough for a signal without AMX's registers, too little with them (8 KiB more).
_STACK_BYTES = 4096


class _Stack(ctypes.Structure):
    """`stack_t` of Linux (sigaltstack(2))."""

    _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def is_built_in() -> bool:
    """Whether llama.cpp was compiled with AMX."""
    return b"AMX_INT8 = 1" in lib.llama_print_system_info()


def refuse() -> bool:
    """Let ggml choose its orders of weights while Linux refuses AMX; whether it goes without.

    Linux permits AMX to no process in which a thread's signal stack has no room for its registers
    (arch/x86/kernel/signal.c). ggml asks once, when the orders are first wanted.
    """
    if not is_built_in():
        return True
    if not sys.platform.startswith("linux"):
        return False
    with _small_signal_stack(), _silent():
        return b"AMX" not in _extra_buffer_types()


@contextmanager
def _small_signal_stack() -> Iterator[None]:
    """This thread's signal stack has no room for AMX; what was there before comes back."""
    libc, before = ctypes.CDLL(None, use_errno=True), _Stack()
    memory = ctypes.create_string_buffer(_STACK_BYTES)
    small = _Stack(ctypes.addressof(memory), 0, _STACK_BYTES)
    taken = libc.sigaltstack(ctypes.byref(small), ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if taken:
            libc.sigaltstack(ctypes.byref(before), None)


@contextmanager
def _silent() -> Iterator[None]:
    """Ggml tells the standard error, past its own log, that AMX is not there."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed: nobody would see it
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _extra_buffer_types() -> list[bytes]:
    """Names of the orders of weights that ggml's CPU backend takes here, first choice first."""
    pointer, ggml = ctypes.c_void_p, library
    registry = ggml.ggml_backend_cpu_reg()
    found = ggml.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_dev_get_extra_bufts")
    if not found:
        return []
    ask = ctypes.CFUNCTYPE(ctypes.POINTER(pointer), pointer)(found)
    types, names = ask(ggml.ggml_backend_reg_dev_get(registry, 0)), list[bytes]()
    while types and types[len(names)]:
        names.append(bytes(ggml.ggml_backend_buft_name(types[len(names)])))
    return names
