"""`trimix-cpp check`: may these models be fused?"""

from __future__ import annotations

import click

from ..errors import AlignmentError
from ..runtime import ModelFlags, find_models
from ..showing import show, show_json
from .options import model_options


@click.command("check", short_help="Whether the models may be fused.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of the text.")
@model_options
def command(as_json: bool, models: ModelFlags) -> int:
    """Compare the tokenizers of the models, without loading their weights.

    Prints what is the same and what differs: tokens, ids, settings, and texts that are split
    differently; where they may not be fused, whether they may be over bytes, and what that costs.
    Exit code 0 where the models may be fused, 3 where they may not.
    """
    spec = find_models(models).spec
    from ..alignment import over_bytes_for, report_for
    from ..gguf import read_adapter, read_header

    for role_spec in spec.roles.values():
        if role_spec.lora:
            read_adapter(role_spec.lora, read_header(role_spec.path))
    paths = {role: role_spec.path for role, role_spec in spec.roles.items()}
    report = report_for(paths)
    over_bytes = None if report.fusible else over_bytes_for(paths)
    if as_json:
        show_json({**report.to_json(), "bytes": over_bytes and over_bytes.to_json()})
    else:
        show("\n".join([*report.lines(), *([over_bytes.line()] if over_bytes else [])]))
    return 0 if report.fusible else AlignmentError.exit_code
