"""`trimix-cpp scan`: the GGUF files on this machine, by tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..showing import Table, count, notice, show, show_json

if TYPE_CHECKING:
    from ..machine import Group, ModelFile


@click.command("scan", short_help="The GGUF files on this machine: which could form a trio.")
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of the tables.")
def command(folders: tuple[Path, ...], as_json: bool) -> None:
    """List the GGUF files in FOLDERS, and in those of Ollama, Hugging Face, llama.cpp, LM Studio.

    Files are grouped by tokenizer: only models that share one can be fused. In a group, two of one
    shape could be base and cpt, and a larger one large; `trimix-cpp check` then says whether they
    may be fused. Nothing is changed, and nothing is loaded but the beginning of each file.
    """
    from ..machine import by_tokenizer, model_files, places

    groups = by_tokenizer(model_files(folders))
    if as_json:
        show_json([_document(group) for group in groups])
        return
    alone = [model for group in groups for model in group.models if len(group.models) == 1]
    for group in groups:
        if len(group.models) > 1:
            ready = ", which could form a trio" if group.could_be_a_trio else ""
            title = f"{count(len(group.models), 'model')} with one tokenizer{ready}"
            show(_table(title, group.models, _parts(group)) + "\n")
    if alone:
        show(_table(f"{count(len(alone), 'model')} whose tokenizer no other has", alone, {}) + "\n")
    if not groups:
        looked = ", ".join(dict.fromkeys(place.program for place in places()))
        notice(f"no GGUF files in the folders of {looked}; name other folders to look in")
    elif not any(group.could_be_a_trio for group in groups):
        notice("no two of one shape with a larger one of the same tokenizer: no trio here")


def _parts(group: Group) -> dict[Path, str]:
    """What each file could be."""
    small = {model.path for pair in group.pairs for model in pair}
    larger = {m.path for m in group.models if m.path not in small and group.could_be_a_trio}
    return {m.path: "base, cpt" if m.path in small else "large" * (m.path in larger)
            for m in group.models}  # fmt: skip


def _document(group: Group) -> dict[str, Any]:
    parts = _parts(group)
    return {
        "could_be_a_trio": group.could_be_a_trio,
        "models": [
            {**asdict(model), "path": str(model.path), "could_be": parts[model.path] or None}
            for model in group.models
        ],
    }


def _table(title: str, models: Sequence[ModelFile], parts: Mapping[Path, str]) -> str:
    rows = [_row(model, parts.get(model.path, "")) for model in models]
    head = ("COULD BE", "PARAMETERS", "TYPE", "NAME", "OF", "FILE")
    return Table(head, rows, title=title).text()


def _row(model: ModelFile, part: str) -> tuple[str, ...]:
    millions = model.parameters / 1e6
    size = f"{millions / 1e3:.1f} B" if millions >= 1000 else f"{millions:.3g} M"
    return part or "-", size, model.type, model.name, model.program or "-", str(model.path)
