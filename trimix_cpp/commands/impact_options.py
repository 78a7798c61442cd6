"""What `impact` and `plan` share: their options, the texts, and where everything is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import TrimixError, UsageError
from ..showing import Bar, notice
from .options import read_text

if TYPE_CHECKING:
    from ..fusion import Weights
    from ..impact import Answer, Evaluator, Side, Window, Workshop
    from ..quant import Options
    from ..store import TrioSpec

_OPTIONS = [
    click.option("--text", "texts", multiple=True, required=True, metavar="[LABEL=]FILE",
                 help="Text to measure on; LABEL names its slice, such as its language. May be "
                 "repeated."),
    click.option("--weights", "pair", metavar="A,B",
                 help="alpha and beta.  [default: the trio's own]"),
    click.option("-c", "--ctx-size", type=click.IntRange(16), default=512, show_default=True,
                 metavar="N", help="Tokens of a window; its second half is scored."),
    click.option("--chunks", type=click.IntRange(1), metavar="N",
                 help="Most windows of each text.  [default: all]"),
    click.option("--cache", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
                 help="Where quantized files and figures are kept.  [default: in TRIMIX_HOME]"),
    click.option("--one-by-one", is_flag=True,
                 help="Never load more than one model; done anyway where they do not fit."),
    click.option("-t", "--threads", type=click.IntRange(0), default=0,
                 help="CPU threads; 0: physical cores."),
    click.option("-ngl", "--gpu-layers", type=int, default=-1, show_default=True,
                 help="Layers on the GPU; -1: all."),
    click.option("--exact", is_flag=True,
                 help="The same numbers whatever the size of a batch; slower."),
    click.option("-q", "--quiet", is_flag=True, help="No progress bars."),
]  # fmt: skip


def evaluation_options(command: Any) -> Any:
    """Add the shared options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_texts(named: Sequence[str], *, by_file: bool) -> list[tuple[str, str]]:
    """(label, text) of each `[LABEL=]FILE`; without a label the file's name.

    Raises:
        UsageError: a label without a file.
        TrimixError: a file cannot be read.
    """
    found = []
    for text in named:
        label, equals, path = text.rpartition("=")
        # A path may hold a "=" itself.
        if Path(text).exists() or not equals:
            label, path = "", text
        if not path:
            raise UsageError(f"--text {text!r}: names no file")
        name = "standard input" if path == "-" else Path(path).stem
        found.append((name if by_file else label or name, read_text(Path(path))))
    return found


@dataclass
class Evaluation:
    """What the shared options mean; close it by leaving `open_evaluation`.

    Attributes:
        spec: the trio.
        weights: of the fusion.
        n_ctx: tokens of a window.
        chunks: most windows of a text; None for all.
        cache: the folder where everything is kept.
        one_by_one: True loads one model at a time; None does so where it must be.
    """

    spec: TrioSpec
    weights: Weights
    n_ctx: int
    chunks: int | None
    cache: Path
    one_by_one: bool | None
    n_threads: int
    n_gpu_layers: int
    exact: bool
    quiet: bool
    closing: ExitStack = field(default_factory=ExitStack)

    @property
    def model_ctx(self) -> int:
        """Tokens of context that a trio has if nothing is said."""
        from ..decoding import DEFAULT_N_CTX

        return min(DEFAULT_N_CTX, self.trained_ctx)

    @property
    def trained_ctx(self) -> int:
        """Tokens of context that the models were trained for."""
        from ..gguf import read_header

        trained = [1 << 31]
        for role in self.weights.roles:
            if role in self.spec.roles:
                own = read_header(self.spec.roles[role].path).number("context_length")
                trained += [own] if own else []
        return min(trained)

    def bar(self, label: str, unit: str = "tensors") -> AbstractContextManager[Any]:
        """A progress bar on stderr."""
        return Bar(label, unit, quiet=self.quiet)

    def workshop(self, roles: Sequence[str]) -> Workshop:
        """Makes the files of sides."""
        from ..impact import Workshop

        return Workshop(self.spec, roles, self.cache, self.bar)

    def evaluator(self, roles: Sequence[str]) -> Evaluator:
        """Evaluates them; it is closed with this."""
        from ..impact import Evaluator

        evaluator = Evaluator(
            {role: self.spec.roles[role] for role in roles},
            n_ctx=self.n_ctx,
            n_threads=self.n_threads,
            n_gpu_layers=self.n_gpu_layers,
            exact=self.exact,
        )
        return self.closing.enter_context(evaluator)

    def windows(self, evaluator: Evaluator, texts: Sequence[tuple[str, str]]) -> list[Window]:
        """The windows of all texts."""
        return [
            window
            for label, text in texts
            for window in evaluator.windows(text, label)[: self.chunks]
        ]

    def options(self, side: Side, n_parallel: int) -> Options:
        """How a side runs freely."""
        from ..quant import Options

        layers = dict.fromkeys(side.versions, self.n_gpu_layers)
        return Options(
            n_parallel=n_parallel,
            n_threads=self.n_threads,
            n_gpu_layers=layers,
            type_k=side.type_k,
            type_v=side.type_v,
            exact=self.exact,
        )

    def answers(
        self, side: Side, prompts: Sequence[str], most: int, n_parallel: int
    ) -> list[Answer]:
        """The greedy answers of a side; from the cache where they are known."""
        from ..impact import Answer, answers
        from ..llama import version
        from ..store import read_json, write_json

        roles = self.weights.roles
        key = json.dumps(
            [
                version(),
                side.identity(roles, self.cache),
                self.weights.coefficients,
                [*prompts],
                [most, n_parallel, self.exact],
            ]
        )
        path = self.cache / "answers" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
        with suppress(TrimixError, KeyError, TypeError):  # it is not there yet, or broken
            return [Answer(tuple(one["tokens"]), one["text"]) for one in read_json(path)]
        with self.bar(f"answering {side.name}", "answers") as progress:
            found = answers(
                side.spec(self.spec),
                self.weights,
                prompts,
                self.options(side, n_parallel),
                max_tokens=most,
                progress=progress,
            )
        write_json([{"tokens": [*one.tokens], "text": one.text} for one in found], path)
        return found


@contextmanager
def open_evaluation(flags: dict[str, Any], spec: TrioSpec) -> Iterator[Evaluation]:
    """What the values of `evaluation_options` mean; models are freed at the end.

    Raises:
        TrimixError: weights that are none.
    """
    from ..fusion import parse_weights
    from ..store import home

    evaluation = Evaluation(
        spec=spec,
        weights=parse_weights(flags["pair"]) if flags["pair"] else spec.weights,
        n_ctx=flags["ctx_size"],
        chunks=flags["chunks"],
        cache=flags["cache"] or home() / "cache",
        one_by_one=True if flags["one_by_one"] else None,
        n_threads=flags["threads"],
        n_gpu_layers=flags["gpu_layers"],
        exact=flags["exact"],
        quiet=flags["quiet"],
    )
    if evaluation.n_ctx > (known := evaluation.trained_ctx):
        notice(
            f"the models were trained for {known} tokens of context, and -c is {flags['ctx_size']}"
        )
    with evaluation.closing:
        yield evaluation
