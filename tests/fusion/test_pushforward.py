"""The pushforward of an enlarged vocabulary against the enumeration of all segmentations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimix_cpp.fusion.pushforward import EXACT, Hypothesis, Pruning, Pushforward

from ..support.examples import examples

N_LETTERS = 4
# Ids are not in the alphabet's order; 1 is padding, 9 stands twice.
STRINGS: list[tuple[int, ...]] = [
    (2,), (), (0,), (3,), (1,), (0, 1), (0, 1, 2), (1, 2), (0, 1, 2, 0, 1), (1, 2), (3, 3),
]  # fmt: skip


class Toy:
    """A model with random conditionals: logits are a function of the tokens before."""

    def __init__(self, strings: Sequence[tuple[int, ...]], seed: int, scale: float = 2.0) -> None:
        self.strings, self.seed, self.scale = strings, seed, scale

    def logits(self, own: tuple[int, ...]) -> np.ndarray:
        rng = np.random.default_rng([self.seed, *own, len(own)])
        return (rng.standard_normal(len(self.strings)) * self.scale).astype(np.float32)

    def probabilities(self, own: tuple[int, ...]) -> np.ndarray:
        taking_part = np.array([bool(string) for string in self.strings])
        p = np.exp(self.logits(own).astype(np.float64)) * taking_part
        return p / p.sum()

    def probability(self, text: tuple[int, ...]) -> float:
        """Of all sequences of tokens whose last one reaches the end of `text`, or beyond it."""

        def reach(own: tuple[int, ...], done: tuple[int, ...]) -> float:
            if len(done) >= len(text):
                return 1.0
            p, total = self.probabilities(own), 0.0
            for token, string in enumerate(self.strings):
                after = done + string
                n = min(len(after), len(text))
                if string and after[:n] == text[:n]:
                    total += p[token] * reach((*own, token), after)
            return total

        return reach((), ())


def evaluate(push: Pushforward, toy: Toy, hypotheses: list[Hypothesis]) -> list[Hypothesis]:
    return [h if h.row is not None else push.evaluated(h, toy.logits(h.own)) for h in hypotheses]


def rows(
    push: Pushforward, toy: Toy, text: Sequence[int], pruning: Pruning = EXACT
) -> Iterator[tuple[np.ndarray, list[Hypothesis], float]]:
    """For each position its row's probabilities, the hypotheses, and what was dropped before."""
    hypotheses, dropped = evaluate(push, toy, [Hypothesis((), 0.0)]), 0.0
    for letter in (*text, None):
        row = push.row(hypotheses).astype(np.float64)
        p = np.exp(row - row.max())
        yield p / p.sum(), hypotheses, dropped
        if letter is not None:
            hypotheses, dropped = push.push(hypotheses, letter, pruning)
            hypotheses = evaluate(push, toy, hypotheses)


@settings(max_examples=examples(10), deadline=None)
@given(seed=st.integers(0, 2**32), text=st.lists(st.integers(0, N_LETTERS - 1), max_size=4))
def test_every_row_is_that_of_all_segmentations(seed: int, text: list[int]) -> None:
    toy, push = Toy(STRINGS, seed), Pushforward(STRINGS, N_LETTERS)
    for at, (found, _, dropped) in enumerate(rows(push, toy, text)):
        before = tuple(text[:at])
        all_of = toy.probability(before)
        expected = [toy.probability((*before, v)) / all_of for v in range(N_LETTERS)]
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert dropped < 1e-6


def test_weights_are_the_probability_of_the_text() -> None:
    """The rows multiply to the probability of the text: nothing is lost on the way."""
    toy, push, text = Toy(STRINGS, 3), Pushforward(STRINGS, N_LETTERS), (0, 1, 2, 0)
    product = 1.0
    for (row, _, _), letter in zip(rows(push, toy, text), text, strict=False):
        product *= row[letter]
    assert product == pytest.approx(toy.probability(text), rel=1e-5)


@settings(max_examples=examples(20), deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 4))
def test_tokens_that_never_come_change_no_bit(seed: int, n: int) -> None:
    """Only the letters are left: the rows are the model's own."""
    rng = np.random.default_rng(seed)
    strings = [(v,) for v in range(N_LETTERS)]
    more = [tuple(rng.integers(0, N_LETTERS, 1 + rng.integers(1, 4)).tolist()) for _ in range(n)]
    push = Pushforward([*strings, *more], N_LETTERS)
    hypotheses = [Hypothesis((), 0.0)]
    for _ in range(4):
        logits = (rng.standard_normal(N_LETTERS + n) * 3).astype(np.float32)
        logits[N_LETTERS:] = -np.inf
        hypotheses = [push.evaluated(one, logits) for one in hypotheses]
        assert push.row(hypotheses).tobytes() == logits[:N_LETTERS].tobytes()
        hypotheses, dropped = push.push(hypotheses, int(rng.integers(N_LETTERS)))
        assert (len(hypotheses), hypotheses[0].pending, dropped) == (1, (), 0.0)


@settings(max_examples=examples(15), deadline=None)
@given(seed=st.integers(0, 2**32), least=st.sampled_from([1e-3, 0.05, 0.2]))
def test_what_is_dropped_bounds_the_next_row(seed: int, least: float) -> None:
    """From the same exact hypotheses: the row moves by no more than the share (total variation)."""
    toy, push = Toy(STRINGS, seed), Pushforward(STRINGS, N_LETTERS)
    rng = np.random.default_rng(seed)
    text = rng.integers(0, N_LETTERS, 6).tolist()
    for (_, hypotheses, _), letter in zip(rows(push, toy, text), text, strict=False):
        found = []
        for pruning in (EXACT, Pruning(least, 3, False)):
            after, dropped = push.push(hypotheses, letter, pruning)
            row = push.row(evaluate(push, toy, after), pruning).astype(np.float64)
            found.append(np.exp(row) / np.exp(row).sum())
        assert 0 <= dropped <= 1
        in_the_middle = all(one.pending for one in after)
        bound = dropped + least * in_the_middle
        assert np.abs(found[0] - found[1]).sum() / 2 <= bound + 1e-5


def test_canonical_closings() -> None:
    toy, push = Toy(STRINGS, 1), Pushforward(STRINGS, N_LETTERS)
    hypotheses = evaluate(push, toy, [Hypothesis((), 0.0)])
    pruning = Pruning(1e-4, 99)
    hypotheses, dropped = push.push(hypotheses, 0, pruning, lambda own: own != (2,))
    assert [(one.own, one.pending) for one in hypotheses] == [((), (0,))]
    assert dropped > 0
    p = np.exp(push.row(hypotheses, pruning).astype(np.float64))
    p /= p.sum()
    assert p[1] > 0.99
    np.testing.assert_allclose(p[[0, 2, 3]], pruning.least / N_LETTERS, rtol=1e-3)
    assert push.push(hypotheses, 3) == ([], 0.0)


def test_a_sure_model_is_evaluated_about_once_for_each_of_its_tokens() -> None:
    """It says long tokens; in the middle of them nothing is evaluated."""
    strings = [*STRINGS[:9], (2, 3, 1), (3, 3)]  # none twice
    toy, push = Toy(strings, 5, scale=14.0), Pushforward(strings, N_LETTERS)
    rng = np.random.default_rng(0)
    own: tuple[int, ...] = ()
    while len(own) < 60:
        own += (int(rng.choice(len(strings), p=toy.probabilities(own))),)
    letters = [letter for token in own for letter in strings[token]]
    assert len(letters) > 1.5 * len(own)
    hypotheses, evaluated = evaluate(push, toy, [Hypothesis((), 0.0)]), 0
    for letter in letters:
        hypotheses, _ = push.push(hypotheses, letter, Pruning(canonical=False))
        evaluated += sum(one.row is None for one in hypotheses)
        hypotheses = evaluate(push, toy, hypotheses)
    assert len(own) <= evaluated < 1.25 * len(own)
    assert any(one.own == own for one in hypotheses)


def test_all_tokens_of_a_string_are_found() -> None:
    push = Pushforward(STRINGS, N_LETTERS)
    strings = {string for string in STRINGS if string}
    for string in itertools.chain(strings, [(0, 0), (3, 3, 3)]):
        expected = [token for token, own in enumerate(STRINGS) if own == string]
        assert sorted(push.closing(string)) == expected


def test_letters_that_are_no_token_have_a_finite_logit() -> None:
    push = Pushforward([(0,), (2,)], 3)
    one = push.evaluated(Hypothesis((), 0.0), np.array([1.0, -2.0], np.float32))
    assert push.row([one]).tolist() == [1.0, -2.0, -2.0]
    assert push.push([one], 1) == ([], 0.0)


def test_nan_is_not_hidden() -> None:
    push = Pushforward(STRINGS, N_LETTERS)
    row = np.zeros(len(STRINGS), np.float32)
    row[STRINGS.index((0, 1, 2))] = np.nan
    assert np.isnan(push.row([push.evaluated(Hypothesis((), 0.0), row)])).any()
