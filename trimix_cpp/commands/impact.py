"""`trimix-cpp impact`: what quantization does to the fused distribution."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..runtime import ModelFlags, find_models
from ..showing import check_plot, notice, show, show_json
from .impact_options import evaluation_options, open_evaluation, read_texts
from .options import model_options, read_text

if TYPE_CHECKING:
    from ..impact import Found, Report, Task
    from ..tuning import Example
    from .impact_options import Evaluation


@click.command("impact", short_help="What quantization does to the fused distribution.")
@click.option(
    "--profile",
    "--profiles",
    "names",
    metavar="NAME,…",
    required=True,
    help="Profiles, their TOML files, types for all roles (Q4_K_M), TOML files of quantized "
    "trios, or as-is: the trio's files as they are.",
)
@click.option(
    "--reference",
    default="source",
    show_default=True,
    metavar="NAME",
    help="What they are compared with, named alike; source: the trio's files, expanded to F32 "
    "where they are quantized.",
)
@click.option(
    "--slices",
    type=click.Choice(["language", "file"]),
    help="Show every language (the labels of --text), or every file, by itself, too.",
)
@click.option("--sweep", is_flag=True, help="Show each role's part as its coefficient changes.")
@click.option("--grid", is_flag=True, help="Show whether the best weights move.")
@click.option(
    "--answers",
    type=click.Path(path_type=Path),
    metavar="FILE.jsonl",
    help="Free running: answer these prompts with both sides; JSON lines with prompt and, for "
    "chrF++, reference.",
)
@click.option(
    "-n",
    "--predict",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Most tokens of an answer.",
)
@click.option(
    "-np",
    "--parallel",
    type=click.IntRange(1, 256),
    default=4,
    show_default=True,
    help="Answers at a time.",
)
@click.option("--speed", is_flag=True, help="Measure peak memory and tokens a second, too.")
@click.option("--no-noise", is_flag=True, help="Do not measure the noise floors.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--markdown", is_flag=True, help="Tables in Markdown.")
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="FILE.png", help="Draw the figures."
)
@evaluation_options
@model_options
def command(
    names: str,
    reference: str,
    as_json: bool,
    markdown: bool,
    models: ModelFlags,
    **flags: Any,
) -> None:
    """Compare the fused distribution of a trio with that of its quantized versions.

    Figures are those of llama-perplexity --kl-divergence, of the fused distribution and of each
    role, and what the quantization of each role and of pairs of them costs the fused one. What is
    made and measured is kept under --cache: the same command, stopped anywhere, goes on there.
    """
    if as_json and markdown:
        raise UsageError("give either --json or --markdown")
    profiles = [name for name in names.split(",") if name]
    if not profiles:
        raise UsageError("--profile names nothing")
    if flags["plot"]:
        check_plot(flags["plot"])
    examples = _examples(flags["answers"]) if flags["answers"] else None
    texts = read_texts(flags["texts"], by_file=flags["slices"] == "file")
    spec = find_models(models).spec
    from ..fusion import DEFAULT_GRID
    from ..impact import Task

    with open_evaluation(flags, spec) as evaluation:
        weights = evaluation.weights
        task = Task(weights, flags["sweep"], DEFAULT_GRID if flags["grid"] else None)
        report = _measure(evaluation, task, [reference, *profiles], texts, examples, flags)
    if flags["plot"]:
        from ..impact import draw

        draw(flags["plot"], report)
    if as_json:
        show_json(report.document())
    else:
        show(report.text(markdown=markdown))


def _examples(path: Path) -> list[Example]:
    from ..tuning import parse_examples

    return parse_examples(read_text(path), "jsonl", str(path))


def _measure(
    evaluation: Evaluation,
    task: Task,
    names: Sequence[str],
    texts: Sequence[tuple[str, str]],
    examples: list[Example] | None,
    flags: dict[str, Any],
) -> Report:
    from ..impact import Found, Report, Task, compare_sides, fused_name, noise_side, noise_windows

    workshop = evaluation.workshop(task.roles)
    reference, *sides = (workshop.side(name) for name in names)
    evaluator = evaluation.evaluator(task.roles)
    windows = evaluation.windows(evaluator, texts)
    noise: dict[str, float] = {}
    for side in () if flags["no_noise"] else (reference, *sides):
        with evaluation.bar(f"noise of {side.name}", "windows") as progress:
            (rounding,) = compare_sides(
                evaluator,
                side,
                [noise_side(side)],
                noise_windows(windows),
                Task(task.weights),
                evaluation.cache,
                one_by_one=evaluation.one_by_one,
                progress=progress,
            )
        noise[side.name] = rounding.mean_kld(fused_name(task.weights.roles))
    with evaluation.bar("comparing", "windows") as progress:
        comparisons = compare_sides(
            evaluator,
            reference,
            sides,
            windows,
            task,
            evaluation.cache,
            one_by_one=evaluation.one_by_one,
            progress=progress,
        )
    evaluator.release()
    prompt = windows[0].tokens.tolist()
    found = [Found(one, noise.get(one.side.name)) for one in comparisons]
    found = _with_costs(evaluation, found, prompt, flags)
    if examples:
        found = _with_answers(evaluation, reference, found, examples, flags)
    return Report(
        evaluation.spec.name,
        task,
        reference,
        found,
        evaluation.n_ctx,
        noise.get(reference.name),
        slices=flags["slices"] is not None,
    )


def _with_costs(
    evaluation: Evaluation, found: list[Found], prompt: list[int], flags: dict[str, Any]
) -> list[Found]:
    from dataclasses import replace

    from ..impact import cost, timed_run

    done = []
    for one in found:
        side, run = one.side, None
        if flags["speed"]:
            options = evaluation.options(side, 1)
            run = timed_run(side.spec(evaluation.spec), evaluation.weights, options, prompt)
        done.append(replace(one, cost=cost(side, evaluation.weights, evaluation.model_ctx, run)))
    return done


def _with_answers(
    evaluation: Evaluation,
    reference: Any,
    found: list[Found],
    examples: list[Example],
    flags: dict[str, Any],
) -> list[Found]:
    from dataclasses import replace

    from ..impact import difference

    known = [example.reference for example in examples]
    references = [text for text in known if text is not None]
    if references and len(references) < len(examples):
        notice("not every prompt has a reference: chrF++ is left out")
    scored = references if len(references) == len(examples) else None
    prompts = [example.prompt for example in examples]
    base = evaluation.answers(reference, prompts, flags["predict"], flags["parallel"])
    done = []
    for one in found:
        own = evaluation.answers(one.side, prompts, flags["predict"], flags["parallel"])
        done.append(replace(one, answers=difference(base, own, scored)))
    return done
