"""`trimix-cpp list`: the trios that are here, and those that can be pulled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..showing import Table, count, notice, show, show_json, size_text
from .options import Real

if TYPE_CHECKING:
    from ..store import KnownTrio

# Languages of one trio that are named in the table; the rest are counted.
_NAMED = 3


@click.command("list", short_help="The trios that are here, and those that can be pulled.")
@click.option("--lang", metavar="CODE", help="Only those for a language.")
@click.option(
    "--size",
    metavar="B",
    type=Real(0, 1e9, min_open=True),
    help="Only those whose large model has at most so many billions of parameters, where known.",
)
@click.option("--installed", is_flag=True, help="Only those that can be used now.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of the table.")
def command(lang: str | None, size: float | None, installed: bool, as_json: bool) -> None:
    """List every trio that has a name: installed ones with profile and size, the others as known.

    Of several trios for a language the first in this list that is installed is taken.
    """
    from ..machine import model_files
    from ..prompts import language
    from ..store import entries, home, known_for_language

    known = known_for_language(language(lang).code) if lang else entries()
    rows = [_row(entry) for entry in known]
    rows = [row for row in rows if row["installed"] or not installed]
    if size is not None:
        rows = [row for row in rows if (row["billions"]["large"] or 0) <= size]
    if as_json:
        show_json({"store": str(home()), "trios": rows})
        return
    if rows:
        show(_table(rows))
    else:
        notice("no trio is like that: `trimix-cpp list` without filters shows all")
    notice(f"the store is {home()}")
    if elsewhere := sum(1 for _ in model_files()):
        found = count(elsewhere, "GGUF file")
        notice(f"other programs have {found} on this machine: `trimix-cpp scan` lists them")


def _row(entry: KnownTrio) -> dict[str, Any]:
    spec, manifest = entry.spec, entry.manifest
    return {
        "name": spec.name,
        "description": spec.description,
        "languages": list(spec.languages),
        "billions": {role: spec.billions(role) for role in ("base", "large")},
        "installed": entry.installed,
        "unfinished": entry.unfinished,
        "bundled": spec.bundled,
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
        nbytes = size_text(row["nbytes"]) if row["nbytes"] else "-"
        billions = [row["billions"][role] for role in ("base", "large")]
        models = " + ".join(f"{n:g}B" for n in billions) if all(billions) else "-"
        cells = row["name"], _named(row["languages"]), models, state, nbytes, row["profile"] or "-"
        lines.append(cells)
    return Table(("NAME", "LANGUAGES", "MODELS", "STATE", "SIZE", "PROFILE"), lines).text()


def _named(codes: list[str]) -> str:
    """Languages in English and, where there are few, in themselves; then how many more."""
    from ..prompts import known_languages

    known = known_languages()
    names = [known[code].name if code in known else code for code in codes]
    if len(codes) == 1 and codes[0] in known and known[codes[0]].own_name != names[0]:
        return f"{names[0]} ({known[codes[0]].own_name})"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more or "-"
