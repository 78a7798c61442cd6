"""`trimix-cpp quantize`: a GGUF file to a smaller type, or a whole trio to a profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from ..showing import Bar, count, notice, show, size_text


def _list_profiles(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from ..quant import load_profile, profile_names

    for name in profile_names():
        profile = load_profile(name)
        types = ", ".join(f"{role} {profile.roles[role].type}" for role in ("large", "cpt", "base"))
        show(f"{name:14}{types}; KV {profile.type_k}: {profile.description}")
    context.exit()


@click.command("quantize", short_help="A GGUF file, or a whole trio, to a smaller type.")
@click.argument("src", type=click.Path(path_type=Path), required=False)
@click.argument("dst", type=click.Path(path_type=Path), required=False)
@click.argument("type_name", metavar="TYPE", required=False)
@click.option(
    "--imatrix", type=click.Path(path_type=Path), metavar="FILE", help="An importance matrix."
)
@click.option(
    "--output-tensor-type", metavar="TYPE", help="Type of the output head, e.g. q6_k or f16."
)
@click.option("--token-embedding-type", metavar="TYPE", help="Type of the token embedding.")
@click.option(
    "--tensor-type",
    "tensor_types",
    multiple=True,
    metavar="PATTERN=TYPE",
    help="Type of the tensors in whose names the expression PATTERN is found; may be repeated.",
)
@click.option("--trio", metavar="NAME|TOML", help="Quantize every role of this trio ...")
@click.option("--profile", metavar="NAME|TOML", help="... to the types of this profile ...")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="... into this folder.  [default: ./TRIO-PROFILE]",
)
@click.option(
    "--list-profiles",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_profiles,
    help="List the profiles and exit.",
)
@click.option(
    "-t", "--threads", type=click.IntRange(1, 512), help="Threads to use.  [default: all]"
)
@click.option("--force", is_flag=True, help="Overwrite what is there.")
def command(
    src: Path | None,
    dst: Path | None,
    type_name: str | None,
    trio: str | None,
    profile: str | None,
    folder: Path | None,
    threads: int | None,
    force: bool,
    **choices: Any,
) -> None:
    """Quantize the GGUF file SRC to DST as TYPE, or a trio with --trio and --profile.

    TYPE is one of llama-quantize's names: Q8_0, Q6_K, Q5_K_M, Q4_K_M, IQ4_XS, Q3_K_M, F16 and so
    on. SRC should be F32, F16 or BF16. Types of about 2 bits and less need an importance matrix,
    which `trimix-cpp imatrix` makes.
    """
    if trio or profile or folder:
        if not (trio and profile) or src or any(choices.values()):
            raise UsageError("--trio and --profile go together, with -o, -t and --force alone")
        _quantize_trio(trio, profile, folder, threads, force)
    elif src and dst and type_name:
        _quantize_file(src, dst, type_name, threads, force, choices)
    else:
        raise UsageError("give SRC, DST and TYPE, or --trio and --profile")


def _quantize_file(
    src: Path, dst: Path, type_name: str, threads: int | None, force: bool, choices: dict[str, Any]
) -> None:
    from trimix_cpp.convert.quantize import quantize

    from ..quant import RoleProfile

    tensors = [_pattern_and_type(text) for text in choices.pop("tensor_types")]
    choice = RoleProfile.of(type_name, tensors=tensors, **choices)
    with Bar("quantizing", "tensors") as progress:
        done = quantize(src, dst, choice, threads=threads, force=force, progress=progress)
    _tell_uncovered(done.uncovered)
    before, after = size_text(done.nbytes_before), size_text(done.nbytes)
    show(f"{done.path}: {choice.type}, {before} -> {after}")


def _pattern_and_type(text: str) -> tuple[str, str]:
    pattern, _, kind = text.partition("=")
    if not pattern or not kind:
        raise UsageError(f"--tensor-type {text!r}: is not PATTERN=TYPE, such as attn_v=q8_0")
    return pattern, kind


def _quantize_trio(
    trio: str, profile: str, folder: Path | None, threads: int | None, force: bool
) -> None:
    from trimix_cpp.convert.quantize_trio import TRIO_FILE, quantize_trio

    from ..quant import load_profile
    from ..store import find_trio

    spec, chosen = find_trio(trio), load_profile(profile)
    folder = folder or Path(f"{spec.name}-{chosen.name}")
    made = quantize_trio(
        spec, chosen, folder, threads=threads, force=force, bar=lambda name: Bar(name, "tensors")
    )
    for file in made:
        _tell_uncovered(file.uncovered)
        kept = ", kept" if file.kept else ""
        show(
            f"{file.path}: {file.type} for {' and '.join(file.roles)}, "
            f"{size_text(file.nbytes)}{kept}"
        )
    show(f"{folder / TRIO_FILE}")


def _tell_uncovered(names: tuple[str, ...]) -> None:
    if names:
        lacking = count(len(names), "tensor")
        notice(f"the importance matrix has no entry for {lacking}, the first {names[0]}")
