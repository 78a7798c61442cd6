"""ggml is kept off AMX, and nothing else of the process is changed by that."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trimix_cpp.llama import amx as llama_amx
from trimix_cpp.llama.backend import extra_buffers_work, features, repacked_types
from trimix_cpp.llama.context import Context
from trimix_cpp.llama.model import Model

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux permits AMX or not")


@linux
def test_no_weights_go_to_amx() -> None:
    assert extra_buffers_work()
    assert b"AMX" not in llama_amx._extra_buffer_types()


def test_a_batch_on_quantized_weights_lives(demo_files: dict[str, Path]) -> None:
    """Where AMX was taken, two tokens at once killed the process."""
    with Model(demo_files["cpt"]) as model, Context(model, n_ctx=64, n_outputs_max=2) as context:
        tokens = np.array([5, 6], np.int32)
        ones = np.ones(2, bool)
        context.decode(tokens, np.arange(2, dtype=np.int32), np.zeros(2, np.int32), ones)
        assert np.isfinite(context.logits()).all()


@pytest.mark.skipif("AVX2" not in features(), reason="x86 has its own list")
def test_weights_of_four_bits_are_repacked() -> None:
    assert {2, 12} <= repacked_types()


@linux
def test_the_signal_stack_is_what_it_was() -> None:
    def stack() -> tuple[int | None, int, int]:
        now = llama_amx._Stack()
        assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(now)) == 0
        return now.sp, now.flags, now.size

    before = stack()
    with llama_amx._small_signal_stack():
        assert stack()[2] == llama_amx._STACK_BYTES
    assert stack() == before


def test_nothing_is_printed_when_the_library_is_loaded() -> None:
    code = "import os, trimix_cpp.llama as _; os.write(2, b'after')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"after")
