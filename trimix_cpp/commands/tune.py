"""`trimix-cpp tune`: alpha and beta for a task, from sample prompts."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import TrimixError, UsageError
from ..fusion import TRIO_ROLES
from ..runtime import SCORED_ROWS, ModelFlags, RunFlags, find_models
from ..showing import Bar, count, draw_heat_maps, notice, show, show_json
from .options import (
    answer_options,
    bounded,
    plot_option,
    read_text,
    running_options,
    whole,
)

if TYPE_CHECKING:
    from ..decoding import Trio
    from ..fusion import Grid
    from ..store import TrioSpec
    from ..tuning import Example, Format, GridReport, UpperBound


@click.command("tune", short_help="alpha and beta for a task, from sample prompts.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--paragraphs", is_flag=True, help="Blank lines stand between prompts.")
@click.option("--jsonl", is_flag=True, help="JSON lines; a FILE named .jsonl is so anyway.")
@click.option(
    "--prefix",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Text before every prompt, such as exemplars; a blank line follows it.",
)
@click.option("--samples", type=whole(1), default=50, show_default=True, help="Prompts to draw.")
@click.option(
    "-s", "--seed", type=bounded("seed"), default=0, show_default=True, help="Of the draw."
)
@click.option("--alphas", metavar="A,…", help="Grid.  [default: 0.1,0.3,0.5,0.7,0.9,1]")
@click.option("--betas", metavar="B,…", help="Grid.  [default: 0.1,0.3,0.5,0.7,0.9,1]")
@click.option(
    "--criterion",
    type=click.Choice(["ppl", "ppl-opt", "ppl-answers", "ent"]),
    default="ppl",
    show_default=True,
    help="Least perplexity of the prompts on the grid; the same "
    "between its points; that of the answers, which are references of the prompts; least entropy "
    "of the first generated token.",
)
@click.option(
    "--average",
    type=click.Choice(["prompts", "tokens"]),
    default="prompts",
    show_default=True,
    help="Every prompt counts the same, or every token.",
)
@click.option("--divergence", is_flag=True, help="Show KL(large || base) and KL(cpt || base).")
@click.option(
    "--upper-bound",
    is_flag=True,
    help="Let every pair of the grid answer every prompt, and score the answers.",
)
@click.option(
    "--metric",
    type=click.Choice(["chrf", "accuracy"]),
    default="chrf",
    show_default=True,
    help="Of --upper-bound: chrF++, or equality.",
)
@answer_options("--upper-bound")
@plot_option("Draw the grid as a heat map.")
@click.option(
    "--save", "task", metavar="TASK", help="Keep the pair for --weights preset --task TASK."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@running_options
def command(
    file: Path,
    as_json: bool,
    plot: Path | None,
    models: ModelFlags,
    run: RunFlags,
    **flags: Any,
) -> None:
    """Choose the weights of a task by sample prompts, without answers to them.

    FILE holds the prompts as the models will get them, one a line; with --paragraphs one a
    paragraph; or JSON lines with "prompt" and perhaps "reference". - is standard
    input. The pair of the grid under which the prompts are likeliest wins.
    """
    grid, examples = _grid(flags), _examples(file, flags)
    if flags["upper_bound"]:
        from ..tuning import check_metric

        check_metric(flags["metric"])
    spec = find_models(models).spec
    n_parallel = flags["answering"].n_parallel if flags["upper_bound"] else 1
    options = run.options(spec, n_parallel=n_parallel, n_outputs=SCORED_ROWS)
    target = _save_target(flags["task"], models.trio, spec) if flags["task"] else None
    from ..decoding import Trio

    with Trio(spec, TRIO_ROLES, options) as trio:
        report = _tune(trio, examples, grid, flags)
    saved = None
    try:
        if plot:
            draw_heat_maps(plot, report.heat_maps())
        if target:
            _save(target, flags["task"], report)
            saved = {"task": flags["task"], "path": str(target)}
    finally:  # what took long to find out is shown, even if a file cannot be written
        _show(report, saved, as_json)


def _show(report: GridReport, saved: dict[str, str] | None, as_json: bool) -> None:
    if as_json:
        document = report.document() | ({"saved": saved} if saved else {})
        show_json(document)
        return
    show(report.text())
    if saved:
        how = f"--weights preset --task {shlex.quote(saved['task'])}"
        show(f"\nSaved in {saved['path']}: {how}")


def _examples(file: Path, flags: dict[str, Any]) -> list[Example]:
    """The prompts that are drawn from the file, the prefix before each."""
    from ..tuning import parse_examples, sample

    jsonl = flags["jsonl"] or file.suffix.lower() == ".jsonl"
    if jsonl and flags["paragraphs"]:
        raise UsageError("--paragraphs is for text, not for JSON lines")
    if str(file) == str(flags["prefix"]) == "-":
        raise UsageError("FILE and --prefix cannot both be standard input")
    kind: Format = "jsonl" if jsonl else "paragraphs" if flags["paragraphs"] else "lines"
    name = "standard input" if str(file) == "-" else str(file)
    found = parse_examples(read_text(file), kind, name)
    drawn = sample(found, flags["samples"], flags["seed"])
    lacking = [example.line for example in drawn if example.reference is None]
    wanting = "--upper-bound" if flags["upper_bound"] else "--criterion ppl-answers"
    if lacking and (flags["upper_bound"] or flags["criterion"] == "ppl-answers"):
        more = f" (nor have {count(len(lacking) - 1, 'other')})" if lacking[1:] else ""
        raise TrimixError(
            f'{name}: line {lacking[0]} has no "reference"{more}, which {wanting} needs; '
            "references stand in JSON lines (--jsonl)"
        )
    if flags["prefix"]:
        prefix = read_text(flags["prefix"]).rstrip("\r\n")
        drawn = [replace(example, prompt=f"{prefix}\n\n{example.prompt}") for example in drawn]
    return drawn


def _grid(flags: dict[str, Any]) -> Grid:
    from ..fusion import DEFAULT_VALUES, Grid

    lines = {}
    for name in ("alphas", "betas"):
        text = flags[name]
        try:
            lines[name] = DEFAULT_VALUES if text is None else tuple(map(float, text.split(",")))
            Grid(lines[name])
        except (ValueError, TrimixError):
            raise UsageError(
                f"--{name}: {text!r} is not a list of finite numbers such as 0.1,0.5,1"
            ) from None
    return Grid(lines["alphas"], lines["betas"])


def _save_target(task: str, trio: str | TrioSpec | None, spec: TrioSpec) -> Path:
    """The file that --save writes to: the TOML that the user named, or the saved presets."""
    from ..files import is_toml_path
    from ..store import check_task, home, saved_file

    check_task(task)
    if spec.path is None:
        raise UsageError("--save keeps the pair for a trio: name one by --trio or --lang")
    if isinstance(trio, str) and is_toml_path(trio):
        return spec.path
    return saved_file(home(), spec.name)


def _save(target: Path, task: str, report: GridReport) -> None:
    from ..store import home, save

    save(target, home(), task, report.best[0])


def _tune(trio: Trio, examples: list[Example], grid: Grid, flags: dict[str, Any]) -> GridReport:
    """Score the prompts, find the best pairs, and the upper bound where it is asked for."""
    import numpy as np

    from ..fusion import TIE
    from ..tuning import GridReport, score_prompts

    room = trio.n_ctx - (flags["answering"].max_tokens if flags["upper_bound"] else 1)
    prompts, references = _fit(trio, examples, room, flags["samples"])
    fine, answers = flags["criterion"] == "ppl-opt", None
    if flags["criterion"] == "ppl-answers":
        known = [trio.tokenize(text, parse_special=False) for text in references]
        answers = [own[: trio.n_ctx - len(p)] for own, p in zip(known, prompts, strict=True)]
    with Bar("scoring", "prompts", quiet=flags["quiet"]) as progress:
        scores = score_prompts(trio, prompts, grid, answers=answers, fine=fine, progress=progress)
    if min(grid.shape) > 1 and np.ptp(scores.mean_nll()) <= TIE:
        notice("every pair fits the prompts alike: are the three models the same?")
    bound = None
    if flags["upper_bound"]:
        bound = _bound(trio, prompts, references, grid, flags)
    return GridReport(
        scores,
        flags["criterion"],
        flags["average"],
        upper_bound=bound,
        divergence=flags["divergence"],
    )


def _bound(
    trio: Trio,
    prompts: list[list[int]],
    references: list[str],
    grid: Grid,
    flags: dict[str, Any],
) -> UpperBound:
    """The score of every pair of the grid."""
    import numpy as np

    from ..tuning import UpperBound, answers, score

    pairs = [grid.weights(i, j) for i, j in np.ndindex(grid.shape)]
    most = flags["answering"].max_tokens
    with Bar("answering", "answers", quiet=flags["quiet"]) as progress:
        found = answers(trio, prompts, pairs, max_tokens=most, progress=progress)
    values = [score(own, references, flags["metric"]) for own in found]
    return UpperBound(flags["metric"], np.array(values).reshape(grid.shape))


def _fit(
    trio: Trio, examples: list[Example], limit: int, wanted: int
) -> tuple[list[list[int]], list[str]]:
    """The prompts' tokens and their references; what had to be cut or left out is told."""
    from ..tuning import fit_prompts

    if limit < 2:
        raise UsageError(
            f"-n {trio.n_ctx - limit} leaves no room for a prompt in a context of {trio.n_ctx} "
            "tokens; give a smaller -n or a larger -c"
        )
    if len(examples) < wanted:
        notice(f"{count(len(examples), 'prompt')} instead of {wanted}: FILE has no more")
    fitted = fit_prompts(trio, [example.prompt for example in examples], limit)
    if fitted.n_cut:
        notice(
            f"{count(fitted.n_cut, 'prompt')} of more than {limit} tokens cut at the front; a "
            "larger -c takes more"
        )
    if short := len(examples) - len(fitted.kept):
        notice(f"{count(short, 'prompt')} of one token left out: nothing to score")
    if not fitted.prompts:
        raise TrimixError("no prompt has a token to predict: give longer ones")
    return fitted.prompts, [examples[i].reference or "" for i in fitted.kept]
