"""Weights for a task from sample prompts (section 2.3 of the paper): score, then choose.

Every prompt runs once through the models. On the way each of its tokens is scored under every pair
of the grid, and its end gives the first generated token's entropy and divergence. What comes out,
`Scores`, is small: all choices, per task and per prompt, are read from it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..characters import starts
from ..decoding import Decoder, Text, Trio, common_beginning
from ..fusion import (
    FINE_VALUES,
    Doubles,
    Grid,
    GridScore,
    Row,
    Rows,
    Weights,
    divergence,
    grid_entropies,
    minimise_grid,
)
from ..showing import Progress

Average = Literal["prompts", "tokens"]
Criterion = Literal["ppl", "ppl-opt", "ppl-answers", "ent"]

SINGLES = {"large": (1.0, 0.0), "cpt": (0.0, 1.0), "base": (0.0, 0.0)}


@dataclass(frozen=True)
class Scores:
    """What the prompts say of every pair of the grid.

    Attributes:
        grid: the pairs.
        n_tokens: scored tokens of each prompt, [n_prompts]. The first token of a prompt has no
            prediction and is not among them.
        nll: negative log-likelihood of a prompt's tokens, summed, in nats: [n_prompts, n_alpha,
            n_beta].
        entropy: of the first generated token, in nats: the same shape.
        singles: role -> its own summed negative log-likelihood, [n_prompts].
        divergence: role -> KL(role || base) of the first generated token, in nats, [n_prompts].
        fine: as `nll`, on `FINE_VALUES` x `FINE_VALUES`, for the minimum between the pairs;
            None where it was not asked for.
    """

    grid: Grid
    n_tokens: NDArray[np.int64]
    nll: Doubles
    entropy: Doubles
    singles: Mapping[str, Doubles]
    divergence: Mapping[str, Doubles]
    fine: Doubles | None = None

    def per_token(self, summed: Doubles, average: Average) -> Doubles:
        """Nats a token, averaged over the prompts, which are the first axis of `summed`.

        "prompts" is the published script's way, a mean of each prompt's mean; "tokens" gives every
        token the same weight.
        """
        if average == "tokens":
            return np.asarray(summed.sum(axis=0) / self.n_tokens.sum())
        return np.asarray(self._means(summed).mean(axis=0))

    def _means(self, summed: Doubles) -> Doubles:
        return summed / self.n_tokens.reshape(-1, *[1] * (summed.ndim - 1))

    def mean_nll(self, average: Average = "prompts") -> Doubles:
        """Nats a token of every pair, [n_alpha, n_beta]; the perplexity is its exp."""
        return self.per_token(self.nll, average)

    def mean_entropy(self) -> Doubles:
        """Entropy of the first generated token, averaged over the prompts, [n_alpha, n_beta]."""
        return np.asarray(self.entropy.mean(axis=0))

    def on_grid(self, criterion: Criterion, average: Average = "prompts") -> tuple[int, int]:
        """The task's pair as (i, j) of the grid; for "ppl-opt" that of "ppl"."""
        values = self.mean_entropy() if criterion == "ent" else self.mean_nll(average)
        return self.grid.best(values)

    def best(self, criterion: Criterion, average: Average = "prompts") -> tuple[Weights, float]:
        """The task's pair, and the prompts' nats a token under it."""
        i, j = self.on_grid(criterion, average)
        nll = self.mean_nll(average)[i, j]
        if criterion == "ppl-opt":
            assert self.fine is not None, "score_prompts was not asked for it"
            return _continuous(self.per_token(self.fine, average), self.grid.weights(i, j), nll)
        return self.grid.weights(i, j), float(nll)

    def chosen(self, criterion: Criterion) -> Doubles:
        """The pair that every prompt chooses for itself, (alpha, beta): [n_prompts, 2]."""
        values = self.entropy if criterion == "ent" else self._means(self.nll)
        pairs = [self.grid.weights(*self.grid.best(own)) for own in values]
        if criterion == "ppl-opt":
            assert self.fine is not None, "score_prompts was not asked for it"
            fine, least = self._means(self.fine), values.min(axis=(1, 2))
            pairs = [_continuous(*own)[0] for own in zip(fine, pairs, least, strict=True)]
        return np.array([(pair.alpha, pair.beta) for pair in pairs])


def _continuous(fine: Doubles, pair: Weights, nll: float) -> tuple[Weights, float]:
    """The minimum in [0, 1] x [0, 1] by a fine grid; never worse than `pair` with `nll`.

    A grid of the user's own may reach beyond the box.
    """
    (alpha, beta), least = minimise_grid(fine)
    return (
        (Weights(round(float(alpha), 6), round(float(beta), 6)), least)
        if least <= nll
        else (pair, float(nll))
    )


class PromptObserver:
    """An `Observer` that keeps what it sees of one prompt, from position `start` on."""

    roles = ("large", "cpt", "base")

    def __init__(
        self, grid: Grid, start: int = 0, *, fine: bool = False, answer: bool = False
    ) -> None:
        self.grid, self._start, self._answer = grid, start, answer
        # The single models among them: one pass then scores everything on the same footing.
        more = FINE_VALUES if fine else (0.0, 1.0)
        self.score = GridScore(Grid((*grid.alphas, *more), (*grid.betas, *more)))
        self.entropy: Doubles = np.empty(0)
        self.divergence: dict[str, float] = {}

    def first(self, n_prompt: int) -> int:
        """See `Observer`."""
        return self._start

    def add(self, at: int, rows: Mapping[str, Rows], targets: NDArray[np.int32]) -> None:
        """See `Observer`: score a chunk of the prompt."""
        if self._answer and at == self._start:
            self._look({role: own[0] for role, own in rows.items()})
        self.score.add(rows, targets)

    def end(self, last: Mapping[str, Row]) -> Weights | None:
        """See `Observer`: look at the logits of the first generated token."""
        if not self._answer:
            self._look(last)
        return None

    def _look(self, last: Mapping[str, Row]) -> None:
        self.entropy = grid_entropies(last, self.grid)
        self.divergence = {role: divergence(last[role], last["base"]) for role in ("large", "cpt")}

    def at(self, alphas: Sequence[float], betas: Sequence[float]) -> Doubles:
        """The summed negative log-likelihood at these lines of the grid, [n_alpha, n_beta]."""
        wide = self.score.grid
        rows, columns = map(wide.alphas.index, alphas), map(wide.betas.index, betas)
        return np.asarray(self.score.nll[np.ix_(list(rows), list(columns))])


def score_prompts(
    trio: Trio,
    prompts: Sequence[Sequence[int]],
    grid: Grid,
    *,
    answers: Sequence[Sequence[int]] | None = None,
    fine: bool = False,
    progress: Progress | None = None,
) -> Scores:
    """Evaluate the prompts one after the other, what they all begin with only once.

    Args:
        trio: with the roles large, cpt and base.
        prompts: ids, at least 2 each, that fit into the context.
        grid: the pairs.
        answers: ids of each prompt's answer: they are scored in the prompt's place.
        fine: also score the regular grid that "ppl-opt" needs.
        progress: is told (prompts done, prompts in all).

    Logits stream through in chunks of `trio.n_outputs` positions.

    Raises:
        TrimixError: a logit is NaN or infinite; the role is named.
    """
    shared = common_beginning(prompts)
    seen: list[list[PromptObserver]] = []
    with Decoder(trio) as decoder:

        def watch(tokens: Sequence[int], start: int) -> PromptObserver:
            observer = PromptObserver(grid, start, fine=fine, answer=answers is not None)
            text = Text(list(tokens), Weights(0, 1), max_tokens=0, observers=(observer,))
            for done in decoder.run([text]):
                done.raise_error()
            return observer

        # A beginning of one token has nothing to score.
        before = [watch(shared, 0)] if len(shared) >= 2 and answers is None else []
        for done, prompt in enumerate(prompts, 1):
            # The row of its last token predicts what follows.
            if answers is None:
                seen.append([*before, watch(prompt, len(shared) - 1 if before else 0)])
            else:
                seen.append([watch([*prompt, *answers[done - 1]], len(prompt) - 1)])
            if progress:
                progress(done, len(prompts))

    def summed(alphas: Sequence[float], betas: Sequence[float]) -> Doubles:
        return np.array([sum(part.at(alphas, betas) for part in parts) for parts in seen])

    return Scores(
        grid=grid,
        n_tokens=np.array([sum(part.score.n_tokens for part in parts) for parts in seen]),
        nll=summed(grid.alphas, grid.betas),
        entropy=np.array([parts[-1].entropy for parts in seen]),
        singles={role: summed((a,), (b,))[:, 0, 0] for role, (a, b) in SINGLES.items()},
        divergence={
            role: np.array([parts[-1].divergence[role] for parts in seen])
            for role in ("large", "cpt")
        },
        fine=summed(FINE_VALUES, FINE_VALUES) if fine else None,
    )


@dataclass(frozen=True)
class Fitted:
    """Prompts as tokens that can be scored.

    Attributes:
        prompts: their ids.
        kept: which of the texts they are.
        n_cut: how many were cut from the front to fit.
    """

    prompts: list[list[int]]
    kept: list[int]
    n_cut: int


def fit_prompts(trio: Trio, texts: Sequence[str], limit: int) -> Fitted:
    """Tokenize the prompts as `generate` does; cut to `limit` tokens; leave those of one token out.

    A prompt of a single token has nothing to predict.
    """

    def tokens(text: str) -> list[int]:
        return trio.tokenize(text, add_special=True, parse_special=True)

    fitted = Fitted([], [], 0)
    n_cut = 0
    for i, text in enumerate(texts):
        ids = tokens(text)
        if len(ids) > limit:
            ids = tokens(cut_front(text, limit, lambda part: len(tokens(part))))
            n_cut += 1
        if len(ids) >= 2:
            fitted.prompts.append(ids)
            fitted.kept.append(i)
    return replace(fitted, n_cut=n_cut)


def cut_front(text: str, limit: int, count: Callable[[str], int]) -> str:
    """The end of `text` that has at most `limit` tokens by `count`.

    Whole paragraphs go first, as the paper drops exemplars; where one is too long alone, it loses
    characters from its front, whole ones with their marks.
    """
    while count(text) > limit:
        _, blank_line, rest = text.partition("\n\n")
        if not blank_line or not rest.strip():
            return _cut_characters(text, limit, count)
        text = rest.lstrip("\n")
    return text


def _cut_characters(text: str, limit: int, count: Callable[[str], int]) -> str:
    low, high = 0, len(text)
    while low < high:
        middle = (low + high) // 2
        if count(text[middle:]) <= limit:
            high = middle
        else:
            low = middle + 1
    # A vowel sign without its letter, or a subjoined letter without its stack, is no beginning.
    begins = starts(text)
    return text[begins[bisect_left(begins, high)] :]
