"""Weights and the fusion of rows, on arrays."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trimix_cpp.errors import TrimixError
from trimix_cpp.fusion.control import control_from_large, keep_plausible
from trimix_cpp.fusion.roles import ROLES
from trimix_cpp.fusion.rows import fuse, log_softmax
from trimix_cpp.fusion.sampling import Sampler
from trimix_cpp.fusion.weights import Weights, parse_weights

N = 17
rows = st.fixed_dictionaries(
    {role: arrays(np.float32, N, elements=st.floats(-40, 40, width=32)) for role in ROLES}
)
pairs = st.tuples(st.sampled_from([0, 0.1, 0.3, 0.5, 0.7, 0.9, 1]), st.floats(-1, 2))


def out() -> np.ndarray:
    return np.empty(N, np.float32)


@given(rows, pairs)
def test_equation_5(rows: dict[str, np.ndarray], pair: tuple[float, float]) -> None:
    alpha, beta = pair
    fused = fuse(rows, Weights(alpha, beta).coefficients, out())
    wide = {role: row.astype(np.float64) for role, row in rows.items()}
    expected = alpha * wide["large"] + beta * wide["cpt"] + (1 - alpha - beta) * wide["base"]
    np.testing.assert_allclose(fused, expected, atol=1e-4)


@given(rows, st.floats(-1, 2), st.floats(-1, 2), st.floats(-1, 2))
def test_equation_1(rows: dict[str, np.ndarray], alpha: float, beta: float, gamma: float) -> None:
    fused = fuse(rows, Weights(alpha, beta, gamma).coefficients, out())
    large, cpt, base, large_base = (rows[r].astype(np.float64) for r in ROLES)
    expected = base + alpha * (large - large_base) + beta * (cpt - base)
    expected += gamma * (large_base - base)
    np.testing.assert_allclose(fused, expected, atol=1e-3)


@pytest.mark.parametrize(("pair", "role"), [((1, 0), "large"), ((0, 1), "cpt"), ((0, 0), "base")])
@given(rows=rows)
def test_single_models_are_themselves(
    pair: tuple[float, float], role: str, rows: dict[str, np.ndarray]
) -> None:
    weights = Weights(*pair)
    assert weights.roles == (role,)
    assert fuse(rows, weights.coefficients, out()).tobytes() == rows[role].tobytes()


def test_published_pairs_that_sum_to_one_do_not_use_base() -> None:
    for alpha in (0.1, 0.3, 0.5, 0.7, 0.9):
        assert Weights(alpha, round(1 - alpha, 1)).roles == ("large", "cpt")
    assert Weights(0.3, 0.9).coefficients == {"large": 0.3, "cpt": 0.9, "base": -0.2}


@pytest.mark.parametrize("role", ROLES[:3])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_broken_logit_names_its_role(role: str, value: float) -> None:
    rows = {r: np.zeros(N, np.float32) for r in ROLES}
    rows[role][3] = value
    with pytest.raises(TrimixError, match=f"1 logits of {role} are not finite"):
        fuse(rows, Weights(0.3, 0.9).coefficients, out())


def test_overflow_is_told_from_a_broken_logit() -> None:
    rows = {r: np.full(N, 3e38, np.float32) for r in ROLES}
    with pytest.raises(TrimixError, match="weights are too large"):
        fuse(rows, {"large": 100.0}, out())


@pytest.mark.parametrize("text", ["", "a,b", "1", "0.1,nan", "inf,0", "1,2,3,4", "0.1;0.9", "٠,x"])
def test_weights_that_are_no_numbers(text: str) -> None:
    with pytest.raises(TrimixError, match=r"alpha,beta"):
        parse_weights(text)


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_weights_round_trip(alpha: float, beta: float) -> None:
    assert parse_weights(f"{alpha!r},{beta!r}") == Weights(alpha, beta)


numbers = st.floats(-5, 5)


@given(numbers, numbers, st.none() | numbers)
def test_weights_come_back_as_they_were_written(
    alpha: float, beta: float, gamma: float | None
) -> None:
    weights = Weights(alpha, beta, gamma)
    for written in (weights.as_json(), list(weights.numbers), weights.numbers):
        assert Weights.of(json.loads(json.dumps(written))) == weights
    assert parse_weights(",".join(map(repr, weights.numbers))) == weights


@pytest.mark.parametrize(
    "written",
    [None, 1, "0.1,0.9", [], [0.1], [1, 2, 3, 4], [0.1, "0.9"], [True, 0], [0.1, math.nan],
     [10**400, 0], {}, {"alpha": 1}, {"alpha": 1, "beta": 0, "delta": 2}, {"alpha": 1, "beta": []}],
)  # fmt: skip
def test_what_is_no_weights_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="weights"):
        Weights.of(written)


@given(rows, st.integers(1, N - 1))
def test_penalties_act_on_logits_whoever_has_the_control_tokens(
    rows: dict[str, np.ndarray], n_control: int
) -> None:
    """Ordinary tokens keep the fused logits, bit for bit; on log-probabilities penalties slip."""
    control = np.arange(N) < n_control
    fused = fuse(rows, Weights(0.3, 0.9).coefficients)
    given_out = control_from_large(fused, rows["large"], control, out())
    assert given_out[~control].tobytes() == fused[~control].tobytes()


def test_a_penalty_chooses_alike_under_both_policies() -> None:
    row = np.array([10, 8, -20], np.float32)
    control = np.array([False, False, True])
    sampler = Sampler(repeat_penalty=1.3)
    assert sampler.pick(row, [0], 1) == 1
    assert sampler.pick(control_from_large(row, row, control, out=row.copy()), [0], 1) == 1


def test_a_mask_that_leaves_a_control_token_alone_ends_the_text() -> None:
    """cpt is sure that the text ends; it was log(0) of the others, and token 0 was taken."""
    large = np.array([3, 0, 1, 2], np.float32)
    control = np.array([False, False, True, True])
    fused = keep_plausible(large.copy(), np.array([0, 0, 90, 0], np.float32), 0.1)
    row = control_from_large(fused, large, control, out=fused)
    assert not np.isnan(row).any()
    assert int(np.argmax(row)) == 3  # the end that large likes better: the mask does not bind it


@given(rows, arrays(np.bool_, N))
def test_control_tokens_have_larges_probability(
    rows: dict[str, np.ndarray], control: np.ndarray
) -> None:
    fused = fuse(rows, Weights(0.3, 0.9).coefficients, out())
    before = fused.copy()
    p = np.exp(log_softmax(control_from_large(fused, rows["large"], control, out=fused)))
    assert p.sum() == pytest.approx(1)
    p_large, p_fused = np.exp(log_softmax(rows["large"])), np.exp(log_softmax(before))
    if not control.any() or control.all():
        np.testing.assert_array_equal(fused, before)
        return
    np.testing.assert_allclose(p[control], p_large[control], rtol=1e-4, atol=1e-9)
    rest = p_fused[~control] / p_fused[~control].sum() * (1 - p_large[control].sum())
    np.testing.assert_allclose(p[~control], rest, rtol=1e-3, atol=1e-6)
