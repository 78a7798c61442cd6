"""`trimix-cpp convert`: a Hugging Face folder to a GGUF file."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("convert", short_help="A Hugging Face folder to GGUF.")
@click.argument("src", type=click.Path(path_type=Path))
@click.argument("dst", type=click.Path(path_type=Path))
@click.option(
    "--outtype",
    type=click.Choice(["f32", "f16", "bf16", "q8_0"]),
    default="f16",
    show_default=True,
    help="Type of the matrices; vectors, norms and biases stay f32.",
)
@click.option(
    "--pre", metavar="NAME", help="llama.cpp's name of the pre-tokenizer, if it is not recognised."
)
@click.option("--force", is_flag=True, help="Overwrite DST.")
def command(src: Path, dst: Path, outtype: str, pre: str | None, force: bool) -> None:
    """Convert the Hugging Face checkpoint in folder SRC to the GGUF file DST.

    The file is the one that llama.cpp's own converter writes. Weights are read from safetensors;
    pickle files are never loaded.
    """
    from trimix_cpp.convert import convert
    from trimix_cpp.convert.progress import bar

    with bar("converting", "B") as progress:
        done = convert(src, dst, outtype, pre=pre, force=force, progress=progress)
    click.echo(f"{done.path}: {done.architecture}, {outtype}, {done.nbytes / 1e6:,.1f} MB")
