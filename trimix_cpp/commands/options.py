"""Options that commands share, named as llama.cpp's, in groups that hand over what `runtime` takes.

A command takes each group as one argument: `@model_options` gives it `models: ModelFlags`,
`@running_options` also `run: RunFlags`, `@decoding_options(…)` one `decoding: DecodingFlags`.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from .. import files
from ..files import decode_utf8, read_stream
from ..fusion import METHODS
from ..runtime import (
    LIMITS,
    ByteFlags,
    DecodingFlags,
    DraftFlags,
    ModelFlags,
    RunFlags,
    SamplingFlags,
    WeightFlags,
)
from ..showing import LLAMA_LOG, SafeFormatter, check_plot
from .supervised import supervised

F = TypeVar("F", bound=Callable[..., Any])
Option = Callable[[Any], Any]
_MOST_TEXT = 1 << 30


class _Limit(click.IntRange):
    """-1 for none, or a number within the bounds of `max_tokens`."""

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Refuse 0, which a range from -1 would take."""
        number: int = super().convert(value, param, ctx)
        if number == 0:
            self.fail("0 is neither -1 nor at least 1.", param, ctx)
        return number


class Real(click.FloatRange):
    """A finite number within bounds."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Refuse what is no number: nan is beyond no bound."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def whole(least: int, most: int = 2**31 - 1) -> click.IntRange:
    """A whole number; what C counts in 32 bits goes to `most` if nothing else is said."""
    return click.IntRange(least, most)


def bounded(name: str) -> click.IntRange:
    """The range of the number called `name` in `runtime.LIMITS`."""
    return click.IntRange(*LIMITS[name])


def show_log(_ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    """Show the log on stderr from now on; the callback of -v."""
    import logging

    if wanted:
        handler = logging.StreamHandler(sys.stderr)
        # Warnings of our own are shown without -v too.
        handler.addFilter(lambda r: r.name == LLAMA_LOG or r.levelno < logging.WARNING)
        handler.setFormatter(SafeFormatter("%(message)s"))
        logger = logging.getLogger("trimix_cpp")
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)


_FILE = click.Path(path_type=Path)
rpc_option = click.option(
    "--rpc", metavar="HOST:PORT,…|ROLE=HOST:PORT,…", callback=supervised,
    help="RPC servers of llama.cpp (`rpc-serve`) that take these layers in a GPU's place, for all "
    "roles or each: docs/machines.md.",
)  # fmt: skip
_MODELS = [
    click.option("--lang", metavar="CODE", help="Language, ISO 639-3 (uig) or 639-1 (ug)."),
    click.option("--trio", metavar="NAME|TOML", help="A trio by name, or its TOML file."),
    click.option("-m", "--large", type=_FILE, metavar="FILE",
                 help="GGUF of the large instruction-tuned model."),
    click.option("--cpt", type=_FILE, metavar="FILE",
                 help="GGUF of the small model trained on the language."),
    click.option("--base", type=_FILE, metavar="FILE",
                 help="GGUF of that small model before."),
    click.option("--large-base", type=_FILE, metavar="FILE",
                 help="GGUF of the large model before instruction tuning: for a free gamma."),
    click.option("-v", "--verbose", is_flag=True, expose_value=False, callback=show_log,
                 help="Show llama.cpp's log on stderr."),
]  # fmt: skip
_RUN = [
    click.option("n_ctx", "-c", "--ctx-size", type=bounded("n_ctx"), default=None, metavar="N",
                 help="Tokens a sequence may have; 0: what the models were trained for.  "
                 "[default: that, but at most 4096]"),
    click.option("n_batch", "-b", "--batch-size", type=bounded("n_batch"), default=512,
                 show_default=True, help="Most tokens of a batch."),
    click.option("n_ubatch", "-ub", "--ubatch-size", type=bounded("n_ubatch"), default=512,
                 show_default=True, help="Most tokens that are computed at a time."),
    click.option("n_threads", "-t", "--threads", type=bounded("n_threads"), default=0,
                 help="CPU threads; 0: physical cores."),
    click.option("n_gpu_layers", "-ngl", "--gpu-layers", "--n-gpu-layers", default="all",
                 show_default=True, metavar="N|ROLE=N,…",
                 help="Layers on the GPU, for all roles or each: large=20,cpt=all,base=all."),
    rpc_option,
    click.option("-fa", "--flash-attn", type=click.Choice(["on", "off", "auto"]), default="auto",
                 show_default=True,
                 callback=lambda _ctx, _param, how: {"on": True, "off": False}.get(how)),
    click.option("type_k", "-ctk", "--cache-type-k", metavar="TYPE|ROLE=TYPE,…",
                 help="KV cache type for K.  [default: the trio's own, else f16]"),
    click.option("type_v", "-ctv", "--cache-type-v", metavar="TYPE|ROLE=TYPE,…",
                 help="KV cache type for V.  [default: the trio's own, else f16]"),
    click.option("--mlock", is_flag=True, help="Keep the weights in RAM."),
    click.option("--exact", is_flag=True,
                 help="The same numbers whatever the size of a batch; slower."),
    click.option("--exact-vocabulary", is_flag=True,
                 help="A cpt with tokens of its own: count every way to say a text; slower."),
]  # fmt: skip
_WEIGHTS = [
    click.option(
        "--weights",
        default="preset",
        show_default=True,
        metavar="A,B|HOW",
        help="alpha,beta of the fusion; preset: the trio's own, or that of --task (0.1,0.9 without "
        "one); ppl: the pair of a grid with the least perplexity of the prompt; ppl-opt: the best "
        "pair of all; ppl-answers: by the answers in the prompt alone, of exemplars or earlier "
        "turns; ent: the pair with the least entropy of the first token.",
    ),
    click.option("--task", metavar="NAME", help="Whose preset: e.g. translation.eng-uig."),
    click.option("--method", type=click.Choice(METHODS), default="trimix", show_default=True,
                 help="How the logits are combined; no-… leave a vector of Eq. 1 out."),
    click.option("--strength", type=Real(-100, 100), default=0.5, show_default=True,
                 help="Of --method contrastive."),
    click.option("--plausibility", metavar="ROLE=X|off", default=None,
                 help="Only tokens with at least X times the best probability of ROLE may come.  "
                 "[default: cpt=0.1 with --method contrastive, else off]"),
]  # fmt: skip
_SAMPLING = [
    click.option("max_tokens", "-n", "--predict", "--n-predict", default=-1, show_default=True,
                 type=_Limit(-1, LIMITS["max_tokens"][1]), metavar="INTEGER",
                 help="Most tokens to generate; -1: until the end."),
    click.option("temperature", "--temp", type=Real(0, 1000), default=0.0, show_default=True,
                 help="0 is greedy."),
    click.option("--top-k", type=bounded("top_k"), default=40, show_default=True,
                 help="0 is off."),
    click.option("--top-p", type=Real(0, 1), default=0.95, show_default=True, help="1 is off."),
    click.option("--min-p", type=Real(0, 1), default=0.05, show_default=True, help="0 is off."),
    click.option("--repeat-penalty", type=Real(0, 1000, min_open=True), default=1.0,
                 show_default=True, help="1 is off."),
    click.option("--repeat-last-n", type=bounded("repeat_last_n"), default=64, show_default=True,
                 help="Tokens that the penalty looks back; -1: all."),
    click.option("-s", "--seed", type=click.IntRange(-1, LIMITS["seed"][1]), default=-1,
                 show_default=True, help="-1: random."),
    click.option("-r", "--reverse-prompt", "stops", multiple=True, metavar="TEXT",
                 help="Stop where this text comes up; may be repeated."),
]  # fmt: skip


def _control(default: str) -> Option:
    return click.option("--control", type=click.Choice(["large", "fused"]), default=default,
                        show_default=True,
                        help="Whose probabilities control tokens have.")  # fmt: skip


def _drafting(default: str) -> list[Option]:
    return [
        click.option("--draft", default=default, show_default=True, metavar="N|auto|off",
                     help="Tokens that cpt drafts, for the others to check in one batch; auto "
                     "adapts to what it measures. Without --exact rounding may flip a near tie."),
        click.option("-md", "--model-draft", "--draft-model", "draft_model", metavar="FILE",
                     type=_FILE,
                     help="GGUF of a still smaller model of the family, to guess what cpt will "
                     "draft."),
    ]  # fmt: skip


_BYTES = [
    click.option("--bytes", "bytes", is_flag=True,
                 help="Fuse models whose tokenizers differ, byte by byte (-n counts bytes). The "
                 "likeliest bytes are not the likeliest token: leave it out where one tokenizer "
                 "serves all."),
    click.option("--beam", type=bounded("beam"), default=4, show_default=True, metavar="K",
                 help="Tokenizations of the text that --bytes follows."),
    click.option("beam_threshold", "--beam-threshold", type=Real(0, 1, max_open=True),
                 default=1e-3, show_default=True, metavar="X",
                 help="Those with a smaller share of the probability are left out."),
]  # fmt: skip


def handed_over(name: str, kind: type[Any], options: Sequence[Option]) -> Callable[[F], F]:
    """Add `options` to a command, which gets their values as one `kind`, called `name`.

    `kind` is a dataclass whose fields are named as the options' values are.
    """

    def add(command: F) -> F:
        @functools.wraps(command)
        def gathered(*args: Any, **values: Any) -> Any:
            own = {one.name: values.pop(one.name) for one in fields(kind) if one.name in values}
            return command(*args, **values, **{name: kind(**own)})

        for option in reversed(options):
            option(gathered)
        return cast(F, gathered)

    return add


def model_options(command: F) -> F:
    """Add the options that name the models: `models: ModelFlags`."""
    return handed_over("models", ModelFlags, _MODELS)(command)


def running_options(command: F) -> F:
    """Add the options that name the models and say how they run: `run: RunFlags`, too."""
    return model_options(handed_over("run", RunFlags, _RUN)(command))


def decoding_options(
    control: str, draft: str = "off", *, over_bytes: bool = False
) -> Callable[[F], F]:
    """Add every option of a command that decodes: `decoding: DecodingFlags`.

    The arguments are defaults of theirs; `over_bytes`: with --bytes and its like.
    """
    groups: list[tuple[str, type[Any], Sequence[Option]]] = [
        ("models", ModelFlags, _MODELS),
        ("weights", WeightFlags, _WEIGHTS),
        ("run", RunFlags, _RUN),
        ("sampling", SamplingFlags, [*_SAMPLING, _control(control)]),
        ("drafting", DraftFlags, _drafting(draft)),
        ("over_bytes", ByteFlags, _BYTES if over_bytes else []),
    ]

    def add(command: F) -> F:
        command = handed_over("decoding", DecodingFlags, [])(command)
        for group in reversed(groups):
            command = handed_over(*group)(command)
        return command

    return add


@dataclass(frozen=True)
class AnswerFlags:
    """How a command that measures lets models answer: most tokens, and answers at a time."""

    max_tokens: int
    n_parallel: int


def answer_options(asked_by: str) -> Callable[[F], F]:
    """Add the options of answers, `answering: AnswerFlags`; `asked_by` is the flag they go with."""
    options = [
        click.option("max_tokens", "-n", "--predict", type=bounded("max_tokens"), default=200,
                     show_default=True, help=f"Most tokens of an answer, with {asked_by}."),
        click.option("n_parallel", "-np", "--parallel", type=bounded("n_parallel"), default=4,
                     show_default=True,
                     help=f"Answers at a time, with {asked_by}; each needs a context."),
    ]  # fmt: skip
    return handed_over("answering", AnswerFlags, options)


def plot_option(help: str) -> Option:
    """`--plot FILE.png`, which is checked before any work: `plot: Path | None`."""

    def check(_ctx: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
        if path is not None:
            check_plot(path)
        return path

    return click.option("--plot", type=_FILE, metavar="FILE.png", callback=check, help=help)


def read_text(path: Path | None) -> str:
    """The UTF-8 text of a file, or of stdin for None or `-`.

    Raises:
        TrimixError: it cannot be read, or is not UTF-8; the line is named.
    """
    if path is None or str(path) == "-":
        name = "standard input"
        return decode_utf8(read_stream(sys.stdin.buffer, name), name)
    return files.read_text(path)
