"""The methods, number by number, against the formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.merge.methods import linear, merge_deltas
from trimix_cpp.merge.precision import ROUND

PLAIN = ROUND["F32"]
numbers = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.0])


def ties(base: float, deltas: list[float], weights: list[float], normalize: bool) -> float:
    """Yadav et al. 2023, one number at a time, as mergekit weighs it."""
    weighted = [w * d for w, d in zip(weights, deltas, strict=True)]
    sign = 1 if sum(weighted) >= 0 else -1
    chosen = [i for i, value in enumerate(weighted) if value * sign > 0]
    mixed = sum(weighted[i] for i in chosen)
    share = sum(weights[i] for i in chosen)
    return base + (mixed / share if normalize and share else mixed)


@given(
    base=numbers,
    deltas=st.lists(numbers, min_size=1, max_size=4),
    weights=st.lists(st.sampled_from([0.25, 0.5, 1.0, 2.0]), min_size=4, max_size=4),
    normalize=st.booleans(),
)
def test_ties(base: float, deltas: list[float], weights: list[float], normalize: bool) -> None:
    weights = weights[: len(deltas)]
    arrays = [np.array([delta], np.float32) for delta in deltas]
    start = np.array([base], np.float32)
    found = merge_deltas("ties", start, arrays, weights, normalize=normalize, scale=1, round=PLAIN)
    assert found == pytest.approx([ties(base, deltas, weights, normalize)], rel=1e-6)


def test_the_papers_settings() -> None:
    """What is alone comes in full; together 0.2 and 0.8; in conflict the greater weighted one."""
    base = np.zeros(4, np.float32)
    cpt = np.array([0.5, 0.5, 0.5, -3.0], np.float32)
    instruct = np.array([0.0, 1.0, -1.0, 0.5], np.float32)
    found = merge_deltas(
        "ties", base, [cpt, instruct], [0.2, 0.8], normalize=True, scale=1, round=PLAIN
    )
    np.testing.assert_allclose(found, [0.5, 0.2 * 0.5 + 0.8 * 1.0, -1.0, -3.0], rtol=1e-6)


def test_task_arithmetic_adds() -> None:
    rng = np.random.default_rng(0)
    base, one, two = rng.standard_normal((3, 50)).astype(np.float32)
    how = {"scale": 0.5, "round": PLAIN}
    found = merge_deltas("task-arithmetic", base, [one, two], [0.3, 0.9], normalize=False, **how)
    expected = base + 0.5 * (np.float64(0.3) * one + np.float64(0.9) * two)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    shared = merge_deltas("task-arithmetic", base, [one, two], [0.3, 0.9], normalize=True, **how)
    np.testing.assert_allclose(shared - base, (found - base) / 1.2, rtol=1e-3, atol=1e-6)


def test_linear_is_a_mean() -> None:
    rng = np.random.default_rng(0)
    models = list(rng.standard_normal((3, 50)).astype(np.float32))
    mean = linear(models, [1, 2, 5], normalize=True)
    np.testing.assert_allclose(mean, np.average(models, axis=0, weights=[1, 2, 5]), atol=1e-6)
    total = linear(models, [1, 2, 5], normalize=False)
    np.testing.assert_allclose(total, 8 * mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_every_operation_is_rounded(dtype: str) -> None:
    round = ROUND[dtype]
    rng = np.random.default_rng(1)
    base, one, two = map(round, rng.standard_normal((3, 500)).astype(np.float32))
    found = merge_deltas("ties", base, [one, two], [0.2, 0.8], normalize=True, scale=1, round=round)
    np.testing.assert_array_equal(round(found), found)
    exact = merge_deltas("ties", base, [one, two], [0.2, 0.8], normalize=True, scale=1, round=PLAIN)
    assert 0 < np.abs(found - exact).max() < 0.05
