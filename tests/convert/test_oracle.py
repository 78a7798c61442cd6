"""Against the originals: llama.cpp's own converter, and transformers' logits.

These need torch and transformers (the `train` extra) and llama.cpp's sources, see `oracle.py`. This
file is about Qwen2; the other families are in test_oracle_families.py, the published vocabularies
in test_published.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimix_cpp.convert import OUTTYPES, convert

from .oracle import differences, llama_logits, official

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]

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
