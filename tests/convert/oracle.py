"""The originals to compare with: llama.cpp's own converter, and logits as llama.cpp computes them.

The converter is `convert_hf_to_gguf.py` in a folder of llama.cpp sources named by TRIMIX_LLAMA_CPP,
for instance `vendor/llama.cpp` of llama-cpp-python's source distribution; it also needs torch,
transformers and sentencepiece (the `train` extra).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from trimix_cpp.llama.context import Context
from trimix_cpp.llama.model import Model

SOURCES = os.environ.get("TRIMIX_LLAMA_CPP")
# The converter knows published vocabularies only; the switch tells it what ours is.
RUN = """
import runpy, sys
folder, pre = sys.argv.pop(1), sys.argv.pop(1)
sys.path.insert(0, folder)
if pre:
    from conversion.base import TextModel
    TextModel.get_vocab_base_pre = lambda self, tokenizer: pre
sys.argv[0] = folder + "/convert_hf_to_gguf.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def official(src: Path, dst: Path, outtype: str, pre: str = "") -> Path:
    """Convert with llama.cpp's converter; `pre` stands in for its unknown-vocabulary error."""
    for module in ("torch", "transformers", "sentencepiece"):
        pytest.importorskip(module)
    if not SOURCES or not (Path(SOURCES) / "convert_hf_to_gguf.py").is_file():
        pytest.skip("TRIMIX_LLAMA_CPP names no folder of llama.cpp sources")
    arguments = [SOURCES, pre, str(src), "--outfile", str(dst), "--outtype", outtype]
    done = subprocess.run([sys.executable, "-c", RUN, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return dst


def differences(ours: Path, theirs: Path) -> list[str]:
    """What differs, by key and by tensor; empty if the files are the same, byte for byte."""
    if ours.read_bytes() == theirs.read_bytes():
        return []
    found = []
    a, b = gguf.GGUFReader(ours), gguf.GGUFReader(theirs)
    for key in {**a.fields, **b.fields}:
        pair = [r.fields[key].contents() if key in r.fields else None for r in (a, b)]
        if pair[0] != pair[1]:
            found.append(f"{key}: {str(pair[0])[:60]} | {str(pair[1])[:60]}")
    tensors = [
        {t.name: (t.tensor_type, list(t.shape), t.data.tobytes()) for t in r.tensors}
        for r in (a, b)
    ]
    names = {**tensors[0], **tensors[1]}
    found += [name for name in names if tensors[0].get(name) != tensors[1].get(name)]
    return found or ["order"]


def llama_logits(path: Path, ids: np.ndarray) -> np.ndarray:
    """Logits at every position, shape [n, n_vocab], with nothing rounded below float32.

    Flash attention rounds keys and values to F16 whatever the cache holds, which costs about 1e-3.
    """
    n = len(ids)
    exact: dict[str, Any] = {"type_k": "f32", "type_v": "f32", "flash_attn": False}
    with Model(path) as model, Context(model, n_ctx=64, n_outputs_max=n, **exact) as context:
        every = np.ones(n, np.bool_)
        zeros = np.zeros(n, np.int32)
        context.decode(ids.astype(np.int32), np.arange(n, dtype=np.int32), zeros, every)
        return context.logits().copy()
