"""What drafting gains on this machine: constant depths and auto, beside large alone and the limit.

    python benchmarks/drafts.py                                 two pairs of shapes, an idle machine
    python benchmarks/drafts.py --shapes qwen2.5-0.5b+1.5b --acceptance 0.95 --predict 64

Weights are random, so drafts are right by a stated chance; all else is done as always. Ratios are
of tokens a second to those of large alone, taken within a repetition. The limit is large at the
speed of its prompt while cpt steps: endless rounds that are always right. "auto / best" is how much
auto has of the best constant's speed, plain stepping among them; the last columns are several texts
at once with drafts, against the same without.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SHAPES = ("qwen2.5-1.5b+7b", "qwen2.5-0.5b+1.5b")
RATES = (0.85, 0.95, 0.98)
DEPTHS = ("3", "7", "15", "auto")


def bench(flags: argparse.Namespace, folder: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "trimix_cpp", "bench", "--json", *arguments]
    command += ["--keep", str(folder), "-t", str(flags.threads)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return dict(json.loads(done.stdout))


def row(found: dict[str, Any], rate: float, batches: str) -> list[str]:
    """One line of the table: medians with their ranges."""
    ratios = {(r["what"], r["than"]): r for r in found["ratios"]}
    seconds = {t["test"]: t["seconds"] / t["tokens"] for t in found["tests"]}
    limit = seconds["step large"] / (seconds["prompt large"] + seconds["step cpt"])
    names = ["plain fused stepping", *(f"fused with drafts: {depth}" for depth in DEPTHS)]
    speeds = [ratios[name, "large alone"] for name in names]
    *constants, auto = [speed["median"] for speed in speeds]
    cells = [f"{s['median']:.2f} ({s['least']:.2f} to {s['most']:.2f})" for s in speeds]
    cells += [f"{limit:.2f}", f"{auto / max(constants):.2f}"]
    for size in batches.split(","):
        if together := ratios.get((f"{size} sequences at once with drafts: auto", "plainly")):
            cells.append(f"{together['median']:.2f}")
    return [f"{rate:g}", *cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--acceptance", nargs="+", type=float, default=RATES)
    parser.add_argument("--predict", type=int, default=256, help="tokens of a text")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: the physical cores")
    parser.add_argument("--batches", default="1,2,4", help="sequences at once, or 1 for none")
    parser.add_argument("--weights", default="0.1,0.9")
    parser.add_argument("--keep", type=Path, help="folder of the random models")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = flags.keep or Path(name)
        for shapes in flags.shapes:
            costs = bench(flags, folder, "--shapes", shapes, "--calibrate")["steps"]
            print(f"\n**{shapes}**: what batches cost, in single tokens\n")
            sizes = list(costs["large"])
            print(f"| tokens | {' | '.join(sizes)} |\n|---|{'---:|' * len(sizes)}")
            for role in ("large", "cpt"):
                print(f"| {role} | {' | '.join(f'{costs[role][n]:.2f}' for n in sizes)} |")
            together = [f"{n} texts" for n in flags.batches.split(",") if n in "234"]
            head = ["right", "plain", *(f"{d} drafts" for d in DEPTHS[:-1]), "auto", "limit"]
            head += ["auto / best", *together]
            print(f"\n| {' | '.join(head)} |\n|{'---:|' * len(head)}")
            for rate in flags.acceptance:
                arguments = ["--shapes", shapes, "--weights", flags.weights, "-p", "256"]
                arguments += ["--acceptance", str(rate), "--drafts", ",".join(DEPTHS)]
                arguments += ["-n", str(flags.predict), "-r", str(flags.repeats)]
                found = bench(flags, folder, *arguments, "--batches", flags.batches)
                print(f"| {' | '.join(row(found, rate, flags.batches))} |", flush=True)


if __name__ == "__main__":
    main()
