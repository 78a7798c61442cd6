"""What every shipped profile costs the bundled demo trio, and how much more it may cost.

    python -m tests.impact.quantization_thresholds [--write]

measures anew and prints; with --write it updates tests/impact/quantization/thresholds.json. To
be run where a change in llama.cpp, the converter or a profile is meant to change the numbers.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trimix_cpp.decoding.trio import Options
from trimix_cpp.fusion.divergences import figures
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.impact.compare import Task, compare_sides, fused_name
from trimix_cpp.impact.evaluator import Evaluator
from trimix_cpp.impact.free_running import answers, difference
from trimix_cpp.impact.sides import Workshop
from trimix_cpp.prompts.languages import language
from trimix_cpp.prompts.paper import translation_prompt
from trimix_cpp.quant.profiles import profile_names
from trimix_cpp.store.spec import TrioSpec
from trimix_cpp.store.trios import find_trio

FOLDER = Path(__file__).parent / "quantization"
THRESHOLDS = FOLDER / "thresholds.json"
# The pair that the authors published most often; the trio's own comes from its file.
PUBLISHED = Weights(0.1, 0.9)
N_CTX, WINDOWS = 128, 3
# Other CPUs round otherwise: a distribution hardly moves by that, a near tie in an answer may flip.
MARGINS = {"mean KLD": 0.25, "same top p": 2.5, "PPL ratio": 0.005, "chrF++ difference": 2.5}


def pairs() -> list[tuple[str, str]]:
    """(English, Uyghur) strings."""
    lines = (FOLDER / "strings.tsv").read_text(encoding="utf-8").splitlines()
    return [(line.split("\t")[0], line.split("\t")[1]) for line in lines]


def prompts() -> list[str]:
    """The prompts of the English strings."""
    return [translation_prompt(en, language("eng"), language("uig")) for en, _ in pairs()]


def texts() -> dict[str, str]:
    """Label -> text: running Uyghur, and translations as the models see them."""
    translations = "\n".join(
        prompt + ug for prompt, (_, ug) in zip(prompts(), pairs(), strict=True)
    )
    uyghur = (FOLDER / "udhr-uig.txt").read_text(encoding="utf-8")
    return {"uig": uyghur, "translation": translations}


def measure(cache: Path) -> dict[str, dict[str, float]]:
    """Profile -> figure -> value, on the demo trio against its files expanded to F32."""
    spec = find_trio("demo")
    roles = ("large", "cpt", "base")
    workshop = Workshop(spec, roles, cache, lambda _: nullcontext())
    reference, *sides = (workshop.side(name) for name in ("source", *profile_names()))
    found: dict[str, dict[str, float]] = {side.name: {} for side in sides}
    with Evaluator(spec.roles, n_ctx=N_CTX, n_threads=1) as evaluator:
        windows = [
            window
            for label, text in texts().items()
            for window in evaluator.windows(text, label)[:WINDOWS]
        ]
        for weights in (spec.weights, PUBLISHED):
            task = Task(weights)
            for one in compare_sides(evaluator, reference, sides, windows, task, cache):
                by_name = figures(one.positions(fused_name(weights.roles)))
                where = f" at {weights.alpha:g}, {weights.beta:g}"
                own = found[one.side.name]
                own[f"mean KLD{where}"] = by_name["Mean KLD"].value
                own[f"same top p{where}"] = by_name["Same top p"].value
                own[f"PPL ratio{where}"] = by_name["Mean PPL(Q)/PPL(base)"].value
    base = _answers(reference.spec(spec), spec)
    for side in sides:
        changed = difference(base, _answers(side.spec(spec), spec), [ug for _, ug in pairs()])
        assert changed.score is not None
        found[side.name]["chrF++ difference"] = changed.score.quantized - changed.score.base
        found[side.name]["chrF++ of the reference"] = changed.score.base
    return found


def _answers(side: TrioSpec, spec: TrioSpec) -> Any:
    options = Options(n_ctx=256, n_parallel=8, n_threads=1, type_k=side.type_k, type_v=side.type_v)
    return answers(side, spec.weights, prompts(), options, max_tokens=40)


def limits(figure: str, value: float) -> dict[str, float]:
    """What was measured, the margin, and the limit that follows: a greatest or a least value."""
    kind = next((kind for kind in MARGINS if figure.startswith(kind)), None)
    if kind is None:
        return {"measured": value}
    margin = MARGINS[kind]
    if kind == "mean KLD":
        # A part of itself, and a little for what is next to nothing.
        margin = margin * value + 1e-5
    # That quantization helped, as it may by chance, is nothing that must stay so.
    if kind in ("mean KLD", "PPL ratio"):
        best = 1.0 if kind == "PPL ratio" else value
        return {"measured": value, "margin": margin, "most": max(value, best) + margin}
    best = 0.0 if kind == "chrF++ difference" else value
    return {"measured": value, "margin": margin, "least": min(value, best) - margin}


def main() -> None:
    """Measure, print, and with --write keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    document = {
        "measured with": {
            "llama-cpp-python": version("llama-cpp-python"),
            "machine": platform.machine(),
        },
        "profiles": {
            name: {
                figure: {k: round(v, 7) for k, v in limits(figure, value).items()}
                for figure, value in own.items()
            }
            for name, own in found.items()
        },
    }
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    print(text)
    if write:
        THRESHOLDS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
