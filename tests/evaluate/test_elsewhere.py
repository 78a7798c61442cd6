"""An evaluation in parts, found out elsewhere, is the evaluation."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.chat import template_of
from trimix_cpp.cluster import Told
from trimix_cpp.decoding import Trio
from trimix_cpp.evaluate import Elsewhere, Evaluation, Journal, Noted, Settings, fill
from trimix_cpp.evaluate.catalogue import DataFolders
from trimix_cpp.evaluate.elsewhere import Found, Part, _together
from trimix_cpp.evaluate.methods import METHODS
from trimix_cpp.evaluate.run import Outcome
from trimix_cpp.evaluate.tasks import Source
from trimix_cpp.fusion import Grid
from trimix_cpp.prompts import language
from trimix_cpp.quant import Options
from trimix_cpp.store import TrioSpec

from ..conftest import ROLES
from .datasets import write_belebele, write_milic, write_pairs, write_sib

# The size of a batch then moves logits by 1e-5 at most.
FLOATS = dict.fromkeys(ROLES, "f32")
OPTIONS = Options(n_ctx=1024, n_threads=1, n_parallel=4, n_outputs=16, type_k=FLOATS, type_v=FLOATS,
                  flash_attn=False)  # fmt: skip
OWN = [METHODS[name] for name in ("large", "trimix-ent", "trimix-ppl-answers-input", "upper-bound")]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    folder = write_milic(tmp_path_factory.mktemp("milic"), ("ug",), n=3)
    names = ["response_selection", "text_classification"]
    return DataFolders([folder], language("uig")).wanted(names)


class Here:
    """A cluster of one worker: this process, by the opening as it comes out of pickle."""

    in_flight = 1

    def __init__(self, elsewhere: Elsewhere, stop: int | None) -> None:
        self.stop = stop
        self.opening: Elsewhere = pickle.loads(pickle.dumps(elsewhere))
        self.made_by: list[Any] = []
        self.ran: list[Part] = []

    @contextmanager
    def start(self) -> Iterator[Any]:
        with self.opening.open(Told(1, 0)) as self.finder:
            self.made_by = [self.opening.made_by()]
            yield self

    def run(self, parts: Iterable[Part]) -> Iterator[tuple[Part, Found]]:
        feed = iter(parts)
        for part, found in self.finder.live(lambda wait: next(feed, None)):
            if len(self.ran) == self.stop:
                raise KeyboardInterrupt
            self.ran.append(part)
            yield pickle.loads(pickle.dumps((part, found)))


def evaluate(
    spec: TrioSpec,
    journal: Path,
    sources: list[Source],
    settings: Settings,
    *,
    chat: bool = False,
    stop: int | None = None,
    elsewhere: bool = True,
) -> tuple[Outcome, list[Part]]:
    """What comes out, and which parts were found out elsewhere; after `stop` of them Ctrl-C."""
    with Journal(journal) as lines, ExitStack() as stack:
        trio = stack.enter_context(Trio(spec, ROLES, OPTIONS, vocab_only=elsewhere))
        template = stack.enter_context(template_of(trio)) if chat else None
        noted = Noted(lines)
        evaluation = Evaluation(trio, noted, settings, lambda label: nullcontext(), template)
        here = Here(Elsewhere.of(evaluation, sources, OWN, 4), stop)
        if elsewhere:
            assert fill(evaluation, noted, sources, OWN, here.start) == here.made_by
        return evaluation.run(sources, OWN), here.ran


def shown(outcome: Outcome) -> Any:
    grids = {name: grid.tolist() for name, grid in outcome.grids.items()}
    results = [(own.task.name, own.method.name, own.weights) for own in outcome.results]
    return results, outcome.answers, grids


@pytest.mark.parametrize("score", ["generate", "likelihood"])
def test_interrupted_after_every_part(
    tiny_spec: TrioSpec, tmp_path: Path, sources: list[Source], score: Any
) -> None:
    settings = Settings(score=score, limit=2, shots=1, samples=2, grid=Grid((0.3, 1.0), (0.5,)))
    whole, _ = evaluate(tiny_spec, tmp_path / "whole", sources, settings, elsewhere=False)
    journal, stop = tmp_path / "parts", 0
    while True:
        try:
            found, ran = evaluate(tiny_spec, journal, sources, settings, stop=1)
        except KeyboardInterrupt:
            stop += 1
            continue
        break
    assert stop == 3
    assert [(part.source, part.items) for part in ran] == [(1, (0, 1))]
    assert shown(found) == shown(whole)
    keys = [
        sorted(json.loads(line).get("key", "") for line in path.read_bytes().splitlines())
        for path in (journal, tmp_path / "whole")
    ]
    assert keys[0] == keys[1]


def test_with_a_chat_template(tiny_spec: TrioSpec, tmp_path: Path, sources: list[Source]) -> None:
    settings = Settings(limit=2, shots=1, samples=2, grid=Grid((0.5,), (0.5,)))
    whole, _ = evaluate(
        tiny_spec, tmp_path / "whole", sources, settings, chat=True, elsewhere=False
    )
    found, ran = evaluate(tiny_spec, tmp_path / "parts", sources, settings, chat=True)
    assert shown(found) == shown(whole)
    assert [part.source for part in ran if not part.items] == [0, 1]
    assert sorted((part.source, i) for part in ran for i in part.items) == [
        (0, 0), (0, 1), (1, 0), (1, 1)
    ]  # fmt: skip


@given(
    st.lists(st.integers(1, 300), max_size=4),
    st.integers(0, 40),
    st.integers(1, 20),
    st.integers(1, 99),
)
def test_every_item_is_in_one_part(sizes: list[int], workers: int, least: int, most: int) -> None:
    single = [
        Part(s, (i,), {f"{s}.{i}": {}, "w": {}}) for s, n in enumerate(sizes) for i in range(n)
    ]
    parts = [*_together(single, SimpleNamespace(in_flight=workers), least, most)]  # type: ignore[arg-type]
    assert [(part.source, i) for part in parts for i in part.items] == [
        (part.source, *part.items) for part in single
    ]
    for part in parts:
        assert part.items
        assert len(part.items) <= most
        assert part.known == {"w": {}, **{f"{part.source}.{i}": {} for i in part.items}}
    # Nobody waits long for the last one.
    if parts and workers > 1:
        assert len(parts[-1].items) <= least


def test_a_part_is_left_where_its_worker_is_to_end(
    tiny_spec: TrioSpec, tmp_path: Path, sources: list[Source]
) -> None:
    settings = Settings(shots=0, samples=2, grid=Grid((0.5,), (0.5,)))
    with Journal(tmp_path / "j") as lines, Trio(tiny_spec, ROLES, OPTIONS) as trio:
        evaluation = Evaluation(trio, lines, settings, lambda label: nullcontext())
        elsewhere = Elsewhere.of(evaluation, sources, OWN, 1)
        with elsewhere.open(Told(1, 0)) as finder:
            parts = iter([Part(0, (0, 1, 2))])

            def take(wait: bool) -> Part:
                for part in parts:
                    return part
                raise EndedError

            with pytest.raises(EndedError):
                next(finder.live(take))


class EndedError(Exception):
    """The worker's thread is to leave its runner."""


def test_sources_travel(tmp_path: Path) -> None:
    folder = write_milic(tmp_path / "data", ("ug", "bo"), n=2)
    write_sib(folder / "sib200")
    write_belebele(folder, train=True)
    write_pairs(folder)
    for code in ("uig", "bod"):
        for source in DataFolders([folder], language(code), "dev").wanted(["all"]):
            there = pickle.loads(pickle.dumps(source))
            assert there.items() == source.items()
            assert there.exemplars() == source.exemplars()


def test_tokenizers_alone_read_as_models_do(tiny_spec: TrioSpec) -> None:
    for options in (Options(n_threads=1), Options(n_threads=1, n_ctx=0)):
        with (
            Trio(tiny_spec, ROLES, options) as trio,
            Trio(tiny_spec, ROLES, options, vocab_only=True) as reader,
        ):
            assert reader.n_ctx == trio.n_ctx
            assert reader.roles == ()
            reader.require(ROLES)
            for text in ("كىتاب 1", "དེབ་", "a<eos>b"):
                assert reader.tokenize(text, add_special=True) == trio.tokenize(
                    text, add_special=True
                )
