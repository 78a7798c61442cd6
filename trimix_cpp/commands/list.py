"""`trimix-cpp list`: the trios that are here, and those that can be pulled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..store import Entry


@click.command("list", short_help="The trios that are here, and those that can be pulled.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of the table.")
def command(as_json: bool) -> None:
    """List every trio that has a name: installed ones with profile and size, the others as known.

    Of several trios for a language the first in this list that is installed is taken.
    """
    from ..store import entries, home

    rows = [_row(entry) for entry in entries()]
    if as_json:
        click.echo(json.dumps({"store": str(home()), "trios": rows}, ensure_ascii=False, indent=2))
        return
    click.echo(_table(rows))
    click.echo(f"trimix-cpp: the store is {home()}", err=True)


def _row(entry: Entry) -> dict[str, Any]:
    manifest = entry.manifest
    return {
        "name": entry.spec.name,
        "description": entry.spec.description,
        "languages": list(entry.spec.languages),
        "installed": entry.installed,
        "unfinished": entry.unfinished,
        "bundled": entry.spec.bundled,
        "profile": manifest.profile["name"] if manifest else None,
        "nbytes": manifest.nbytes if manifest else None,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [("NAME", "LANGUAGES", "STATE", "SIZE", "PROFILE")]
    for row in rows:
        state = "installed" if row["installed"] else "known"
        state = "bundled" if row["bundled"] else "unfinished" if row["unfinished"] else state
        size = f"{row['nbytes'] / 1e9:.1f} GB" if row["nbytes"] else "-"
        languages = ",".join(row["languages"]) or "-"
        lines.append((row["name"], languages, state, size, row["profile"] or "-"))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
