"""Filters against plain definitions, and the noise against the distribution it must give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trimix_cpp.errors import TrimixError
from trimix_cpp.fusion.sampling import Sampler, gumbel_noise, penalise, top_k

N = 40
# Few distinct values, so that ties are common.
logits_rows = arrays(np.float32, N, elements=st.sampled_from([-3, -1, 0, 0.5, 1, 2, 4]))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x.astype(np.float64) - x.max())
    return e / e.sum()


@given(logits_rows)
def test_greedy_takes_the_lowest_id_of_the_best(logits: np.ndarray) -> None:
    best = min(i for i in range(N) if logits[i] == max(logits))
    assert Sampler(temperature=0).pick(logits, [], 0) == best


@given(logits_rows, st.integers(0, N + 5))
def test_top_k_is_a_stable_sort(logits: np.ndarray, k: int) -> None:
    expected = sorted(range(N), key=lambda i: (-logits[i], i))[: k or N]
    assert top_k(logits, k).tolist() == expected


@given(logits_rows, st.floats(0, 1))
def test_top_p_keeps_the_least_set_that_reaches_p(logits: np.ndarray, p: float) -> None:
    kept = Sampler(temperature=1, top_k=0, top_p=p, min_p=0).keep(logits)
    order = sorted(range(N), key=lambda i: (-logits[i], i))
    mass = softmax(logits)
    assert sorted(order[: len(kept)]) == kept.tolist()
    if p < 1:
        assert mass[order[: len(kept)]].sum() >= p - 1e-9
        assert len(kept) == 1 or mass[order[: len(kept) - 1]].sum() < p + 1e-9


@given(logits_rows, st.floats(0, 1))
def test_min_p(logits: np.ndarray, p: float) -> None:
    kept = set(Sampler(temperature=1, top_k=0, top_p=1, min_p=p).keep(logits).tolist())
    mass = softmax(logits)
    for i in range(N):
        if mass[i] > p * mass.max() * (1 + 1e-5):
            assert i in kept
        if mass[i] < p * mass.max() * (1 - 1e-5):
            assert i not in kept


@given(logits_rows, st.lists(st.integers(0, N - 1), max_size=10), st.floats(0.5, 2))
def test_repeat_penalty_is_llama_cpps(
    logits: np.ndarray, recent: list[int], penalty: float
) -> None:
    before = logits.copy()
    after = penalise(logits, recent, penalty)
    np.testing.assert_array_equal(logits, before)
    for i in range(N):
        expected = before[i]
        if i in recent:
            expected = expected * penalty if expected <= 0 else expected / penalty
        assert after[i] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("last", "free"), [(0, True), (2, True), (3, False), (-1, False)])
def test_the_penalty_looks_back_so_far(last: int, free: bool) -> None:
    logits = np.array([2.0, 1.5, 0, 0], np.float32)
    sampler = Sampler(repeat_penalty=2, repeat_last_n=last)
    assert (sampler.pick(logits, [0, 2, 3], 3) == 0) is free


def test_draws_follow_the_distribution() -> None:
    logits = np.log(np.array([0.5, 0.25, 0.15, 0.1], np.float32))
    draws = 20000
    for temperature in (1.0, 0.5):
        sampler = Sampler(temperature=temperature, top_k=0, top_p=1, min_p=0, seed=0)
        counts = np.bincount([sampler.pick(logits, [], i) for i in range(draws)], minlength=4)
        expected = softmax(logits / temperature) * draws
        chi_square = ((counts - expected) ** 2 / expected).sum()
        assert chi_square < 16.3  # 3 degrees of freedom, p = 0.001; the seed is fixed


def test_noise_is_standard_gumbel() -> None:
    noise = gumbel_noise(7, 3, np.arange(200_000))
    assert np.isfinite(noise).all()
    assert noise.mean() == pytest.approx(0.5772, abs=0.01)
    assert noise.var() == pytest.approx(np.pi**2 / 6, abs=0.03)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**31), st.integers(0, 262_143))
def test_noise_depends_on_seed_position_and_token_alone(seed: int, at: int, token: int) -> None:
    alone = gumbel_noise(seed, at, np.array([token]))[0]
    among = gumbel_noise(seed, at, np.array([5, token, 9]))[1]
    assert alone == among
    others = [(seed ^ 1, at, token), (seed, at + 1, token), (seed, at, token + 1)]
    assert all(gumbel_noise(s, p, np.array([t]))[0] != alone for s, p, t in others)


def test_filters_do_not_change_the_draw_among_what_they_leave() -> None:
    rng = np.random.default_rng(0)
    for position in range(200):
        logits = rng.normal(0, 3, N).astype(np.float32)
        wide = Sampler(temperature=0.7, top_k=0, top_p=1, min_p=0, seed=5)
        narrow = Sampler(temperature=0.7, top_k=5, top_p=1, min_p=0, seed=5)
        drawn = wide.pick(logits, [], position)
        if drawn in narrow.keep(logits):
            assert narrow.pick(logits, [], position) == drawn


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 1.1},
        {"min_p": -0.1},
        {"repeat_penalty": 0},
        {"repeat_last_n": -2},
        {"seed": -1},
        {"seed": 2**64},
    ],
)
def test_settings_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(TrimixError, match="must be"):
        Sampler(**bad)  # type: ignore[arg-type]
