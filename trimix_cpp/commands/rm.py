"""`trimix-cpp rm`: remove trios from this machine."""

from __future__ import annotations

import click

from ..showing import notice, show, show_json, size_text


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
        freed[name] = remove(name, notice)
        if not as_json:
            show(f"{name}: removed, {size_text(freed[name])} are free again")
    if as_json:
        removed = [{"name": name, "freed": size} for name, size in freed.items()]
        show_json({"removed": removed})
