"""The methods of the paper's tables by name: which weights they have, and who chooses them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError
from ..fusion import TRIO_ROLES, Plausibility, Weights, method_weights
from ..store import TrioSpec

# "fixed": the same for every task; "preset": the trio's, by task; "task": chosen by sample prompts;
# "input": chosen by each prompt; "grid": the pair that turns out best.
How = Literal["fixed", "preset", "task", "input", "grid"]
Criterion = Literal["ppl", "ppl-opt", "ent", "ppl-answers"]


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        name: of `--methods`.
        label: in the table.
        how: its weights are decided.
        weights: the fixed ones.
        plausibility: contrastive decoding's mask.
        criterion: by which a chooser chooses.
        merged: it runs the merged model, alone.
        single: it is one model: others are held against the best of these.
    """

    name: str
    label: str
    how: How
    weights: Weights | None = None
    plausibility: Plausibility | None = None
    criterion: Criterion | None = None
    merged: bool = False
    single: bool = False

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that it needs, as far as that is known beforehand."""
        if self.merged or self.how == "preset":
            return ()
        return self.weights.roles if self.weights else TRIO_ROLES


def _fixed(name: str, label: str, *, single: bool = False) -> Method:
    weights, mask = method_weights(name, Weights(0, 0))
    return Method(name, label, "fixed", weights, mask, single=single)


_CRITERIA: dict[Criterion, str] = {
    "ent": "ENT", "ppl": "PPL", "ppl-opt": "PPL, continuous", "ppl-answers": "PPL of answers",
}  # fmt: skip
# In the order of the paper's tables.
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        _fixed("base", "base", single=True),
        _fixed("cpt", "cpt", single=True),
        _fixed("contrastive", "Contrastive Decoding"),
        Method("merged", "Model Merging", "fixed", Weights(0, 1), merged=True),
        _fixed("large", "large", single=True),
        _fixed("proxy", "Proxy Tuning"),
        *(
            method
            for criterion, label in _CRITERIA.items()
            for method in (
                Method(f"trimix-{criterion}", f"TriMix ({label})", "task", criterion=criterion),
                Method(
                    f"trimix-{criterion}-input",
                    f"TriMix ({label}, per input)",
                    "input",
                    criterion=criterion,
                ),
            )
        ),
        Method("trimix-preset", "TriMix (preset)", "preset"),
        Method("trimix", "TriMix", "fixed"),
        Method("upper-bound", "TriMix (Upper Bound)", "grid"),
    )
}
# What Table 2 has, as far as it needs neither a merged model nor every pair of the grid.
USUAL = ("base", "cpt", "contrastive", "large", "proxy", "trimix-ent", "trimix-ppl")


def parse_methods(
    names: Sequence[str] | None, spec: TrioSpec, weights: Weights | None, merged: bool
) -> list[Method]:
    """The methods that `--methods` names, in the order of the tables.

    Args:
        names: None for the usual ones, as far as `spec` has their roles.
        spec: the trio.
        weights: of `--weights A,B`: those of the method "trimix".
        merged: whether there is a merged model.

    Raises:
        UsageError: an unknown method, or one that lacks a role or its weights.
    """
    if names is None:
        able = [name for name in USUAL if not _lacking(METHODS[name], spec)]
        names = [*able, *(("trimix",) if weights else ()), *(("merged",) if merged else ())]
        if not names:
            raise UsageError("no method has all its models: give --large, --cpt or --base")
    for name in names:
        if name not in METHODS:
            close = difflib.get_close_matches(name, METHODS, n=3) or METHODS
            raise UsageError(f"unknown method {name!r}; there are {', '.join(close)}")
    chosen = [method for name, method in METHODS.items() if name in names]
    return [_checked(method, spec, weights, merged) for method in chosen]


def _checked(method: Method, spec: TrioSpec, weights: Weights | None, merged: bool) -> Method:
    if method.name == "trimix":
        if weights is None:
            raise UsageError("the method trimix has the weights of --weights A,B: give them")
        label = f"TriMix ({weights.alpha:g}, {weights.beta:g})"
        method = Method("trimix", label, "fixed", weights)
    if method.merged and not merged:
        raise UsageError("the method merged needs --merged FILE, the merged model as GGUF")
    if lost := _lacking(method, spec):
        raise UsageError(f"the method {method.name} needs {', '.join(lost)}: give --{lost[0]} FILE")
    return method


def _lacking(method: Method, spec: TrioSpec) -> list[str]:
    return [role for role in method.roles if role not in spec.roles]


def roles_of(methods: Iterable[Method]) -> tuple[str, ...]:
    """The roles that the methods need, in the order of the trio."""
    needed = {role for method in methods for role in method.roles}
    return tuple(role for role in TRIO_ROLES if role in needed)


def criteria_of(methods: Iterable[Method]) -> list[Criterion]:
    """By which the methods choose the weights of a task."""
    return [method.criterion for method in methods if method.how == "task" and method.criterion]
