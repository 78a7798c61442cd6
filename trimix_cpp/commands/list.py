"""`trimix-cpp list`: the trios that are here, and those that can be pulled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..showing import Table, notice, show, show_json, size_text

if TYPE_CHECKING:
    from ..store import KnownTrio


@click.command("list", short_help="The trios that are here, and those that can be pulled.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of the table.")
def command(as_json: bool) -> None:
    """List every trio that has a name: installed ones with profile and size, the others as known.

    Of several trios for a language the first in this list that is installed is taken.
    """
    from ..store import entries, home

    rows = [_row(entry) for entry in entries()]
    if as_json:
        show_json({"store": str(home()), "trios": rows})
        return
    show(_table(rows))
    notice(f"the store is {home()}")


def _row(entry: KnownTrio) -> dict[str, Any]:
    manifest = entry.manifest
    return {
        "name": entry.spec.name,
        "description": entry.spec.description,
        "languages": list(entry.spec.languages),
        "installed": entry.installed,
        "unfinished": entry.unfinished,
        "bundled": entry.spec.bundled,
        "missing": len(entry.missing),
        "profile": manifest.profile.name if manifest else None,
        "nbytes": manifest.nbytes if manifest else None,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        state = "installed" if row["installed"] else "known"
        state = "incomplete" if row["missing"] else state
        state = "bundled" if row["bundled"] else "unfinished" if row["unfinished"] else state
        size = size_text(row["nbytes"]) if row["nbytes"] else "-"
        languages = ",".join(row["languages"]) or "-"
        lines.append((row["name"], languages, state, size, row["profile"] or "-"))
    return Table(("NAME", "LANGUAGES", "STATE", "SIZE", "PROFILE"), lines).text()
