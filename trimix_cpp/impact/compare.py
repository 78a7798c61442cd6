"""What quantization does to the fused distribution: the whole, each role, and how they add up.

One side of a comparison is the reference, the other a quantized one (`sides`). Of every
scored position both sides' logits of every role are at hand (`evaluator`), and all else is sums:
the fused distribution with any roles quantized and the others not, under any weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import TrimixError
from ..fusion import (
    DEFAULT_GRID,
    DEFAULT_VALUES,
    ROLES,
    Grid,
    GridScore,
    Judge,
    Positions,
    Rows,
    Weights,
    blocks,
    fuse,
)
from ..showing import Progress
from .cache import Cache, Measured
from .evaluator import Evaluator, Variant
from .passes import SPOOL_BYTES, Job, measure
from .sides import Side
from .windows import Window

# The coefficient of one role goes through these values, all else stays.
SWEEP = (0.0, *DEFAULT_VALUES)
# Tokens of the noise floor's batches: an odd few, so that the kernels for single columns take part.
NOISE_BATCH = 7


@dataclass(frozen=True)
class Task:
    """What is measured.

    Attributes:
        weights: of the fusion.
        sweep: also the fused distribution as the coefficient of a role changes.
        grid: also every pair of the paper's grid, for the best weights of both sides.
    """

    weights: Weights
    sweep: bool = False
    grid: Grid | None = None

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that are evaluated."""
        needed = set(self.weights.roles)
        for _, _, weights in self.points():
            needed.update(weights.roles)
        if self.grid:
            needed.update(self.grid.roles)
        return tuple(role for role in ROLES if role in needed)

    def points(self) -> Iterator[tuple[str, float, Weights]]:
        """(role, coefficient, weights) of the sweep: alpha for large, beta for cpt."""
        if self.sweep:
            for value in SWEEP:
                yield "large", value, replace(self.weights, alpha=value)
                yield "cpt", value, replace(self.weights, beta=value)

    def as_json(self) -> dict[str, Any]:
        """What decides about the numbers, for keys of caches."""
        return {
            "weights": self.weights.coefficients,
            "sweep": SWEEP if self.sweep else None,
            "grid": [self.grid.alphas, self.grid.betas] if self.grid else None,
        }


def subsets(roles: Sequence[str]) -> list[tuple[str, ...]]:
    """Every choice of roles that may be quantized while the others are not, the single ones first.

    The last is all of them.
    """
    return [chosen for n in range(1, len(roles) + 1) for chosen in itertools.combinations(roles, n)]


def fused_name(chosen: Sequence[str]) -> str:
    """The name of the fused distribution with these roles quantized."""
    return "fused " + "+".join(chosen)


def alone_name(role: str) -> str:
    """The name of a role's own distribution."""
    return f"alone {role}"


def sweep_name(line: str, value: float, quantized: str) -> str:
    """The name of the fused distribution at a point of the sweep, with one role quantized."""
    return f"sweep {line} {value:g} {quantized}"


def measure_window(
    task: Task,
    base: Mapping[str, Rows],
    quantized: Mapping[str, Rows],
    window: Window,
) -> Measured:
    """All that `task` asks about one window, by the rows of both sides, [n_scored, n_tokens]."""
    parts: dict[str, list[Positions]] = {}
    scores = [GridScore(task.grid), GridScore(task.grid)] if task.grid else []
    n, n_tokens = next(iter(base.values())).shape
    for at in blocks(n, n_tokens):
        here = {role: rows[at] for role, rows in base.items()}
        there = {role: rows[at] for role, rows in quantized.items()}
        targets, n_bytes = window.targets[at], window.n_bytes[at]
        for name, positions in _compare(task, here, there, targets, n_bytes):
            parts.setdefault(name, []).append(positions)
        for score, side in zip(scores, (here, there), strict=False):
            good = np.all(
                [np.isfinite(rows).all(axis=1) for rows in (*here.values(), *there.values())],
                axis=0,
            )
            score.add({role: rows[good] for role, rows in side.items()}, targets[good])
    arrays = {name: score.nll for name, score in zip(("grid base", "grid q"), scores, strict=False)}
    if scores:
        arrays["grid n"] = np.array(scores[0].n_tokens)
    return Measured({name: Positions.joined(found) for name, found in parts.items()}, arrays)


def _compare(
    task: Task,
    base: Mapping[str, Rows],
    quantized: Mapping[str, Rows],
    targets: Any,
    n_bytes: Any,
) -> Iterator[tuple[str, Positions]]:
    for role in base:
        yield alone_name(role), Judge(base[role], targets, n_bytes).compare(quantized[role])
    roles, coefficients = task.weights.roles, task.weights.coefficients
    judge = Judge(fuse(base, coefficients, check=False), targets, n_bytes)
    for chosen in subsets(roles):
        yield fused_name(chosen), judge.compare(_mixed(base, quantized, chosen, coefficients))
    for line, value, weights in task.points():
        coefficients = weights.coefficients
        judge = Judge(fuse(base, coefficients, check=False), targets, n_bytes)
        for role in coefficients:
            rows = _mixed(base, quantized, (role,), coefficients)
            yield sweep_name(line, value, role), judge.compare(rows)


def _mixed(
    base: Mapping[str, Rows],
    quantized: Mapping[str, Rows],
    chosen: Sequence[str],
    coefficients: Mapping[str, float],
) -> Rows:
    """The fused rows with the roles `chosen` quantized."""
    rows = {role: (quantized if role in chosen else base)[role] for role in coefficients}
    return fuse(rows, coefficients, check=False)


@dataclass(frozen=True)
class Comparison:
    """One side against the reference, window by window.

    Attributes:
        side: the quantized one.
        windows: what was looked at.
        measured: of each window.
    """

    side: Side
    windows: Sequence[Window]
    measured: Sequence[Measured]

    def positions(self, name: str, label: str | None = None) -> Positions:
        """The positions called `name`, of one slice or of all."""
        return Positions.joined(
            measured.positions[name]
            for window, measured in zip(self.windows, self.measured, strict=True)
            if label in (None, window.label)
        )

    def mean_kld(self, name: str) -> float:
        """The mean KLD of the positions called `name`; NaN without any."""
        kld = self.positions(name).kld
        return float(kld.mean()) if len(kld) else float("nan")

    def summed(self, name: str) -> Any:
        """The sum over the windows of an array."""
        return sum(measured.arrays[name] for measured in self.measured)


def compare_sides(
    evaluator: Evaluator,
    reference: Side,
    sides: Sequence[Side],
    windows: Sequence[Window],
    task: Task,
    cache: Path,
    *,
    one_by_one: bool | None = None,
    spool_bytes: int = SPOOL_BYTES,
    progress: Progress | None = None,
) -> list[Comparison]:
    """Every side against the reference on the windows; what the cache knows is not measured again.

    Args:
        evaluator: on the reference's vocabulary.
        reference: what the sides are compared with.
        sides: what is compared.
        windows: the text.
        task: what is measured.
        cache: the cache's folder.
        one_by_one: as `passes`.
        spool_bytes: as `passes`.
        progress: as `passes`.

    Raises:
        AlignmentError: a side's vocabulary is not the reference's.
        TrimixError: a side's models are not the reference's, no memory, no disk.
    """
    roles = task.roles
    for side in (reference, *sides):
        for role in roles:
            evaluator.check(side.variants[role])
    jobs = [_job(evaluator, reference, side, task, cache) for side in sides]
    measured = measure(
        evaluator,
        jobs,
        windows,
        cache,
        one_by_one=one_by_one,
        spool_bytes=spool_bytes,
        progress=progress,
    )
    return [Comparison(side, windows, own) for side, own in zip(sides, measured, strict=True)]


def _job(evaluator: Evaluator, reference: Side, side: Side, task: Task, cache: Path) -> Job:
    roles = task.roles
    key = {
        "reference": reference.identity(roles, cache),
        "side": side.identity(roles, cache),
        "task": task.as_json(),
        "exact": evaluator.exact,
    }

    def measured(rows: Mapping[Variant, Rows], window: Window) -> Measured:
        base, other = ({r: rows[one.variants[r]] for r in roles} for one in (reference, side))
        return measure_window(task, base, other, window)

    needed = [one.variants[role] for role in roles for one in (reference, side)]
    return Job(needed, measured, Cache(cache, key))


def noise_side(reference: Side) -> Side:
    """The reference in batches of another size: what differs is rounding."""
    variants = {
        role: replace(variant, n_ubatch=NOISE_BATCH) for role, variant in reference.variants.items()
    }
    return Side("noise", variants, reference.types)


@dataclass(frozen=True)
class Regret:
    """Whether quantization moves the best weights.

    Attributes:
        before, after: the pair of the grid with the least nll of the text on the reference's and
            on the quantized side.
        nll_before, nll_after: nats a token of the quantized side under these two pairs.
    """

    before: Weights
    after: Weights
    nll_before: float
    nll_after: float

    @property
    def nats(self) -> float:
        """What it costs, in nats a token, to keep the first pair."""
        return self.nll_before - self.nll_after


def regret(comparison: Comparison, grid: Grid = DEFAULT_GRID) -> Regret:
    """By the text's own likelihood; raises TrimixError where no position was finite."""
    n = int(comparison.summed("grid n"))
    if not n:
        raise TrimixError("no position has finite logits: a model file is broken")
    base, quantized = comparison.summed("grid base") / n, comparison.summed("grid q") / n
    before, after = grid.best(base), grid.best(quantized)
    return Regret(
        grid.weights(*before),
        grid.weights(*after),
        float(quantized[before]),
        float(quantized[after]),
    )
