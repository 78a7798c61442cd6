"""Which types fit into a memory at the least cost for the fused distribution.

Measured is each role at each type, with all else unquantized: the KLD of the fused distribution by
it alone, and the covariance of any two errors. For errors that are not large KL(p || p') is half
the variance, under p, of what is added to the logits, so

    KLD of a choice = sum of the single KLDs + sum over pairs of their covariance

and every combination of types is known without evaluating it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit

from ..errors import TrimixError
from ..files import write_toml
from ..fusion import BLOCK, Doubles, Judge, Rows, Weights, blocks, fuse
from ..gguf import Header
from ..quant import Hardware, Options, Profile, RoleProfile, estimate
from ..showing import Progress, size_text
from .cache import Cache, Measured
from .evaluator import Evaluator, Variant
from .passes import Job, measure
from .sides import Side
from .windows import Window

Item = tuple[str, str]  # a role, and what is done to it: a type of its file, or "kv TYPE"

TYPES = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
KV_TYPES = ("f16", "q8_0")


def kv_item(role: str, kind: str) -> Item:
    """The item of a KV cache of this type."""
    return role, f"kv {kind}"


@dataclass(frozen=True)
class Effects:
    """What the quantization of single roles does to the fused distribution.

    Attributes:
        items: the roles, each with what is done to it.
        main: mean KLD of the fused distribution by one item alone, [n_items].
        covariance: mean covariance, under the reference's fused distribution, of what two items
            add to the fused logits, [n_items, n_items].
        n: positions.
    """

    items: tuple[Item, ...]
    main: Doubles
    covariance: Doubles
    n: int

    def expected(self, chosen: Sequence[Item]) -> float:
        """The expected mean KLD of items together, in nats; 0 for none."""
        at = [self.items.index(item) for item in chosen]
        pairs = sum(self.covariance[i, j] for i, j in itertools.combinations(at, 2))
        return max(float(self.main[at].sum() + pairs), 0.0)


def no_effects(items: Sequence[Item]) -> Effects:
    """What is known before anything is measured: enough to tell what fits."""
    n = len(items)
    return Effects(tuple(items), np.zeros(n), np.zeros((n, n)), 0)


def measure_effects(
    evaluator: Evaluator,
    reference: Side,
    variants: Mapping[Item, Variant],
    windows: Sequence[Window],
    weights: Weights,
    cache: Path,
    *,
    one_by_one: bool | None = None,
    progress: Progress | None = None,
) -> Effects:
    """The effects of `variants`, each alone in place of the reference's; what is known is kept.

    Raises:
        TrimixError: no position has finite logits, no memory, no disk.
    """
    items, roles = tuple(variants), weights.roles
    sides = {item: Side(item[1], {item[0]: variant}, {}) for item, variant in variants.items()}
    key = {
        "plan": weights.coefficients,
        "reference": reference.identity(roles, cache),
        "items": [[*item, side.identity([item[0]], cache)] for item, side in sides.items()],
        "exact": evaluator.exact,
    }

    def measured(rows: Mapping[Variant, Rows], window: Window) -> Measured:
        base = {role: rows[reference.variants[role]] for role in roles}
        return _measure(base, {item: rows[own] for item, own in variants.items()}, window, weights)

    needed = [*(reference.variants[role] for role in roles), *variants.values()]
    job = Job(needed, measured, Cache(cache, key))
    (found,) = measure(evaluator, [job], windows, cache, one_by_one=one_by_one, progress=progress)
    whole = [one.arrays for one in found]
    n = int(sum(arrays["n"] for arrays in whole))
    if n == 0:
        raise TrimixError("no position has finite logits: a model file is broken")
    main, covariance = (
        np.asarray(sum(arrays[name] for arrays in whole) / n) for name in ("main", "cov")
    )
    return Effects(items, main, covariance, n)


def _measure(
    base: Mapping[str, Rows], changed: Mapping[Item, Rows], window: Window, weights: Weights
) -> Measured:
    """Sums over one window's positions: of the KLDs, and of the covariances."""
    coefficients = weights.coefficients
    n_items, (n_rows, n_tokens) = len(changed), next(iter(base.values())).shape
    main, covariance, n = np.zeros(n_items), np.zeros((n_items, n_items)), 0
    for at in blocks(n_rows, max(n_tokens * n_items // 4, min(n_tokens, BLOCK))):
        here = {role: rows[at] for role, rows in base.items()}
        there = {item: rows[at] for item, rows in changed.items()}
        finite = [np.isfinite(rows).all(axis=1) for rows in (*here.values(), *there.values())]
        good = np.all(finite, axis=0)
        here = {role: rows[good] for role, rows in here.items()}
        fused = fuse(here, coefficients, check=False)
        judge = Judge(fused, window.targets[at][good], window.n_bytes[at][good])
        root, errors = np.sqrt(judge.p), []
        for i, ((role, _), rows) in enumerate(there.items()):
            mixed = fuse({**here, role: rows[good]}, coefficients, check=False)
            main[i] += judge.compare(mixed).kld.sum()
            error = mixed.astype(np.float64) - fused
            error -= np.einsum("ij,ij->i", judge.p, error)[:, None]
            errors.append((root * error).ravel())
        stacked = np.array(errors)
        covariance += stacked @ stacked.T
        n += int(np.count_nonzero(good))
    return Measured({}, {"main": main, "cov": covariance, "n": np.array(n)})


@dataclass(frozen=True)
class Choice:
    """A type for each role in use, and for the KV caches.

    Attributes:
        types: role -> type of its file.
        kv: type of the caches, of all roles.
        memory: estimated bytes.
        expected: mean KLD of the fused distribution that is to be expected, in nats.
    """

    types: Mapping[str, str]
    kv: str
    memory: int
    expected: float

    def profile(self, name: str, description: str = "", memory_gib: float = 0.0) -> Profile:
        """As a profile; a role that is not in use is like cpt, or like the first that is."""
        other = self.types.get("cpt", next(iter(self.types.values())))
        types = {"large": other, "cpt": other, "base": other, **self.types}
        types.setdefault("large_base", types["large"])
        roles = {role: RoleProfile(kind) for role, kind in types.items()}
        return Profile(name, description, roles, self.kv, self.kv, memory_gib)

    def as_json(self) -> dict[str, Any]:
        """Types, bytes and nats."""
        return {
            "types": dict(self.types),
            "kv": self.kv,
            "memory": self.memory,
            "expected KLD": self.expected,
        }


@dataclass(frozen=True)
class Choices:
    """All choices, and which of them is best within a limit.

    Attributes:
        choices: every combination, the smallest first.
        limit: bytes that may be used.
    """

    choices: Sequence[Choice]
    limit: int

    @cached_property
    def best(self) -> Choice:
        """The choice with the least expected KLD that fits; of equals the smallest.

        Raises:
            TrimixError: none fits.
        """
        fitting = [choice for choice in self.choices if choice.memory <= self.limit]
        if not fitting:
            least = self.choices[0]
            raise TrimixError(
                f"the smallest choice needs {size_text(least.memory)}, and {size_text(self.limit)} "
                "may be used: a shorter --context, types of fewer bits (--types), KV types of "
                "fewer bits (--kv-types) or weights that leave a role out need less"
            )
        return min(fitting, key=lambda choice: (choice.expected, choice.memory))

    @cached_property
    def frontier(self) -> list[Choice]:
        """Those that nothing smaller beats, from small to large."""
        found: list[Choice] = []
        for choice in self.choices:
            if not found or choice.expected < found[-1].expected:
                found.append(choice)
        return found

    @property
    def better(self) -> Choice | None:
        """The smallest choice that is better than the best that fits; None at the end."""
        return next((c for c in self.frontier if c.expected < self.best.expected), None)


def make_choices(
    effects: Effects,
    headers: Mapping[Item, Header],
    *,
    kv_types: Sequence[str],
    usual_kv: str = "f16",
    n_ctx: int,
    limit: int,
    together: Sequence[frozenset[str]] = (),
    hardware: Hardware | None = None,
    adapters: Mapping[str, int] | None = None,
) -> Choices:
    """Every combination of the types that were measured, with memory and expected KLD.

    Args:
        effects: of every type of every role, and of every KV type but the reference's.
        headers: of the file of each role at each type.
        kv_types: types of the caches, the same for all roles.
        usual_kv: the reference's.
        n_ctx: tokens of context that the trio will run with.
        limit: bytes that may be used.
        together: roles that share a file, and so a type.
        hardware: as `quant.estimate`.
        adapters: bytes of LoRA adapters by role.
    """
    roles = list(dict.fromkeys(role for role, _ in headers))
    kinds = [[kind for own, kind in headers if own == role] for role in roles]
    found = []
    for combination in itertools.product(*kinds):
        types = dict(zip(roles, combination, strict=True))
        if any(len({types[role] for role in group}) > 1 for group in together):
            continue
        for kv in kv_types:
            items: list[Item] = [*types.items()]
            caches = dict.fromkeys(roles, kv)
            items += [kv_item(role, kv) for role in roles if kv != usual_kv]
            needed = estimate(
                {role: headers[role, kind] for role, kind in types.items()},
                Options(n_ctx=n_ctx, type_k=caches, type_v=caches),
                hardware=hardware,
                adapters=adapters,
            )
            found.append(Choice(types, kv, needed.total, effects.expected(items)))
    return Choices(sorted(found, key=lambda choice: (choice.memory, choice.expected)), limit)


def write_profile(profile: Profile, path: Path) -> None:
    """Write a profile's TOML; raises OSError."""
    document = tomlkit.document()
    document["description"] = profile.description
    document["memory_gib"] = profile.memory_gib
    cache = tomlkit.table()
    cache["type_k"], cache["type_v"] = profile.type_k, profile.type_v
    document["cache"] = cache
    for role in ("large", "cpt", "base"):
        table = tomlkit.table()
        table["type"] = profile.roles[role].type
        document[role] = table
    write_toml(document, path)
