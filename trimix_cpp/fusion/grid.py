"""The perplexity of a prompt under every pair (alpha, beta) of a grid, in one pass over its logits.

Fused logits are an affine function of the weights: L = offset + alpha * u + beta * w, in Eq. 5 with
u = large - base, w = cpt - base. So the sum over the vocabulary splits into factors,

    Z[i, j] = sum_v exp(alpha_i * u_v) * exp(beta_j * w_v + offset_v),

and a grid of A x B pairs costs A + B exponentials an entry and a small matrix product, in place of
A * B exponentials. Exponents are relative to a pair in the middle of the grid and to its largest
logit, in float32. A sum that underflow, overflow or rounding could have touched is computed again,
directly and in float64.

The rows have the alignment's columns: padding, which means nothing, is not among them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import TrimixError
from .arrays import Doubles, Ids, Mask, Rows
from .roles import ROLES
from .rows import check_finite
from .weights import Weights

DEFAULT_VALUES = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
# Nats a token; means that are closer than this are a tie. The float32 products' noise is 1e-7.
TIE = 1e-6

_TILE = 1 << 14  # columns at a time: the factors of 6 x 6 pairs then fit into a core's L2 cache
_SPAN = 1 << 11  # columns of one float32 product, the rest is summed in float64; OpenBLAS likes it
_BLOCK = 1 << 17  # sums that are kept for a block of positions
_LOG2E = math.log2(math.e)
# Within these bounds no product overflows (2**100 times the columns), and rounding in float32 moves
# an exponent by less than 1e-4. Differences of real models' logits are several times smaller.
_MOST_BITS = 50.0
_LARGEST = 256.0


@dataclass(frozen=True)
class Plane:
    """Which logits alpha and beta steer: L = offset + alpha * (u[0] - u[1]) + beta * (w[0] - w[1]).

    Attributes:
        offset: the role whose logits stand alone.
        u, w: the two roles whose difference alpha, and beta, multiplies.
    """

    offset: str
    u: tuple[str, str]
    w: tuple[str, str]

    def weights(self, alpha: float, beta: float) -> Weights:
        """The pair as weights of the general formula (Eq. 1)."""
        if self.u == ("large_base", "base"):
            return Weights(0.0, beta, gamma=alpha)
        return Weights(alpha, beta, gamma=0.0 if self.u == ("large", "large_base") else None)


# Eq. 5, and of Table 7 the ablations of the task vector (large - large_base) and of the scaling
# vector (large_base - base). Without the language vector it is TRIMIX with beta 0 alone.
TRIMIX = Plane("base", u=("large", "base"), w=("cpt", "base"))
NO_TASK = Plane("base", u=("large_base", "base"), w=("cpt", "base"))
NO_SCALING = Plane("base", u=("large", "large_base"), w=("cpt", "base"))


@dataclass(frozen=True)
class Grid:
    """The pairs of every alpha with every beta; values are sorted, each stands once.

    Raises:
        TrimixError: no values, or one that is not a finite number.
    """

    alphas: tuple[float, ...] = DEFAULT_VALUES
    betas: tuple[float, ...] = DEFAULT_VALUES
    plane: Plane = TRIMIX

    def __post_init__(self) -> None:
        for name in ("alphas", "betas"):
            values = tuple(sorted({float(value) for value in getattr(self, name)}))
            if not values or not all(map(math.isfinite, values)):
                raise TrimixError(f"the {name} of a weight grid are one or more finite numbers")
            object.__setattr__(self, name, values)

    @property
    def shape(self) -> tuple[int, int]:
        """(number of alphas, number of betas)."""
        return len(self.alphas), len(self.betas)

    @cached_property
    def pivot(self) -> tuple[float, float]:
        """The pair that exponents are relative to: of the grid, near its middle."""
        return _middle(self.alphas), _middle(self.betas)

    @cached_property
    def steps(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Distances of the alphas, and of the betas, from the pivot."""
        alpha, beta = self.pivot
        return tuple(value - alpha for value in self.alphas), tuple(v - beta for v in self.betas)

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """The roles whose logits are needed, in the order of `ROLES`."""
        needed = {self.plane.offset}
        needed.update(self.plane.u if any(self.alphas) else ())
        needed.update(self.plane.w if any(self.betas) else ())
        return tuple(role for role in ROLES if role in needed)

    def weights(self, i: int, j: int) -> Weights:
        """The pair of alpha number i and beta number j."""
        return self.plane.weights(self.alphas[i], self.betas[j])

    def best(self, values: Doubles) -> tuple[int, int]:
        """Where `values` (float64 [n_alpha, n_beta]) is least, as (i, j).

        Values within `TIE` of the least are a tie: the smallest alpha wins, then the smallest beta.
        """
        i, j = np.argwhere(values <= values.min() + TIE)[0].tolist()
        return i, j


DEFAULT_GRID = Grid()


def _middle(values: tuple[float, ...]) -> float:
    centre = (values[0] + values[-1]) / 2
    return min(values, key=lambda value: abs(value - centre))


def affine(rows: Mapping[str, Rows], grid: Grid) -> tuple[Doubles, Doubles, Doubles]:
    """(offset, u, w) in float64, of the rows' shape: L = offset + alpha * u + beta * w."""
    wide = {role: rows[role].astype(np.float64) for role in grid.roles}
    offset = wide[grid.plane.offset]
    u, w = (
        wide[plus] - wide[minus] if plus in wide and minus in wide else np.zeros_like(offset)
        for plus, minus in (grid.plane.u, grid.plane.w)
    )
    return offset, u, w


def scored(rows: Mapping[str, Rows], targets: Ids, grid: Grid) -> tuple[Mapping[str, Rows], Ids]:
    """What of a chunk is scored: all but targets of -1, tokens that a role lacks.

    Raises ValueError where rows and targets do not go together.
    """
    shapes = {rows[role].shape for role in grid.roles}
    if len(shapes) != 1:
        raise ValueError(f"rows of different shapes: {sorted(shapes)}")
    n, n_tokens = shapes.pop()
    if targets.shape != (n,):
        raise ValueError(f"{n} rows, and targets of the shape {targets.shape}")
    if n and not -1 <= int(targets.min()) <= int(targets.max()) < n_tokens:
        raise ValueError(f"a target is not among the {n_tokens} columns")
    if n and targets.min() < 0:
        known = targets >= 0
        return {role: rows[role][known] for role in grid.roles}, targets[known]
    return rows, targets


class GridScore:
    """Sums the negative log-likelihood of a prompt's tokens under every pair, chunk by chunk.

    Attributes:
        grid: the pairs.
        nll: summed over the tokens so far, in nats, float64 [n_alpha, n_beta].
        n_tokens: tokens so far.
    """

    def __init__(self, grid: Grid = DEFAULT_GRID) -> None:
        self.grid = grid
        self.nll: Doubles = np.zeros(grid.shape)
        self.n_tokens = 0

    def add(self, rows: Mapping[str, Rows], targets: Ids) -> None:
        """Score a chunk: rows[role][i] (float32 [n, n_tokens]) predict targets[i].

        Raises:
            TrimixError: a logit is NaN or infinite; nothing is added.
            ValueError: shapes that do not go together, or a target that is no column.
        """
        rows, targets = scored(rows, targets, self.grid)
        at = np.arange(len(targets)), targets
        chosen = {role: rows[role][at] for role in self.grid.roles}
        nll = np.zeros(self.grid.shape)
        for block in _blocks(rows, self.grid):
            nll += block.sum(axis=0)
        offset, u, w = (part.sum() for part in affine(chosen, self.grid))
        nll -= offset + u * np.array(self.grid.alphas)[:, None] + w * np.array(self.grid.betas)
        self.nll += nll
        self.n_tokens += len(targets)

    @property
    def mean(self) -> Doubles:
        """Nats a token, float64 [n_alpha, n_beta]. Raises TrimixError where no token was scored."""
        if not self.n_tokens:
            raise TrimixError("no token was scored: a prompt needs two or more")
        return self.nll / self.n_tokens

    @property
    def perplexity(self) -> Doubles:
        """The exponential of `mean`; infinite beyond float64."""
        with np.errstate(over="ignore"):
            return np.exp(self.mean)

    @property
    def best(self) -> tuple[int, int]:
        """The pair with the least perplexity, as (i, j) of the grid."""
        return self.grid.best(self.mean)


def log_partition(rows: Mapping[str, Rows], grid: Grid = DEFAULT_GRID) -> Doubles:
    """The log of sum_v exp(L_v) under every pair, float64 [n, n_alpha, n_beta]; rows [n, n_tokens].

    Raises:
        TrimixError: a logit is NaN or infinite; the role is named.
    """
    return np.concatenate([np.empty((0, *grid.shape)), *_blocks(rows, grid)])


def _blocks(rows: Mapping[str, Rows], grid: Grid) -> Iterator[Doubles]:
    """`log_partition` of a few positions at a time, in order.

    The working memory does not grow with positions or columns: factors of `_TILE` columns and a few
    times `_BLOCK` sums, together less than 2 MB for 6 x 6 pairs.
    """
    rows = {role: rows[role] for role in grid.roles}
    n, n_tokens = rows[grid.plane.offset].shape
    if not n_tokens:
        raise ValueError("rows without columns")
    width = min(n_tokens, _TILE)
    columns = [slice(left, left + width) for left in range(0, n_tokens, width)]
    height = max(1, _TILE // n_tokens)
    factors = _Factors(grid, min(height, max(n, 1)), width)
    n_sums = len(columns) * math.prod(grid.shape)
    block = max(height, _BLOCK // n_sums // height * height)
    for top in range(0, n, block):
        yield _block({role: row[top : top + block] for role, row in rows.items()}, columns, factors)


def _block(rows: Mapping[str, Rows], columns: list[slice], factors: _Factors) -> Doubles:
    grid, height = factors.grid, factors.height
    n = len(rows[grid.plane.offset])
    sums, extremes = np.empty((len(columns), n, *grid.shape)), np.empty((len(columns), n, 6))
    with np.errstate(over="ignore", invalid="ignore"):  # looked for in `_certain`
        for top in range(0, n, height):
            here = slice(top, top + height)
            for number, span in enumerate(columns):
                tile = {role: row[here, span] for role, row in rows.items()}
                sums[number, here], extremes[number, here] = factors.sums(tile)
    certain = _certain(sums, extremes, grid, factors.width)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.log(sums, out=sums)
        parts += extremes[:, :, 0, None, None]
    for number, i in np.argwhere(~certain.all(axis=(2, 3))):
        position = {role: row[i] for role, row in rows.items()}
        check_finite(position, position)
        tile = {role: row[columns[number]] for role, row in position.items()}
        _direct(tile, grid, ~certain[number, i], out=parts[number, i])
    return np.asarray(np.logaddexp.reduce(parts, axis=0))


def _certain(sums: Doubles, extremes: Doubles, grid: Grid, width: int) -> Mask:
    """Which sums are right to about 1e-5 of their size; shape of `sums`, False where one is NaN."""
    top, bottom, *ends = np.moveaxis(extremes, -1, 0)
    size_u, size_w = np.abs(ends[:2]).max(axis=0), np.abs(ends[2:]).max(axis=0)
    with np.errstate(invalid="ignore"):  # infinity times a step of 0
        bits_u, bits_w = (
            _LOG2E * size * max(map(abs, steps))
            for size, steps in zip((size_u, size_w), grid.steps, strict=True)
        )
    tame = (bits_u <= _MOST_BITS) & (bits_w <= _MOST_BITS) & np.isfinite(bottom)
    tame &= (size_u <= _LARGEST) & (size_w <= _LARGEST) & (np.abs(top) <= _LARGEST)
    # Every underflow, of a factor y or of a product, loses less than 2**-126 * max(1, x).
    lost = width * 2.0**-126 * (1 + np.exp2(np.where(tame, bits_u, 0)))
    return np.asarray(tame[..., None, None] & (sums * 1e-6 >= lost[..., None, None]))


class _Factors:
    """Working memory for a few positions (`height`) by some thousand columns (`width`)."""

    def __init__(self, grid: Grid, height: int, width: int) -> None:
        self.grid, self.height, self.width = grid, height, width
        self.span = min(_SPAN, width)
        padded = -(-width // self.span) * self.span
        self.u, self.w, self.pivot = np.zeros((3, height, padded), np.float32)
        self.x = np.zeros((len(grid.alphas), height, padded), np.float32)
        self.y = np.zeros((len(grid.betas), height, padded), np.float32)

    def sums(self, rows: Mapping[str, Rows]) -> tuple[Doubles, Rows]:
        """sum_v exp(L_v - top) of each position and pair, float64 [n, n_alpha, n_beta].

        And float32 [n, 6]: the pivot's largest logit, which is `top`, and its least; the ends of u;
        the ends of w.
        """
        plane = self.grid.plane
        n, k = rows[plane.offset].shape
        u, w, pivot, work = self.u[:n, :k], self.w[:n, :k], self.pivot[:n, :k], self.y[0, :n, :k]
        for out, (plus, minus) in ((u, plane.u), (w, plane.w)):
            if plus in rows and minus in rows:  # else its weight is 0 all over the grid
                np.subtract(rows[plus], rows[minus], out=out)
        np.multiply(u, self.grid.pivot[0], out=pivot)
        pivot += np.multiply(w, self.grid.pivot[1], out=work)
        pivot += rows[plane.offset]
        top, bottom = pivot.max(axis=1), pivot.min(axis=1)
        ends = u.min(axis=1), u.max(axis=1), w.min(axis=1), w.max(axis=1)
        pivot -= top[:, None]
        pivot *= _LOG2E
        self._fill(u, w, pivot)
        return self._products(n, k), np.stack((top, bottom, *ends), axis=1)

    def _fill(self, u: Rows, w: Rows, pivot: Rows) -> None:
        """Fill x = exp(step * u) and y = exp(step * w + pivot); `pivot` is in bits already."""
        n, k = u.shape
        for step, x in zip(self.grid.steps[0], self.x[:, :n, :k], strict=True):
            np.exp2(np.multiply(u, step * _LOG2E, out=x), out=x)
        for step, y in zip(self.grid.steps[1], self.y[:, :n, :k], strict=True):
            np.multiply(w, step * _LOG2E, out=y)
            y += pivot
            np.exp2(y, out=y)
        self.y[:, :n, k:] = 0  # beyond the last column: nothing is added to the sums

    def _products(self, n: int, k: int) -> Doubles:
        """sum_v x_iv * y_jv, float64 [n, n_alpha, n_beta]."""
        used = -(-k // self.span) * self.span
        x, y = (
            part[:, :n, :used].reshape(len(part), -1, self.span).swapaxes(0, 1)
            for part in (self.x, self.y)
        )
        sums = np.matmul(x, y.swapaxes(1, 2)).reshape(n, -1, *self.grid.shape)
        return np.asarray(sums.sum(axis=1, dtype=np.float64))


def _direct(rows: Mapping[str, Rows], grid: Grid, cells: Mask, out: Doubles) -> None:
    """The `cells` of one position, softmax by softmax in float64, into `out`; rows [n_tokens]."""
    offset, u, w = affine(rows, grid)
    for i, j in np.argwhere(cells):
        logits = offset + grid.alphas[i] * u + grid.betas[j] * w
        top = logits.max()
        logits -= top
        out[i, j] = top + np.log(np.exp(logits, out=logits).sum())
