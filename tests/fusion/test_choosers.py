"""The choice of alpha and beta: every sum against softmaxes written out in float64."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimix_cpp.errors import TrimixError
from trimix_cpp.fusion import grid as weight_grid
from trimix_cpp.fusion.choosers import (
    EntChooser,
    PplChooser,
    PplOptChooser,
    divergence,
    grid_entropies,
)
from trimix_cpp.fusion.grid import (
    DEFAULT_GRID,
    NO_SCALING,
    NO_TASK,
    TRIMIX,
    Grid,
    GridScore,
    log_partition,
)
from trimix_cpp.fusion.observers import Observer
from trimix_cpp.fusion.roles import ROLES as ALL_ROLES
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.llama.context import Context
from trimix_cpp.llama.model import Model

from ..conftest import ROLES
from ..support.examples import examples

Rows = Mapping[str, np.ndarray]
EXAMPLE = "Please translate the following English text into Uyghur.\nEnglish: {}\nUyghur: {}"
PROMPTS = (
    "\n\n".join(
        EXAMPLE.format(*pair)
        for pair in (("Open File", "ھۆججەت ئاچ"), ("Computer", "كومپيۇتېر"), ("Close it", ""))
    ),
    EXAMPLE.format("The photo of the contact", ""),
    "بارلىق ئىنسانلار تۇغۇلۇشىدىنلا ئەركىن، ئىززەت-ھۆرمەت ۋە ھوقۇقتا باپباراۋەر بولۇپ تۇغۇلغان.",
    "འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ་སྐྱེས་ཙམ་ཉིད་ནས་ཆེ་མཐོང་དང༌། ཐོབ་ཐང་གི་རང་དབང་འདྲ་མཉམ་དུ་ཡོད་ལ།",
)


@pytest.fixture(scope="session")
def demo_logits(demo_files: dict[str, Path]) -> list[tuple[Rows, np.ndarray]]:
    """(rows that predict the targets, targets) of each prompt, by the bundled trio."""
    result: list[tuple[dict[str, np.ndarray], np.ndarray]] = [({}, np.empty(0))] * len(PROMPTS)
    for role in ROLES:
        with (
            Model(demo_files[role]) as model,
            Context(model, n_ctx=512, n_outputs_max=512, n_threads=1) as context,
        ):
            for number, prompt in enumerate(PROMPTS):
                tokens = np.array(model.tokenize(prompt), np.int32)
                at = np.arange(len(tokens), dtype=np.int32)
                context.clear()
                context.decode(tokens, at, at * 0, at >= 0)
                rows = {**result[number][0], role: context.logits()[:-1].copy()}
                result[number] = rows, tokens[1:]
    return result


def random_rows(rng: np.random.Generator, n: int, k: int, scale: float = 3.0) -> Rows:
    """Rows of three models that agree in part, as real ones do."""
    base = rng.normal(0, scale, (n, k))
    rows = {
        "large": base + rng.normal(0, scale, (n, k)),
        "cpt": base + rng.normal(0, scale / 2, (n, k)),
        "base": base,
    }
    return {role: row.astype(np.float32) for role, row in rows.items()}


def fused(rows: Rows, weights: Weights) -> np.ndarray:
    return sum(c * rows[role].astype(np.float64) for role, c in weights.coefficients.items())


def log_sum(logits: np.ndarray) -> np.ndarray:
    top = logits.max(axis=-1, keepdims=True)
    return top[..., 0] + np.log(np.exp(logits - top).sum(axis=-1))


def written_out(rows: Rows, grid: Grid = DEFAULT_GRID) -> np.ndarray:
    """`log_partition`, one softmax after the other."""
    cells = [
        [log_sum(fused(rows, grid.weights(i, j))) for j in range(len(grid.betas))]
        for i in range(len(grid.alphas))
    ]
    return np.moveaxis(np.array(cells), -1, 0)


def nll(rows: Rows, targets: np.ndarray, weights: Weights) -> float:
    """Summed negative log-likelihood, in float64."""
    logits = fused(rows, weights)
    return float((log_sum(logits) - logits[np.arange(len(targets)), targets]).sum())


def nll_written_out(rows: Rows, targets: np.ndarray, grid: Grid = DEFAULT_GRID) -> np.ndarray:
    cells = np.ndindex(grid.shape)
    values = [nll(rows, targets, grid.weights(i, j)) for i, j in cells]
    return np.array(values).reshape(grid.shape)


def score_of(rows: Rows, targets: np.ndarray, grid: Grid = DEFAULT_GRID) -> GridScore:
    score = GridScore(grid)
    score.add(rows, targets)
    return score


def no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("computed directly")

    monkeypatch.setattr(weight_grid, "_direct", fail)


def count_fallbacks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of cells whenever some are computed directly."""
    counts: list[int] = []
    direct = weight_grid._direct

    def counting(rows: Rows, grid: Grid, cells: np.ndarray, out: np.ndarray) -> None:
        counts.append(int(cells.sum()))
        direct(rows, grid, cells, out)

    monkeypatch.setattr(weight_grid, "_direct", counting)
    return counts


# The grid


@pytest.mark.parametrize("number", range(len(PROMPTS)))
def test_real_logits_give_the_nll_of_36_softmaxes(
    number: int, demo_logits: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_fallback(monkeypatch)
    rows, targets = demo_logits[number]
    score, expected = score_of(rows, targets), nll_written_out(rows, targets)
    np.testing.assert_allclose(score.nll, expected, rtol=0, atol=1e-4)
    ours, theirs = score.best, np.unravel_index(expected.argmin(), expected.shape)
    assert ours == theirs or abs(expected[ours] - expected[theirs]) < 1e-4
    np.testing.assert_allclose(score.perplexity, np.exp(expected / len(targets)), rtol=1e-6)


@settings(max_examples=examples(40))
@given(
    seed=st.integers(0, 1 << 30),
    n=st.integers(1, 5),
    k=st.sampled_from([1, 2, 17, 263, 2048, 2049, 5000, 17000]),
    tail=st.sampled_from([1.0, 1.5, 3.0, 30.0]),
    scale=st.floats(0.01, 10),
    shift=st.floats(-300, 300),
    outliers=st.lists(st.floats(-1e4, 1e4, width=32), max_size=4),
    chosen=st.sampled_from([((), ()), ((0, 1), (1,)), ((-0.5, 0.2, 2.0), (0.0, 3.0))]),
)
def test_heavy_tails_and_outliers(
    seed: int,
    n: int,
    k: int,
    tail: float,
    scale: float,
    shift: float,
    outliers: list[float],
    chosen: tuple,
) -> None:
    rng = np.random.default_rng(seed)
    rows = {}
    for role in ROLES:
        values = np.clip(rng.standard_t(tail, (n, k)) * scale, -1e4, 1e4) + shift
        rows[role] = values.astype(np.float32)
        for value in outliers:
            rows[role][rng.integers(n), rng.integers(k)] = value
    grid = Grid(*chosen) if chosen[0] else DEFAULT_GRID
    targets = rng.integers(0, k, n).astype(np.int32)
    np.testing.assert_allclose(log_partition(rows, grid), written_out(rows, grid), atol=1e-4)
    score, expected = score_of(rows, targets, grid), nll_written_out(rows, targets, grid)
    np.testing.assert_allclose(score.nll, expected, rtol=1e-9, atol=1e-4 * n)


@pytest.mark.parametrize("far", [40, 80, 130, 250, 1e3, 1e4, 3e38])
def test_what_underflows_at_the_pivot_is_not_lost(
    far: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens that carry all mass at a corner of the grid, and none in its middle."""
    rng = np.random.default_rng(1)
    rows = random_rows(rng, 3, 20000, scale=1)
    rows["large"][:, 11] += np.float32(far)
    rows["base"][:, 19000] += np.float32(far)
    rows["cpt"][:, 12], rows["large"][:, 12] = far, -far
    counts = count_fallbacks(monkeypatch)
    np.testing.assert_allclose(log_partition(rows), written_out(rows), rtol=1e-7, atol=1e-4)
    assert bool(counts) == (far >= 80)


def test_many_small_ones_that_underflow_count(monkeypatch: pytest.MonkeyPatch) -> None:
    # At alpha = 1 nearly all mass lies in 1,999 equal columns, each 2**-130 of the pivot's largest.
    rows = {role: np.zeros((1, 2000), np.float32) for role in ROLES}
    rows["base"][0, 0], rows["large"][0, 0], rows["cpt"][0, 0] = 110, -50, 60
    counts = count_fallbacks(monkeypatch)
    np.testing.assert_allclose(log_partition(rows), written_out(rows), atol=1e-4)
    assert counts


def test_chunks_do_not_matter(demo_logits: list) -> None:
    rows, targets = demo_logits[0]
    whole = score_of(rows, targets)
    for size in (1, 7, 64):
        score = GridScore()
        for start in range(0, len(targets), size):
            part = slice(start, start + size)
            score.add({role: row[part] for role, row in rows.items()}, targets[part])
        score.add({role: row[:0] for role, row in rows.items()}, targets[:0])
        np.testing.assert_allclose(score.nll, whole.nll, rtol=1e-8)
        assert score.n_tokens == whole.n_tokens == len(targets)


@pytest.mark.parametrize("kind", ["views", "gathered"])
def test_padded_columns(kind: str) -> None:
    """Rows as the alignment gives them: views of wider arrays, or gathered columns."""
    rng = np.random.default_rng(2)
    rows = random_rows(rng, 4, 3000)
    wide, columns = {}, {}
    for width, role in zip((3000, 3128, 3001), ROLES, strict=True):
        order = np.arange(3000) if kind == "views" else rng.permutation(width)[:3000]
        wide[role] = np.full((4, width), np.nan, np.float32)
        wide[role][:, order], columns[role] = rows[role], order
    if kind == "views":
        seen = {role: row[:, :3000] for role, row in wide.items()}
    else:
        seen = {role: row[:, columns[role]] for role, row in wide.items()}
    assert log_partition(seen).tobytes() == log_partition(rows).tobytes()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 39999])
@pytest.mark.parametrize("grid", [DEFAULT_GRID, Grid((0.3,), (0.9,)), Grid((0, 1), (0, 1))])
def test_a_broken_logit_names_its_role(role: str, value: float, column: int, grid: Grid) -> None:
    rows = random_rows(np.random.default_rng(3), 2, 40000)
    rows[role][1, column] = value
    score = GridScore(grid)
    with pytest.raises(TrimixError, match=f"1 logits of {role} are not finite"):
        score.add(rows, np.zeros(2, np.int32))
    assert score.n_tokens == 0
    assert not score.nll.any()
    last = {role: row[1] for role, row in rows.items()}
    for chooser in (PplOptChooser(), EntChooser(grid=grid)):
        with pytest.raises(TrimixError, match=f"1 logits of {role} are not finite"):
            chooser.add(0, rows, np.zeros(2, np.int32))
            chooser.end(last)


def test_one_model_alone_is_checked_too() -> None:
    rows = {"base": np.array([[0, -np.inf, 1]], np.float32)}
    with pytest.raises(TrimixError, match="1 logits of base"):
        log_partition(rows, Grid((0,), (0,)))


@pytest.mark.parametrize("n", [4, 64])
def test_memory_at_the_widest_vocabulary(n: int) -> None:
    rows = {role: np.zeros((n, 152064), np.float32) for role in ROLES}
    score = GridScore()
    tracemalloc.start()
    score.add(rows, np.zeros(n, np.int32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6


@pytest.mark.parametrize(
    ("shapes", "targets"),
    [((3, 3, 2), [0, 0, 0]), ((3, 3, 3), [0, 0]), ((3, 3, 3), [0, 5, 0]), ((3, 3, 3), [0, -2, 0])],
)
def test_chunks_that_do_not_go_together(shapes: tuple[int, ...], targets: list[int]) -> None:
    rows = {role: np.zeros((n, 5), np.float32) for role, n in zip(ROLES, shapes, strict=True)}
    for taker in (PplChooser(), PplOptChooser()):
        with pytest.raises(ValueError, match=r"rows|target"):
            taker.add(0, rows, np.array(targets, np.int32))


@pytest.mark.parametrize("values", [(), (np.nan,), (0.1, np.inf)])
def test_values_that_make_no_grid(values: tuple[float, ...]) -> None:
    with pytest.raises(TrimixError, match="alphas of a weight grid"):
        Grid(alphas=values)
    with pytest.raises(TrimixError, match="betas of a weight grid"):
        Grid(betas=values)


def test_values_of_a_grid_are_sorted_and_single() -> None:
    grid = Grid((0.9, 0.1, 0.9), (1, 0.5))
    assert (grid.alphas, grid.betas, grid.shape) == ((0.1, 0.9), (0.5, 1.0), (2, 2))
    assert DEFAULT_GRID.shape == (6, 6)
    assert grid.weights(1, 0) == Weights(0.9, 0.5)


def test_a_tie_goes_to_the_smallest_alpha_then_beta() -> None:
    values = np.full((6, 6), 2.0)
    values[4, 1] = values[2, 5] = values[2, 3] = 1
    values[2, 3] += 1e-8
    assert DEFAULT_GRID.best(values) == (2, 3)
    values[2, 3] += 1e-4
    assert DEFAULT_GRID.best(values) == (2, 5)


def test_base_that_is_cpt_leaves_beta_least() -> None:
    rows = {**random_rows(np.random.default_rng(4), 5, 3000)}
    rows["cpt"] = rows["base"]
    targets = np.arange(5, dtype=np.int32)
    for chooser in (PplChooser(), PplOptChooser()):
        chooser.add(0, rows, targets)
        weights = chooser.end({})
        assert weights.beta == (0.1 if isinstance(chooser, PplChooser) else 0)


@pytest.mark.parametrize("plane", [TRIMIX, NO_TASK, NO_SCALING])
def test_every_plane_is_the_general_formula(plane: weight_grid.Plane) -> None:
    rng = np.random.default_rng(5)
    rows = {role: rng.normal(0, 3, (3, 999)).astype(np.float32) for role in ALL_ROLES}
    grid = Grid((0.2, 0.7), (0.1, 0.9, 1.0), plane)
    np.testing.assert_allclose(log_partition(rows, grid), written_out(rows, grid), atol=1e-5)
    offset, u, w = weight_grid.affine(rows, grid)
    for alpha, beta in ((0.3, 0.9), (1.0, 0.2)):
        expected = fused(rows, plane.weights(alpha, beta))
        np.testing.assert_allclose(offset + alpha * u + beta * w, expected, atol=1e-5)


def test_planes_are_the_ablations_of_table_7() -> None:
    assert TRIMIX.weights(0.3, 0.9) == Weights(0.3, 0.9)
    # Without the task vector large is large_base; without the scaling vector gamma is 0.
    assert NO_TASK.weights(0.3, 0.9).roles == ("cpt", "base", "large_base")
    assert NO_SCALING.weights(0.3, 0.9) == Weights(0.3, 0.9, gamma=0.0)
    assert NO_SCALING.weights(0.3, 0.9).roles == ("large", "cpt", "base", "large_base")


@pytest.mark.parametrize(
    ("grid", "roles"),
    [
        (DEFAULT_GRID, ("large", "cpt", "base")),
        (Grid(betas=(0,)), ("large", "base")),
        (Grid(alphas=(0,)), ("cpt", "base")),
        (Grid((0,), (0,)), ("base",)),
        (Grid(plane=NO_TASK), ("cpt", "base", "large_base")),
        (Grid(plane=NO_SCALING), ("large", "cpt", "base", "large_base")),
        (Grid(alphas=(0,), plane=NO_SCALING), ("cpt", "base")),
    ],
)
def test_only_the_roles_of_the_grid_are_needed(grid: Grid, roles: tuple[str, ...]) -> None:
    assert grid.roles == roles
    rng = np.random.default_rng(6)
    rows = {role: rng.normal(0, 3, (2, 50)).astype(np.float32) for role in roles}
    np.testing.assert_allclose(log_partition(rows, grid), written_out(rows, grid), atol=1e-5)


# The choosers


def test_the_prompt_chooses_the_pair_of_least_perplexity(demo_logits: list) -> None:
    for rows, targets in demo_logits:
        chooser = PplChooser()
        for start in range(0, len(targets), 16):
            part = slice(start, start + 16)
            chooser.add(0, {role: row[part] for role, row in rows.items()}, targets[part])
        values = nll_written_out(rows, targets)
        i, j = np.unravel_index(values.argmin(), values.shape)
        assert chooser.end({}) == Weights(DEFAULT_GRID.alphas[i], DEFAULT_GRID.betas[j])
        assert chooser.score.n_tokens == len(targets)


def entropies_written_out(last: Rows, grid: Grid) -> np.ndarray:
    result = np.empty(grid.shape)
    for i, j in np.ndindex(grid.shape):
        logits = fused(last, grid.weights(i, j))
        log_p = logits - log_sum(logits)
        result[i, j] = -(np.exp(log_p) * log_p).sum()
    return result


def test_the_first_token_chooses_the_pair_of_least_entropy(demo_logits: list) -> None:
    for rows, _ in demo_logits:
        last = {role: row[-1] for role, row in rows.items()}
        expected = entropies_written_out(last, DEFAULT_GRID)
        np.testing.assert_allclose(grid_entropies(last), expected, atol=1e-9)
        chooser = EntChooser()
        assert chooser.first(7) == 6
        i, j = np.unravel_index(expected.argmin(), expected.shape)
        assert chooser.end(last) == Weights(DEFAULT_GRID.alphas[i], DEFAULT_GRID.betas[j])


@given(
    seed=st.integers(0, 1 << 30),
    scale=st.floats(0.01, 100),
    k=st.integers(1, 400),
    far=st.booleans(),
)
@settings(max_examples=examples(40))
def test_entropies_of_any_rows(seed: int, scale: float, k: int, far: bool) -> None:
    rng = np.random.default_rng(seed)
    last = {role: rng.normal(0, scale, k).astype(np.float32) for role in ROLES}
    if far:
        last["large"][rng.integers(k)] = 1e4
    values = grid_entropies(last)
    np.testing.assert_allclose(values, entropies_written_out(last, DEFAULT_GRID), atol=1e-8)
    assert (values >= -1e-12).all()
    assert (values <= np.log(k) + 1e-9).all()


@pytest.mark.parametrize("make", [PplChooser, PplOptChooser])
def test_a_prompt_of_one_token_chooses_nothing(make: Callable[[], Observer]) -> None:
    chooser = make()
    assert chooser.first(1) == 0
    assert chooser.end({role: np.zeros(9, np.float32) for role in ROLES}) is None


@given(seed=st.integers(0, 1 << 30), shift=st.floats(-50, 50), scale=st.floats(0.1, 20))
@settings(max_examples=examples(40))
def test_divergence(seed: int, shift: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    p, q = (rng.normal(0, scale, 300).astype(np.float32) for _ in range(2))
    soft = [np.exp(x.astype(float)) / np.exp(x.astype(float)).sum() for x in (p, q)]
    expected = (soft[0] * np.log(soft[0] / soft[1])).sum()
    assert divergence(p, q) == pytest.approx(expected, abs=1e-9)
    assert divergence(p, (p + np.float32(shift))) == pytest.approx(0, abs=1e-4)
    assert divergence(p, p) == 0


def test_divergence_of_a_broken_row() -> None:
    row = np.zeros(5, np.float32)
    for broken in (np.nan, np.inf, -np.inf):
        bad = np.array([0, broken, 0, 0, 0], np.float32)
        for pair in ((row, bad), (bad, row)):
            with pytest.raises(TrimixError, match="not finite"):
                divergence(*pair)
