"""Layers on an RPC server over loopback against the same layers here: what RPC itself costs.

    python benchmarks/rpc_loopback.py [--shapes qwen2.5-0.5b+1.5b] [--types Q8_0] [-t 2] [-o r.json]

Needs a build of llama.cpp with RPC. Random models of these shapes are loaded three times in one
process: all roles here, large on a server on this machine, all roles there. Every test runs on
each, in turn, as often as -r says; ratios are taken within a turn, and medians shown.

Server and client share the cores, so this measures the protocol, the copies and the waiting, not
what another machine would bring. A server does not repack weights as llama.cpp does at home (Q4_0,
Q4_K and others, by CPU): with such types part of the difference, either way, is that. Run it on an
idle machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from trimix_cpp.bench import Bench, Workload, machine, random_trio
from trimix_cpp.decoding import Trio
from trimix_cpp.fusion import TRIO_ROLES, Weights
from trimix_cpp.quant import Options
from trimix_cpp.store import RoleSpec, TrioSpec

TESTS = ("prompt large", "step large", "prompt fused", "step fused")
HERE = "here"


@contextmanager
def served(n_threads: int) -> Iterator[str]:
    """The address of an RPC server of this build."""
    command = [sys.executable, "-m", "trimix_cpp", "rpc-serve", "-p", "0", "-t", str(n_threads)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            line = server.stderr.readline()
            if "listens on " not in line:
                sys.exit(line)
            yield line.partition("listens on ")[2].split(",")[0]
        finally:
            server.terminate()


def measure(args: argparse.Namespace, spec: TrioSpec, address: str) -> dict[str, Any]:
    """Test -> where -> tokens a second by turn; and the seconds of loading."""
    workload = Workload(Weights(0.1, 0.9), args.prompt, args.gen, args.depth, 1, (), ())
    places = {
        HERE: {},
        "large on a server": {"large": (address,)},
        "all on a server": dict.fromkeys(TRIO_ROLES, (address,)),
    }
    loading, speeds = dict[str, float](), {test: {place: [] for place in places} for test in TESTS}
    with ExitStack() as stack:
        benches = {}
        for place, rpc in places.items():
            options = Options(
                n_ctx=workload.n_ctx,
                n_parallel=workload.n_parallel,
                n_outputs=workload.n_outputs,
                n_threads=args.threads,
                rpc=rpc,
            )
            began = time.perf_counter()
            trio = stack.enter_context(Trio(spec, TRIO_ROLES, options))
            loading[place] = round(time.perf_counter() - began, 2)
            benches[place] = Bench(trio, workload).tests()
        for turn in range(-1, args.repetitions):  # the first is for what llama.cpp allots
            for test in TESTS:
                for place, tests in benches.items():
                    sample = tests[test]()
                    if turn >= 0:
                        speeds[test][place].append(1 / sample.seconds_per_token)
    return {"loading": loading, "speeds": speeds}


def shown(found: dict[str, Any]) -> Iterator[str]:
    yield "| tokens a second | here | large on a server | all on a server |"
    yield "|---|---|---|---|"
    for test, by_place in found["speeds"].items():
        here, cells = by_place[HERE], []
        for place, values in by_place.items():
            cell = f"{statistics.median(values):.1f}"
            if place != HERE:
                ratios = [value / own for value, own in zip(values, here, strict=True)]
                cell += f" ({statistics.median(ratios):.2f})"
            cells.append(cell)
        yield f"| {test} | {' | '.join(cells)} |"
    yield f"| seconds to load | {' | '.join(f'{s:.1f}' for s in found['loading'].values())} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", default="qwen2.5-0.5b+1.5b")
    parser.add_argument("--types", default="Q8_0")
    parser.add_argument("--keep", type=Path, help="keep the random models here")
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("-r", "--repetitions", type=int, default=5)
    parser.add_argument("-p", "--prompt", type=int, default=128)
    parser.add_argument("-n", "--gen", type=int, default=32)
    parser.add_argument("-d", "--depth", type=int, default=64)
    parser.add_argument("-o", type=Path)
    args = parser.parse_args()
    types = dict.fromkeys(TRIO_ROLES, args.types)
    with random_trio(args.shapes, types, args.keep) as files, served(args.threads) as address:
        spec = TrioSpec("random", {role: RoleSpec(path) for role, path in files.items()})
        found = measure(args, spec, address)
    found["asked"] = {key: str(value) for key, value in vars(args).items()}
    found["machine"] = machine(args.threads)
    print("\n".join(shown(found)))
    if args.o:
        args.o.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
