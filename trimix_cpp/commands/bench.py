"""`trimix-cpp bench`: how fast a trio is here, ratios first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import TrimixError, UsageError
from ..fusion import TRIO_ROLES
from ..runtime import (
    LIMITS,
    ModelFlags,
    RunFlags,
    find_models,
    parse_weighting,
    per_role,
    shown,
    whole_number,
)
from ..showing import Bar, Table, notice, show, show_json
from .options import Real, read_text, running_options, whole

if TYPE_CHECKING:
    from ..bench import Workload
    from ..decoding import Trio
    from ..fusion import Weights
    from ..prompts import Language
    from ..quant import Options
    from ..store import TrioSpec

# The rate that random models are given where none is: about what the bundled trio's cpt reaches.
ACCEPTANCE = 0.9
# Above it figures are too low.
_BUSY = 0.5


_OPTIONS = [
    click.option("-o", "--output", type=click.Choice(["md", "json", "csv"]), default="md",
                 show_default=True, help="Tables, one JSON document, or lines."),
    click.option("--json", "as_json", is_flag=True, help="As -o json."),
    click.option("-r", "--repetitions", type=whole(1, 10_000), default=5,
                 show_default=True, help="Of every test, in turn; medians are shown."),
    click.option("-p", "--n-prompt", type=whole(0, LIMITS["n_ctx"][1]), default=128,
                 show_default=True, help="Tokens of a prompt; 0: no such tests."),
    click.option("-n", "--n-gen", type=whole(1, LIMITS["n_ctx"][1]), default=32, show_default=True,
                 help="Tokens to generate."),
    click.option("-d", "--n-depth", type=whole(2, LIMITS["n_ctx"][1]), default=64,
                 show_default=True, help="Tokens that are cached before."),
    click.option("--batches", default="1,2,4,8,16", show_default=True, metavar="N,…|off",
                 help="Sequences that run at once."),
    click.option("--drafts", default="1,2,3,5,7,auto", show_default=True, metavar="N,…|off",
                 help="Tokens that cpt drafts; auto adapts."),
    click.option("--weights", default="preset", show_default=True, metavar="A,B",
                 help="alpha,beta of the fusion, or the trio's own."),
    click.option("--task", metavar="NAME", help="Whose preset."),
    click.option("-f", "--file", type=click.Path(path_type=Path), metavar="FILE",
                 help="Prompts to continue with drafts, one a line.  [default: strings to "
                 "translate]"),
    click.option("--acceptance", type=Real(0, 1), metavar="X",
                 help="Let each draft be right with this probability, whatever the models say.  "
                 f"[default: {ACCEPTANCE} with --shapes]"),
    click.option("--calibrate", is_flag=True,
                 help="Only measure what batches of a few tokens cost each model, and keep it: "
                 "--draft auto goes by it from then on."),
    click.option("--shapes", metavar="SMALL+LARGE",
                 help="Random weights at these shapes, such as qwen2.5-1.5b+7b, in the place of "
                 "models."),
    click.option("--types", metavar="TYPE|ROLE=TYPE,…",
                 help="Types of random weights.  [default: Q4_K_M]"),
    click.option("--profile", metavar="NAME|TOML", help="Types of random weights, by profile."),
    click.option("--keep", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
                 help="Keep the random models here, for the next time."),
]  # fmt: skip


def _options(command: Any) -> Any:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command("bench", short_help="How fast a trio is on this machine.")
@_options
@running_options
def command(output: str, as_json: bool, models: ModelFlags, run: RunFlags, **flags: Any) -> None:
    """Measure a trio: each role alone, fused, with drafts, in batches.

    Everything runs in one process, test after test, and that several times; ratios are taken
    within a repetition and come first. Run it on an idle machine. Prompts and cached tokens are
    random, as llama-bench's are; drafts are measured on texts, because they must be guessed right,
    and with --shapes a stated part of them counts as right.
    """
    from ..bench import FORMATS, document, load, machine

    with _spec(flags, models) as (spec, name, language):
        if flags["calibrate"]:
            _calibrate(run, spec, "json" if as_json else output)
            return
        workload = _workload(flags, spec)
        options = _run_options(run, spec, workload)
        about = {"trio": name, "machine": machine(options.n_threads)}
        if load() > _BUSY:
            notice(f"the machine is busy (load {load():.1f}): the speeds will be too low")
        from ..bench import Bench
        from ..decoding import Trio

        with Trio(spec, _roles(spec, workload), options) as trio:
            prompts = [] if workload.acceptance is not None else _prompts(flags, trio, language)
            bench = Bench(trio, workload, prompts)
            with Bar("measuring", "runs") as progress:
                samples = bench.run(progress)
            found = document(samples, workload, trio, about)
    show(FORMATS["json" if as_json else output](found))


def _calibrate(run: RunFlags, spec: TrioSpec, output: str) -> None:
    """Measure what batches cost every role, keep it, and show it."""
    from ..bench import CALIBRATED, batch_costs, in_steps, load
    from ..decoding import Trio
    from ..store import keep_batch_costs

    options = run.options(spec, n_outputs=CALIBRATED[-1])
    options = replace(options, n_ctx=options.n_ctx or 4 * CALIBRATED[-1])
    if load() > _BUSY:
        notice(f"the machine is busy (load {load():.1f}): the ratios may be wrong")
    with Trio(spec, spec.roles, options) as trio, Bar("measuring", "batches") as progress:
        seconds = batch_costs(trio, progress)
    measured = {role: in_steps(own) for role, own in seconds.items()}
    path = keep_batch_costs(spec, options, measured)
    head = ["tokens in a batch", *measured]
    rows = [[str(n), *(f"{measured[role][n]:.2f}" for role in measured)] for n in CALIBRATED]
    if output == "json":
        show_json({"steps": measured, "file": str(path)})
    elif output == "csv":
        show("\n".join(map(",".join, [head, *rows])))
    else:
        note = f"In steps of a single token; kept in {path}"
        show(Table(head, rows, note=note).markdown(padded=True))


@contextmanager
def _spec(
    flags: dict[str, Any], models: ModelFlags
) -> Iterator[tuple[TrioSpec, str, Language | None]]:
    """The trio, what to call it, and its language."""
    shapes = flags["shapes"]
    if not shapes:
        for flag in ("types", "profile", "keep"):
            if flags[flag]:
                raise UsageError(f"--{flag} is about random models: it goes with --shapes")
        spec, language = find_models(models)
        yield spec, spec.name, language or _language_of(spec)
        return
    if models.named:
        named = models.named[0].replace("_", "-")
        raise UsageError(f"--shapes takes the place of models: leave --{named} out")
    from ..bench import random_trio
    from ..store import RoleSpec, TrioSpec

    types, cache = _types(flags)
    with random_trio(shapes, types, flags["keep"]) as files:
        roles = {role: RoleSpec(path) for role, path in files.items()}
        chosen = ", ".join(f"{role} {kind}" for role, kind in types.items())
        yield TrioSpec("random", roles, **cache), f"random weights, {shapes}, {chosen}", None


def _language_of(spec: TrioSpec) -> Language | None:
    from ..prompts import language

    return language(spec.languages[0]) if spec.languages else None


def _types(flags: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Role -> type of random models, and the KV cache types of the profile."""
    from ..bench import DEFAULT_TYPE
    from ..quant import load_profile

    types, cache = dict.fromkeys(TRIO_ROLES, DEFAULT_TYPE), dict[str, Any]()
    if flags["profile"]:
        profile = load_profile(flags["profile"])
        types = {role: profile.roles[role].type for role in TRIO_ROLES}
        cache = {
            key: dict.fromkeys(TRIO_ROLES, getattr(profile, key)) for key in ("type_k", "type_v")
        }
    if flags["types"]:
        chosen = per_role(flags["types"], _file_type, "--types")
        types |= {role: kind for role, kind in chosen.items() if role in TRIO_ROLES}
    return types, cache


def _file_type(text: str, flag: str) -> str:
    from ..gguf import file_type

    try:
        return file_type(text)
    except TrimixError as error:
        raise UsageError(f"{flag}: {error}") from None


def _workload(flags: dict[str, Any], spec: TrioSpec) -> Workload:
    from ..bench import Workload

    acceptance = flags["acceptance"]
    return Workload(
        weights=_weights(flags, spec),
        n_prompt=flags["n_prompt"],
        n_gen=flags["n_gen"],
        depth=flags["n_depth"],
        repetitions=flags["repetitions"],
        batches=tuple(_number(part, "--batches", 254) for part in _parts(flags["batches"])),
        drafts=tuple(
            None if part == "auto" else _number(part, "--drafts", 63)
            for part in _parts(flags["drafts"])
        ),
        acceptance=ACCEPTANCE if flags["shapes"] and acceptance is None else acceptance,
    )


def _weights(flags: dict[str, Any], spec: TrioSpec) -> Weights:
    try:
        weighting = parse_weighting(flags["weights"], spec, flags["task"])
    except UsageError:
        raise
    except TrimixError as error:
        raise UsageError(f"--weights: {error}") from None
    if weighting.chooser:
        raise UsageError("--weights: bench needs a fixed pair, such as 0.1,0.9")
    return weighting.weights


def _parts(text: str) -> list[str]:
    return [] if text == "off" else text.split(",")


def _number(text: str, flag: str, most: int) -> int:
    number = whole_number(text, 1, most)
    if number is None:
        raise UsageError(f"{flag}: {shown(text)} is not a number from 1 to {most}")
    return number


def _run_options(run: RunFlags, spec: TrioSpec, workload: Workload) -> Options:
    options = run.options(spec, n_parallel=workload.n_parallel, n_outputs=workload.n_outputs)
    if options.n_ctx and options.n_ctx < workload.n_ctx:
        raise UsageError(
            f"-c {options.n_ctx} is too small: these tests need {workload.n_ctx} tokens"
        )
    return replace(options, n_ctx=options.n_ctx or workload.n_ctx)


def _roles(spec: TrioSpec, workload: Workload) -> tuple[str, ...]:
    """Those of the weights, and large to compare with."""
    compared = ("large",) if "large" in spec.roles else ()
    return tuple(dict.fromkeys((*workload.weights.roles, *compared)))


def _prompts(flags: dict[str, Any], trio: Trio, language: Language | None) -> list[list[int]]:
    """The texts that are continued, as tokens; those that are too long lose their beginning."""
    if flags["file"]:
        from ..tuning import parse_examples

        examples = parse_examples(read_text(flags["file"]), "lines", str(flags["file"]))
        texts = [example.prompt for example in examples]
    else:
        from ..prompts import SENTENCES, translation_prompt
        from ..prompts import language as find

        texts = [
            translation_prompt(sentence, find("eng"), language) if language else sentence
            for sentence in SENTENCES
        ]
    room = trio.n_ctx - flags["n_gen"] - 1
    return [trio.tokenize(text, add_special=True, parse_special=True)[-room:] for text in texts]
