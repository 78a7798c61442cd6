"""What `impact` and `plan` share: their options, and the texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from ..runtime import LIMITS, parse_rpc
from ..showing import notice
from .options import bounded, handed_over, read_text, rpc_option, whole

if TYPE_CHECKING:
    from ..impact import Evaluation
    from ..store import TrioSpec

_OPTIONS = [
    click.option("--text", "texts", multiple=True, required=True, metavar="[LABEL=]FILE",
                 help="Text to measure on; LABEL names its slice, such as its language. May be "
                 "repeated."),
    click.option("--weights", metavar="A,B", help="alpha and beta.  [default: the trio's own]"),
    click.option("n_ctx", "-c", "--ctx-size", type=click.IntRange(16, LIMITS["n_ctx"][1]),
                 default=512, show_default=True, metavar="N",
                 help="Tokens of a window; its second half is scored."),
    click.option("--chunks", type=whole(1), metavar="N",
                 help="Most windows of each text.  [default: all]"),
    click.option("--cache", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
                 help="Where quantized files and figures are kept.  [default: in TRIMIX_HOME]"),
    click.option("--one-by-one", is_flag=True,
                 help="Never load more than one model; done anyway where they do not fit."),
    click.option("n_threads", "-t", "--threads", type=bounded("n_threads"), default=0,
                 help="CPU threads; 0: physical cores."),
    click.option("n_gpu_layers", "-ngl", "--gpu-layers", type=bounded("n_gpu_layers"), default=-1,
                 show_default=True, help="Layers on the GPU; -1: all."),
    rpc_option,
    click.option("--exact", is_flag=True,
                 help="The same numbers whatever the size of a batch; slower. Every KV cache is "
                 "q8_0 then, on all sides: what its type costs is not in the figures."),
    click.option("-q", "--quiet", is_flag=True, help="No progress bars."),
]  # fmt: skip
# The name of the whole text among the slices.
_ALL = "all"


@dataclass(frozen=True)
class EvaluationFlags:
    """The values of the shared options."""

    texts: tuple[str, ...]
    weights: str | None
    n_ctx: int
    chunks: int | None
    cache: Path | None
    one_by_one: bool
    n_threads: int
    n_gpu_layers: int
    rpc: str | None
    exact: bool
    quiet: bool

    def open(self, spec: TrioSpec) -> Evaluation:
        """What they mean for a trio.

        Raises:
            TrimixError: weights that are none, or --exact with --rpc.
        """
        from ..fusion import parse_weights
        from ..impact import Evaluation
        from ..quant import Options
        from ..store import home

        evaluation = Evaluation(
            spec=spec,
            weights=parse_weights(self.weights) if self.weights else spec.weights,
            cache=self.cache or home() / "cache",
            n_ctx=self.n_ctx,
            chunks=self.chunks,
            one_by_one=self.one_by_one or None,
            n_threads=self.n_threads,
            n_gpu_layers=self.n_gpu_layers,
            rpc=Options(exact=self.exact, rpc=parse_rpc(self.rpc)).rpc,
            exact=self.exact,
            quiet=self.quiet,
        )
        if self.n_ctx > (known := evaluation.trained_ctx):
            notice(f"the models were trained for {known} tokens of context, and -c is {self.n_ctx}")
        return evaluation


evaluation_options = handed_over("evaluated", EvaluationFlags, _OPTIONS)


def read_texts(named: Sequence[str], *, by_file: bool) -> list[tuple[str, str]]:
    """(label, text) of each `[LABEL=]FILE`.

    Without a label, or `by_file`, a text is called as its file is, with the folders where another
    text has that name.

    Raises:
        UsageError: a label without a file, or that of the whole.
        TrimixError: a file cannot be read.
    """
    labels, paths = [], []
    for text in named:
        label, equals, path = text.rpartition("=")
        # A path may hold a "=" itself.
        if Path(text).exists() or not equals:
            label, path = "", text
        if not path:
            raise UsageError(f"--text {text!r}: names no file")
        if label == _ALL and not by_file:
            raise UsageError(f"--text {text!r}: {_ALL} is all texts together; take another label")
        labels.append("" if by_file else label)
        paths.append(path)
    return list(zip(_told_apart(labels, paths), map(read_text, map(Path, paths)), strict=True))


def _told_apart(labels: Sequence[str], paths: Sequence[str]) -> list[str]:
    """The labels; a text without one is called by its file."""
    from ..impact import distinct

    names = ["standard input" if path == "-" else Path(path).stem for path in paths]
    taken = {_ALL, *labels}
    return [
        label or (str(Path(path)) if name in taken else name)
        for label, name, path in zip(labels, distinct(names, paths), paths, strict=True)
    ]
