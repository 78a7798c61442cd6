"""`trimix-cpp pull`: a trio from the Hugging Face Hub to this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..showing import notice, show, size_text

if TYPE_CHECKING:
    from ..store import TrioSpec


@click.command("pull", short_help="A trio from the Hugging Face Hub to this machine.")
@click.option("--lang", metavar="CODE", help="Language, ISO 639-3 (uig) or 639-1 (ug).")
@click.option("--trio", metavar="NAME|TOML", help="A trio by name, or its TOML file.")
@click.option(
    "--profile",
    metavar="NAME|TOML",
    help="Quantization profile.  [default: one that suits this machine's memory]",
)
@click.option("--update", is_flag=True, help="Look for newer commits of what is installed.")
@click.option("--dry-run", is_flag=True, help="Only say what would be downloaded and made.")
@click.option(
    "--no-reuse", is_flag=True, help="Download also what another program of this machine has."
)
def command(
    lang: str | None,
    trio: str | None,
    profile: str | None,
    update: bool,
    dry_run: bool,
    no_reuse: bool,
) -> None:
    """Download the models of a trio, convert and quantize them, and check every hash.

    This is the only command that uses the network. Interrupted anywhere, it goes on where it
    stopped when it is given again. HF_TOKEN and HF_ENDPOINT are those of huggingface_hub;
    TRIMIX_HOME moves the store.
    """
    from ..pull import check_alignment, pull
    from ..store import with_files

    spec = _choose(lang, trio)
    manifest = pull(
        spec, notice, profile_name=profile, update=update, dry_run=dry_run, reuse=not no_reuse
    )
    if manifest is None:
        return
    check_alignment(with_files(spec, manifest))
    show(f"{spec.name}: installed, {size_text(manifest.nbytes)}, profile {manifest.profile.name}")
    if spec.licence:
        notice(f"licences: {spec.licence}")


def _choose(lang: str | None, trio: str | None) -> TrioSpec:
    """The trio that is meant; with a language alone the first that is known for it."""
    from ..errors import TrimixError, UsageError
    from ..prompts import language, script_notice
    from ..store import find_entry, known_for_language

    if lang is None and trio is None:
        raise UsageError("name what to pull: --lang CODE or --trio NAME (`trimix-cpp list`)")
    if lang is None:
        return find_entry(str(trio)).spec
    wanted = language(lang)
    fitting = [entry.spec for entry in known_for_language(wanted.code) if entry.spec.sources]
    if trio is not None:
        spec = find_entry(trio).spec
        if spec.languages and spec.name not in {s.name for s in fitting}:
            spoken = ", ".join(spec.languages)
            raise UsageError(f"the trio {spec.name} is for {spoken}, not for {wanted.code}")
    elif not fitting:
        raise TrimixError(
            f"no trio for {wanted.name} ({wanted.code}) is known; write one into a TOML file "
            "(docs/trios.md) and name it by --trio"
        )
    else:
        spec = fitting[0]
    if text := script_notice(spec.name, spec.scripts, wanted):
        notice(text)
    return spec
