"""`trimix-cpp quantize`: a GGUF file to a smaller type."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("quantize", short_help="A GGUF file to a smaller type.")
@click.argument("src", type=click.Path(path_type=Path))
@click.argument("dst", type=click.Path(path_type=Path))
@click.argument("type_name", metavar="TYPE")
@click.option(
    "--output-tensor-type", metavar="TYPE", help="Type of the output head, e.g. q6_k or f16."
)
@click.option("--token-embedding-type", metavar="TYPE", help="Type of the token embedding.")
@click.option(
    "-t", "--threads", type=click.IntRange(1, 512), help="Threads to use.  [default: all]"
)
@click.option("--force", is_flag=True, help="Overwrite DST.")
def command(
    src: Path,
    dst: Path,
    type_name: str,
    output_tensor_type: str | None,
    token_embedding_type: str | None,
    threads: int | None,
    force: bool,
) -> None:
    """Quantize the GGUF file SRC to DST as TYPE.

    TYPE is one of llama-quantize's names: Q8_0, Q6_K, Q5_K_M, Q4_K_M, IQ4_XS, Q3_K_M, F16 and so
    on. SRC should be F32, F16 or BF16. Types that need an importance matrix are refused.
    """
    from trimix_cpp.convert.progress import bar
    from trimix_cpp.convert.quantize import quantize

    with bar("quantizing", "tensors") as progress:
        done = quantize(
            src,
            dst,
            type_name,
            output_tensor_type=output_tensor_type,
            token_embedding_type=token_embedding_type,
            threads=threads,
            force=force,
            progress=progress,
        )
    before, after = done.nbytes_before / 1e6, done.nbytes / 1e6
    click.echo(f"{done.path}: {type_name.upper()}, {before:,.1f} MB -> {after:,.1f} MB")
