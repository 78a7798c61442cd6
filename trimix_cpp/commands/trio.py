"""`trimix-cpp trio new`: a TOML file for models that are not among the known trios."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import AlignmentError, UsageError
from ..showing import notice, show, size_text

if TYPE_CHECKING:
    from ..pull.drafting import Draft, Look

# Tokens of the context in estimates, and the profiles that are reckoned.
_N_CTX = 4096
_PROFILES = ("laptop-16gb", "laptop-8gb", "tiny-4gb")
_ASKED = {
    "lang": "Language (ISO 639, several with commas)",
    "base": "base: the small model before (owner/name on the Hub, or a GGUF file)",
    "cpt": "cpt: the small model, trained on the language",
    "large": "large: the instruction-tuned model of the same family",
}


@click.group("trio", short_help="A TOML file for other models: trio new.")
def command() -> None:
    """Make trios of models that are not among the known ones."""


@command.command("new")
@click.option("--name", metavar="NAME", help="The trio's name.  [default: that of -o]")
@click.option("--lang", metavar="CODE[,CODE]", help="The languages that cpt was trained on.")
@click.option("--base", metavar="REPO|FILE", help="The small model before: owner/name, or GGUF.")
@click.option("--cpt", metavar="REPO|FILE", help="The small model, trained on the language.")
@click.option("--large", metavar="REPO|FILE", help="The instruction-tuned model.")
@click.option("--gguf", metavar="REPO", help="A repository with ready GGUF files of large.")
@click.option("--weights", default="0.1,0.9", show_default=True, help="Where no task is named.")
@click.option("--licence", default="", metavar="TEXT", help="Whose terms the models are under.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The TOML file to write.")
@click.option("--force", is_flag=True, help="Overwrite it.")
@click.option(
    "--look/--no-look",
    default=None,
    help="Fetch the tokenizers' files from the Hub and compare them.  [default: ask]",
)
def new(
    name: str | None,
    lang: str | None,
    base: str | None,
    cpt: str | None,
    large: str | None,
    gguf: str | None,
    weights: str,
    licence: str,
    output: Path | None,
    force: bool,
    look: bool | None,
) -> int:
    """Write the TOML file of a trio, once its vocabularies have been compared.

    What is not given is asked for. Of models on the Hub only the small files are fetched, and only
    with --look or where you agree; the weights come with `pull`. Models that may not be fused are
    told, with exit code 3, and nothing is written.
    """
    from ..files import check_destination
    from ..fusion import parse_weights
    from ..prompts import language
    from ..pull.drafting import ROLES, Draft, look_at, write_draft

    given = {"lang": lang, "base": base, "cpt": cpt, "large": large}
    told = {key: _asked(key, value) for key, value in given.items()}
    codes = tuple(language(code).code for code in told["lang"].split(","))
    path = output or Path(f"{name or _asked('name', None)}.toml")
    check_destination(path, force=force)
    models = {role: told[role] for role in ROLES}
    draft = Draft(name or path.stem, models, codes, gguf, parse_weights(weights), licence)
    online = draft.is_remote and (_agreed() if look is None else look)
    seen = ""
    if online or not draft.is_remote:
        found = look_at(draft, notice, online=online)
        show("\n".join(found.report.lines()))
        if not found.report.fusible:
            return AlignmentError.exit_code
        _tell_sizes(found)
        seen = f"{date.today().isoformat()}: the vocabularies were compared"
    write_draft(draft, path, seen)
    show(f"{path}: written")
    notice(_next(draft, path))
    return 0


def _asked(key: str, value: str | None) -> str:
    """`value`, or what a person says at the terminal."""
    if value is not None:
        return value
    if not (sys.stdin and sys.stdin.isatty()):
        raise UsageError(f"give --{key}: without a terminal nobody can be asked")
    return str(click.prompt(_ASKED.get(key, "Name of the trio"), err=True)).strip()


def _agreed() -> bool:
    """Whether the Hub may be asked."""
    if not (sys.stdin and sys.stdin.isatty()):
        return False
    question = "Fetch the tokenizers' files from the Hub and compare them? (some megabytes)"
    return click.confirm(question, default=True, err=True)


def _tell_sizes(look: Look) -> None:
    from ..quant import Options, estimate, load_profile

    for name in _PROFILES:
        needs = estimate(look.shapes, Options(n_ctx=_N_CTX), profile=load_profile(name))
        notice(f"{name}: {size_text(needs.total)} of memory at {_N_CTX} tokens, all roles loaded")


def _next(draft: Draft, path: Path) -> str:
    if draft.is_remote:
        return f"next: `trimix-cpp pull --trio {path} --dry-run` says what a pull would fetch"
    return f"next: `trimix-cpp chat --trio {path}`"
