"""Speculative decoding: the same text as plain stepping, and a policy that does not lose."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimix_cpp.decoding import Decoder, Sequence
from trimix_cpp.fusion import Weights
from trimix_cpp.sampling import Sampler
from trimix_cpp.spec import RoleSpec, TrioSpec
from trimix_cpp.speculation import DEPTHS, Acceptance, Draft, Lookup, Speculator, expected_tokens
from trimix_cpp.trio import Trio

from .conftest import QUICK, ROLES
from .test_decoding import PROMPTS, SCRIPT, TIBETAN, UYGHUR

DRAFTING = dataclasses.replace(QUICK, n_outputs=16)


def generate(
    trio: Trio, speculator: Speculator | None, prompt: str, **options: object
) -> tuple[Sequence, str]:
    """One sequence to its end, and its text as it was streamed."""
    decoder = Decoder(trio, speculator)
    defaults: dict[str, object] = {"weights": Weights(0.3, 0.9), "max_tokens": 24}
    sequence = Sequence(trio.tokenize(prompt), **{**defaults, **options})  # type: ignore[arg-type]
    decoder.add(sequence)
    text = "".join(decoder.stream(sequence))
    decoder.remove(sequence)
    return sequence, text


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
            decoder = Decoder(trio, speculator)
            sequence = Sequence(prompt, Weights(0.3, 0.9))
            (done,) = decoder.run([sequence])
            texts.append(done.tokens)
            assert done.stop in ("context", "end")
        assert texts[0] == texts[1]


def test_an_interrupted_round_leaves_the_sequence_in_order(
    tiny_spec: TrioSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Trio._feed
    with Trio(tiny_spec, ROLES, DRAFTING) as trio:
        reference, _ = generate(trio, None, "salam dunya", max_tokens=12)
        for stop_at in range(1, 25):
            calls = 0

            def interrupted(self: Trio, role: str, feeds: list) -> object:
                nonlocal calls
                rows = plain(self, role, feeds)
                calls += 1
                if calls == stop_at:  # noqa: B023
                    raise KeyboardInterrupt
                return rows

            decoder = Decoder(trio, Speculator(3))
            sequence = Sequence(trio.tokenize("salam dunya"), Weights(0.3, 0.9), max_tokens=12)
            decoder.add(sequence)
            monkeypatch.setattr(Trio, "_feed", interrupted)
            try:
                list(decoder.stream(sequence))
            except KeyboardInterrupt:
                monkeypatch.setattr(Trio, "_feed", plain)
                decoder.rewind(sequence, len(sequence.tokens))
                list(decoder.stream(sequence))
            monkeypatch.setattr(Trio, "_feed", plain)
            assert sequence.tokens == reference.tokens
            decoder.remove(sequence)


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
    sequence = Sequence([1, 2, 3, 4, 5, 9, 2, 3], Weights(1, 0))
    assert lookup.find(sequence)
    assert lookup.guesses[:3] == [4, 5, 9]
    sequence.tokens += [4, 7]
    assert not lookup.find(sequence)
    sequence.tokens += [9, 2, 3]
    assert lookup.find(sequence)
    assert lookup.guesses[:2] == [4, 7]


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 7))
def test_a_lookup_agrees_with_a_plain_search(tokens: list[int], step: int) -> None:
    """Grown piece by piece, it finds what a search of the whole text finds."""
    lookup = Lookup()
    sequence = Sequence(tokens[:1], Weights(1, 0))
    for length in [*range(1, len(tokens), step), len(tokens)]:
        sequence.tokens = tokens[:length]
        lookup.find(sequence)
    expected: list[int] = []
    for n in (4, 3, 2):
        ends = [e for e in range(n, len(tokens)) if tokens[e - n : e] == tokens[-n:]]
        if ends and len(tokens) >= n:
            expected = tokens[ends[-1] : ends[-1] + DEPTHS[-1]]
            break
    assert lookup.guesses == expected


@given(st.floats(0, 1), st.integers(0, 15))
def test_expected_tokens_is_the_mean_of_the_game(rate: float, depth: int) -> None:
    """Each draft is right with probability `rate` until one is wrong; one token comes anyway."""
    mean = sum(
        (accepted + 1) * rate**accepted * (1 - rate if accepted < depth else 1)
        for accepted in range(depth + 1)
    )
    assert expected_tokens(rate, depth) == pytest.approx(mean)


def simulate(rate: float, cost: Callable[[Draft | None], float], tokens: int) -> float:
    """Tokens a second of the adaptive policy over that of plain stepping, on a made-up machine."""
    noise = random.Random(0)
    policy = Speculator()
    sequence = Sequence([1], Weights(0.1, 0.9))
    seconds, done = 0.0, 0
    while done < tokens:
        draft = policy.plan(sequence, 15)
        took = cost(draft) * noise.uniform(0.95, 1.1)
        seconds += took
        if draft is None:
            policy.note_step(took, {"large": 4.0, "cpt": 1.0})
            done += 1
            continue
        accepted = 0
        while accepted < draft.depth and noise.random() < rate:
            accepted += 1
        policy.note_round(draft, accepted, took)
        done += accepted + 1
    return done * cost(None) / seconds


def machine(batch: float) -> Callable[[Draft | None], float]:
    """large takes 4 s a token and `batch` times that for each further token of a batch, cpt 1 s."""

    def cost(draft: Draft | None) -> float:
        if draft is None:
            return 5.0
        return (draft.depth + 1) * 1.0 + 4.0 * (1 + batch * draft.depth)

    return cost


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.8, 0.98])
@pytest.mark.parametrize("batch", [0.02, 0.13, 0.5, 1.0])
def test_the_policy_never_loses_and_wins_where_it_can(rate: float, batch: float) -> None:
    ratio = simulate(rate, machine(batch), 3000)
    cost = machine(batch)
    best = max([expected_tokens(rate, k) * 5 / cost(Draft("cpt", {"cpt": 1.0}, k)) for k in DEPTHS])
    # The noise alone makes a step 2.5 % slower than `cost` says.
    assert ratio > 0.97 / 1.025
    assert ratio > 0.9 * best / 1.025


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("batch", [0.13, 0.5, 1.0])
def test_a_short_text_pays_little_for_finding_out(rate: float, batch: float) -> None:
    assert simulate(rate, machine(batch), 100) > 0.85


def test_acceptance_follows_what_happens() -> None:
    acceptance = Acceptance()
    for _ in range(200):
        acceptance.note(3, 3)
    assert acceptance.rate > 0.97
    for _ in range(200):
        acceptance.note(0, 3)
    assert acceptance.rate < 0.03
