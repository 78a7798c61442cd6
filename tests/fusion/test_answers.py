"""`ppl-answers` against a plain float64 computation."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.fusion import DEFAULT_GRID, AnswersChooser

N, V = 12, 40


def plain(rows: dict[str, np.ndarray], tokens: np.ndarray, spans: list[tuple[int, int]]):  # type: ignore[no-untyped-def]
    """Nats of the answers' tokens under every pair, and how many there are."""
    nll, n_tokens = np.zeros(DEFAULT_GRID.shape), 0
    for start, end in spans:
        for position in range(max(start, 1), end):
            n_tokens += 1
            large, cpt, base = (rows[role][position - 1].astype(np.float64)
                                for role in ("large", "cpt", "base"))  # fmt: skip
            for i, alpha in enumerate(DEFAULT_GRID.alphas):
                for j, beta in enumerate(DEFAULT_GRID.betas):
                    row = alpha * large + beta * cpt + (1 - alpha - beta) * base
                    p = np.exp(row - row.max())
                    nll[i, j] -= np.log(p[tokens[position]] / p.sum())
    return nll, n_tokens


spans = st.lists(st.integers(0, N), min_size=2, max_size=6, unique=True).map(
    lambda cuts: [
        (a, b) for a, b in zip(sorted(cuts)[::2], sorted(cuts)[1::2], strict=False) if a < b
    ]
)


@given(spans=spans, chunk=st.integers(1, N), seed=st.integers(0, 5))
def test_the_answers_alone_count(spans: list[tuple[int, int]], chunk: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = {role: rng.normal(0, 3, (N, V)).astype(np.float32) for role in ("large", "cpt", "base")}
    tokens = rng.integers(0, V, N).astype(np.int32)
    chooser = AnswersChooser(spans)
    first = chooser.first(N)
    for at in range(first, N - 1, chunk):
        end = min(at + chunk, N - 1)
        shown = {role: own[at:end] for role, own in rows.items()}
        chooser.add(at, shown, tokens[at + 1 : end + 1])
    weights = chooser.end({role: own[-1] for role, own in rows.items()})
    nll, n_tokens = plain(rows, tokens, spans)
    assert chooser.score.n_tokens == n_tokens
    np.testing.assert_allclose(chooser.score.nll, nll, rtol=1e-5, atol=1e-4)
    if n_tokens:
        assert weights == DEFAULT_GRID.weights(*DEFAULT_GRID.best(nll / n_tokens))
    else:
        assert weights is None


def test_rows_before_the_first_answer_are_not_wanted() -> None:
    assert AnswersChooser([(5, 8)]).first(20) == 4
    assert AnswersChooser([(0, 3)]).first(20) == 0
    assert AnswersChooser([]).first(20) == 19
