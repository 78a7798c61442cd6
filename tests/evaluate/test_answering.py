"""Many fusions at once give what each gives alone: answers, likelihoods, chosen weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trimix_cpp.decoding import Decoder, Text, Trio
from trimix_cpp.errors import TrimixError
from trimix_cpp.evaluate.answering import Answerer, Plan
from trimix_cpp.evaluate.catalogue import DataFolders
from trimix_cpp.evaluate.choosing import TaskChooser
from trimix_cpp.evaluate.journal import Journal
from trimix_cpp.evaluate.metrics import clean
from trimix_cpp.evaluate.prompts import Prompt, Prompter
from trimix_cpp.evaluate.scoring import Fusion
from trimix_cpp.evaluate.tasks import Item, Source
from trimix_cpp.fusion import (
    DEFAULT_GRID,
    AnswersChooser,
    EntChooser,
    LogProbs,
    Plausibility,
    PplChooser,
    Weights,
)
from trimix_cpp.prompts import ChatTemplate, language
from trimix_cpp.quant import Options
from trimix_cpp.store import TrioSpec

from ..conftest import ROLES
from ..support.tiny import CHATML
from .datasets import write_milic

FUSIONS = [
    Fusion(Weights(1, 0)),
    Fusion(Weights(0.3, 0.9)),
    Fusion(Weights(0, 1.5), Plausibility("cpt", 0.1)),
]
PLANS = [Plan(fusion) for fusion in FUSIONS]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    folder = write_milic(tmp_path_factory.mktemp("milic"), ("ug",), n=4)
    return {s.task.name: s for s in DataFolders([folder], language("uig")).wanted(["all"])}


@pytest.fixture(scope="module")
def trio(tiny_spec: TrioSpec) -> Iterator[Trio]:
    # Float caches without flash attention: a batch's size then moves logits by 1e-5 at most.
    floats = dict.fromkeys(ROLES, "f32")
    options = Options(n_ctx=1024, n_threads=1, n_parallel=5, n_outputs=32, type_k=floats,
                      type_v=floats, flash_attn=False)  # fmt: skip
    with Trio(tiny_spec, ROLES, options) as trio:
        yield trio


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.jsonl") as journal:
        yield journal


def answerer(trio: Trio, journal: Journal, score: str = "generate") -> Answerer:
    return Answerer(trio, journal, list, Prompter(trio), score)  # type: ignore[arg-type]


def alone(trio: Trio, text: Text) -> Text:
    """A text by itself, with nothing in the caches."""
    with Decoder(trio, keep=False) as decoder:
        (done,) = decoder.run([text])
    return done


def prompt_of(trio: Trio, source: Source, item: Item, shots: int) -> str:
    return Prompter(trio).text(item, source.exemplars()[:shots])


@pytest.mark.parametrize("name", ["translation.eng-uig", "response_selection"])
def test_greedy_answers(
    trio: Trio, journal: Journal, sources: dict[str, Source], name: str
) -> None:
    source = sources[name]
    task = replace(source.task, max_tokens=min(source.task.max_tokens, 12))
    items, shots = source.items(), source.exemplars(2)
    found = answerer(trio, journal).run(task, items, shots, PLANS)
    for fusion, answers in zip(FUSIONS, found, strict=True):
        assert answers.n_lost == answers.n_cut == 0
        assert set(answers.weights) == {fusion.weights}
        for item, text in zip(items, answers.texts, strict=True):
            tokens = trio.tokenize(prompt_of(trio, source, item, 2), add_special=True)
            plain = Text(tokens, fusion.weights, plausibility=fusion.plausibility,
                         max_tokens=task.max_tokens, stops=("\n",))  # fmt: skip
            assert text == clean(alone(trio, plain).text)


@pytest.mark.parametrize("name", ["response_selection", "text_classification"])
def test_likelihoods(trio: Trio, journal: Journal, sources: dict[str, Source], name: str) -> None:
    """Of letters, one token each, and of labels of many: what each has alone."""
    source, prompter = sources[name], Prompter(trio)
    items, shots = source.items(2), source.exemplars(1)[:2]
    own = answerer(trio, journal, "likelihood")
    found = own.run(source.task, items, shots, PLANS[:2])
    for fusion, answers in zip(FUSIONS[:2], found, strict=True):
        for item, text in zip(items, answers.texts, strict=True):
            asked = prompter.text(item, shots)
            start = len(trio.tokenize(asked, add_special=True))
            values = []
            for choice in item.choices:
                tokens = trio.tokenize(f"{asked} {choice}", add_special=True)
                observer = LogProbs(fusion.weights, start - 1)
                alone(trio, Text(tokens, fusion.weights, max_tokens=0, observers=(observer,)))
                assert len(observer.values) == len(tokens) - start > 0
                values.append(sum(observer.values))
            assert text == item.choices[int(np.argmax(values))]
            prompt = prompter.fit(item, shots, 2, choose=True)
            assert prompt is not None
            line = journal.get(own.answer_key(fusion, prompt, 2))
            assert line is not None
            assert line["likelihoods"] == pytest.approx(values, abs=1e-3)


def test_weights_by_prompt(trio: Trio, journal: Journal, sources: dict[str, Source]) -> None:
    source = sources["translation.eng-uig"]
    task = replace(source.task, max_tokens=4)
    plans = [
        Plan(Fusion(Weights(0.1, 0.9)), "ppl", lambda prompt: PplChooser()),
        Plan(Fusion(Weights(0.1, 0.9)), "ent", lambda prompt: EntChooser()),
        PLANS[0],
    ]
    items = source.items()
    found = answerer(trio, journal).run(task, items, [], plans)
    for plan, answers in zip(plans[:2], found, strict=False):
        for item, weights, text in zip(items, answers.weights, answers.texts, strict=True):
            assert plan.choosing is not None
            tokens = trio.tokenize(item.question, add_special=True)
            chooser = plan.choosing(Prompt(tuple(tokens), 0))
            plain = Text(tokens, Weights(0.1, 0.9), chooser=chooser, max_tokens=4,
                         stops=("\n",))  # fmt: skip
            alone(trio, plain)
            assert weights == plain.weights
            assert text == clean(plain.text)
    assert len({*found[0].weights, *found[1].weights}) > 1


def test_what_is_known_is_not_done_again(
    trio: Trio, journal: Journal, sources: dict[str, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = sources["translation.eng-uig"]
    task = replace(source.task, max_tokens=3)
    items, shots = source.items(), source.exemplars(1)
    plans = [*PLANS, Plan(FUSIONS[0], "ppl", lambda prompt: PplChooser())]
    first = answerer(trio, journal).run(task, items, shots, plans)
    n_lines = len(journal)
    monkeypatch.setattr(trio, "decode", None)  # nothing is evaluated
    assert answerer(trio, journal).run(task, items, shots, plans) == first
    assert answerer(trio, journal).run(task, items[:2], shots, PLANS[1:2])[0].texts == [
        *first[1].texts[:2]
    ]
    assert len(journal) == n_lines


@pytest.mark.parametrize("score", ["generate", "likelihood"])
def test_interrupted_at_every_line(
    trio: Trio, tmp_path: Path, sources: dict[str, Source], score: str
) -> None:
    """Whatever was written when it ended, the same comes out."""
    source = sources["response_selection"]
    plans = [*PLANS[:2], Plan(FUSIONS[0], "ppl", lambda prompt: PplChooser())]
    items, shots = source.items(2), source.exemplars(1)
    with Journal(tmp_path / "whole") as journal:
        whole = answerer(trio, journal, score).run(source.task, items, shots, plans)
        n_lines = len(journal)
    for stop in range(n_lines):
        with Journal(tmp_path / f"{stop}") as journal:
            add = journal.add

            def failing(key: str, values: object, add=add, journal=journal, stop=stop) -> None:
                if len(journal) == stop:
                    raise KeyboardInterrupt
                add(key, values)

            journal.add = failing  # type: ignore[method-assign]
            with pytest.raises(KeyboardInterrupt):
                answerer(trio, journal, score).run(source.task, items, shots, plans)
        with Journal(tmp_path / f"{stop}") as journal:
            assert len(journal) == stop
            assert answerer(trio, journal, score).run(source.task, items, shots, plans) == whole


def test_what_does_not_fit(
    tiny_spec: TrioSpec, journal: Journal, sources: dict[str, Source]
) -> None:
    source = sources["translation.eng-uig"]
    item = source.items()[0]
    long = replace(item, question=item.question + "ئا" * 300)
    with Trio(tiny_spec, ("cpt",), Options(n_ctx=384, n_threads=1, n_parallel=2)) as trio:
        (answers,) = answerer(trio, journal).run(
            replace(source.task, max_tokens=8), [long, item], source.exemplars(),
            [Plan(Fusion(Weights(0, 1)))],
        )  # fmt: skip
    assert answers.texts[0] == ""
    assert (answers.n_lost, answers.n_cut) == (1, 1)


def test_exemplars_go_from_the_end(trio: Trio, sources: dict[str, Source]) -> None:
    source = sources["translation.eng-uig"]
    item, shots = source.items()[0], source.exemplars()
    prompter = Prompter(trio)
    tokens = [len(prompter.tokens(prompter.text(item, shots[:n]))) for n in range(len(shots) + 1)]
    for n, length in enumerate(tokens):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trio, "_n_ctx", length + 7)
            prompt = prompter.fit(item, shots, 7)
            assert prompt is not None
            assert prompt.shots == n
            assert list(prompt.tokens) == prompter.tokens(prompter.text(item, shots[:n]))
            if n == 0:
                patch.setattr(trio, "_n_ctx", length + 6)
                assert prompter.fit(item, shots, 7) is None


def test_spans_are_the_answers(trio: Trio, sources: dict[str, Source]) -> None:
    for name in ("translation.eng-uig", "text_classification"):
        source = sources[name]
        shots = source.exemplars(2)
        prompt = Prompter(trio).fit(source.items()[0], shots, 2)
        assert prompt is not None
        assert len(prompt.spans) == len(shots)
        for (start, end), shot in zip(prompt.spans, shots, strict=True):
            said = b"".join(trio.piece(token) for token in prompt.tokens[start:end]).decode()
            assert said == shot.gap + shot.answer


def test_weights_by_answers(
    trio: Trio, journal: Journal, sources: dict[str, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a task: the mean over draws, whatever ran beside what."""
    source = sources["translation.eng-uig"]

    def choose(samples: int) -> Weights:
        chooser = TaskChooser(
            trio, journal, list, Prompter(trio), lambda _: nullcontext(), DEFAULT_GRID,
            samples=samples, seed=0,
        )  # fmt: skip
        return chooser.weights(source, ["ppl-answers"])["ppl-answers"]

    found = choose(3)
    means = []
    for shots in source.draws(3, 0):
        text = "".join(f"{shot.question}{shot.answer}\n\n" for shot in shots)[:-2]
        tokens = trio.tokenize(text, add_special=True)
        answers = AnswersChooser(Prompter(trio).spans(tokens, shots))
        alone(trio, Text(tokens, Weights(0, 1), max_tokens=0, observers=(answers,)))
        means.append(answers.score.mean)
    assert found == DEFAULT_GRID.weights(*DEFAULT_GRID.best(np.mean(means, axis=0)))
    monkeypatch.setattr(trio, "decode", None)
    assert choose(3) == found
    assert len({tuple(shot.id for shot in own) for own in source.draws(3, 0)}) == 3


def test_control_tokens_in_data_are_text(trio: Trio) -> None:
    item = Item("1", "<|im_end|><|endoftext|>", "", "", "")
    prompt = Prompter(trio).fit(item, [], 4)
    assert prompt is not None
    assert not trio.alignment.control()[list(prompt.tokens)].any()


def test_chat_template(trio: Trio, journal: Journal, sources: dict[str, Source]) -> None:
    source = sources["response_selection"]
    item = source.items()[0]
    with ChatTemplate(CHATML) as template:
        prompter = Prompter(trio, template)
        tokens = prompter.tokens(item.question)
        text = "".join(trio.text_of(token) for token in tokens)
        assert tokens == trio.tokenize(
            f"<|im_start|>user\n{item.question}<|im_end|>\n<|im_start|>assistant\n",
            parse_special=True,
        )
        assert text.count("<|im_start|>") == 2
        prompt = prompter.fit(item, [], 2, choose=True)
        assert prompt is not None
        assert prompt.choices == tuple((trio.tokenize(letter)[0],) for letter in "ABCD")
        own = Answerer(trio, journal, list, prompter, "likelihood")
        (answers,) = own.run(source.task, [item], [], PLANS[:1])
        assert answers.texts[0] in tuple("ABCD")


def test_a_broken_model_is_named(
    trio: Trio, journal: Journal, sources: dict[str, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = trio.decode

    def broken(feeds):  # type: ignore[no-untyped-def]
        rows = decode(feeds)
        if "cpt" in rows:
            rows["cpt"] = np.full_like(rows["cpt"], np.nan)
        return rows

    monkeypatch.setattr(trio, "decode", broken)
    source = sources["response_selection"]
    with pytest.raises(TrimixError, match="of cpt are not finite numbers"):
        answerer(trio, journal).run(source.task, source.items(), [], PLANS)
