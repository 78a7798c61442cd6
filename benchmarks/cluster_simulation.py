"""Segments a second of a cluster of 2 to 1,000 simulated computers, against the ideal.

    python benchmarks/cluster_simulation.py [--workers 2,32,1000] [--journal FILE] [--json FILE]

Real: Dask's scheduler, in a process of its own, over TCP; Dask's workers, with this program's
plugin, engines and tasks; the run of a translation, with its journal, in this process. Simulated:
the models. A segment takes a sleep: its tokens, drawn from a journal that a real run left
(--keep-journal), or from the bundled trio here, times the seconds of a step on a computer (--step)
that has --places segments in flight. Computers die at random (--hours), without a word, and are
back, with their models loaded, after a time (--away).

Many workers share a process, and all share this machine's cores. So time goes --pace times as fast
as the clock (less than 1: slower), for the sleeps and for the rules of the client alike, and what
tells how far a cluster goes is the processors' time: of the scheduler and of the client, for a
segment, beside what workers cost that only stand there. From these comes the load that the
scheduler and the client have at the computers' own pace: what is above 1 cannot be kept up.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import logging
import random
import subprocess
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask
import numpy as np
import psutil
from distributed import Client, Scheduler, Worker

import trimix_cpp.cluster.spread as rules
from trimix_cpp.cluster import Address, Spread, Take, Told, connected
from trimix_cpp.decoding import Trio
from trimix_cpp.documents import open_document
from trimix_cpp.fusion import TRIO_ROLES, Weights
from trimix_cpp.prompts import language
from trimix_cpp.quant import Options
from trimix_cpp.store import find_trio
from trimix_cpp.translate import Outcome, Recipe, Rules, Run, Task, Translator, Unit, lay_out
from trimix_cpp.translate.journal_lines import Line, records

# Of a worker that would have a computer to itself: what watches it, many times a second.
ALONE = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1h",
    "distributed.admin.system-monitor.interval": "1h",
    "distributed.worker.memory.terminate": False,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
LOAD = rules._LOAD
_WORKERS_A_PROCESS = 64
_TOLD_SECONDS = 0.5
_MOST_PACE = 8.0


@dataclass(frozen=True)
class Computers:
    """What the simulated computers are; an `Opening`.

    Attributes:
        outcomes: what real segments became.
        places: segments in flight.
        step: seconds of a step with all places taken.
        prompt: steps that a prompt costs.
        pace: of time.
    """

    outcomes: tuple[Outcome, ...]
    places: int
    step: float
    prompt: int
    pace: float
    key: str = "simulated"

    @contextmanager
    def open(self, told: Told) -> Iterator[Sleeper]:
        """At once: when a computer is back is the cluster's to say."""
        yield Sleeper(self)

    def made_by(self) -> dict[str, Any]:
        """The fields of a `Maker`."""
        return {"cpu": "simulated", "features": (), "llama_cpp": "none"}

    def outcome(self, unit: Unit) -> Outcome:
        """The same wherever it is asked for."""
        return self.outcomes[zlib.crc32(unit.text.encode()) % len(self.outcomes)]

    def seconds(self, outcome: Outcome) -> float:
        """How long a segment is in flight."""
        return (outcome.tokens + self.prompt) * self.step / self.pace

    @property
    def rate(self) -> float:
        """Segments a second of one."""
        return self.places * len(self.outcomes) / sum(map(self.seconds, self.outcomes))


class Sleeper:
    """A `Runner` whose segments take their time and nothing else."""

    def __init__(self, computers: Computers) -> None:
        self._computers, self.in_flight = computers, computers.places
        self._flying: list[tuple[float, float, Unit, Outcome]] = []
        self._flown = 0.0
        SLEEPERS.append(self)

    def used(self, now: float) -> float:
        """Seconds that its places were in use, of all together; not what was lost with it."""
        return self._flown + sum(now - begun for _, begun, *_ in list(self._flying))

    def live(self, take: Take[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """As a `Translator`: a place that is free asks at every step."""
        flying, step = self._flying, self._computers.step / self._computers.pace
        try:
            while True:
                while len(flying) < self.in_flight and (unit := take(not flying)) is not None:
                    outcome, now = self._computers.outcome(unit), time.monotonic()
                    due = now + self._computers.seconds(outcome)
                    heapq.heappush(flying, (due, now, unit, outcome))
                if not flying:
                    return
                left = flying[0][0] - time.monotonic()
                time.sleep(max(0.0, left if len(flying) == self.in_flight else min(left, step)))
                while flying and flying[0][0] <= time.monotonic():
                    due, begun, unit, outcome = heapq.heappop(flying)
                    self._flown += due - begun
                    yield unit, outcome
        finally:
            flying.clear()


SLEEPERS: list[Sleeper] = []


async def be_scheduler(profile: str) -> None:
    """Until its input ends."""
    import cProfile

    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as scheduler:
        print(scheduler.address, flush=True)
        recorder = cProfile.Profile()
        if profile:
            recorder.enable()
        await asyncio.to_thread(sys.stdin.read)
        if profile:
            recorder.disable()
            recorder.dump_stats(profile)


async def be_workers(url: str, count: int, seed: int, life: float, away: float) -> None:
    """Some computers, each of which dies `life` seconds after it began, on average."""

    async def computer(drawn: random.Random) -> None:
        while True:
            async with Worker(
                url, nthreads=2, memory_limit=0, host="127.0.0.1", dashboard=False,
                dashboard_address="127.0.0.1:0",
            ) as worker:  # fmt: skip
                if not life:
                    await worker.finished()
                    return
                await asyncio.sleep(drawn.expovariate(1 / life))
                print("died", flush=True)
                worker.batched_stream.abort()  # nothing is said: the connection is gone
                await worker.close(executor_wait=False)
            await asyncio.sleep(away)

    async def tell() -> None:
        while True:
            now = time.monotonic()
            used = sum(sleeper.used(now) for sleeper in SLEEPERS)
            print("used", now, used, flush=True)
            await asyncio.sleep(_TOLD_SECONDS)

    await asyncio.gather(tell(), *(computer(random.Random(seed + i)) for i in range(count)))


class Processes:
    """The processes of a cluster; their time, and how often a computer died."""

    def __init__(
        self, stack: ExitStack, n_workers: int, pace: float, args: argparse.Namespace
    ) -> None:
        begun = partial(_begun, stack)
        scheduler = begun("--be-scheduler", args.profile or "")
        self.url = scheduler.stdout.readline().strip()
        life, away = args.hours * 3600 / pace, args.away / pace
        self._told = Path(stack.enter_context(TemporaryDirectory()))
        workers = [
            begun(
                "--be-workers", self.url, str(min(_WORKERS_A_PROCESS, n_workers - first)),
                str(first), str(life), str(away), out=self._told / str(first),
            )
            for first in range(0, n_workers, _WORKERS_A_PROCESS)
        ]  # fmt: skip
        self._scheduler = psutil.Process(scheduler.pid)
        self._workers = [psutil.Process(process.pid) for process in workers]
        with Client(self.url, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(n_workers, timeout=1200)

    def now(self) -> dict[str, float]:
        """Seconds of the clock and of processors, and bytes."""
        return {
            "clock": time.monotonic(),
            "scheduler": _seconds(self._scheduler),
            "client": time.process_time(),
            "workers": sum(map(_seconds, self._workers)),
            "scheduler_bytes": self._scheduler.memory_info().rss,
            "client_bytes": psutil.Process().memory_info().rss,
        }

    def deaths(self) -> int:
        """How many computers died."""
        return sum(path.read_text().count("died") for path in self._told.iterdir())

    def used(self, begin: float, end: float) -> float:
        """Seconds that places were in use between two times, of all together."""
        total = 0.0
        for path in self._told.iterdir():
            *whole, _ = path.read_text().split("\n")  # the last one may be torn
            lines = [line.split() for line in whole]
            points = [(float(line[1]), float(line[2])) for line in lines if line[0] == "used"]
            total += float(np.diff(np.interp((begin, end), *zip(*points, strict=True)))[0])
        return total


def _begun(stack: ExitStack, *arguments: str, out: Path | None = None) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdin=subprocess.PIPE, stdout=out.open("a") if out else subprocess.PIPE, text=True,
    )  # fmt: skip
    stack.callback(process.wait)
    # A scheduler ends with its input, when there is a profile to be written.
    stack.callback(process.terminate if out else process.stdin.close)
    return process


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


class Watched:
    """A `Spread` that notes how things stand at the first and the last result of a window."""

    def __init__(
        self, spread: Spread[Unit, Outcome], processes: Processes, window: tuple[int, int]
    ) -> None:
        self._spread, self._processes, self._window = spread, processes, window
        self.marks: list[dict[str, float]] = []

    @property
    def in_flight(self) -> int:
        """Of the cluster."""
        return self._spread.in_flight

    def run(self, units: Iterable[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """As the spread has it, until the end of the window."""
        for came, pair in enumerate(self._spread.run(units), 1):
            if came in self._window:
                self.marks.append({"segments": came, **self._processes.now()})
            yield pair
            if came == self._window[1]:
                return


def simulated(n_workers: int, computers: Computers, args: argparse.Namespace) -> dict[str, Any]:
    """A run with some computers: what it took."""
    # The client's rule goes by its clock: it sees the computers' own pace.
    rules._LOAD = LOAD * computers.pace
    first = n_workers * computers.places
    window = first // 4, first // 4 + max(first * args.rounds, args.least)
    texts = window[1] + 6 * first  # more than is ever on its way
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        processes = Processes(stack, n_workers, computers.pace, args)
        watched: list[Watched] = []

        @contextmanager
        def start(recipe: Recipe) -> Iterator[Watched]:
            with connected(Address.parse(processes.url), computers) as spread:
                while spread.in_flight < first and not args.hours:
                    time.sleep(0.2)
                    spread._look()
                idle.append(processes.now())
                for _ in range(args.idle):
                    time.sleep(1)
                    spread._look()
                idle.append(processes.now())
                watched.append(Watched(spread, processes, window))
                yield watched[0]

        idle: list[dict[str, float]] = []
        lines = "".join(f"{i:08d} Cannot open the file.\n" for i in range(texts))
        document = open_document(lines.encode(), "in.txt")
        layouts = lay_out(document.segments, cut=320, labels=False)
        output = folder / "out.txt"
        task = Task(document, output, output.with_name("out.txt.journal"), layouts)
        recipe = Recipe(language("eng"), language("uig"), Weights(0.3, 0.9))

        def fault(task: Task, error: Exception) -> None:
            raise error

        Run([task], {"simulated": True}, recipe, start, Rules(quiet=True), fault, None).go()
        begin, end = watched[0].marks
        time.sleep(2 * _TOLD_SECONDS)
        used = processes.used(begin["clock"], end["clock"])
        return _figures(n_workers, computers, idle, begin, end, used, processes.deaths())


def _figures(
    n_workers: int,
    computers: Computers,
    idle: list[dict[str, float]],
    begin: dict[str, float],
    end: dict[str, float],
    used: float,
    deaths: int,
) -> dict[str, Any]:
    """What is told of a run, in the time of the computers."""
    segments, clock = end["segments"] - begin["segments"], end["clock"] - begin["clock"]
    places = n_workers * computers.places
    found: dict[str, Any] = {
        "workers": n_workers,
        "segments": int(segments),
        "deaths": deaths,
        "pace": computers.pace,
        "ideal_rate": n_workers * computers.rate / computers.pace,
        "of_ideal": used / (clock * places),
    }
    for name in ("scheduler", "client", "workers"):
        standing = (idle[1][name] - idle[0][name]) / (idle[1]["clock"] - idle[0]["clock"])
        each = (end[name] - begin[name] - standing * clock) / segments
        found[f"{name}_standing"] = standing
        found[f"{name}_ms"] = each * 1000
        found[f"{name}_load"] = standing + each * found["ideal_rate"]
    for name in ("scheduler_bytes", "client_bytes"):
        found[name], found[f"{name}_grown"] = int(end[name]), int(end[name] - begin[name])
    return found


def outcomes_of(journal: Path | None) -> tuple[Outcome, ...]:
    """What became of real texts: of a journal, or of some menus and messages now."""
    if journal:
        with open(journal, "rb") as file:
            return tuple(line.outcome for _, line in records(file) if isinstance(line, Line))
    verbs, things = (
        ("Open", "Close", "Save", "Copy", "Delete"),
        ("file", "window", "folder", "page"),
    )
    units = [Unit(f"{verb} the {thing}") for verb in verbs for thing in things]
    recipe = Recipe(language("eng"), language("uig"), Weights(0.3, 0.9), max_tokens=32)
    options = Options(n_ctx=256, n_parallel=5, n_threads=1)
    with Trio(find_trio("demo"), TRIO_ROLES, options) as trio:
        return tuple(outcome for _, outcome in Translator(trio, recipe).run(units))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--workers", default="2,8,32,128,512,1000", help="how many, by commas")
    parser.add_argument("--journal", type=Path, help="of a real run, for the segments' tokens")
    parser.add_argument("--places", type=int, default=16, help="segments in flight on a computer")
    parser.add_argument("--step", type=float, default=0.7, help="seconds of a step of all of them")
    parser.add_argument("--prompt", type=int, default=3, help="steps that a prompt costs")
    parser.add_argument("--hours", type=float, default=0.0, help="a computer's life; 0: no end")
    parser.add_argument("--away", type=float, default=150.0, help="seconds until it is ready again")
    parser.add_argument(
        "--rounds", type=int, default=1, help="segments of each place in the window"
    )
    parser.add_argument("--least", type=int, default=1000, help="segments at least")
    parser.add_argument("--rate", type=float, default=20.0, help="segments in a second of here")
    parser.add_argument("--idle", type=int, default=10, help="seconds to watch who only stands by")
    parser.add_argument("--profile", help="cProfile of the scheduler goes to this file")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    return parser.parse_args()


HEAD = (
    "| workers | segments/s, ideal | reached | deaths | scheduler: ms a segment | load | "
    "client: ms a segment | load | scheduler, MiB | grown | client, MiB |\n"
    "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def _row(found: dict[str, Any]) -> str:
    cells = [
        f"{found['workers']:,}", f"{found['ideal_rate']:.1f}", f"{found['of_ideal']:.3f}",
        found["deaths"], f"{found['scheduler_ms']:.2f}", f"{found['scheduler_load']:.3f}",
        f"{found['client_ms']:.2f}", f"{found['client_load']:.3f}",
        f"{found['scheduler_bytes'] / 2**20:.0f}", f"{found['scheduler_bytes_grown'] / 2**20:.1f}",
        f"{found['client_bytes'] / 2**20:.0f}",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    logging.disable(logging.CRITICAL)
    dask.config.set(ALONE)
    if sys.argv[1:2] == ["--be-scheduler"]:
        asyncio.run(be_scheduler(sys.argv[2]))
        return
    if sys.argv[1:2] == ["--be-workers"]:
        # Thousands of threads that all but sleep need not ask each other for the interpreter.
        sys.setswitchinterval(1.0)
        url, *numbers = sys.argv[2:]
        asyncio.run(be_workers(url, int(numbers[0]), int(numbers[1]), *map(float, numbers[2:])))
        return
    args = arguments()
    slow = Computers(outcomes_of(args.journal), args.places, args.step, args.prompt, pace=1.0)
    print(f"{slow.rate:.2f} segments a second of one computer\n\n{HEAD}")
    rows = []
    for n_workers in map(int, args.workers.split(",")):
        pace = min(_MOST_PACE, args.rate / (n_workers * slow.rate))
        rows.append(simulated(n_workers, replace(slow, pace=pace), args))
        print(_row(rows[-1]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
    # Workers import what is sent to them by the name of this module.
    import cluster_simulation

    cluster_simulation.main()
