"""`--draft` and `--model-draft`: whether and how tokens are drafted ahead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError

if TYPE_CHECKING:
    from ..decoding import Speculator
    from ..store import TrioSpec

_MOST_DRAFTS = 63


def draft_options(default: str) -> list[Any]:
    """The click options of a command that may draft."""
    return [
        click.option("--draft", default=default, show_default=True, metavar="N|auto|off",
                     help="Tokens that cpt drafts, for the others to check in one batch; auto "
                     "adapts to what it measures. Without --exact rounding may flip a near tie."),
        click.option("-md", "--model-draft", "--draft-model", "draft_model", metavar="FILE",
                     type=click.Path(path_type=Path),
                     help="GGUF of a still smaller model of the family, to draft in cpt's place."),
    ]  # fmt: skip


def resolve_drafting(flags: dict[str, Any], spec: TrioSpec) -> tuple[TrioSpec, Speculator | None]:
    """What the options mean; a drafting model becomes a role of the trio.

    Raises:
        UsageError: a value means nothing, or a model is given where nothing is drafted.
    """
    from ..decoding import Speculator
    from ..fusion import DRAFT
    from ..store import RoleSpec

    text, model = flags["draft"], flags["draft_model"]
    if text in ("off", "0"):
        if model:
            raise UsageError("--model-draft drafts: give --draft auto or a number too")
        return spec, None
    if text != "auto" and not (text.isdecimal() and 1 <= int(text) <= _MOST_DRAFTS):
        raise UsageError(f"--draft is auto, off, or 1 to {_MOST_DRAFTS}, not {text!r}")
    if model:
        spec = replace(spec, roles={**spec.roles, DRAFT: RoleSpec(model)})
    return spec, Speculator(
        None if text == "auto" else int(text), draft_role=DRAFT if model else None
    )
