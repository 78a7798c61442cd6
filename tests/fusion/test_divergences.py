"""The figures of divergence, against definitions written out position by position."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trimix_cpp.fusion.divergences import Judge, Positions, blocks, figures
from trimix_cpp.fusion.rows import fuse
from trimix_cpp.fusion.weights import Weights

from ..support.examples import examples

N, V = 12, 9
LOGITS = st.floats(-30, 30, width=32)
ROWS = arrays(np.float32, (N, V), elements=LOGITS)
TARGETS = arrays(np.int32, N, elements=st.integers(0, V - 1))
BYTES = np.arange(1, N + 1)


def judged(base: np.ndarray, rows: np.ndarray, targets: np.ndarray) -> Positions:
    return Judge(base, targets, BYTES[: len(base)]).compare(rows)


def probabilities(row: np.ndarray) -> list[float]:
    top = max(float(x) for x in row)
    powers = [math.exp(float(x) - top) for x in row]
    return [power / sum(powers) for power in powers]


@given(ROWS, TARGETS)
def test_a_distribution_is_no_distance_from_itself(base: np.ndarray, targets: np.ndarray) -> None:
    positions = judged(base, base.copy(), targets)
    found = figures(positions)
    assert not positions.kld.any()
    assert not positions.p_diff.any()
    assert positions.same_top.all()
    for name, figure in found.items():
        if name.endswith(("KLD", "Δp", "Mean ln(PPL(Q)/PPL(base))")):
            assert figure.value == 0
    assert found["Same top p"].value == 100
    assert found["Mean PPL(Q)/PPL(base)"].value == 1


@given(ROWS, ROWS, TARGETS)
def test_every_position_is_as_defined(
    base: np.ndarray, rows: np.ndarray, targets: np.ndarray
) -> None:
    positions = judged(base, rows, targets)
    for i in range(N):
        p, q = probabilities(base[i]), probabilities(rows[i])
        target = int(targets[i])
        expected = sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True) if a)
        assert positions.kld[i] == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert positions.nll_base[i] == pytest.approx(-math.log(p[target]), rel=1e-12, abs=1e-12)
        assert positions.nll[i] == pytest.approx(-math.log(q[target]), rel=1e-12, abs=1e-12)
        assert positions.p_diff[i] == pytest.approx(q[target] - p[target], abs=1e-12)
        assert positions.same_top[i] == (np.argmax(base[i]) == np.argmax(rows[i]))
    assert (positions.kld >= 0).all()


def mean_and_uncertainty(values: list[float]) -> tuple[float, float]:
    """As perplexity.cpp has it: sums of the values and of their squares."""
    n = len(values)
    mean = sum(values) / n
    spread = sum(value * value for value in values) / n - mean * mean
    return mean, math.sqrt(spread / (n - 1)) if spread > 0 else 0.0


def percentile(values: list[float], fraction: float) -> float:
    """As perplexity.cpp has it."""
    ordered = sorted(values)
    place = fraction * (len(ordered) - 1)
    low = int(place)
    rest = place - low
    return (1 - rest) * ordered[low] + rest * ordered[min(low + 1, len(ordered) - 1)]


@given(ROWS, ROWS, TARGETS)
@settings(max_examples=examples(30))
def test_figures_are_those_of_llama_perplexity(
    base: np.ndarray, rows: np.ndarray, targets: np.ndarray
) -> None:
    positions = judged(base, rows, targets)
    found = figures(positions)
    kld, nll, nll_base = (
        list(map(float, values)) for values in (positions.kld, positions.nll, positions.nll_base)
    )
    for name, values in (("Mean KLD", kld), ("Mean Δp", list(100 * positions.p_diff))):
        mean, error = mean_and_uncertainty(values)
        assert found[name].value == pytest.approx(mean, rel=1e-9, abs=1e-12)
        assert found[name].error == pytest.approx(error, rel=1e-4, abs=1e-6)
    for name, fraction in (("99.9% KLD", 0.999), ("Median KLD", 0.5), ("1.0% KLD", 0.01)):
        assert found[name].value == pytest.approx(percentile(kld, fraction), rel=1e-9, abs=1e-12)
    assert found["Maximum KLD"].value == max(kld)
    log, log_error = mean_and_uncertainty(nll)
    log_base, base_error = mean_and_uncertainty(nll_base)
    assert found["Mean PPL(Q)"].value == pytest.approx(math.exp(log))
    assert found["Mean ln(PPL(Q)/PPL(base))"].value == pytest.approx(log - log_base, abs=1e-9)
    both = sum(a * b for a, b in zip(nll, nll_base, strict=True)) / N
    covariance = (both - log * log_base) / (N - 1)
    variance = log_error**2 + base_error**2 - 2 * covariance
    assert found["Mean ln(PPL(Q)/PPL(base))"].error ** 2 == pytest.approx(
        variance, rel=1e-3, abs=1e-6
    )
    square, _ = mean_and_uncertainty([float(d) ** 2 for d in positions.p_diff])
    assert found["RMS Δp"].value == pytest.approx(100 * math.sqrt(square), rel=1e-9, abs=1e-9)
    bits = sum(nll) / math.log(2) / int(BYTES.sum())
    assert found["Bits per byte (Q)"].value == pytest.approx(bits)


@given(ROWS, ROWS, TARGETS, st.data())
def test_what_is_not_finite_is_counted_and_never_averaged(
    base: np.ndarray, rows: np.ndarray, targets: np.ndarray, data: st.DataObject
) -> None:
    bad = sorted(data.draw(st.sets(st.integers(0, N - 1), min_size=1, max_size=N - 1)))
    broken = [base.copy(), rows.copy()]
    for i in bad:
        value = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        broken[data.draw(st.integers(0, 1))][i, data.draw(st.integers(0, V - 1))] = value
    positions = judged(*broken, targets)
    good = [i for i in range(N) if i not in bad]
    assert positions.n_bad == len(bad)
    assert len(positions) == len(good)
    clean = judged(base, rows, targets)
    np.testing.assert_array_equal(positions.kld, clean.kld[good])
    np.testing.assert_array_equal(positions.n_bytes, clean.n_bytes[good])
    # A correlation needs two values that differ.
    found = {k: v.value for k, v in figures(positions).items() if not k.startswith("Cor")}
    assert all(map(math.isfinite, found.values()))


@given(ROWS, ROWS, ROWS, st.floats(-2, 2).map(lambda x: round(x, 3)), st.floats(-2, 2))
def test_many_rows_are_fused_as_one_by_one(
    large: np.ndarray, cpt: np.ndarray, base: np.ndarray, alpha: float, beta: float
) -> None:
    coefficients = Weights(alpha, beta).coefficients
    rows = {"large": large, "cpt": cpt, "base": base}
    many = fuse(rows, coefficients, check=False)
    for i in range(N):
        one = fuse({role: row[i] for role, row in rows.items()}, coefficients, np.empty(V, "f4"))
        np.testing.assert_array_equal(many[i], one)


@given(ROWS, ROWS, TARGETS, st.integers(0, N))
def test_pieces_give_the_whole(
    base: np.ndarray, rows: np.ndarray, targets: np.ndarray, cut: int
) -> None:
    parts = [
        Judge(base[at], targets[at], BYTES[at]).compare(rows[at])
        for at in (slice(0, cut), slice(cut, N))
    ]
    assert figures(Positions.joined(parts)) == figures(judged(base, rows, targets))


def test_blocks_cover_every_row_once() -> None:
    for n_tokens in (7, 8192, 152_064, 10_000_000):
        rows = np.arange(300)
        assert np.concatenate([rows[at] for at in blocks(300, n_tokens)]).tolist() == list(rows)


def test_figures_of_nothing_are_refused() -> None:
    broken = np.full((1, V), np.nan, np.float32)
    with pytest.raises(ValueError, match="no position"):
        figures(judged(broken, broken, np.zeros(1, np.int32)))
