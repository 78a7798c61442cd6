"""`trimix-cpp imatrix`: an importance matrix for `quantize`, from a model and a text."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import UsageError
from ..showing import Bar, count, show
from .options import bounded, whole


@click.command("imatrix", short_help="An importance matrix for quantize.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("text", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The file to write.",
)
@click.option(
    "-c",
    "--ctx-size",
    type=click.IntRange(16, 1 << 20),
    default=512,
    show_default=True,
    help="Tokens of a chunk.",
)
@click.option("--chunks", type=whole(1), metavar="N", help="Read no more chunks.")
@click.option("--process-output", is_flag=True, help="Include the output head.")
@click.option(
    "-t", "--threads", type=click.IntRange(1, 512), help="Threads.  [default: physical cores]"
)
@click.option(
    "-ngl",
    "--gpu-layers",
    "--n-gpu-layers",
    type=bounded("n_gpu_layers"),
    default=-1,
    help="Layers on the GPU; -1: all.  [default: all]",
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def command(
    model: Path,
    text: Path,
    output: Path,
    ctx_size: int,
    chunks: int | None,
    process_output: bool,
    threads: int | None,
    gpu_layers: int,
    force: bool,
) -> None:
    """Run the text file TEXT through MODEL and write which inputs of its matrices are large.

    MODEL is best F32, F16, BF16 or Q8_0; TEXT in the language, and of the kind, that the model is
    meant for. The file is llama-imatrix's GGUF format.
    """
    from ..files import check_destination, read_text
    from ..gguf import write_imatrix

    check_destination(output, force=force)
    if any(output.exists() and path.exists() and output.samefile(path) for path in (model, text)):
        raise UsageError(f"{output} is a source itself: choose another file")
    content = read_text(text)
    from ..llama import Model, collect

    with Model(model, n_gpu_layers=gpu_layers) as loaded, Bar("reading", "chunks") as progress:
        matrix = collect(
            loaded,
            content,
            text.name,
            chunk_size=ctx_size,
            max_chunks=chunks,
            process_output=process_output,
            n_threads=threads,
            progress=progress,
        )
    write_imatrix(output, matrix)
    show(
        f"{output}: {count(len(matrix.entries), 'tensor')}, {count(matrix.n_chunks, 'chunk')} of "
        f"{matrix.chunk_size} tokens"
    )
