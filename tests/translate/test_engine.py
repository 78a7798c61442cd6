"""Units through real models: the same answers however they are batched, second attempts, limits."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.decoding import Decoder, Text
from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.documents.segments import Segment
from trimix_cpp.errors import TrimixError
from trimix_cpp.fusion.answers import AnswersChooser, ByAnswers
from trimix_cpp.fusion.choosers import PplChooser
from trimix_cpp.fusion.sampling import Sampler
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.llama import supports_gpu
from trimix_cpp.prompts.languages import language
from trimix_cpp.store.spec import TrioSpec
from trimix_cpp.translate.capacity import Machine
from trimix_cpp.translate.engine import Translator, _Attempt
from trimix_cpp.translate.recipe import MIN_ANSWER, NO_HINTS, Hints, Recipe, Term, read_shots, size
from trimix_cpp.translate.units import Layout, Outcome, Unit, lay_out

from ..conftest import QUICK, ROLES

ENG, UIG, BOD = language("eng"), language("uig"), language("bod")
SHOTS = (("Close", "تاقا"), ("Save the file", "ھۆججەتنى ساقلا"), ("Print…", "باس…"))
TEXTS = ["Open file", "Close the window", "Select all", "New folder", "Cannot open %s", "Print"]
TASK = Recipe(ENG, UIG, Weights(0.9, 0.3), max_tokens=24)


def options(parallel: int, n_ctx: int = 256) -> Options:
    return dataclasses.replace(QUICK, n_parallel=parallel, n_ctx=n_ctx)


def translate(spec: TrioSpec, recipe: Recipe, texts: list[str], **how: int) -> dict[str, Outcome]:
    with Trio(spec, ROLES, options(how.get("parallel", 4), how.get("n_ctx", 256))) as trio:
        done = list(Translator(trio, recipe).run(Unit(text) for text in texts))
    assert len(done) == len(texts)
    return {unit.text: outcome for unit, outcome in done}


def test_tibetan_and_uyghur_come_out_whole(demo_spec: TrioSpec) -> None:
    texts = ["ཡིག་ཆ་ཁ་ཕྱེ།", "བོད་ཡིག", "ཀྲུང་གོ་མི་དམངས།"]
    for target in (UIG, ENG):
        recipe = Recipe(BOD, target, Weights(0.9, 0.3), max_tokens=12, sampler=Sampler(1.0, seed=1))
        for outcome in translate(demo_spec, recipe, texts, parallel=3).values():
            assert outcome.text is not None
            assert "\ufffd" not in outcome.text
            assert "\n" not in outcome.text


def test_a_lost_placeholder_is_tried_once_more_and_told(demo_spec: TrioSpec) -> None:
    texts = [f"%{i}$s {word} {{name}}" for i, word in enumerate(TEXTS[:3], 1)] + ["Open", "Close"]
    # One at a time: in the fast mode what else is in the batch may change an answer.
    once = translate(demo_spec, dataclasses.replace(TASK, retry=False), texts, parallel=2)
    twice = translate(demo_spec, TASK, texts, parallel=2)
    assert any(outcome.retried for outcome in twice.values())
    for text in texts:
        first, last, unit = once[text], twice[text], Unit(text)
        assert not first.retried
        assert last.retried == bool(unit.broken(first.text or ""))
        assert len(last.reasons) <= len(first.reasons)
        assert set(unit.broken(last.text or "")) <= set(last.reasons)
        assert (last.tokens > first.tokens) if last.retried else (last == first)


def test_the_last_unit_gets_its_second_attempt_too(demo_spec: TrioSpec) -> None:
    (outcome,) = translate(demo_spec, TASK, ["%1$s {name} %2$s Open"]).values()
    assert outcome.retried


def test_the_answers_of_the_exemplars_choose_for_all_texts(demo_spec: TrioSpec) -> None:
    recipe = dataclasses.replace(TASK, shots=SHOTS, chooser=ByAnswers())
    found = translate(demo_spec, recipe, TEXTS)
    with Trio(demo_spec, ROLES, options(1, 256)) as trio, Decoder(trio) as decoder:
        tokens = trio.tokenize(recipe.prompt("", len(SHOTS)))
        pieces, shown = [trio.piece(token) for token in tokens], []
        whole = b"".join(pieces)
        for _, answer in SHOTS:
            start = whole.index(f" {answer}\n".encode())
            ends = np.cumsum([len(piece) for piece in pieces])
            first, last = np.searchsorted(ends, [start, start + len(f" {answer}\n".encode())])
            shown.append((int(first) + 1, int(last) + 1))
        chooser = AnswersChooser(shown)
        list(decoder.run([Text(tokens, Weights(0, 1), max_tokens=0, observers=(chooser,))]))
    (weights,) = {outcome.weights for outcome in found.values()}
    assert weights == chooser.end({})
    assert weights != TASK.weights


def test_the_answers_of_a_memory_choose_once_where_no_exemplars_are(demo_spec: TrioSpec) -> None:
    judged = tuple((f"{text} {i}", f"{answer} {i}") for i in range(3) for text, answer in SHOTS)
    recipe = dataclasses.replace(TASK, judged=judged, chooser=ByAnswers(), varied=True)
    hints = Hints(SHOTS)
    chosen = []
    for parallel in (1, 4):
        with Trio(demo_spec, ROLES, options(parallel)) as trio:
            units = [Unit(text, hints=hints) for text in TEXTS[:3]]
            (weights,) = {o.weights for _, o in Translator(trio, recipe).run(units)}
            chosen.append(weights)
    assert chosen[0] == chosen[1] != TASK.weights


def test_a_chooser_looks_at_the_text_alone_whatever_its_exemplars(demo_spec: TrioSpec) -> None:
    recipe = dataclasses.replace(TASK, shots=SHOTS, chooser=PplChooser)
    with Trio(demo_spec, ROLES, options(1)) as trio:
        translator = Translator(trio, dataclasses.replace(recipe, varied=True))
        for hints in (
            NO_HINTS,
            Hints(SHOTS[::-1]),
            Hints(terms=(Term(SHOTS[0][0], SHOTS[0][1:]),)),
            Hints(context="Use: x\n"),
        ):
            unit = Unit("Open file", hints=hints)
            tokens, shots = translator._fit(unit) or ([], 0)
            start = translator._start(_Attempt(unit, shots=shots), tokens)
            own = b"".join(trio.piece(token) for token in tokens[start + 1 :]).decode()
            assert own.strip() == "Open file\nUyghur:"


def test_what_stands_around_a_text_goes_where_there_is_no_room(demo_spec: TrioSpec) -> None:
    unit = Unit("Open", hints=Hints(context="Note: " + "word " * 300 + "\n"))
    with Trio(demo_spec, ROLES, options(1)) as trio:
        (done,) = Translator(trio, TASK).run([unit])
    assert done[0] == unit
    assert done[1].text


def test_exemplars_are_dropped_from_the_front_then_the_text_is_refused(demo_spec: TrioSpec) -> None:
    recipe = dataclasses.replace(TASK, shots=SHOTS, max_tokens=16)
    long = "Open the file and close it again " * 12
    with Trio(demo_spec, ROLES, options(1, 512)) as trio:

        def needed(text: str, shots: int) -> int:
            return len(trio.tokenize(recipe.prompt(text, shots))) + 16

        n_ctx = needed(long, 1)
        assert needed("Open", 3) <= n_ctx < needed(long, 2)
        endless = "word " * n_ctx
    found = translate(demo_spec, recipe, ["Open", long, endless], n_ctx=n_ctx)
    assert found["Open"].shots == 3
    assert found[long].shots == 1
    assert found[endless].text is None
    assert "too long" in found[endless].reasons[0]


@pytest.mark.parametrize("n_ctx", [1, 8, 16, 32])
def test_a_context_that_holds_no_prompt_is_told(demo_spec: TrioSpec, n_ctx: int) -> None:
    words = rf"-c {n_ctx} has no room for a text.* give \d+"
    with Trio(demo_spec, ROLES, options(2, n_ctx)) as trio, pytest.raises(TrimixError, match=words):
        Translator(trio, dataclasses.replace(TASK, shots=SHOTS))


def test_an_answer_at_its_limit_is_flagged(demo_spec: TrioSpec) -> None:
    recipe = dataclasses.replace(TASK, max_tokens=2)
    (outcome,) = translate(demo_spec, recipe, ["Use the system default fonts."]).values()
    assert outcome.tokens == 2
    assert "ran into the token limit" in outcome.reasons


def test_weights_are_chosen_for_each_text(demo_spec: TrioSpec) -> None:
    recipe = dataclasses.replace(TASK, shots=SHOTS, chooser=PplChooser, max_tokens=4)
    found = translate(demo_spec, recipe, TEXTS)
    assert len({outcome.weights for outcome in found.values()}) > 1


def test_names_of_control_tokens_in_a_text_are_text(demo_spec: TrioSpec) -> None:
    with Trio(demo_spec, ROLES, options(2)) as trio:
        translator = Translator(trio, TASK)
        tokens, _ = translator._fit(Unit("a <|im_end|> b")) or ([], 0)
        control = set(trio.alignment.ends())
        assert tokens
        assert not control & set(tokens)


@pytest.mark.parametrize("case", ["alone", "together", "weights", "memory"])
def test_in_exact_mode_only_the_text_decides(case: str, demo_files: dict[str, Path]) -> None:
    """In a process of its own: exact mode must be chosen before a fast decode."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.translate.exact_runs", case,
         *(str(demo_files[role]) for role in ROLES)],
        capture_output=True, text=True, cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert done.stdout.strip() == "equal", done.stdout + done.stderr


@pytest.fixture
def machine(demo_spec: TrioSpec) -> Iterator[Machine]:
    return Machine(demo_spec, ROLES, Options())  # type: ignore[return-value]


def test_the_context_holds_the_longest_prompt_and_its_answer(
    machine: Machine, demo_spec: TrioSpec
) -> None:
    texts = ["Open", "ھۆججەت " * 9, "a b c d " * 12, "བོད་ཡིག་" * 4]
    units = [Unit(text.strip()) for text in texts]
    with Trio(demo_spec, ROLES, options(1, 512)) as trio:
        for shots in ((), SHOTS):
            recipe = dataclasses.replace(TASK, shots=shots)
            needed = max(len(trio.tokenize(recipe.prompt(u.text, len(shots)))) + 24 for u in units)
            given = machine.context_length(recipe, units)
            assert needed <= given <= needed + 80
    roomy = dataclasses.replace(TASK, max_tokens=5000)
    assert machine.context_length(roomy, units) == 512, "what the models were trained for"


def test_places_fit_the_memory_and_the_texts(machine: Machine) -> None:
    assert machine.parallel(256, 3) == 3
    assert machine.parallel(256, 10_000) >= 8
    assert machine.parallel(10**9, 10_000) == 1
    assert machine.places(5) == 6


def test_flash_attention_is_the_users_or_what_is_faster(
    machine: Machine, demo_spec: TrioSpec
) -> None:
    assert machine.flash_attn(10**6, 17) is None, "too much memory without it"
    if not supports_gpu():
        assert machine.flash_attn(256, 17) is False
    for wanted in (Options(flash_attn=True), Options(exact=True), Options(type_v={"cpt": "q8_0"})):
        assert Machine(demo_spec, ROLES, wanted).flash_attn(256, 17) == wanted.flash_attn


def test_float_weights_run_alone_in_exact_mode(tiny_spec: TrioSpec) -> None:
    exact = Machine(tiny_spec, ROLES, Options(exact=True))
    assert exact.parallel(64, 100) == 1
    assert exact.places(1) == 1
    assert Machine(tiny_spec, ROLES, Options()).parallel(64, 100) > 1


def test_shots_are_pairs() -> None:
    assert read_shots("a\tب\r\n\n Open \tئاچ \n", "f") == [("a", "ب"), ("Open", "ئاچ")]


@pytest.mark.parametrize(
    ("text", "words"),
    [("a\tb\nc", "line 2"), ("a\tb\tc", "3 columns"), ("a\t", "empty"), ("", "no")],
)
def test_shots_that_are_no_pairs_name_the_line(text: str, words: str) -> None:
    with pytest.raises(TrimixError, match=words):
        read_shots(text, "f")


def test_long_texts_may_have_long_answers() -> None:
    recipe = Recipe(ENG, UIG, Weights(1, 0))
    assert recipe.answer_limit("a") == MIN_ANSWER
    assert recipe.answer_limit("a" * 400) == 1000
    assert size("你好a") == 7


LINES = st.text(st.sampled_from("ab .!%s&_\n\t1ئا།བ你"), max_size=60)


def same(layout: Layout) -> dict[Unit, Outcome]:
    return {unit: Outcome(unit.text) for unit in layout.asked}


@given(LINES, st.integers(0, 12), st.booleans())
def test_a_layout_of_its_own_texts_is_the_segment(text: str, cut: int, labels: bool) -> None:
    (layout,) = lay_out([Segment(0, text, "f:1")], cut=cut, labels=labels)
    result = layout.result(same(layout))
    assert result is not None
    # Where a sentence ended without a space after it, a translation gets one.
    assert result.text.replace(" ", "") == text.replace(" ", "")
    assert all(unit.text == unit.text.strip() != "" for unit in layout.asked)
    assert all("\n" not in unit.text for unit in layout.asked)


def test_a_part_that_cannot_be_translated_stays_and_is_flagged() -> None:
    (layout,) = lay_out([Segment(0, "Open\n\n  Close ", "f:1")], cut=0, labels=False)
    one, two = layout.asked
    bad = Outcome(None, ("is too long",))
    result = layout.result({one: bad, two: Outcome("تاقا")})
    assert result is not None
    assert (result.text, result.flagged, result.reasons) == (
        "Open\n\n  تاقا ",
        True,
        ("is too long",),
    )
    assert layout.result({one: bad, two: bad}) is None


def test_an_accelerator_is_kept_from_the_models_and_appended() -> None:
    unit = Unit("_Open file…", label=True)
    assert unit.asked == "Open file…"
    assert unit.answered("ھۆججەت ئاچ…") == "ھۆججەت ئاچ(_O)…"
    assert unit.broken(unit.answered("ھۆججەت ئاچ…")) == ()
    assert unit.answered("") == ""
    assert Unit("_Open file…").asked == "_Open file…"
