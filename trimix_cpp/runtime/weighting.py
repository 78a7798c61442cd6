"""How the weights of a text are decided: fixed ones, a preset, or by the prompt itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ..errors import TrimixError, UsageError
from ..fusion import METHODS, Plausibility, Weights, method_weights, parse_weights
from .limits import shown

if TYPE_CHECKING:
    from ..fusion import Choosing
    from ..store import TrioSpec

# The methods that take alpha and beta from `weights`.
_WEIGHTED = ("trimix", "no-task", "no-language", "no-scaling")
CRITERIA = ("ppl", "ppl-opt", "ppl-answers", "ent")


@dataclass(frozen=True)
class Weighting:
    """How a text gets its weights.

    Attributes:
        weights: the fixed ones; with a chooser those of a prompt that is too short to choose by.
        chooser: makes what chooses the weights of one prompt, None for fixed ones.
        plausibility: contrastive decoding's mask, None for none.
    """

    weights: Weights
    chooser: Choosing | None = None
    plausibility: Plausibility | None = None

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that a new text needs."""
        roles = self.chooser(0).roles if self.chooser else self.weights.roles
        judge = (self.plausibility.role,) if self.plausibility else ()
        return tuple(dict.fromkeys((*roles, *judge)))


@dataclass(frozen=True)
class WeightFlags:
    """What decides the weights.

    Attributes:
        weights: "0.1,0.9", `Weights`, "preset", or one of `CRITERIA`.
        task: whose preset.
        method: one of `fusion.METHODS`.
        strength: of contrastive decoding.
        plausibility: "cpt=0.1" or "off"; None takes the method's own.
    """

    weights: str | Weights = "preset"
    task: str | None = None
    method: str = "trimix"
    strength: float = 0.5
    plausibility: str | None = None

    def resolve(self, spec: TrioSpec) -> Weighting:
        """What it means for `spec`.

        Raises:
            UsageError: values that mean nothing or do not go together.
        """
        if self.method not in METHODS:
            raise UsageError(f"--method {shown(self.method)}: known are {', '.join(METHODS)}")
        if self.method not in _WEIGHTED and self.weights != "preset":
            raise UsageError(f"--method {self.method} has weights of its own: leave --weights out")
        try:
            found = parse_weighting(self.weights, spec, self.task, self.method)
            weights, mask = method_weights(self.method, found.weights, strength=self.strength)
            return Weighting(weights, found.chooser, _plausibility(self.plausibility, mask))
        except UsageError:
            raise
        except TrimixError as error:
            raise UsageError(f"--weights: {error}") from None

    def preferring(self, task: str, spec: TrioSpec) -> WeightFlags:
        """The same with the preset of `task`, where nothing is said and `spec` has it."""
        silent = (self.weights, self.task) == ("preset", None)
        return replace(self, task=task) if silent and task in spec.presets else self


def parse_weighting(
    text: str | Weights, spec: TrioSpec, task: str | None = None, method: str = "trimix"
) -> Weighting:
    """The meaning of `--weights TEXT --task TASK` for a trio, not yet bent to the method.

    Raises:
        TrimixError: neither two numbers nor a way to choose them.
        UsageError: no such preset, or a way that does not go with the rest.
    """
    if task is not None and text != "preset":
        raise UsageError("--task names a preset: it goes with --weights preset alone")
    if isinstance(text, Weights):
        return Weighting(text)
    if text == "preset":
        return Weighting(_preset(spec, task))
    if text in CRITERIA:
        return Weighting(spec.weights, _chooser(text, method))
    try:
        return Weighting(parse_weights(text))
    except TrimixError as error:
        raise TrimixError(f"{error}; or preset, {', '.join(CRITERIA)}") from None


def _chooser(criterion: str, method: str) -> Choosing:
    """Chooses within the plane of weights that a method leaves free."""
    from ..fusion import (
        NO_SCALING,
        NO_TASK,
        TRIMIX,
        ByAnswers,
        EntChooser,
        Grid,
        PplChooser,
        PplOptChooser,
    )

    plane = {"no-task": NO_TASK, "no-scaling": NO_SCALING}.get(method, TRIMIX)
    if criterion == "ppl-opt":
        if method == "no-language":
            raise UsageError("--weights ppl-opt has no beta to choose with --method no-language")
        return partial(PplOptChooser, plane=plane)
    grid = Grid(betas=(0.0,)) if method == "no-language" else Grid(plane=plane)
    if criterion == "ppl-answers":
        return ByAnswers(grid)
    return partial(PplChooser if criterion == "ppl" else EntChooser, grid=grid)


def _preset(spec: TrioSpec, task: str | None) -> Weights:
    if task is None:
        return spec.weights
    if task not in spec.presets:
        known = ", ".join(sorted(spec.presets)) or "none"
        raise UsageError(f"--task {shown(task)}: {spec.name} has presets for {known}")
    return spec.presets[task]


def _plausibility(text: str | None, otherwise: Plausibility | None) -> Plausibility | None:
    if text is None or text == "off":
        return None if text else otherwise
    role, _, threshold = text.partition("=")
    try:
        return Plausibility(role, float(threshold))
    except ValueError:
        raise UsageError(
            f"--plausibility: {shown(text)} is not ROLE=NUMBER, such as cpt=0.1"
        ) from None
