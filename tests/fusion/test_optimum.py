"""The continuous minimum: against searches that know nothing of derivatives, and the grid."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimix_cpp.fusion.choosers import PplOptChooser
from trimix_cpp.fusion.grid import DEFAULT_GRID, NO_SCALING, GridScore
from trimix_cpp.fusion.optimum import Optimum, Point, minimise_grid, minimise_in_box
from trimix_cpp.fusion.weights import Weights

from ..conftest import ROLES
from ..support.examples import examples
from .test_choosers import Rows, demo_logits, nll, nll_written_out, random_rows

__all__ = ["demo_logits"]  # a fixture


def search(value_at, lines: int = 9) -> tuple[float, float, float]:
    """(alpha, beta, value): the least of a convex function, by ever finer grids."""
    low, high = np.zeros(2), np.ones(2)
    while True:
        a, b = (np.linspace(low[k], high[k], lines) for k in range(2))
        values = np.array([[value_at(x, y) for y in b] for x in a])
        i, j = np.unravel_index(values.argmin(), values.shape)
        if (high - low).max() < 1e-5:
            return a[i], b[j], values[i, j]
        # Two lines on each side: on one side alone a narrow valley may lie askew.
        step = (high - low) / (lines - 1)
        best = np.array([a[i], b[j]])
        low, high = np.maximum(best - 2 * step, 0), np.minimum(best + 2 * step, 1)


def mean_nll(rows: Rows, targets: np.ndarray):
    return lambda alpha, beta: nll(rows, targets, Weights(alpha, beta)) / len(targets)


def optimum_of(rows: Rows, targets: np.ndarray, **settings: int) -> Optimum:
    optimum = Optimum(**settings)
    optimum.add(rows, targets)
    return optimum


# Two positions of a few columns with steep, flat and linear directions: all that can go wrong.
prompts = st.tuples(
    st.integers(0, 1 << 30),
    st.integers(1, 4),
    st.sampled_from([1, 2, 3, 10, 200]),
    st.sampled_from([1e-3, 0.3, 3.0, 30.0, 300.0]),
    st.sampled_from(["all", "cpt is base", "large is cpt", "large is base", "one model"]),
)


@given(prompts)
@settings(max_examples=examples(40))
def test_never_worse_than_any_place_that_a_search_finds(prompt: tuple) -> None:
    seed, n, k, scale, kind = prompt
    rng = np.random.default_rng(seed)
    rows = dict(random_rows(rng, n, k, scale))
    if kind in ("cpt is base", "one model"):
        rows["cpt"] = rows["base"]
    if kind == "large is cpt":
        rows["large"] = rows["cpt"]
    if kind in ("large is base", "one model"):
        rows["large"] = rows["base"]
    targets = rng.integers(0, k, n).astype(np.int32)
    value_at = mean_nll(rows, targets)
    alpha, beta, value = optimum_of(rows, targets).find()
    assert 0 <= alpha <= 1
    assert 0 <= beta <= 1
    slack = 1e-9 * max(1, scale)  # `Weights` rounds coefficients to 12 decimals
    assert value == pytest.approx(value_at(alpha, beta), abs=slack)
    assert value <= nll_written_out(rows, targets).min() / n + slack
    assert value <= search(value_at, lines=7)[2] + slack
    if kind in ("cpt is base", "one model"):
        assert beta == 0
    if kind in ("large is base", "one model"):
        assert alpha == 0


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("budget", [0, 64 << 20])
def test_real_prompts(number: int, budget: int, demo_logits: list) -> None:
    """Below the grid and within 1e-6 of the minimum, whether the logits are kept or not."""
    rows, targets = demo_logits[number]
    optimum = optimum_of(rows, targets, budget=budget)
    assert optimum.exact == bool(budget)
    alpha, beta, told = optimum.find()
    value_at = mean_nll(rows, targets)
    value = value_at(alpha, beta)
    least = optimum_of(rows, targets).find()[2]
    assert least - 1e-9 <= value <= least + 1e-6
    assert value <= nll_written_out(rows, targets).min() / len(targets) + 1e-9
    assert told == pytest.approx(value, abs=1e-9 if budget else 1e-4)
    if number == 1 and budget:  # costly
        assert value == pytest.approx(search(value_at)[2], abs=1e-9)


def test_a_prompt_that_outgrows_its_budget_on_the_way(demo_logits: list) -> None:
    rows, targets = demo_logits[0]
    optimum, streamed = Optimum(budget=5_000_000), optimum_of(rows, targets, budget=0)
    for start in range(0, len(targets), 16):
        part = slice(start, start + 16)
        optimum.add({role: row[part] for role, row in rows.items()}, targets[part])
    assert not optimum.exact
    assert optimum.n_tokens == len(targets)
    np.testing.assert_allclose(optimum.find(), streamed.find(), atol=1e-7)


def test_kept_rows_are_copies() -> None:
    rng = np.random.default_rng(0)
    rows, targets = random_rows(rng, 3, 50), np.array([1, 2, 3], np.int32)
    optimum = optimum_of(rows, targets)
    expected = optimum.find()
    for row in (*rows.values(), targets):
        row[:] = 0
    assert optimum.find() == expected


@pytest.mark.parametrize("alpha", [0, 1])
@pytest.mark.parametrize("beta", [0, 1])
@pytest.mark.parametrize("budget", [0, 64 << 20])
def test_corners(alpha: int, beta: int, budget: int) -> None:
    """A model that always knows the target is wanted whole; one that never does, not at all."""
    rows = {role: np.zeros((4, 30), np.float32) for role in ROLES}
    targets = np.array([3, 1, 4, 1], np.int32)
    at = np.arange(4), targets
    rows["large"][at] = 2 if alpha else -2
    rows["cpt"][at] = 2 if beta else -2
    assert optimum_of(rows, targets, budget=budget).find()[:2] == (alpha, beta)


def test_the_chooser_takes_the_minimum(demo_logits: list) -> None:
    rows, targets = demo_logits[0]
    chooser = PplOptChooser()
    chooser.add(0, rows, targets)
    weights = chooser.end({})
    alpha, beta, value = optimum_of(rows, targets).find()
    assert (weights.alpha, weights.beta) == pytest.approx((alpha, beta), abs=1e-6)
    assert mean_nll(rows, targets)(weights.alpha, weights.beta) == pytest.approx(value, abs=1e-9)


def test_another_plane() -> None:
    rng = np.random.default_rng(7)
    rows = {r: rng.normal(0, 2, (6, 80)).astype(np.float32) for r in (*ROLES, "large_base")}
    targets = rng.integers(0, 80, 6).astype(np.int32)
    for budget in (0, 64 << 20):
        optimum = Optimum(NO_SCALING, budget)
        optimum.add(rows, targets)
        alpha, beta, value = optimum.find()
        true = nll(rows, targets, Weights(alpha, beta, gamma=0.0)) / 6
        assert value == pytest.approx(true, abs=1e-4)
        least = search(lambda a, b: nll(rows, targets, Weights(a, b, gamma=0.0)) / 6)[2]
        assert true <= least + 1e-6


def test_memory_of_a_long_prompt() -> None:
    """Beyond the budget no logits are kept, and the fine grid's factors are small."""
    rows = {role: np.zeros((64, 152064), np.float32) for role in ROLES}
    optimum = Optimum(budget=1)
    tracemalloc.start()
    optimum.add(rows, np.zeros(64, np.int32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6e6


def quadratic(matrix: np.ndarray, centre: np.ndarray):
    def at(x: np.ndarray) -> Point:
        slope = matrix @ (x - centre)
        return Point(float((x - centre) @ slope / 2), slope, matrix)

    return at


@given(
    angle=st.floats(0, 3.2),
    bends=st.tuples(st.floats(0, 100), st.floats(1e-3, 100)),
    centre=st.tuples(st.floats(-2, 3), st.floats(-2, 3)),
    start=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(max_examples=examples(150))
def test_the_minimum_of_a_quadratic_meets_its_conditions(
    angle: float, bends: tuple, centre: tuple, start: tuple
) -> None:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    at = quadratic(turn @ np.diag(bends) @ turn.T, np.array(centre))
    x, value = minimise_in_box(at, np.array(start))
    assert value <= at(np.array(start)).value + 1e-9
    for k, slope in enumerate(at(x).gradient):  # no way down that stays in the box
        assert slope > -1e-5 or x[k] > 1 - 1e-9
        assert slope < 1e-5 or x[k] < 1e-9


@given(
    planes=st.lists(
        st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(-50, 50)),
        min_size=1,
        max_size=5,
    ),
    start=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(max_examples=examples(60))
def test_edges_do_not_lead_astray(planes: list, start: tuple) -> None:
    """The largest of some planes has no curvature at all, and its minimum lies where they meet."""
    planes = np.array(planes)

    def at(x: np.ndarray) -> Point:
        values = planes[:, :2] @ x + planes[:, 2]
        best = int(values.argmax())
        return Point(float(values[best]), planes[best, :2], np.zeros((2, 2)))

    _, value = minimise_in_box(at, np.array(start))
    lines = np.linspace(0, 1, 101)
    x, y = (side.ravel() for side in np.meshgrid(lines, lines))
    everywhere = planes[:, :2] @ np.stack([x, y]) + planes[:, 2:]
    assert value <= everywhere.max(axis=0).min() + 1e-6


def test_a_few_steps_in_place_of_36_points(demo_logits: list) -> None:
    rows, targets = demo_logits[0]
    optimum = optimum_of(rows, targets)
    places = []

    def counting(x: np.ndarray) -> Point:
        places.append(x)
        return optimum._exact(x)

    minimise_in_box(counting, np.array([0.5, 0.5]))
    assert len(places) <= 8


@given(centre=st.tuples(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2)), steep=st.floats(0.5, 6))
@settings(max_examples=examples(60))
def test_the_true_value_is_never_above_the_grids(centre: tuple, steep: float) -> None:
    def true(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        bowls = (
            np.logaddexp(steep * (t - c), -steep * (t - c))
            for t, c in zip((x, y), centre, strict=True)
        )
        return sum(bowls) / steep

    lines = np.linspace(0, 1, 21)
    values = true(lines[:, None], lines)
    place, _ = minimise_grid(values)
    assert true(*place) <= values.min() + 1e-9
    assert true(*place) <= true(*np.clip(centre, 0, 1)) + 2e-6


def test_noise_chooses_nothing() -> None:
    noise = np.random.default_rng(8).normal(0, 1e-8, (21, 21))
    bowl = (np.linspace(0, 1, 21)[:, None] - 0.33) ** 2
    assert minimise_grid(1 + noise)[0].tolist() == [0, 0]
    assert minimise_grid(bowl + noise)[0] == pytest.approx([0.33, 0], abs=1e-4)
    assert minimise_grid(bowl.T + noise)[0] == pytest.approx([0, 0.33], abs=1e-4)


@pytest.mark.parametrize("centre", [(0.013, 0.99), (0.5, 0.021), (0.777, 0.333)])
def test_between_the_lines_of_a_grid(centre: tuple[float, float]) -> None:
    lines = np.linspace(0, 1, 21)
    values = np.cosh(3 * (lines[:, None] - centre[0])) + np.cosh(2 * (lines - centre[1]))
    place, value = minimise_grid(values)
    assert place == pytest.approx(centre, abs=1e-5)
    assert value == pytest.approx(2, abs=1e-8)


def test_the_grid_of_the_paper_is_part_of_the_fine_one(demo_logits: list) -> None:
    rows, targets = demo_logits[2]
    optimum = optimum_of(rows, targets, budget=0)
    coarse = GridScore()
    coarse.add(rows, targets)
    fine = optimum.grid.alphas
    at = [fine.index(value) for value in DEFAULT_GRID.alphas]
    np.testing.assert_allclose(optimum._score.nll[np.ix_(at, at)], coarse.nll, atol=1e-4)
