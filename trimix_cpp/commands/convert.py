"""`trimix-cpp convert`: a Hugging Face folder, or a PEFT LoRA adapter, to a GGUF file."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import TrimixError, UsageError
from ..showing import Bar, show, size_text


@click.command("convert", short_help="A Hugging Face folder to GGUF.")
@click.argument("src", type=click.Path(path_type=Path))
@click.argument("dst", type=click.Path(path_type=Path))
@click.option(
    "--outtype",
    type=click.Choice(["f32", "f16", "bf16", "q8_0"]),
    help="Type of the matrices (f16 if not given; f32 for an adapter). "
    "Vectors, norms and biases stay f32.",
)
@click.option(
    "--pre", metavar="NAME", help="llama.cpp's name of the pre-tokenizer, if it is not recognised."
)
@click.option("--lora", is_flag=True, help="SRC is a PEFT LoRA adapter, and DST a GGUF adapter.")
@click.option(
    "--base",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The adapter's base: its Hugging Face folder or its GGUF file.",
)
@click.option("--force", is_flag=True, help="Overwrite DST.")
def command(
    src: Path,
    dst: Path,
    outtype: str | None,
    pre: str | None,
    lora: bool,
    base: Path | None,
    force: bool,
) -> None:
    """Convert the Hugging Face checkpoint in folder SRC to the GGUF file DST.

    The file is the one that llama.cpp's own converter writes. Weights are read from safetensors;
    pickle files are never loaded. With --lora, SRC holds a PEFT LoRA adapter (docs/lora.md).
    """
    if base and not lora:
        raise UsageError("--base belongs to --lora")
    if pre and lora:
        raise UsageError("--pre does not go with --lora: an adapter has no tokenizer")
    with Bar("converting", "B") as progress:
        if lora:
            from trimix_cpp.convert.lora import convert_lora

            outtype = outtype or "f32"
            done = convert_lora(src, dst, base, outtype, force=force, progress=progress)
        else:
            from trimix_cpp.convert import convert

            if (src / "adapter_config.json").exists() and not (src / "config.json").exists():
                raise TrimixError(f"{src} holds a PEFT adapter: convert it with --lora")
            outtype = outtype or "f16"
            done = convert(src, dst, outtype, pre=pre, force=force, progress=progress)
    what = f"LoRA for {done.architecture}" if lora else done.architecture
    show(f"{done.path}: {what}, {outtype}, {size_text(done.nbytes)}")
