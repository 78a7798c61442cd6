"""`--weights`, `--method` and what goes with them: how alpha and beta of a command are decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ..errors import TrimixError, UsageError

if TYPE_CHECKING:
    from ..fusion import Chooser, Plausibility, Weights
    from ..store import TrioSpec

# As `fusion.METHODS`, which is not imported before a command runs.
_METHODS = (
    "trimix", "proxy", "contrastive", "large", "cpt", "base",
    "no-task", "no-language", "no-scaling",
)  # fmt: skip
# The methods that take alpha and beta from --weights.
_WEIGHTED = ("trimix", "no-task", "no-language", "no-scaling")
CRITERIA = ("ppl", "ppl-opt", "ent")

WEIGHT_OPTIONS = [
    click.option(
        "--weights",
        default="preset",
        show_default=True,
        metavar="A,B|HOW",
        help="alpha,beta of the fusion; preset: the trio's own, or that of --task (0.1,0.9 without "
        "one); ppl: the pair of a grid with the least perplexity of the prompt; ppl-opt: the best "
        "pair of all; ent: the pair with the least entropy of the first token.",
    ),
    click.option("--task", metavar="NAME", help="Whose preset: e.g. translation.eng-uig."),
    click.option("--method", type=click.Choice(_METHODS), default="trimix", show_default=True,
                 help="How the logits are combined; no-… leave a vector of Eq. 1 out."),
    click.option("--strength", type=float, default=0.5, show_default=True,
                 help="Of --method contrastive."),
    click.option("--plausibility", metavar="ROLE=X|off", default=None,
                 help="Only tokens with at least X times the best probability of ROLE may come.  "
                 "[default: cpt=0.1 with --method contrastive, else off]"),
]  # fmt: skip


@dataclass(frozen=True)
class Weighting:
    """How a sequence gets its weights.

    Attributes:
        weights: the fixed ones; with a chooser those of a prompt that is too short to choose by.
        chooser: makes what chooses the weights of one prompt, None for fixed ones.
        plausibility: contrastive decoding's mask, None for none.
    """

    weights: Weights
    chooser: Callable[[], Chooser] | None = None
    plausibility: Plausibility | None = None

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that a new sequence needs."""
        roles = self.chooser().roles if self.chooser else self.weights.roles
        judge = (self.plausibility.role,) if self.plausibility else ()
        return tuple(dict.fromkeys((*roles, *judge)))


def resolve_weighting(flags: dict[str, Any], spec: TrioSpec) -> Weighting:
    """Turn the values of `WEIGHT_OPTIONS` into a `Weighting`.

    Raises:
        UsageError: values that mean nothing or do not go together.
    """
    from ..fusion import METHODS, method_weights

    assert METHODS == _METHODS
    method, text = flags["method"], flags["weights"]
    if method not in _WEIGHTED and text != "preset":
        raise UsageError(f"--method {method} has weights of its own: leave --weights out")
    try:
        weighting = parse_weighting(text, spec, flags["task"], method)
        weights, mask = method_weights(method, weighting.weights, strength=flags["strength"])
        return Weighting(weights, weighting.chooser, _plausibility(flags["plausibility"], mask))
    except UsageError:
        raise
    except TrimixError as error:
        raise UsageError(f"--weights: {error}") from None


def parse_weighting(
    text: str, spec: TrioSpec, task: str | None = None, method: str = "trimix"
) -> Weighting:
    """The meaning of `--weights TEXT --task TASK` for a trio, not yet bent to the method.

    Raises:
        TrimixError: neither two numbers nor a way to choose them.
        UsageError: no such preset, or a way that does not go with the rest.
    """
    from ..fusion import parse_weights

    if task is not None and text != "preset":
        raise UsageError("--task names a preset: it goes with --weights preset alone")
    if text == "preset":
        return Weighting(_preset(spec, task))
    if text in CRITERIA:
        return Weighting(spec.weights, _chooser(text, method))
    try:
        return Weighting(parse_weights(text))
    except TrimixError as error:
        raise TrimixError(f"{error}; or preset, {', '.join(CRITERIA)}") from None


def _chooser(criterion: str, method: str) -> Callable[[], Chooser]:
    """Chooses within the plane of weights that a method leaves free."""
    from ..fusion import (
        NO_SCALING,
        NO_TASK,
        TRIMIX,
        EntChooser,
        Grid,
        PplChooser,
        PplOptChooser,
    )

    plane = {"no-task": NO_TASK, "no-scaling": NO_SCALING}.get(method, TRIMIX)
    if criterion == "ppl-opt":
        if method == "no-language":
            raise UsageError("--weights ppl-opt has no beta to choose with --method no-language")
        return partial(PplOptChooser, plane)
    grid = Grid(betas=(0.0,)) if method == "no-language" else Grid(plane=plane)
    return partial(PplChooser if criterion == "ppl" else EntChooser, grid)


def _preset(spec: TrioSpec, task: str | None) -> Weights:
    if task is None:
        return spec.weights
    if task not in spec.presets:
        known = ", ".join(sorted(spec.presets)) or "none"
        raise UsageError(f"--task {task}: {spec.name} has presets for {known}")
    return spec.presets[task]


def _plausibility(text: str | None, otherwise: Plausibility | None) -> Plausibility | None:
    from ..fusion import Plausibility

    if text is None or text == "off":
        return None if text else otherwise
    role, _, threshold = text.partition("=")
    try:
        return Plausibility(role, float(threshold))
    except ValueError:
        raise UsageError(f"--plausibility: {text!r} is not ROLE=NUMBER, such as cpt=0.1") from None
