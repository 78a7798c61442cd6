"""`trimix-cpp merge`: several Hugging Face folders of one shape into one."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import UsageError
from ..showing import Bar, count, notice, show, size_text
from .options import Real

_DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}


@click.command("merge", short_help="Models of one shape into one, by TIES or simpler ways.")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--base",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="What the models were trained from; not with --method linear.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    required=True,
    metavar="FOLDER[:weight=W,density=D]",
    help="A model to merge; may be repeated. Weight: of its changes; density: the share of them "
    "that stays, the greatest ones (ties).  [default: 1 and 1]",
)
@click.option(
    "--method",
    type=click.Choice(["ties", "task-arithmetic", "linear"]),
    default="ties",
    show_default=True,
    help="linear is the weighted mean of the models.",
)
@click.option(
    "--normalize/--no-normalize",
    default=None,
    help="Weights count as shares of their sum.  [default: yes; no with task-arithmetic]",
)
@click.option(
    "--lambda",
    "scale",
    type=Real(-1000, 1000),
    default=1.0,
    show_default=True,
    help="Scales all changes.",
)
@click.option(
    "--dtype",
    type=click.Choice([*_DTYPES]),
    help="Of the result and of the arithmetic.  [default: as the base's]",
)
@click.option(
    "--shard-size",
    type=Real(0, 1e6, min_open=True),
    default=5.0,
    show_default=True,
    metavar="GB",
    help="Most gigabytes of a file of weights.",
)
def command(
    out: Path,
    base: Path | None,
    models: tuple[str, ...],
    method: str,
    normalize: bool | None,
    scale: float,
    dtype: str | None,
    shard_size: float,
) -> None:
    """Merge models of one shape into the new Hugging Face folder OUT.

    The models, and the base that ties and task-arithmetic need, are Hugging Face folders;
    configuration and tokenizer come from the base. `convert` turns the result into a GGUF file. The
    paper's baseline: --model CPT:density=1.0,weight=0.2 --model INSTRUCT:density=0.2,weight=0.8
    """
    from ..merge import merge, parse_source

    if shard_size == float("inf"):
        raise UsageError("--shard-size must be finite")
    with Bar("merging", "B") as progress:
        done = merge(
            [parse_source(text) for text in models],
            out,
            base=base,
            method=method,
            normalize=normalize,
            scale=scale,
            dtype=None if dtype is None else _DTYPES[dtype],
            shard_bytes=int(shard_size * 1e9),
            progress=progress,
        )
    for text in done.notices:
        notice(text)
    show(f"{done.path}: {count(done.tensors, 'tensor')}, {size_text(done.nbytes)}")
