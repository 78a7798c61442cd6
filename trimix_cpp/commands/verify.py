"""`trimix-cpp verify`: are the pulled models still what they were?"""

from __future__ import annotations

import json

import click


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
            click.echo(f"{check.state}: {check.path}")
    bad = [row for row in rows if row["state"] != "ok"]
    if as_json:
        document = {"ok": not bad, "files": rows}
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    elif bad:
        trio = bad[0]["trios"][0]
        click.echo(
            f"trimix-cpp: {len(bad)} of {len(rows)} files are not what was installed; remove "
            f"them, then `trimix-cpp pull --trio {trio}` makes them anew",
            err=True,
        )
    elif not rows:
        click.echo("trimix-cpp: no trio was pulled: there is nothing to verify", err=True)
    return 1 if bad else 0
