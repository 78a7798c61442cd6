"""Speculative decoding: the same text as plain stepping, and a policy that does not lose."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.draft_guesses import MOST_DRAFTS, Lookup, Offset
from trimix_cpp.decoding.policy import Belief
from trimix_cpp.decoding.speculation import Speculator
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Trio
from trimix_cpp.fusion.arrays import Row
from trimix_cpp.fusion.choosers import EntChooser, PplChooser
from trimix_cpp.fusion.observers import Observer
from trimix_cpp.fusion.sampling import Sampler
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.llama.context import Context
from trimix_cpp.store.spec import RoleSpec, TrioSpec

from ..conftest import QUICK, ROLES
from .test_decoder import PROMPTS, SCRIPT, TIBETAN, UYGHUR, interrupted_at

DRAFTING = dataclasses.replace(QUICK, n_outputs=16)


def generate(
    trio: Trio, speculator: Speculator | None, prompt: str, **options: object
) -> tuple[Text, str]:
    """One sequence to its end, and its text as it was streamed."""
    decoder = Decoder(trio, speculator, keep=False)
    defaults: dict[str, object] = {"weights": Weights(0.3, 0.9), "max_tokens": 24}
    text = Text(trio.tokenize(prompt), **{**defaults, **options})  # type: ignore[arg-type]
    return text, "".join(decoder.stream(text))


@pytest.mark.parametrize("depth", [1, 3, 7])
@pytest.mark.parametrize("pair", [(0.1, 0.9), (0.3, 0.9), (0.7, 0.5), (0.9, 0.3)])
def test_drafts_change_nothing_on_f32_models(
    tiny_spec: TrioSpec, pair: tuple[float, float], depth: int
) -> None:
    """Float32 weights round alike in small batches on one thread: the very same tokens come."""
    with Trio(tiny_spec, ROLES, DRAFTING) as trio:
        for sampler in (Sampler(), Sampler(temperature=0.9, seed=4), Sampler(repeat_penalty=1.4)):
            plain, text = generate(trio, None, UYGHUR, weights=Weights(*pair), sampler=sampler)
            speculator = Speculator(depth)
            drafted, drafted_text = generate(
                trio, speculator, UYGHUR, weights=Weights(*pair), sampler=sampler
            )
            assert drafted.tokens == plain.tokens
            assert (drafted_text, drafted.stop) == (text, plain.stop)
            assert speculator.rounds > 0


@pytest.mark.parametrize("n_texts", [2, 3, 4])
@pytest.mark.parametrize("depth", [1, 5, None])
def test_a_few_texts_are_drafted_for_together(
    tiny_spec: TrioSpec, n_texts: int, depth: int | None
) -> None:
    """Each comes out as it does alone, whatever the others do and wherever they end."""
    options = dataclasses.replace(DRAFTING, n_parallel=4, n_outputs=32)
    prompts = [UYGHUR, TIBETAN, PROMPTS[0], UYGHUR + TIBETAN][:n_texts]
    samplers = [Sampler(), Sampler(temperature=0.8, seed=3), Sampler(), Sampler(repeat_penalty=1.3)]

    def texts(trio: Trio) -> list[Text]:
        return [
            Text(trio.tokenize(prompt), Weights(0.3, 0.9), sampler, max_tokens=10 + 7 * i)
            for i, (prompt, sampler) in enumerate(zip(prompts, samplers, strict=False))
        ]

    with Trio(tiny_spec, ROLES, options) as trio:
        alone = [next(iter(Decoder(trio, keep=False).run([text]))) for text in texts(trio)]
        speculator, together = Speculator(depth), texts(trio)
        list(Decoder(trio, speculator, keep=False).run(together))
        assert [text.tokens for text in together] == [text.tokens for text in alone]
        assert [text.stop for text in together] == [text.stop for text in alone]
        assert depth is None or speculator.rounds > 0


@pytest.mark.parametrize("chooser", [PplChooser, EntChooser])
def test_drafts_follow_weights_that_each_prompt_chooses(
    tiny_spec: TrioSpec, chooser: Callable[[], Observer]
) -> None:
    with Trio(tiny_spec, ROLES, DRAFTING) as trio:
        for control in ("fused", "large"):
            plain, _ = generate(trio, None, TIBETAN, chooser=chooser(), control=control)
            speculator = Speculator(3)
            drafted, _ = generate(trio, speculator, TIBETAN, chooser=chooser(), control=control)
            assert (drafted.weights, drafted.tokens) == (plain.weights, plain.tokens)
            assert speculator.rounds > 0 or len(plain.weights.roles) == 1


# Exact mode is a switch of the whole process, so it is tried in a child.
def exact_run(case: str, threads: int, files: dict[str, Path]) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), case, str(threads), *(str(files[r]) for r in ROLES)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_drafts_are_bit_for_bit_in_exact_mode(demo_files: dict[str, Path]) -> None:
    assert exact_run("drafts", 1, demo_files) == "equal"


@pytest.mark.slow
def test_hundreds_of_prompts_are_bit_for_bit_in_exact_mode(demo_files: dict[str, Path]) -> None:
    assert exact_run("many-drafts", 2, demo_files) == "equal"


def test_cpt_drafts_are_accepted_where_cpt_carries_the_weight(demo_trio_drafting: Trio) -> None:
    speculator = Speculator(3)
    generate(demo_trio_drafting, speculator, PROMPTS[0], weights=Weights(0.1, 0.9), max_tokens=60)
    assert speculator.accepted / speculator.drafted > 0.5


@pytest.fixture
def demo_trio_drafting(demo_spec: TrioSpec) -> Trio:
    with Trio(demo_spec, ROLES, DRAFTING) as trio:
        yield trio  # type: ignore[misc]


def test_limits_end_a_round_where_they_end_a_step(demo_trio_drafting: Trio) -> None:
    trio = demo_trio_drafting
    plain, _ = generate(trio, None, PROMPTS[0], weights=Weights(0, 1), max_tokens=30)
    for most in range(1, 9):
        drafted, _ = generate(
            trio, Speculator(5), PROMPTS[0], weights=Weights(0.1, 0.9), max_tokens=most
        )
        assert len(drafted.generated) <= most
        assert drafted.stop in ("length", "end")
    stop = plain.text[2:5]
    weights = Weights(0.1, 0.9)
    expected, text = generate(trio, None, PROMPTS[0], weights=weights, stops=(stop,))
    drafted, streamed = generate(trio, Speculator(5), PROMPTS[0], weights=weights, stops=(stop,))
    assert (drafted.text, streamed, drafted.stop) == (expected.text, text, expected.stop)


def test_the_context_is_never_overrun(tiny_spec: TrioSpec) -> None:
    options = dataclasses.replace(DRAFTING, n_ctx=256)
    with Trio(tiny_spec, ROLES, options) as trio:
        prompt = [7] * 245
        texts = []
        for speculator in (None, Speculator(15)):
            decoder = Decoder(trio, speculator, keep=False)
            (done,) = decoder.run([Text(prompt, Weights(0.3, 0.9))])
            texts.append(done.tokens)
            assert done.stop in ("context", "end")
        assert texts[0] == texts[1]


def test_an_interrupted_round_leaves_the_sequence_in_order(
    tiny_spec: TrioSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Trio(tiny_spec, ROLES, DRAFTING) as trio:
        reference, whole = generate(trio, None, "salam dunya", max_tokens=12)
        for stop_at in range(1, 25):
            decoder = Decoder(trio, Speculator(3), keep=False)
            text = Text(trio.tokenize("salam dunya"), Weights(0.3, 0.9), max_tokens=12)
            shown: list[str] = []
            with interrupted_at(stop_at, monkeypatch), suppress(KeyboardInterrupt):
                shown.extend(decoder.stream(text))
            shown.extend(decoder.stream(text))
            assert (text.tokens, "".join(shown)) == (reference.tokens, whole)


def test_a_draft_model_drafts_and_takes_no_part(tiny_files: dict[str, Path]) -> None:
    roles = {role: RoleSpec(path) for role, path in tiny_files.items()}
    spec = TrioSpec("drafted", {**roles, "draft": RoleSpec(tiny_files["cpt"])})
    options = dataclasses.replace(DRAFTING, n_batch=16)
    with Trio(spec, ROLES, options) as trio:
        text = UYGHUR + TIBETAN  # longer than a batch: the drafter catches up in pieces
        plain, _ = generate(trio, None, text)
        speculator = Speculator(3, draft_role="draft")
        drafted, _ = generate(trio, speculator, text)
        assert drafted.tokens == plain.tokens
        assert speculator.rounds > 0


def test_a_lookup_finds_how_the_text_went_on() -> None:
    lookup = Lookup()
    sequence = Text([1, 2, 3, 4, 5, 9, 2, 3], Weights(1, 0))
    assert lookup.find(sequence)
    assert lookup.guesses[:3] == [4, 5, 9]
    sequence.tokens += [4, 7]
    assert not lookup.find(sequence)
    sequence.tokens += [9, 2, 3]
    assert lookup.find(sequence)
    assert lookup.guesses[:2] == [4, 7]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 7))
def test_a_lookup_agrees_with_a_plain_search(tokens: list[int], step: int) -> None:
    """Grown piece by piece, it finds what a search of the whole text finds."""
    lookup = Lookup()
    sequence = Text(tokens[:1], Weights(1, 0))
    for length in [*range(1, len(tokens), step), len(tokens)]:
        sequence.tokens = tokens[:length]
        lookup.find(sequence)
    expected: list[int] = []
    for n in (4, 3, 2):
        ends = [e for e in range(n, len(tokens)) if tokens[e - n : e] == tokens[-n:]]
        if ends and len(tokens) >= n:
            expected = tokens[ends[-1] : ends[-1] + MOST_DRAFTS]
            break
    assert lookup.guesses == expected


def test_a_lookup_knows_nothing_of_another_text() -> None:
    """Of a former turn's tokens that a new one replaced, too."""
    lookup = Lookup()
    lookup.find(Text([1, 2, 3, 4, 5, 1, 2, 3, 9], Weights(1, 0)))
    turn = Text([1, 2, 3, 4, 7, 7, 7, 1, 2, 3, 4, 5, 8, 1, 2], Weights(1, 0))
    fresh = Lookup()
    assert (lookup.find(turn), lookup.guesses) == (fresh.find(turn), fresh.guesses)
    assert lookup.guesses[:1] == [3]


def test_other_weights_begin_with_a_clean_sheet() -> None:
    policy = Speculator()
    policy.plan([Text([1], Weights(0.1, 0.9))], 15)
    for _ in range(9):
        policy.note_step(2.0)
    policy.belief("cpt").note(0, 50)
    policy.offset("cpt").note(np.ones(3, np.float32), np.zeros(3, np.float32))
    policy.plan([Text([1], Weights(0.2, 0.8))], 15)  # the same roles, another distribution
    assert policy.belief("cpt") == Belief()
    assert policy.offset("cpt").row is None
    assert policy._steps[1].n == 9
    policy.plan([Text([1], Weights(0.3, 0.9))], 15)  # base joins
    assert policy._steps[1].n == 0


def test_caches_that_cannot_be_cut_are_not_drafted_for(
    tiny_spec: TrioSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every round emptied them, and a step of the whole prompt passed for the cost of a round."""
    plain = Context.remove

    def like_a_recurrent_one(self: Context, sequence: int, start: int, stop: int = -1) -> bool:
        if 0 < start <= self.last_position(sequence):
            return False
        return plain(self, sequence, start, stop)

    with Trio(tiny_spec, ROLES, DRAFTING) as trio:
        expected, _ = generate(trio, None, UYGHUR)
        monkeypatch.setattr(Context, "remove", like_a_recurrent_one)
        speculator = Speculator(3)
        found, _ = generate(trio, speculator, UYGHUR)
        assert speculator.rounds <= 3  # until a wrong draft has shown it
        assert found.tokens == expected.tokens


@given(
    arrays(np.float32, 20, elements=st.floats(-30, 30, width=32)),
    st.integers(0, 2**32),
    st.floats(-5, 5),
)
def test_an_offset_learns_what_is_always_added(added: Row, seed: int, constant: float) -> None:
    """Three quarters of it, and nothing of a constant, which changes no choice."""
    rows = np.random.default_rng(seed).normal(0, 10, (80, 20)).astype(np.float32)
    offset = Offset()
    assert (offset.add_to(rows[0]) == rows[0]).all()
    for row in rows:
        before = row.copy()
        offset.note(row + added + np.float32(constant), row)
        assert (row == before).all()
    learned = offset.add_to(rows[0]) - rows[0]
    assert learned == pytest.approx(0.75 * (added - added.mean()), abs=0.02)


def test_an_offset_makes_more_drafts_right(demo_trio_drafting: Trio) -> None:
    """On the bundled trio, with base at work; over running text enough to tell."""
    running = Path(__file__).parents[1] / "impact" / "quantization" / "udhr-uig.txt"
    lines = [line[:60] for line in running.read_text("utf-8").splitlines() if len(line) > 40]

    class Unlearned(Speculator):
        def offset(self, name: str) -> Offset:
            return Offset()

    right = []
    for speculator in (Speculator(3), Unlearned(3)):
        for prompt in lines[:4]:
            generate(demo_trio_drafting, speculator, prompt, max_tokens=100)
        right.append(speculator.accepted / speculator.rounds)
    assert right[0] > right[1]


def test_plain_steps_tell_how_often_drafts_would_be_right(demo_trio_drafting: Trio) -> None:
    """Before anything is drafted, and as rounds find it."""

    class Plain(Speculator):
        def plan(self, texts: Sequence[Text], most: int) -> None:
            super().plan(texts, most)

    for pair in ((0.1, 0.9), (0.9, 0.3)):
        seen, tried = Plain(), Speculator(1)
        for speculator in (seen, tried):
            for prompt in (UYGHUR, *PROMPTS):
                weights = Weights(*pair)
                generate(demo_trio_drafting, speculator, prompt, weights=weights, max_tokens=60)
        assert seen.rounds == 0 < tried.rounds
        rates = [speculator.belief("cpt").rate for speculator in (seen, tried)]
        assert rates[0] == pytest.approx(rates[1], abs=0.25)
