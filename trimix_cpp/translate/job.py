"""A file's way through the models: what is done already, what is left, and its results."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import version
from typing import Any

from .. import __version__
from ..documents import Result
from ..quant import Options, cpu_name
from ..store import TrioSpec, fingerprint
from .journal import Journal
from .journal_lines import Maker
from .recipe import Recipe, Shot
from .units import Layout, Outcome, Unit


def units_of(layouts: Iterable[Layout]) -> list[Unit]:
    """Every different unit once, in the order of the file."""
    return list(dict.fromkeys(unit for layout in layouts for unit in layout.asked))


def grouped(units: Iterable[Unit]) -> list[Unit]:
    """Those whose prompts begin alike one after the other: what they share is evaluated once.

    Those without exemplars of their own keep their order.
    """
    return sorted(units, key=lambda unit: unit.hints.shots)


def settings_of(
    recipe: Recipe, spec: TrioSpec, roles: Iterable[str], options: Options, weights: str
) -> dict[str, Any]:
    """What decides a translation besides its text and the seed; JSON values, by readable names.

    Threads, batches, places and GPU layers are not among it: in exact mode they decide nothing,
    in the fast mode no more than rounding. `weights` is how they were asked for.

    Raises:
        OSError: a model file cannot be read.
    """
    used = [role for role in roles if role in spec.roles]
    sampler = asdict(recipe.sampler)
    del sampler["seed"], sampler["bias"]  # no translation has one
    return {
        "version": __version__,
        "llama-cpp-python": version("llama-cpp-python"),
        "models": {role: fingerprint(spec.roles[role]) for role in used},
        "from": recipe.source.code,
        "to": recipe.target.code,
        "shots": shots_digest(recipe.shots + recipe.judged),
        "weights": f"{weights}, else {recipe.weights}" if recipe.chooser else str(recipe.weights),
        "score_shots": recipe.score_shots if recipe.chooser else None,
        "plausibility": recipe.plausibility and asdict(recipe.plausibility),
        "control": recipe.control,
        "sampler": sampler,
        "predict": recipe.max_tokens,
        "stops": list(recipe.stops),
        "retry": recipe.retry,
        "no_check": sorted(recipe.unchecked) or None,
        "ctx_size": options.n_ctx,
        **({"bytes": asdict(options.bytes)} if options.bytes else {}),
        "exact": options.exact,
        "cache_type_k": {role: options.cache_types(role)[0] for role in used},
        "cache_type_v": {role: options.cache_types(role)[1] for role in used},
        "flash_attn": options.flash_attn,
    }


def shots_digest(shots: tuple[Shot, ...]) -> str | None:
    """What settings say of exemplars."""
    return (
        hashlib.sha256(repr(shots).encode("utf-8", "surrogatepass")).hexdigest() if shots else None
    )


@cache
def machine() -> Maker:
    """With what this process translates."""
    from ..llama import features
    from ..llama import version as llama_version

    return Maker(cpu_name(), features(), llama_version())


def known_outcomes(units: Iterable[Unit], journal: Journal | None) -> dict[Unit, Outcome]:
    """The outcomes that the journal already has."""
    if journal is None:
        return {}
    keys = {unit: journal.key(unit) for unit in units}
    return {unit: journal.done[key] for unit, key in keys.items() if key in journal.done}


def results_of(layouts: Iterable[Layout], outcomes: Mapping[Unit, Outcome]) -> dict[int, Result]:
    """The results of the segments, by key; those that could not be translated are left out."""
    results = {layout.segment.key: layout.result(outcomes) for layout in layouts}
    return {key: result for key, result in results.items() if result is not None}


def with_seed(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with another seed."""
    return replace(recipe, sampler=replace(recipe.sampler, seed=seed))
