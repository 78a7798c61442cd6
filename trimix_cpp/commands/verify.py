"""`trimix-cpp verify`: are the pulled models still what they were?"""

from __future__ import annotations

import click

from ..showing import count, notice, show, show_json


@click.command("verify", short_help="Compare the pulled models with their recorded hashes.")
@click.argument("names", metavar="[NAME…]", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of the text.")
def command(names: tuple[str, ...], as_json: bool) -> int:
    """Read every file of the pulled trios, all by default, and compare it with the manifest.

    Exit code 1 if a file is missing or damaged. Remove such a file, and `pull` makes it anew.
    """
    from ..store import verify

    rows = []
    for check in verify(names):
        rows.append({"file": str(check.path), "trios": list(check.trios), "state": check.state})
        if not as_json:
            show(f"{check.state}: {check.path}")
    bad = [row for row in rows if row["state"] != "ok"]
    if as_json:
        document = {"ok": not bad, "files": rows}
        show_json(document)
    elif bad:
        trio = bad[0]["trios"][0]
        notice(
            f"{len(bad)} of {count(len(rows), 'file')} are not what was installed; remove "
            f"them, then `trimix-cpp pull --trio {trio}` makes them anew"
        )
    elif not rows:
        notice("no trio was pulled: there is nothing to verify")
    return 1 if bad else 0
