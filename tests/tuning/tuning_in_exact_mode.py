"""Weights for a task: scores are those of softmaxes written out; run by test_tuning.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trimix_cpp.commands.tune import command
from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.prefixes import common_beginning
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Feed, Options, Trio
from trimix_cpp.errors import TrimixError
from trimix_cpp.fusion.grid import DEFAULT_GRID, TIE, Grid
from trimix_cpp.fusion.optimum import FINE_VALUES
from trimix_cpp.fusion.weights import Plausibility, Weights
from trimix_cpp.store.spec import TrioSpec
from trimix_cpp.tuning import samples as tuning
from trimix_cpp.tuning import upper_bound
from trimix_cpp.tuning.samples import Average, Scores, fit_prompts, score_prompts

from ..conftest import ROLES

GRID = Grid((0.1, 0.5, 1.0), (0.3, 0.9))
SHOT = "English: Open file\nUyghur: ھۆججەت ئاچ\n\n"
PROMPTS = [
    SHOT + text
    for text in (
        "English: Save\nUyghur: ",
        "English: Close the window\nUyghur: ",
        "ཡིག་ཆ་ཁ་ཕྱེ།",
        "ئاچ",
    )
]


@pytest.fixture(scope="module")
def exact_trio(demo_spec: TrioSpec) -> Iterator[Trio]:
    """Its numbers do not depend on how a prompt is cut into batches."""
    options = Options(n_ctx=256, n_threads=1, n_parallel=4, n_outputs=7, exact=True)
    with Trio(demo_spec, ROLES, options) as trio:
        yield trio


def logits(trio: Trio, tokens: list[int]) -> dict[str, np.ndarray]:
    """Role -> float64 logits of every position, [n, n_tokens], one position a step."""
    rows: dict[str, list[np.ndarray]] = {role: [] for role in ROLES}
    slot = trio.take()
    for i, token in enumerate(tokens):
        feed = Feed(slot, (token,), i, 1)
        for role, row in trio.decode({role: [feed] for role in ROLES}).items():
            rows[role].append(row[0].astype(np.float64))
    trio.give(slot)
    return {role: np.array(own) for role, own in rows.items()}


def log_probabilities(rows: dict[str, np.ndarray], alpha: float, beta: float) -> np.ndarray:
    fused = alpha * rows["large"] + beta * rows["cpt"] + (1 - alpha - beta) * rows["base"]
    fused = fused - fused.max(axis=1, keepdims=True)
    return np.asarray(fused - np.log(np.exp(fused).sum(axis=1, keepdims=True)))


def encode(trio: Trio, texts: list[str]) -> list[list[int]]:
    return fit_prompts(trio, texts, trio.n_ctx - 1).prompts


@pytest.mark.parametrize("texts", [PROMPTS, PROMPTS[:1], ["سالام دۇنيا", "ཡིག་ཆ", "Open"]])
def test_scores_are_those_of_softmaxes_written_out(exact_trio: Trio, texts: list[str]) -> None:
    """With a common beginning, with one prompt, and with prompts that share nothing."""
    prompts = encode(exact_trio, texts)
    assert (len(common_beginning(prompts)) > 8) == (texts is PROMPTS)
    scores = score_prompts(exact_trio, prompts, GRID)
    assert scores.n_tokens.tolist() == [len(prompt) - 1 for prompt in prompts]
    for k, prompt in enumerate(prompts):
        rows = logits(exact_trio, prompt)
        targets = np.arange(len(prompt) - 1), prompt[1:]
        for (i, j), nll in np.ndenumerate(scores.nll[k]):
            log_p = log_probabilities(rows, GRID.alphas[i], GRID.betas[j])
            assert nll == pytest.approx(-log_p[targets].sum(), abs=1e-4 * len(prompt))
            entropy = -(np.exp(log_p[-1]) @ log_p[-1])
            assert scores.entropy[k, i, j] == pytest.approx(entropy, abs=1e-4)
        own = {role: log_probabilities(rows, *pair) for role, pair in tuning.SINGLES.items()}
        for role in ROLES:
            expected = -own[role][targets].sum()
            assert scores.singles[role][k] == pytest.approx(expected, abs=1e-4 * len(prompt))
        for role in ("large", "cpt"):
            p, q = own[role][-1], own["base"][-1]
            assert scores.divergence[role][k] == pytest.approx(np.exp(p) @ (p - q), abs=1e-4)


def test_how_a_prompt_is_cut_into_chunks_changes_nothing(demo_spec: TrioSpec) -> None:
    found = []
    for n_outputs, n_batch in ((1, 512), (5, 16), (64, 512)):
        options = Options(n_ctx=256, n_threads=1, n_batch=n_batch, n_outputs=n_outputs, exact=True)
        with Trio(demo_spec, ROLES, options) as trio:
            found.append(score_prompts(trio, encode(trio, PROMPTS[:2]), DEFAULT_GRID))
    for other in found[1:]:
        np.testing.assert_allclose(other.nll, found[0].nll, atol=1e-5)
        np.testing.assert_array_equal(other.entropy, found[0].entropy)


def test_the_trio_is_left_empty(exact_trio: Trio) -> None:
    """What comes after must not see what was scored or shared before."""
    prompts = encode(exact_trio, PROMPTS)
    before = score_prompts(exact_trio, prompts, GRID)
    pairs = [Weights(1, 0), Weights(0.9, 0.3)]
    upper_bound.answers(exact_trio, prompts, pairs, max_tokens=4)
    after = score_prompts(exact_trio, prompts, GRID)
    np.testing.assert_array_equal(before.nll, after.nll)
    np.testing.assert_array_equal(before.entropy, after.entropy)


def test_progress_is_told(exact_trio: Trio) -> None:
    told: list[tuple[int, int]] = []
    score_prompts(
        exact_trio, encode(exact_trio, PROMPTS), GRID, progress=lambda *at: told.append(at)
    )
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_between_the_pairs_is_never_worse_than_on_them(exact_trio: Trio) -> None:
    prompts = encode(exact_trio, PROMPTS)
    scores = score_prompts(exact_trio, prompts, DEFAULT_GRID, fine=True)
    for average in get_args(Average):
        weights, nll = scores.best("ppl-opt", average)
        assert nll <= scores.best("ppl", average)[1]
        # The value is that of the place, as another scoring of it says.
        there = Grid((weights.alpha,), (weights.beta,))
        again = score_prompts(exact_trio, prompts, there).mean_nll(average)[0, 0]
        assert again == pytest.approx(nll, abs=1e-4)
    chosen = scores.chosen("ppl-opt")
    assert chosen.shape == (len(prompts), 2)
    for k, pair in enumerate(chosen):
        there = Grid((pair[0],), (pair[1],))
        own = score_prompts(exact_trio, [prompts[k]], there).nll.item()
        assert own <= scores.nll[k].min() + 1e-4 * len(prompts[k])


def test_a_grid_beyond_the_box_may_win(exact_trio: Trio) -> None:
    """The continuous minimum is one in [0, 1] x [0, 1]; a better pair outside is not lost."""
    prompts = encode(exact_trio, ["ھۆججەتنى ساقلاش ۋە يېپىش"])
    wide = Grid((0.0, 0.1), (0.9, 1.0, 1.2, 1.5))
    scores = score_prompts(exact_trio, prompts, wide, fine=True)
    assert scores.best("ppl-opt")[1] <= scores.best("ppl")[1] + TIE


SHAPE = (4, 3, 2)
NLLS = arrays(np.float64, SHAPE, elements=st.floats(0.5, 400))
COUNTS = arrays(np.int64, SHAPE[:1], elements=st.integers(1, 90))


def some_scores(nll: np.ndarray, counts: np.ndarray) -> Scores:
    flat = dict.fromkeys(ROLES, nll[:, 0, 0])
    return Scores(GRID, counts, nll, nll[:, ::-1] / 7, flat, flat)


@given(NLLS, COUNTS)
def test_the_two_averages(nll: np.ndarray, counts: np.ndarray) -> None:
    scores = some_scores(nll, counts)
    per_prompt = [nll[k] / counts[k] for k in range(len(counts))]
    np.testing.assert_allclose(scores.mean_nll("prompts"), sum(per_prompt) / len(counts))
    np.testing.assert_allclose(scores.mean_nll("tokens"), nll.sum(axis=0) / counts.sum())
    same = replace(scores, n_tokens=np.full(len(counts), 7))
    np.testing.assert_allclose(same.mean_nll("prompts"), same.mean_nll("tokens"))


@given(NLLS, COUNTS)
def test_the_best_pair_has_the_least_mean(nll: np.ndarray, counts: np.ndarray) -> None:
    scores = some_scores(nll, counts)
    for average in get_args(Average):
        weights, least = scores.best("ppl", average)
        values = scores.mean_nll(average)
        assert least <= values.min() + TIE
        at = GRID.alphas.index(weights.alpha), GRID.betas.index(weights.beta)
        assert values[at] == least
        # ENT takes its pair from the entropies and its perplexity from the prompts.
        i, j = scores.on_grid("ent")
        assert scores.mean_entropy()[i, j] <= scores.mean_entropy().min() + TIE
        assert scores.best("ent", average) == (GRID.weights(i, j), values[i, j])
    for criterion in ("ppl", "ent"):
        chosen = scores.chosen(criterion)
        for k, pair in enumerate(chosen):
            alone = replace(
                scores,
                n_tokens=counts[k : k + 1], nll=nll[k : k + 1], entropy=scores.entropy[k : k + 1],
            )  # fmt: skip
            weights, _ = alone.best(criterion)
            assert tuple(pair) == (weights.alpha, weights.beta)


def test_the_names_of_the_choices() -> None:
    choices = {param.name: getattr(param.type, "choices", None) for param in command.params}
    assert tuple(choices["criterion"]) == get_args(tuning.Criterion)
    assert tuple(choices["average"]) == get_args(Average)
    assert tuple(choices["metric"]) == get_args(upper_bound.Metric)
    assert set(DEFAULT_GRID.alphas + DEFAULT_GRID.betas) < set(FINE_VALUES)


def test_prompts_are_tokenized_as_generate_does_and_fitted(exact_trio: Trio) -> None:
    special = "<|im_end|>"
    fitted = fit_prompts(exact_trio, [PROMPTS[0], "a", special + special, PROMPTS[2] * 40], 50)
    assert fitted.kept == [0, 2, 3]
    assert fitted.n_cut == 1
    assert fitted.prompts[0] == exact_trio.tokenize(PROMPTS[0])
    assert len(fitted.prompts[1]) == 2
    assert 25 < len(fitted.prompts[2]) <= 50
    text = b"".join(exact_trio.piece(token) for token in fitted.prompts[2]).decode("utf-8")
    assert (PROMPTS[2] * 40).endswith(text)


@pytest.mark.parametrize("mask", [None, Plausibility("cpt", 0.1)])
def test_answers_are_those_of_a_decoder_of_its_own(
    exact_trio: Trio, mask: Plausibility | None
) -> None:
    prompts = encode(exact_trio, PROMPTS[:3])
    pairs = [Weights(1, 0), Weights(0.9, 0.3), Weights(0, 1.5)]
    found = upper_bound.answers(exact_trio, prompts, pairs, max_tokens=6, plausibility=mask)
    for weights, answers in zip(pairs, found, strict=True):
        for prompt, answer in zip(prompts, answers, strict=True):
            alone = Text(prompt, weights, max_tokens=6, stops=upper_bound.STOPS, plausibility=mask)
            (done,) = Decoder(exact_trio).run([alone])
            assert answer == done.text.strip()


def test_metrics() -> None:
    references = ["ھۆججەت ئاچ", "ساقلا"]
    assert upper_bound.score(references, references, "chrf") == pytest.approx(100)
    assert upper_bound.score(["", ""], references, "chrf") == 0
    one = upper_bound.score(["ھۆججەت ئاچ", "ياپ"], references, "chrf")
    assert 0 < one < 100
    assert upper_bound.score(["Yes", "no "], [" yes\n", "yes"], "accuracy") == 50


def test_a_broken_logit_names_its_role(exact_trio: Trio) -> None:
    watcher = tuning.PromptObserver(GRID)
    rows = {role: np.zeros((2, 5), np.float32) for role in ROLES}
    rows["cpt"][1, 3] = np.nan
    with pytest.raises(TrimixError, match="cpt"):
        watcher.add(0, rows, np.array([1, 2], np.int32))
