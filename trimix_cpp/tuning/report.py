"""What `tune` found out, as a JSON document, as text, and as heat maps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..fusion import Doubles, Weights
from ..showing import HeatMap, Table, count
from .samples import Average, Criterion, Scores

# chrF++ is the score that the demo's model card has, too.
SCORE_NAMES = {"chrf": "chrF++", "accuracy": "accuracy"}
_LABELS = {
    "ppl": "PPL", "ppl-opt": "PPL, continuous", "ppl-answers": "PPL of the answers", "ent": "ENT",
}  # fmt: skip


@dataclass(frozen=True)
class UpperBound:
    """The score of every pair against references, 0 to 100, of shape [n_alpha, n_beta]."""

    metric: str
    scores: Doubles


@dataclass(frozen=True)
class GridReport:
    """The findings on one task.

    Attributes:
        scores: of every prompt.
        criterion, average: by which the best pair is chosen.
        upper_bound: with references.
        divergence: show it.
    """

    scores: Scores
    criterion: Criterion
    average: Average
    upper_bound: UpperBound | None = None
    divergence: bool = False

    @property
    def best(self) -> tuple[Weights, float]:
        """The pair by the criterion, and the prompts' nats a token under it."""
        return self.scores.best(self.criterion, self.average)

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """Those that were computed."""
        if self.criterion == "ppl-answers":
            return ("ppl-answers", "ent")
        return ("ppl", "ent") if self.scores.fine is None else ("ppl", "ppl-opt", "ent")

    def document(self) -> dict[str, Any]:
        """The JSON document; nats, and perplexities (None where one is beyond floating point)."""
        scores, grid = self.scores, self.scores.grid
        nll, entropy = scores.mean_nll(self.average), scores.mean_entropy()
        cells = []
        for i, j in np.ndindex(grid.shape):
            cell = (
                grid.weights(i, j).as_json() | _nll(nll[i, j]) | {"entropy": float(entropy[i, j])}
            )
            if self.upper_bound:
                cell["score"] = float(self.upper_bound.scores[i, j])
            cells.append(cell)
        weights, least = self.best
        document: dict[str, Any] = {
            "best": weights.as_json() | {"ppl": perplexity(least)},
            "grid": cells,
            "criterion": self.criterion,
            "average": self.average,
            "n_prompts": len(scores.n_tokens),
            "n_tokens": int(scores.n_tokens.sum()),
            "choices": {name: self._choice(name) for name in self.criteria},
            "per_input": {name: _spread(scores.chosen(name)) for name in self.criteria},
            "single": {role: _nll(value) for role, value in self.singles().items()},
        }
        if self.divergence:
            document["divergence"] = self._divergence()
        if self.upper_bound:
            at = grid.best(-self.upper_bound.scores)
            document["upper_bound"] = grid.weights(*at).as_json() | {
                "score": float(self.upper_bound.scores[at]),
                "metric": self.upper_bound.metric,
            }
        return document

    def _choice(self, criterion: Criterion) -> dict[str, Any]:
        weights, nll = self.scores.best(criterion, self.average)
        return weights.as_json() | _nll(nll)

    def singles(self) -> dict[str, float]:
        """Role -> its own mean negative log-likelihood, on the pairs' footing."""
        return {
            role: float(self.scores.per_token(own, self.average))
            for role, own in self.scores.singles.items()
        }

    def _divergence(self) -> dict[str, float]:
        return {role: float(own.mean()) for role, own in self.scores.divergence.items()}

    def text(self) -> str:
        """For the terminal: the grid with the best marked, and what else is known."""
        scores = self.scores
        lines = [
            f"{count(len(scores.n_tokens), 'prompt')}, "
            f"{count(int(scores.n_tokens.sum()), 'token')} scored. Perplexity of the "
            f"{'answers' if self.criterion == 'ppl-answers' else 'prompts'}:",
            "",
            self._table(),
            "",
        ]
        marked = "least of the grid"
        if self.criterion == "ent":
            marked = "least entropy of the first generated token"
        weights, least = self.best
        lines += [
            f"* {marked}. Best: {_show(weights)}, perplexity {_short(perplexity(least))}.",
            "",
            self._others(),
        ]
        return "\n".join(lines)

    def _table(self) -> str:
        grid = self.scores.grid
        values = np.exp(self.scores.mean_nll(self.average))
        best = self.scores.on_grid(self.criterion, self.average)
        cells = [
            [_short(value) + ("*" if (i, j) == best else " ") for j, value in enumerate(row)]
            for i, row in enumerate(values)
        ]
        heads = [f"beta {grid.betas[0]:g} ", *(f"{beta:g} " for beta in grid.betas[1:])]
        rows = [[f"alpha {a:g}", *line] for a, line in zip(grid.alphas, cells, strict=True)]
        return Table(["", *heads], rows).text()

    def _others(self) -> str:
        scores = self.scores
        rows = []
        for name in self.criteria:
            weights, nll = scores.best(name, self.average)
            ppl = _short(perplexity(nll))
            rows.append((_LABELS[name], f"{_show(weights)}; perplexity {ppl}"))
        for name in self.criteria:
            spread = _spread(scores.chosen(name))
            rows.append((f"{_LABELS[name]}, prompt by prompt", _plus_minus(spread)))
        singles = (f"{role} {_short(perplexity(nll))}" for role, nll in self.singles().items())
        rows.append(("single models, perplexity", ", ".join(singles)))
        if self.divergence:
            kl = self._divergence()
            rows.append(
                ("KL to base, first token", f"large {kl['large']:.3f}, cpt {kl['cpt']:.3f}")
            )
        if self.upper_bound:
            rows.append(("upper bound", self._bound()))
        return Table([], rows).text()

    def _bound(self) -> str:
        assert self.upper_bound is not None
        grid, values = self.scores.grid, self.upper_bound.scores
        name = SCORE_NAMES[self.upper_bound.metric]
        at = grid.best(-values)
        on_grid = self.scores.on_grid(self.criterion, self.average)
        marked = f"{name} {values[on_grid]:.2f} at the pair marked *"
        return f"{_show(grid.weights(*at))}; {name} {values[at]:.2f}, and {marked}"

    def heat_maps(self) -> list[HeatMap]:
        """The perplexities, and the scores where there are references."""
        grid = self.scores.grid
        nll = self.scores.mean_nll(self.average)
        panels = [
            HeatMap(
                "perplexity of the prompts",
                grid.alphas,
                grid.betas,
                np.exp(nll),
                self.scores.on_grid(self.criterion, self.average),
                _short,
                log=True,
            )
        ]
        if self.upper_bound:
            values = self.upper_bound.scores
            name = f"{SCORE_NAMES[self.upper_bound.metric]} of the answers"
            best = grid.best(-values)
            panels.append(
                HeatMap(
                    name,
                    grid.alphas,
                    grid.betas,
                    values,
                    best,
                    "{:.2f}".format,
                    less_is_better=False,
                )
            )
        return panels


def perplexity(nll: float) -> float | None:
    """The perplexity of nats a token; None beyond the range of floating point."""
    try:
        return math.exp(nll)
    except OverflowError:
        return None


def _show(weights: Weights) -> str:
    return f"alpha {weights.alpha:.4g}, beta {weights.beta:.4g}"


def _nll(nll: float) -> dict[str, Any]:
    return {"nll": float(nll), "ppl": perplexity(nll)}


def _spread(pairs: Doubles) -> dict[str, dict[str, float]]:
    """Mean and standard deviation (of the prompts themselves, not of a wider population)."""
    means, deviations = pairs.mean(axis=0), pairs.std(axis=0)
    return {
        name: {"mean": float(mean), "deviation": float(deviation)}
        for name, mean, deviation in zip(("alpha", "beta"), means, deviations, strict=True)
    }


def _plus_minus(spread: Mapping[str, Mapping[str, float]]) -> str:
    parts = (f"{name} {own['mean']:.2f} ± {own['deviation']:.2f}" for name, own in spread.items())
    return ", ".join(parts)


def _short(value: float | None) -> str:
    """Four digits, without an exponent where that is short."""
    if value is None or not math.isfinite(value):
        return "inf"
    if value < 1000:
        return f"{value:#.4g}"
    return f"{value:.0f}" if value < 1e6 else f"{value:.3e}"
