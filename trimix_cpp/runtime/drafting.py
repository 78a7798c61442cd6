"""Whether and how tokens are drafted ahead."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from .limits import LIMITS, shown, whole_number

if TYPE_CHECKING:
    from ..decoding import Speculator
    from ..quant import Options
    from ..store import TrioSpec


@dataclass(frozen=True)
class DraftFlags:
    """What is drafted, and by what.

    Attributes:
        draft: "auto", "off" (or 0), or how many tokens.
        draft_model: a GGUF file of a still smaller model, which guesses what cpt will draft.
    """

    draft: str | int = "off"
    draft_model: Path | None = None

    def resolve(self, spec: TrioSpec, options: Options) -> tuple[TrioSpec, Speculator | None]:
        """What it means for `spec` that runs with `options`; a drafting model becomes a role.

        Raises:
            UsageError: a value means nothing, or a model is given where nothing is drafted.
        """
        from ..decoding import Costs, Speculator
        from ..fusion import DRAFT
        from ..store import RoleSpec, known_batch_costs

        text, model = str(self.draft), self.draft_model
        if text in ("off", "0"):
            if model:
                raise UsageError("--model-draft drafts: give --draft auto or a number too")
            return spec, None
        depth = None if text == "auto" else whole_number(text, *LIMITS["draft"])
        if text != "auto" and depth is None:
            raise UsageError(
                f"--draft is auto, off, or {LIMITS['draft'][0]} to {LIMITS['draft'][1]}, "
                f"not {shown(text)}"
            )
        if model:
            spec = replace(spec, roles={**spec.roles, DRAFT: RoleSpec(Path(model))})
        costs = Costs(known_batch_costs(spec, options) if depth is None else {})
        return spec, Speculator(depth, draft_role=DRAFT if model else None, costs=costs)
