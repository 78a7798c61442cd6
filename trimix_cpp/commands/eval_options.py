"""The options of `eval`, and what their values are called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from .clusters import cluster_option
from .options import bounded, whole

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@dataclass(frozen=True)
class EvalFlags:
    """The values of `EVAL_OPTIONS`, as the user gave them."""

    folders: tuple[Path, ...]
    listing: bool
    tasks: str
    methods: str | None
    weights: str | None
    merged: Path | None
    score: Literal["generate", "likelihood"]
    split: Literal["test", "dev"]
    train: int
    instructions: Literal["en", "zh"]
    shots: int | None
    chat_template: bool
    limit: int | None
    samples: int
    seed: int
    parallel: int | None
    journal: Path | None
    predictions: Path | None
    others: tuple[Path, ...]
    harness: str | None
    include: tuple[Path, ...]
    download: bool
    write_tasks: Path | None
    cluster: str | None
    as_json: bool
    markdown: Path | None
    plot: Path | None
    quiet: bool


EVAL_OPTIONS = [
    click.option(
        "--data",
        "folders",
        type=_FOLDER,
        multiple=True,
        metavar="FOLDER",
        help="Where the data sets lie; may be repeated.",
    ),
    click.option("--list", "listing", is_flag=True, help="Show what there is, and run nothing."),
    click.option(
        "--tasks",
        default="all",
        show_default=True,
        metavar="NAME,…",
        help="all: those whose data are there; paper: the seven of Table 2; or names.",
    ),
    click.option(
        "--methods",
        metavar="NAME,…",
        help="base, cpt, contrastive, merged, large, proxy, trimix-ppl, trimix-ent, "
        "trimix-ppl-opt, trimix-ppl-answers, each also with -input; trimix-preset, trimix, "
        "upper-bound.  [default: what Table 2 has, as far as the models are there]",
    ),
    click.option("--weights", metavar="A,B", help="Of the method trimix."),
    click.option(
        "--merged",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="GGUF of a merged model: the method merged.",
    ),
    click.option(
        "--score",
        type=click.Choice(["generate", "likelihood"]),
        default="generate",
        show_default=True,
        help="Multiple choice: generated in two tokens, as published, or by the likelihood of "
        "each label.",
    ),
    click.option("--split", type=click.Choice(["test", "dev"]), default="test", show_default=True),
    click.option(
        "--train",
        type=click.IntRange(1, 3),
        default=1,
        show_default=True,
        help="MiLiC-Eval's training set that gives the exemplars.",
    ),
    click.option(
        "--instructions",
        type=click.Choice(["en", "zh"]),
        default="en",
        show_default=True,
        help="Language of the prompts.",
    ),
    click.option(
        "--shots",
        type=click.IntRange(0, 100),
        metavar="N",
        help="Exemplars, of each label where there are labels.  [default: the task's own]",
    ),
    click.option(
        "--chat-template", is_flag=True, help="The prompt is a message in large's template."
    ),
    click.option("--limit", type=whole(1), metavar="N", help="The first N items of a task."),
    click.option(
        "--samples",
        type=whole(1),
        default=50,
        show_default=True,
        help="Prompts by which a task's weights are chosen.",
    ),
    click.option(
        "-s", "--seed", type=bounded("seed"), default=0, show_default=True, help="Of their draw."
    ),
    click.option(
        "-np",
        "--parallel",
        type=click.IntRange(1, 256),
        help="Texts at a time; each needs a context.  [default: 8 a core, as memory allows]",
    ),
    click.option(
        "--journal",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="What is answered; the same command goes on from it.  [default: in the store]",
    ),
    click.option(
        "--predictions",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Write METHOD/TASK.json, {id: text}.",
    ),
    click.option(
        "--with",
        "others",
        type=click.Path(path_type=Path),
        multiple=True,
        metavar="FILE",
        help="Documents of earlier runs (--json), to stand in the same table.",
    ),
    click.option(
        "--lm-eval",
        "harness",
        metavar="TASK,…",
        help="Run these tasks of lm-evaluation-harness instead, by methods with fixed weights.",
    ),
    click.option(
        "--include-path",
        "include",
        type=_FOLDER,
        multiple=True,
        metavar="FOLDER",
        help="With --lm-eval: a folder of task files; may be repeated.",
    ),
    click.option("--download", is_flag=True, help="With --lm-eval: let it fetch the tasks' data."),
    click.option(
        "--write-tasks",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Write the tasks as files for lm-evaluation-harness, and run nothing.",
    ),
    cluster_option,
    click.option("--json", "as_json", is_flag=True, help="One JSON document."),
    click.option(
        "--markdown",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write the tables as a page.",
    ),
    click.option(
        "--plot",
        type=click.Path(path_type=Path),
        metavar="FILE.png",
        help="Draw the paper's Figures 3 and 4.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="No progress."),
]
