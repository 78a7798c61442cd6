"""What the choice of alpha and beta costs, against evaluating the prompt.

    python benchmarks/weighting.py              arithmetic at Qwen2.5's width, the bundled trio
    python benchmarks/weighting.py --shapes qwen2.5-1.5b+7b   and random models of these shapes
    python benchmarks/weighting.py --models FOLDER    files of random_models.py, written before

Run it alone: two cores that share their time with something else tell nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import random_models

from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.fusion.choosers import EntChooser, PplChooser, PplOptChooser
from trimix_cpp.fusion.grid import DEFAULT_GRID, log_partition
from trimix_cpp.fusion.observers import Choosing, Observer
from trimix_cpp.fusion.optimum import Optimum
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.store.spec import RoleSpec, TrioSpec
from trimix_cpp.store.trios import find_trio

ROLES = ("large", "cpt", "base")
CHOOSERS = {"ppl": PplChooser, "ppl-opt": PplOptChooser, "ent": EntChooser}
CHUNK = 64  # positions whose logits are there at once, as on the command line
TEXT = "Please translate the following English text into Uyghur.\nEnglish: Open file\nUyghur: "


def median_ms(work: Callable[[], object], repeats: int) -> float:
    work()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return median(seconds) * 1e3


def direct_passes(rows: Mapping[str, np.ndarray]) -> np.ndarray:
    """36 softmaxes over rows in float32, each as fast as NumPy does it: no new memory."""
    n, k = rows["base"].shape
    result = np.empty((n, *DEFAULT_GRID.shape))
    fused, part = np.empty(k, np.float32), np.empty(k, np.float32)
    for position in range(n):
        large, cpt, base = (rows[role][position] for role in ROLES)
        for i, j in np.ndindex(DEFAULT_GRID.shape):
            alpha, beta = DEFAULT_GRID.alphas[i], DEFAULT_GRID.betas[j]
            np.multiply(large, alpha, out=fused)
            np.add(fused, np.multiply(cpt, beta, out=part), out=fused)
            np.add(fused, np.multiply(base, 1 - alpha - beta, out=part), out=fused)
            top = fused.max()
            fused -= top
            result[position, i, j] = top + np.log(np.exp(fused, out=fused).sum())
    return result


def arithmetic(width: int, positions: int, repeats: int) -> dict[str, float]:
    """Milliseconds a position, on rows that agree in part as those of real models do."""
    rng = np.random.default_rng(0)
    base = rng.normal(0, 3, (positions, width)).astype(np.float32)
    rows = {"base": base}
    for role, scale in (("large", 2), ("cpt", 1.5)):
        rows[role] = base + rng.normal(0, scale, (positions, width)).astype(np.float32)
    targets = rng.integers(0, width, positions).astype(np.int32)

    def optimise(budget: int) -> None:
        optimum = Optimum(budget=budget)
        optimum.add(rows, targets)
        optimum.find()

    works = {
        "grid in factors": lambda: log_partition(rows),
        "36 direct passes": lambda: direct_passes(rows),
        "ppl-opt, logits kept": lambda: optimise(1 << 62),
        "ppl-opt, logits streamed": lambda: optimise(0),
    }
    result = {name: median_ms(work, repeats) / positions for name, work in works.items()}
    difference = np.abs(log_partition(rows) - direct_passes(rows)).max()
    assert difference < 1e-3, f"the two ways differ by {difference}"
    return result


class Timed:
    """A chooser that counts the seconds spent in it."""

    def __init__(self, chooser: Observer) -> None:
        self.chooser, self.seconds = chooser, 0.0
        self.roles, self.first = chooser.roles, chooser.first

    def add(self, at: int, rows: Mapping[str, np.ndarray], targets: np.ndarray) -> None:
        began = time.perf_counter()
        self.chooser.add(at, rows, targets)
        self.seconds += time.perf_counter() - began

    def end(self, last: Mapping[str, np.ndarray]) -> Weights | None:
        began = time.perf_counter()
        weights = self.chooser.end(last)
        self.seconds += time.perf_counter() - began
        return weights


def share(spec: TrioSpec, tokens: int, threads: int, repeats: int) -> dict[str, Any]:
    """Seconds of a prompt with fixed weights and with each choice, and of the choice alone."""
    options = Options(
        n_ctx=tokens + 64, n_batch=tokens + 64, n_threads=threads, n_outputs=CHUNK + 1
    )
    with Trio(spec, ROLES, options) as trio:
        text = trio.tokenize(TEXT * (tokens // len(trio.tokenize(TEXT)) + 1))[:tokens]
        decoder = Decoder(trio, keep=False)
        seen: dict[str, list[tuple[float, float]]] = {name: [] for name in ("fixed", *CHOOSERS)}
        for _ in range(repeats + 1):  # in turn, so that a slow minute hits all alike
            for name, times in seen.items():
                times.append(evaluate(decoder, text, CHOOSERS.get(name)))
    result = {"tokens": len(text), "n_tokens": trio.n_tokens, "threads": threads}
    fixed = median(total for total, _ in seen["fixed"][1:])
    for name, times in seen.items():  # the first round warms up
        total, choice = (median(column) for column in zip(*times[1:], strict=True))
        result[name] = {
            "evaluation_s": total - choice,
            "choice_s": choice,
            "choice_of_fixed": choice / fixed,
            "total_over_fixed": total / fixed,
        }
    return result


def evaluate(decoder: Decoder, tokens: list[int], make: Choosing | None) -> tuple[float, float]:
    """(seconds until the first token, seconds of these in the chooser)."""
    timed = Timed(make(0)) if make else None
    text = Text(tokens, Weights(0.3, 0.9), chooser=timed, max_tokens=1)
    began = time.perf_counter()
    for done in decoder.run([text]):
        done.raise_error()
    return time.perf_counter() - began, timed.seconds if timed else 0.0


def spec_of(folder: Path) -> TrioSpec:
    return TrioSpec("random", {role: RoleSpec(folder / f"{role}.gguf") for role in ROLES})


def measure(flags: argparse.Namespace) -> dict[str, Any]:
    repeats, threads = flags.repeats, flags.threads
    result: dict[str, Any] = {
        "arithmetic": arithmetic(flags.width, 16, repeats),
        "bundled trio": share(find_trio("demo"), min(flags.tokens, 400), threads, repeats),
    }
    if flags.models:
        result["models"] = share(spec_of(flags.models), flags.tokens, threads, repeats)
    elif flags.shapes:
        with tempfile.TemporaryDirectory() as name:
            random_models.write_trio(Path(name), flags.shapes)
            result[flags.shapes] = share(spec_of(Path(name)), flags.tokens, threads, repeats)
    return result


def show(result: dict[str, Any], width: int) -> None:
    numbers = result.pop("arithmetic")
    print(f"36 pairs at {width:,} tokens, milliseconds a position")
    for name, value in numbers.items():
        print(f"  {name:26}{value:9.2f}")
    gain = numbers["36 direct passes"] / numbers["grid in factors"]
    print(f"  {'factors against passes':26}{gain:9.2f} times as fast")
    for name, part in result.items():
        n_tokens, threads = f"{part.pop('n_tokens'):,} tokens", part.pop("threads")
        print(f"\n{name}: {n_tokens}, prompt of {part.pop('tokens')}, {threads or 'all'} threads")
        print("  weights    evaluation s   choice s   choice / fixed   all / fixed")
        for choice, row in part.items():
            print(
                f"  {choice:10}{row['evaluation_s']:13.3f}{row['choice_s']:11.3f}"
                f"{row['choice_of_fixed']:16.1%}{row['total_over_fixed']:14.3f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", help="of random models to evaluate, such as qwen2.5-1.5b+7b")
    parser.add_argument("--models", type=Path, help="a folder with base, cpt and large .gguf")
    parser.add_argument("--width", type=int, default=152064, help="columns of the arithmetic")
    parser.add_argument("--tokens", type=int, default=256, help="of the prompt")
    parser.add_argument("--threads", type=int, default=0, help="0 takes the physical cores")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    result = measure(flags)
    print(json.dumps(result, indent=2)) if flags.json else show(result, flags.width)


if __name__ == "__main__":
    main()
