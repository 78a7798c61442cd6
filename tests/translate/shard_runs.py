"""Shards in exact mode, in a process of its own, run by test_shards.py: "equal" where all agree."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.documents.opening import open_document
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.prompts.languages import language
from trimix_cpp.store.trios import find_trio
from trimix_cpp.translate.engine import Translator
from trimix_cpp.translate.job import settings_of
from trimix_cpp.translate.merging import journals_of, merge
from trimix_cpp.translate.recipe import Recipe
from trimix_cpp.translate.run import Rules, Run
from trimix_cpp.translate.shards import Shard
from trimix_cpp.translate.task import Task
from trimix_cpp.translate.units import lay_out

from ..conftest import ROLES
from ..support.examples import examples, register_profiles

TEXTS = [
    "Open file",
    "Cut",
    "Save %s",
    "42",
    "",
    "Close",
    "New folder",
    "Print %1$s {name}",
    "Undo",
]
RECIPE = Recipe(language("eng"), language("uig"), Weights(0.9, 0.3), max_tokens=5)
SPEC = find_trio("demo")
OPTIONS = Options(n_ctx=256, n_parallel=4, n_threads=1, exact=True)


def task_of(texts: list[str], output: Path, shard: Shard | None = None) -> Task:
    """As the command makes it; without a shard and a journal."""
    document = open_document("\n".join(texts).encode("utf-8"), "in.txt")
    layouts = lay_out(document.segments, cut=320, labels=False, target="uig")
    journal = shard.journal(output) if shard else None
    return Task(document, output, journal, layouts, shard=shard)


def fail(task: Task, error: Exception) -> None:
    raise error


def property_of(trio: Trio) -> None:
    """Any partition, shards in any order, each cut off anywhere: the single run's bytes."""
    translator = Translator(trio, RECIPE)
    known = settings_of(RECIPE, SPEC, ROLES, OPTIONS, "given")

    @contextmanager
    def start(recipe: Recipe) -> Iterator[Translator]:
        yield translator

    def run(task: Task) -> None:
        Run([task], known, RECIPE, start, Rules(quiet=True), fail).go()

    @settings(max_examples=examples(8), deadline=None, suppress_health_check=[*HealthCheck])
    @given(
        st.lists(st.sampled_from(TEXTS), max_size=12),
        st.integers(1, 14),
        st.integers(0, 2**32),
    )
    def holds(texts: list[str], count: int, seed: int) -> None:
        rng = random.Random(seed)
        with TemporaryDirectory() as name:
            single, output = Path(name, "single"), Path(name, "out")
            run(task_of(texts, single))
            shards = [Shard(number, count) for number in range(1, count + 1)]
            rng.shuffle(shards)
            for shard in shards:
                run(task_of(texts, output, shard))
                journal = shard.journal(output)
                if journal.exists():
                    whole = journal.read_bytes()
                    journal.write_bytes(whole[: rng.randint(0, len(whole))])
                    run(task_of(texts, output, shard))
                    assert journal.read_bytes().count(b"\n") == whole.count(b"\n")
            assert not output.exists()
            before = {path: path.read_bytes() for path in journals_of([], output)}
            merge(task_of(texts, output), [*before], {}, force=False)
            assert output.read_bytes() == single.read_bytes()
            assert before == {path: path.read_bytes() for path in journals_of([], output)}

    holds()


def main() -> None:
    register_profiles()
    if sys.argv[1:]:
        settings.load_profile(sys.argv[1])
    with Trio(SPEC, ROLES, OPTIONS) as trio:
        property_of(trio)
    print("equal")


if __name__ == "__main__":
    main()
