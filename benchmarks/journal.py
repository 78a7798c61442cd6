"""What a run keeps and writes besides its models: lines of the journal a second, memory by texts.

    python benchmarks/journal.py [--texts 100000]

A translation as it is run here or over a cluster, from the file to the output, with its journal and
its fsyncs; who translates answers at once. Memory is told without what Python and the imports
take. The file has lines of 60 characters with translations as long.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from trimix_cpp.documents import open_document
from trimix_cpp.fusion import Weights
from trimix_cpp.prompts import language
from trimix_cpp.translate import Outcome, Recipe, Rules, Run, Task, Unit, lay_out


class AtOnce:
    """Translates in no time; notes when the first and the last text came back."""

    in_flight = 16

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []

    def run(self, units: Iterable[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Each with an outcome of its own."""
        self._mark()
        for unit in units:
            text = "ھۆججەتنى ئاچالمىدى " * 3 + unit.text[:8]
            yield unit, Outcome(text, (), 20, Weights(0.1, 0.9))
        self._mark()

    def _mark(self) -> None:
        self.times.append((time.monotonic(), time.process_time()))


def run(folder: Path, texts: int) -> tuple[AtOnce, int, int]:
    """What a file of so many texts took: times, bytes of its journal, of memory at the most."""
    begun = _peak()
    lines = "".join(
        f"{i:08d} Cannot open the file in the folder, it is not there.\n" for i in range(texts)
    )
    document = open_document(lines.encode(), "in.txt")
    layouts = lay_out(document.segments, cut=320, labels=False)
    task = Task(document, folder / "out.txt", folder / "out.txt.journal", layouts)
    recipe = Recipe(language("eng"), language("uig"), Weights(0.1, 0.9))
    translator = AtOnce()

    @contextmanager
    def start(recipe: Recipe) -> Iterator[AtOnce]:
        yield translator

    def fault(task: Task, error: Exception) -> None:
        raise error

    rules = Rules(quiet=True, keep_journal=True)
    Run([task], {"benchmark": True}, recipe, start, rules, fault).go()
    return translator, (folder / "out.txt.journal").stat().st_size, _peak() - begun


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--texts", type=int, default=100_000)
    texts = parser.parse_args().texts
    with TemporaryDirectory() as name:
        translator, size, memory = run(Path(name), texts)
    (clock, cpu), (clock_end, cpu_end) = translator.times
    print(
        f"{texts:,} texts: {texts / (clock_end - clock):,.0f} lines of the journal a second "
        f"({1e6 * (cpu_end - cpu) / texts:.0f} us of CPU each), {size / texts:.0f} bytes a line, "
        f"{memory / texts:,.0f} bytes of memory a text"
    )


if __name__ == "__main__":
    main()
