"""Against the originals: llama.cpp's own converter, and transformers' logits.

These need torch and transformers (the `train` extra). The converter is `convert_hf_to_gguf.py`
in a folder of llama.cpp sources named by TRIMIX_LLAMA_CPP, for instance `vendor/llama.cpp` of
llama-cpp-python's source distribution; it also needs sentencepiece. TRIMIX_QWEN2_TOKENIZER may
name a folder with the published tokenizer.json and tokenizer_config.json of Qwen2.5.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tokenizers import Tokenizer

from trimix_cpp.convert import OUTTYPES, convert
from trimix_cpp.llama import Context, Model

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]

SOURCES = os.environ.get("TRIMIX_LLAMA_CPP")
PUBLISHED = os.environ.get("TRIMIX_QWEN2_TOKENIZER")
needs_published = pytest.mark.skipif(
    not PUBLISHED, reason="TRIMIX_QWEN2_TOKENIZER names no folder with Qwen2.5's tokenizer"
)
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


PLAIN = {"rope_theta": 5e5, "rope_type": "default"}
YARN = {
    "rope_theta": 5e5, "rope_type": "yarn", "factor": 4.0, "beta_fast": 16.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "tied": {},
    "untied": {"tied": False},
    "duplicated head": {"lm_head": True},
    "bfloat16 in shards": {"dtype": "bfloat16", "shards": 3, "tied": False},
    "float16": {"dtype": "float16"},
    "rows of 80": {"width": 80},
    "transformers 5": {
        "config": {"rope_theta": None, "rope_parameters": PLAIN},
    },
    "linear": {"config": {"rope_scaling": {"type": "linear", "factor": 2.0}}},
    "yarn": {"config": {"rope_scaling": {"type": "yarn", "factor": 4.0}}},
    "yarn, transformers 5": {
        "config": {"rope_theta": None, "rope_parameters": YARN},
    },
    "only what has no default": {
        "config": {"rms_norm_eps": None, "rope_theta": None, "max_position_embeddings": None}
    },
}


def drop_nulls(src: Path) -> None:
    values = json.loads((src / "config.json").read_text())
    values = {key: value for key, value in values.items() if value is not None}
    (src / "config.json").write_text(json.dumps(values))


@pytest.mark.slow
@pytest.mark.parametrize("outtype", OUTTYPES)
@pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
def test_same_file_as_llama_cpp(
    checkpoint: Make, tmp_path: Path, options: dict[str, Any], outtype: str
) -> None:
    src, _ = checkpoint("tiny-model", **options)
    drop_nulls(src)
    hints = {"temperature": 0.7, "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.05}
    (src / "generation_config.json").write_text(json.dumps(hints))
    (src / "README.md").write_text(
        "---\nlicense: apache-2.0\nlanguage: [en, ug]\nbase_model: Qwen/Qwen2.5-1.5B\n---\n"
    )
    theirs = official(src, tmp_path / "theirs.gguf", outtype, pre="qwen2")
    ours = convert(src, tmp_path / "ours.gguf", outtype).path
    assert differences(ours, theirs) == []


@pytest.mark.slow
@needs_published
def test_same_file_with_the_published_vocabulary(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint("tiny-model", rows=151936)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(str(PUBLISHED)) / name, src / name)
    theirs = official(src, tmp_path / "theirs.gguf", "q8_0")  # recognised by its hash
    ours = convert(src, tmp_path / "ours.gguf", "q8_0").path
    assert differences(ours, theirs) == []


@needs_published
def test_published_vocabulary_reads_the_same_tokens(
    checkpoint: Make, tmp_path: Path, texts: list[str]
) -> None:
    import unicodedata

    src, _ = checkpoint(rows=151936)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(str(PUBLISHED)) / name, src / name)
    tokenizer = Tokenizer.from_file(str(src / "tokenizer.json"))
    convert(src, tmp_path / "m.gguf", "q8_0")
    with Model(tmp_path / "m.gguf", vocab_only=True) as model:
        for text in texts:
            text = unicodedata.normalize("NFC", text)  # llama.cpp leaves that to its caller
            assert model.tokenize(text) == tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False])
def test_logits_equal_those_of_transformers(tmp_path: Path, checkpoint: Make, tied: bool) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    src, _ = checkpoint(tied=tied)
    ids = np.random.default_rng(1).integers(0, 600, 48)
    model = transformers.Qwen2ForCausalLM.from_pretrained(src, dtype=torch.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(ids)[None]).logits[0].numpy()
    convert(src, tmp_path / "m.gguf", "f32")
    assert np.abs(llama_logits(tmp_path / "m.gguf", ids) - expected).max() < 1e-4


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
