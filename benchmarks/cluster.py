"""Segments a second of `translate --cluster local:N` against one process with as many threads.

    python benchmarks/cluster.py                        the bundled trio
    python benchmarks/cluster.py --models FOLDER        that random_models.py wrote before
    python benchmarks/cluster.py --workers 2 --rounds 3 --answer 21 --texts 128

Both translate the same texts, in turn, with all their models loaded before the clock starts. The
ratio is taken within a round. Texts are software strings for the bundled trio and three letters for
random models, whose answers never end before --answer tokens: all take the same time, so the fewer
texts there are, the more is seen of what the last, half empty batches cost.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from translate import ROLES, SHOTS, TEXTS, from_folder

from trimix_cpp.cluster import Address, connected
from trimix_cpp.fusion import Weights
from trimix_cpp.llama import physical_cores
from trimix_cpp.prompts import language
from trimix_cpp.quant import Options
from trimix_cpp.store import find_trio
from trimix_cpp.translate import Elsewhere, Loading, Recipe, Unit


def seconds(runner: Any, units: list[Unit]) -> tuple[float, int]:
    """How long the units take, and how many tokens their answers have."""
    began = time.perf_counter()
    tokens = sum(outcome.tokens for _, outcome in runner.run(units))
    return time.perf_counter() - began, tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=Path, help="base.gguf, cpt.gguf, large.gguf in here")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--texts", type=int, default=288)
    parser.add_argument("--answer", type=int, default=21, help="most tokens of an answer")
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--parallel", type=int, default=0, help="of a worker; 0: its share")
    parser.add_argument("--exact", action="store_true")
    args = parser.parse_args()
    spec = from_folder(args.models) if args.models else find_trio("demo")
    words = map("".join, itertools.product("abcdefghij", "klmnopqrst", "uvwxyzabcd"))
    some = words if args.models else (f"{text} {n}" for n in range(10) for text in TEXTS)
    units = [Unit(text) for text in itertools.islice(some, args.texts)]
    recipe = Recipe(
        language("eng"), language("uig"), Weights(0.3, 0.9),
        shots=SHOTS[: args.shots], max_tokens=args.answer, retry=False,
    )  # fmt: skip
    options = Options(n_ctx=512, exact=args.exact)
    loading = Loading(spec, ROLES, options, recipe, len(units), 0, None)
    cores = physical_cores()
    alone = replace(loading, options=replace(options, n_threads=cores))
    shared = replace(loading, parallel=args.parallel).share(args.workers)
    elsewhere = Elsewhere.of(shared, {})
    ratios = []
    for i in range(args.rounds):
        with alone.open() as translator:
            one, tokens = seconds(translator, units)
            flying = translator.in_flight
        with connected(Address.parse(f"local:{args.workers}"), elsewhere) as spread:
            many, others = seconds(spread, units)
        assert args.exact is False or tokens == others
        ratios.append(one / many)
        print(
            f"round {i + 1}: one process with {cores} threads, {flying} in flight: "
            f"{len(units) / one:.2f} segments/s; local:{args.workers}: {len(units) / many:.2f} "
            f"segments/s; ratio {ratios[-1]:.3f}",
            flush=True,
        )
    print(f"median ratio {statistics.median(ratios):.3f} of {len(units)} segments")


if __name__ == "__main__":
    main()
