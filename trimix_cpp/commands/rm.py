"""`trimix-cpp rm`: remove trios from this machine."""

from __future__ import annotations

import json

import click


@click.command("rm", short_help="Remove pulled trios from this machine.")
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of the text.")
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Remove pulled trios, and the models that no other trio uses.

    An unfinished pull is removed too, with what it had downloaded.
    """
    from ..store import remove

    freed = {}
    for name in dict.fromkeys(names):
        freed[name] = remove(name, lambda text: click.echo(f"trimix-cpp: {text}", err=True))
        if not as_json:
            click.echo(f"{name}: removed, {freed[name] / 1e9:.1f} GB are free again")
    if as_json:
        removed = [{"name": name, "freed": size} for name, size in freed.items()]
        click.echo(json.dumps({"removed": removed}, ensure_ascii=False, indent=2))
