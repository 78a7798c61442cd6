"""The targets of speed and memory, each a ratio that is measured side by side in one run.

    python benchmarks/targets.py                     all of them: about half an hour on two cores
    python benchmarks/targets.py --keep FOLDER       with the random models kept for the next time

Drafts of random models are right as often as those of the bundled trio's cpt are over its
development split (benchmarks/acceptance.py). Run it alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

SHAPES = "qwen2.5-1.5b+7b"
# Of 3 drafts a round at these weights (docs/performance.md).
ACCEPTANCE = {"0.1,0.9": 0.96, "0.3,0.9": 0.85}
HERE = Path(__file__).parent


class Target(NamedTuple):
    """What is measured, the bound, the median with its range, and whether more is better."""

    what: str
    bound: float
    median: float
    least: float
    most: float
    more_is_better: bool = True

    @property
    def met(self) -> bool:
        return (self.median >= self.bound) == self.more_is_better or self.median == self.bound


def bench(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "trimix_cpp", "bench", "--json", *arguments]
    done: dict[str, Any] = json.loads(
        subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    )
    return done


def ratio(found: dict[str, Any], what: str, than: str) -> tuple[float, float, float]:
    (row,) = (row for row in found["ratios"] if (row["what"], row["than"]) == (what, than))
    return row["median"], row["least"], row["most"]


def targets(flags: argparse.Namespace, folder: Path) -> Iterator[Target]:
    common = ["-t", str(flags.threads), "-r", str(flags.repeats)]
    demo = bench("--trio", "demo", "--drafts", "off", "--batches", "off", "-n", "128", *common)
    parts = ("plain fused stepping", "the sum of its parts")
    # base takes part at the bundled trio's own weights.
    yield Target("plain stepping / its parts, bundled trio", 0.90, *ratio(demo, *parts))
    shapes = ["--shapes", SHAPES, "--keep", str(folder), "--batches", "off", "-p", "0", *common]
    for weights, bound in (("0.1,0.9", 1.25), ("0.3,0.9", 1.0)):
        rate = str(ACCEPTANCE[weights])
        found = bench(*shapes, "--weights", weights, "--acceptance", rate, "--drafts", "3,auto")
        if weights == "0.3,0.9":  # all three roles
            yield Target(f"plain stepping / its parts, {SHAPES}", 0.98, *ratio(found, *parts))
            value = found["memory"]["peak_over_weights_cache_logits"]
            what = f"peak memory / weights, caches, logits, {SHAPES}"
            yield Target(what, 1.05, value, value, value, False)
        for drafts in ("3", "auto"):
            value = ratio(found, f"fused with drafts: {drafts}", "large alone")
            yield Target(f"drafts {drafts} / large alone, {weights}, {rate} right", bound, *value)
    command = [sys.executable, str(HERE / "against_pytorch.py"), "--json"]
    command += ["--threads", str(flags.threads), "--repeats", str(flags.repeats)]
    for row in json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout):
        if row["files"].startswith("as shipped"):  # the same values as PyTorch's
            values = row["ratio"], row["least"], row["most"]
            yield Target(f"plain stepping / PyTorch in float32, {row['files']}", 5, *values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="folder of the random models")
    parser.add_argument("--threads", type=int, default=0, help="0: the physical cores")
    parser.add_argument("--repeats", type=int, default=5)
    flags = parser.parse_args()
    print("| what | target | median | least | most | |")
    print("|---|---:|---:|---:|---:|---|")
    with tempfile.TemporaryDirectory() as name:
        for target in targets(flags, flags.keep or Path(name)):
            sign = ">=" if target.more_is_better else "<="
            print(
                f"| {target.what} | {sign} {target.bound} | {target.median:.3f} | "
                f"{target.least:.3f} | {target.most:.3f} | {'met' if target.met else 'missed'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
