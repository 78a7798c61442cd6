"""The continuous minimum of a prompt's perplexity over alpha and beta in [0, 1] x [0, 1].

A position's negative log-likelihood is a log-sum-exp of functions that are affine in (alpha, beta),
less an affine one: convex. Its gradient is the mean of u and w under the fused distribution less
their values at the target, its Hessian their covariance (see `weight_grid` for u and w).

Newton's method needs the logits again at every step, and a long prompt's logits are not kept. So
a prompt of up to `BUDGET` bytes of logits is minimised exactly; beyond that the sums over a fine
grid are kept in place of the logits, and what is minimised is the polynomial through those around
the least one. The grid of step 0.05 holds every pair of the paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from .arrays import Doubles, Ids, Rows
from .grid import TIE, TRIMIX, Grid, GridScore, Plane, scored
from .rows import check_finite, log_softmax

BUDGET = 64 << 20
STEP = 0.05
FINE_VALUES: tuple[float, ...] = tuple(np.linspace(0, 1, round(1 / STEP) + 1).round(9).tolist())
_STENCIL = 10
_MOST_STEPS = 100
_CLOSE = 1e-13  # nats that there may be left to fall
_FLAT = 1e-10  # slopes and curvatures below it are none


class Point(NamedTuple):
    """A convex function at one place: value, gradient [2], Hessian [2, 2]."""

    value: float
    gradient: Doubles
    hessian: Doubles


def minimise_in_box(objective: Callable[[Doubles], Point], start: Doubles) -> tuple[Doubles, float]:
    """Where a convex function of two variables is least in [0, 1] x [0, 1], and its value there.

    Newton's method, kept safe by cutting planes: every gradient says in which half of the box the
    minimum is not, and a step that does not fall is followed by one to the centre of what is left.
    So functions with edges, where Newton's method goes astray, are minimised too. A variable that
    the function does not depend on ends at 0. The value is not above that of `start`.
    """
    x = trial = start
    at = there = objective(start)
    left = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    fell = True
    for count in range(_MOST_STEPS):
        left = _cut(left, trial, there.gradient)
        target, promise = _newton(x, at)
        # No place that is left can be lower than the tangent plane is there.
        gap = float((at.gradient @ (x - left).T).max(initial=0.0))
        if min(promise, gap) < _CLOSE * max(1.0, abs(at.value)):
            break
        trial = target if fell and (count < 10 or count % 2) else _centre(left)
        there = objective(trial)
        fell = there.value < at.value
        if fell:
            x, at = trial, there
    for k in range(2):
        if abs(at.gradient[k]) < _FLAT and at.hessian[k, k] < _FLAT:
            trial = np.where(np.arange(2) == k, 0.0, x)
            there = objective(trial)
            if there.value <= at.value + _FLAT:  # rounding
                x, at = trial, there
    return x, at.value


def _newton(x: Doubles, at: Point) -> tuple[Doubles, float]:
    """Where the quadratic through `at` is least in the box, and how far it falls until there."""
    # Enough for a singular matrix (where large is cpt), too little to be seen otherwise.
    hessian = at.hessian + np.eye(2) * (1e-14 + 1e-12 * abs(np.trace(at.hessian)))
    inner = x - np.linalg.solve(hessian, at.gradient)
    candidates = [inner]
    if not ((inner >= 0) & (inner <= 1)).all():
        candidates = []
        for k, end in np.ndindex(2, 2):  # the four edges of the box
            step = np.zeros(2)
            step[k] = end - x[k]
            slope = at.gradient[1 - k] + hessian[1 - k, k] * step[k]
            step[1 - k] = -slope / hessian[1 - k, 1 - k]
            candidates.append(np.clip(x + step, 0, 1))
    steps = np.array(candidates) - x
    changes = steps @ at.gradient + ((steps @ at.hessian) * steps).sum(axis=1) / 2
    best = int(changes.argmin())
    return candidates[best], -float(changes[best])


def _cut(polygon: Doubles, place: Doubles, gradient: Doubles) -> Doubles:
    """The part of a convex polygon, corners [n, 2], where it may be lower than at `place`."""
    sides = (polygon - place) @ gradient
    corners: list[Doubles] = []
    for corner, side, after, side_after in zip(
        polygon, sides, np.roll(polygon, -1, axis=0), np.roll(sides, -1), strict=True
    ):
        if side <= 0:
            corners.append(corner)
        if side * side_after < 0:
            corners.append(corner + side / (side - side_after) * (after - corner))
    return np.array(corners).reshape(-1, 2)


def _centre(polygon: Doubles) -> Doubles:
    """The centre of gravity of a convex polygon: a cut through it takes at least 4/9 away."""
    fans = polygon - polygon[0]
    areas = fans[1:-1, 0] * fans[2:, 1] - fans[1:-1, 1] * fans[2:, 0]
    if areas.sum() <= 0:  # a line, or a point
        return np.asarray(polygon.mean(axis=0))
    centres = polygon[0] + (fans[1:-1] + fans[2:]) / 3
    return np.asarray(areas @ centres / areas.sum())


class Optimum:
    """Takes a prompt's logits chunk by chunk and finds the least mean negative log-likelihood.

    Args:
        plane: which logits the weights steer.
        budget: bytes of logits that are kept; 64 MiB hold 36 positions of three models with 152,064
            tokens, or 682 of the bundled trio.

    Attributes:
        n_tokens: tokens so far.
        exact: whether all logits are kept.
    """

    def __init__(self, plane: Plane = TRIMIX, budget: int = BUDGET) -> None:
        self.grid = Grid(FINE_VALUES, FINE_VALUES, plane)
        self.n_tokens = 0
        self.exact = True
        self._room = budget
        self._kept: list[tuple[dict[str, Rows], Ids]] = []
        self._score = GridScore(self.grid)

    def add(self, rows: Mapping[str, Rows], targets: Ids) -> None:
        """Score a chunk: rows[role][i] (float32 [n, n_tokens]) predict targets[i].

        Raises:
            TrimixError: a logit is NaN or infinite.
            ValueError: shapes that do not go together, or a target that is no column.
        """
        rows, targets = scored(rows, targets, self.grid)
        self._room -= sum(rows[role].nbytes for role in self.grid.roles)
        if self.exact and self._room >= 0:
            copies = {role: rows[role].copy() for role in self.grid.roles}
            check_finite(copies, copies)
            self._kept.append((copies, targets.copy()))
        else:
            self.exact = False
            while self._kept:
                self._score.add(*self._kept.pop())
            self._score.add(rows, targets)
        self.n_tokens += len(targets)

    def find(self) -> tuple[float, float, float]:
        """(alpha, beta, mean negative log-likelihood in nats a token). Needs a token."""
        if self.exact:
            x, value = minimise_in_box(self._exact, np.array([0.5, 0.5]))
        else:
            x, value = minimise_grid(self._score.mean)
        return float(x[0]), float(x[1]), value

    def _exact(self, x: Doubles) -> Point:
        points = [
            _point({role: row[i] for role, row in rows.items()}, int(target), x, self.grid.plane)
            for rows, targets in self._kept
            for i, target in enumerate(targets)
        ]
        return Point(
            sum(point.value for point in points) / self.n_tokens,
            np.sum([point.gradient for point in points], axis=0) / self.n_tokens,
            np.sum([point.hessian for point in points], axis=0) / self.n_tokens,
        )


def _point(rows: Mapping[str, Rows], target: int, x: Doubles, plane: Plane) -> Point:
    """One position's negative log-likelihood, in float64."""
    roles = list(rows)
    logits = np.stack([rows[role] for role in roles]).astype(np.float64)
    unit = np.eye(len(roles))
    directions = np.stack(
        [unit[roles.index(plus)] - unit[roles.index(minus)] for plus, minus in (plane.u, plane.w)]
    )
    log_p = log_softmax((unit[roles.index(plane.offset)] + x @ directions) @ logits)
    p = np.exp(log_p)
    logits -= logits[:, target, None]  # small numbers, so that the covariance loses no digits
    mean = logits @ p
    covariance = (logits * p) @ logits.T - np.outer(mean, mean)
    return Point(-float(log_p[target]), directions @ mean, directions @ covariance @ directions.T)


def minimise_grid(values: Doubles) -> tuple[Doubles, float]:
    """The least value of a convex function on [0, 1] x [0, 1] that is known on a regular grid.

    `values` has the shape [n, n]. Around the least of them it is taken for the polynomial through
    the nearest 10 x 10 of them, which on prompts of the bundled trio finds the minimum within 1e-6.
    Bends sharper than the grid's step, as of very few tokens that the models see very differently,
    make it coarser. A place of the grid is only left for a gain of more than `TIE`.
    """
    n = len(values)
    for axis in range(2):
        if np.ptp(values, axis=axis).max() < TIE:  # else noise would choose
            values = np.broadcast_to(values.take([0], axis=axis), values.shape)
    i, j = np.unravel_index(values.argmin(), values.shape)
    size = min(_STENCIL, n)
    corner = [min(max(int(k) - (size - 1) // 2, 0), n - size) for k in (i, j)]
    patch = values[corner[0] : corner[0] + size, corner[1] : corner[1] + size]
    # Patch coordinates -1 to 1: the coefficients of t**k are well determined there.
    inverse = np.linalg.inv(np.vander(np.linspace(-1, 1, size), increasing=True))
    coefficients = inverse @ patch @ inverse.T
    scale = 2 * (n - 1) / (size - 1)
    k = np.arange(size)

    def polynomial(x: Doubles) -> Point:
        at = (x * (n - 1) - corner) / (size - 1) * 2 - 1
        # Rows: t**k and its two derivatives, by alpha and by beta.
        a, b = (
            np.array([t**k, k * t ** np.maximum(k - 1, 0), k * (k - 1) * t ** np.maximum(k - 2, 0)])
            for t in np.clip(at, -1, 1)
        )
        d = a @ coefficients @ b.T
        gradient = scale * np.array([d[1, 0], d[0, 1]])
        hessian = scale**2 * np.array([[d[2, 0], d[1, 1]], [d[1, 1], d[0, 2]]])
        return Point(float(d[0, 0]), gradient, hessian)

    start, least = np.array([i, j]) / (n - 1), float(values[i, j])
    place, value = minimise_in_box(polynomial, start)
    # What the polynomial promises beyond that is no certain gain.
    return (place, value) if value < least - TIE else (start, least)
