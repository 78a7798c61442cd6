"""The figures against `llama-perplexity --kl-divergence` itself, on one model."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import nullcontext
from pathlib import Path

import llama_cpp
import pytest

from trimix_cpp.fusion.divergences import figures
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.impact.compare import Task, compare_sides, fused_name
from trimix_cpp.impact.evaluator import Evaluator
from trimix_cpp.impact.sides import Workshop
from trimix_cpp.llama import model as llama_model
from trimix_cpp.store.spec import TrioSpec

from .quantization_thresholds import FOLDER

N_CTX = 128
_LINE = re.compile(r"^(.+?)\s*:\s+(-?[\d.]+)\s*%?(?:\s*±\s*([\d.]+))?\s*%?\s*$")


def llama_perplexity(*arguments: str) -> str:
    """Its output, computed by the very library that is under test: other builds round otherwise."""
    tool = Path(os.environ["TRIMIX_LLAMA_CPP_BIN"]) / "llama-perplexity"
    # Not repacked: on a CPU with AMX the tool would take that, and die of it.
    command = [str(tool), *arguments, "-c", str(N_CTX), "-b", str(N_CTX), "-t", "1", "--no-repack"]
    library = str(Path(llama_cpp.__file__).parent / "lib")
    # Its log is written by a thread that the program sometimes ends without waiting for.
    for _ in range(20):
        done = subprocess.run(
            command, capture_output=True, check=True, env={**os.environ, "LD_LIBRARY_PATH": library}
        )
        printed = done.stdout.decode()
        if "--kl-divergence" not in arguments or "Same top p:" in printed:
            return printed
    raise AssertionError("llama-perplexity never printed its statistics")


@pytest.mark.slow
@pytest.mark.skipif("TRIMIX_LLAMA_CPP_BIN" not in os.environ, reason="needs llama.cpp's tools")
@pytest.mark.parametrize("kind", ["Q8_0", "Q4_K_M", "Q2_K"])
def test_figures_agree_with_llama_perplexity(
    demo_spec: TrioSpec, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as its store of 16 bits allows: its log-probabilities are multiples of about 2e-4."""
    monkeypatch.setattr(llama_model, "may_repack", lambda header: False)
    task = Task(Weights(0, 1))
    workshop = Workshop(demo_spec, task.roles, tmp_path, lambda _: nullcontext())
    reference, side = workshop.side("source"), workshop.side(kind)
    text = tmp_path / "text.txt"
    uyghur = (FOLDER / "udhr-uig.txt").read_text(encoding="utf-8").strip()
    text.write_text(uyghur, encoding="utf-8")
    with Evaluator(demo_spec.roles, n_ctx=N_CTX, n_threads=1) as evaluator:
        windows = evaluator.windows(uyghur, "uig")
        (comparison,) = compare_sides(evaluator, reference, [side], windows, task, tmp_path)
    found = figures(comparison.positions(fused_name(("cpt",))))
    store = str(tmp_path / "logits")
    base, quantized = (str(one.variants["cpt"].files.path) for one in (reference, side))
    llama_perplexity("-m", base, "-f", str(text), "--kl-divergence-base", store)
    printed = llama_perplexity("-m", quantized, "--kl-divergence-base", store, "--kl-divergence")
    compared = 0
    for match in filter(None, map(_LINE.match, printed.splitlines())):
        name = " ".join(match[1].replace("%  ", "% ").split())
        if name not in found:
            continue
        value, own = float(match[2]), found[name]
        percent = "Δp" in name or name.startswith(("Same", "Cor"))
        if percent:
            allowed = 0.02 + 0.002 * abs(value)
        elif "KLD" in name:
            allowed = 3e-4 + 0.002 * abs(value)
        else:
            allowed = 1e-4 * (found["Mean PPL(base)"].value if "-" in name else max(value, 1))
        assert abs(own.value - value) <= allowed, (name, own, value)
        if match[3]:
            rough = {"rel": 0.02, "abs": 0.01 if percent else 1e-4}
            assert own.error == pytest.approx(float(match[3]), **rough), name
        compared += 1
    assert compared == len(found) - 2  # bits per byte are ours alone
