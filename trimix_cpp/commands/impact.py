"""`trimix-cpp impact`: what quantization does to the fused distribution."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..runtime import ModelFlags, find_models
from ..showing import notice, show, show_json
from .impact_options import EvaluationFlags, evaluation_options, read_texts
from .options import AnswerFlags, answer_options, model_options, plot_option, read_text

if TYPE_CHECKING:
    from ..impact import Difference, Evaluation, Findings, Side, Task
    from ..tuning import Example


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
@answer_options("--answers")
@click.option("--speed", is_flag=True, help="Measure peak memory and tokens a second, too.")
@click.option("--no-noise", is_flag=True, help="Do not measure the noise floors.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--markdown", is_flag=True, help="Tables in Markdown.")
@plot_option("Draw the figures.")
@evaluation_options
@model_options
def command(
    names: str,
    as_json: bool,
    markdown: bool,
    plot: Path | None,
    models: ModelFlags,
    evaluated: EvaluationFlags,
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
    if flags["speed"] and evaluated.rpc:
        raise UsageError("--speed measures in a process of its own: it does not go with --rpc")
    examples = _examples(flags["answers"]) if flags["answers"] else None
    texts = read_texts(evaluated.texts, by_file=flags["slices"] == "file")
    spec = find_models(models).spec
    from ..fusion import DEFAULT_GRID
    from ..impact import Task

    with evaluated.open(spec) as evaluation:
        grid = DEFAULT_GRID if flags["grid"] else None
        task = Task(evaluation.weights, flags["sweep"], grid)
        report = _measure(evaluation, task, profiles, texts, examples, **flags)
    if plot:
        from ..impact import draw

        draw(plot, report)
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
    profiles: Sequence[str],
    texts: Sequence[tuple[str, str]],
    examples: list[Example] | None,
    *,
    reference: str,
    no_noise: bool,
    speed: bool,
    answering: AnswerFlags,
    slices: str | None,
    **_: Any,
) -> Findings:
    from ..impact import Finding, Findings

    workshop, evaluator = evaluation.workshop(task.roles), evaluation.evaluator(task.roles)
    # Before anything is made: a text may be too short.
    windows = evaluation.windows(evaluator, texts)
    base, *sides = evaluation.sides(workshop, [reference, *profiles])
    noise = {} if no_noise else evaluation.noise(evaluator, [base, *sides], windows)
    comparisons = evaluation.compare(evaluator, base, sides, windows, task)
    evaluator.release()
    prompt = windows[0].tokens.tolist() if speed else None
    costs = [evaluation.cost(side, prompt) for side in sides]
    differences: Sequence[Difference | None] = [None] * len(sides)
    if examples:
        differences = _answers(evaluation, base, sides, examples, answering)
    found = [
        Finding(one, noise.get(one.side.name), differences[i], costs[i])
        for i, one in enumerate(comparisons)
    ]
    return Findings(
        evaluation.spec.name,
        task,
        base,
        found,
        evaluation.n_ctx,
        noise.get(base.name),
        slices=slices is not None,
    )


def _answers(
    evaluation: Evaluation,
    base: Side,
    sides: Sequence[Side],
    examples: Sequence[Example],
    answering: AnswerFlags,
) -> list[Difference]:
    """How the answers of every side differ from the reference's."""
    from ..impact import difference

    known = [example.reference for example in examples]
    references = [text for text in known if text is not None]
    if references and len(references) < len(examples):
        notice("not every prompt has a reference: chrF++ is left out")
    scored = references if len(references) == len(examples) else None
    prompts = [example.prompt for example in examples]
    own, *others = (
        evaluation.answers(side, prompts, answering.max_tokens, answering.n_parallel)
        for side in (base, *sides)
    )
    return [difference(own, other, scored) for other in others]
