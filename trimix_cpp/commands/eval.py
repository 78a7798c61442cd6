"""`trimix-cpp eval`: the paper's tasks, by method, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..runtime import SCORED_ROWS, ModelFlags, RunFlags, find_models
from ..showing import Bar, check_plot, notice, show, show_json
from .clusters import address_of, makers_of, tell_differing
from .eval_options import EVAL_OPTIONS, EvalFlags
from .options import handed_over, running_options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..cluster import Address
    from ..decoding import Trio
    from ..evaluate import (
        DataFolders,
        Evaluation,
        Journal,
        Method,
        Noted,
        Outcome,
        Settings,
        Source,
    )
    from ..evaluate.harness import TrimixLM
    from ..fusion import Weights
    from ..prompts import ChatTemplate, Language
    from ..quant import Options
    from ..store import TrioSpec


@click.command("eval", short_help="The paper's tasks, by method, as one table.")
@handed_over("flags", EvalFlags, EVAL_OPTIONS)
@running_options
def command(models: ModelFlags, run: RunFlags, flags: EvalFlags) -> None:
    """Evaluate a trio on the paper's tasks.

    The data are files on this machine, as their publishers store them; --list says which. Nothing
    is downloaded. What is answered stands in a journal: after any end the same command goes on, and
    other methods and tasks begin with what they have in common.
    """
    address = _address(run, flags)
    if flags.listing:
        _list(models, flags)
        return
    if flags.write_tasks:
        _write_tasks(models, flags, flags.write_tasks)
        return
    if flags.harness:
        _harness(models, run, flags, _names(flags.harness))
        return
    from ..evaluate import check_metric, document, read_document, roles_of

    earlier = [read_document(path) for path in flags.others]
    _check_outputs(flags)
    spec, language = find_models(models)
    if language is None:
        raise UsageError("name the language of the tasks: --lang CODE")
    sources = _data(language, flags).wanted(_names(flags.tasks))
    for source in sources:
        check_metric(source.task.metric)
    methods = _methods(flags, spec)
    settings = _settings(flags)
    outcome = _run(spec, run, flags, sources, methods, settings, address)
    names = ("split", "train", "instructions", "chat_template")
    own: dict[str, Any] = {name: getattr(flags, name) for name in names}
    own |= {key: value for key, value in asdict(settings).items() if key != "grid"}
    own["exact"] = run.exact
    made = document(outcome, spec, roles_of(methods), language.code, own, settings.grid)
    _write(outcome, [*earlier, made], flags)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _address(run: RunFlags, flags: EvalFlags) -> Address | None:
    """The cluster that shares the work; raises UsageError where there is none to be shared."""
    alone = {
        "--list": flags.listing,
        "--write-tasks": flags.write_tasks,
        "--lm-eval": flags.harness,
    }
    for name, said in alone.items():
        if said and flags.cluster is not None:
            raise UsageError(f"--cluster does not go with {name}")
    return address_of(flags.cluster, run.rpc)


def _data(language: Language, flags: EvalFlags) -> DataFolders:
    from ..evaluate import DataFolders

    if not flags.folders and not flags.listing:
        raise UsageError("--data FOLDER says where the data sets lie; --list says which there are")
    return DataFolders(
        flags.folders,
        language,
        split=flags.split,
        train=flags.train,
        instructions=flags.instructions,
    )


def _settings(flags: EvalFlags) -> Settings:
    from ..evaluate import Settings

    names = ("score", "limit", "shots", "samples", "seed")
    return Settings(**{name: getattr(flags, name) for name in names})


def _methods(flags: EvalFlags, spec: TrioSpec) -> list[Method]:
    from ..errors import TrimixError
    from ..evaluate import parse_methods
    from ..fusion import parse_weights

    weights: Weights | None = None
    if flags.weights:
        try:
            weights = parse_weights(flags.weights)
        except TrimixError as error:
            raise UsageError(f"--weights: {error}") from None
    names = _names(flags.methods) if flags.methods else None
    return parse_methods(names, spec, weights, flags.merged is not None)


def _run(
    spec: TrioSpec,
    run: RunFlags,
    flags: EvalFlags,
    sources: Sequence[Source],
    methods: Sequence[Method],
    settings: Settings,
    address: Address | None,
) -> Outcome:
    """The merged model by itself, then the trio; each table's rows stand in the methods' order."""
    from ..evaluate import Journal, Outcome, default_journal
    from ..store import RoleSpec, TrioSpec

    outcome = Outcome()
    with Journal(flags.journal or default_journal()) as journal:
        merged = [method for method in methods if method.merged]
        if merged and flags.merged:
            alone = TrioSpec("merged", {"cpt": RoleSpec(flags.merged)})
            outcome.update(
                _evaluate(alone, run, flags, settings, journal, sources, merged, address)
            )
        others = [method for method in methods if not method.merged]
        if others:
            outcome.update(_evaluate(spec, run, flags, settings, journal, sources, others, address))
    return outcome


def _evaluate(
    spec: TrioSpec,
    run: RunFlags,
    flags: EvalFlags,
    settings: Settings,
    journal: Journal,
    sources: Sequence[Source],
    methods: Sequence[Method],
    address: Address | None,
) -> Outcome:
    from ..decoding import Trio
    from ..evaluate import Evaluation, Noted, roles_of

    def bar(label: str) -> Bar:
        return Bar(label, "items", quiet=flags.quiet)

    roles = roles_of(methods) or tuple(spec.roles)
    with ExitStack() as stack:
        n_items = max(len(source.items(settings.limit)) for source in sources)
        options = _options(run, spec, flags, roles, n_items)
        # Workers fill the journal: here it is only read.
        trio = stack.enter_context(Trio(spec, roles, options, vocab_only=address is not None))
        template = _template(trio, flags, stack)
        noted = Noted(journal)
        evaluation = Evaluation(trio, noted if address else journal, settings, bar, template)
        if address:
            _fill(address, evaluation, noted, sources, methods, flags.parallel)
        return evaluation.run(sources, methods)


def _fill(
    address: Address,
    evaluation: Evaluation,
    noted: Noted,
    sources: Sequence[Source],
    methods: Sequence[Method],
    parallel: int | None,
) -> None:
    """Let the workers of a cluster find out what the journal lacks."""
    from ..cluster import connected
    from ..evaluate import Elsewhere, fill

    share = address.n_workers or 1
    elsewhere = Elsewhere.of(evaluation, sources, methods, parallel, share)
    made_by = fill(evaluation, noted, sources, methods, partial(connected, address, elsewhere))
    if evaluation.trio.options.exact:
        tell_differing(makers_of(made_by))


def _options(
    run: RunFlags, spec: TrioSpec, flags: EvalFlags, roles: Sequence[str], n_items: int
) -> Options:
    from ..evaluate import placed

    options = run.options(spec, n_outputs=SCORED_ROWS)
    return placed(options, spec, roles, n_items, flags.parallel)


def _template(trio: Trio, flags: EvalFlags, stack: ExitStack) -> ChatTemplate | None:
    if not flags.chat_template:
        return None
    from ..chat import template_of

    return stack.enter_context(template_of(trio))


def _check_outputs(flags: EvalFlags) -> None:
    """What cannot be written is told before the work."""
    from ..evaluate import check_predictions, is_ours
    from ..files import check_destination

    if flags.plot:
        check_plot(flags.plot)
        if "upper-bound" not in (flags.methods or "") and not flags.others:
            raise UsageError(
                "--plot draws the scores of all pairs (--methods upper-bound), or of several sizes "
                "(--with documents of other trios)"
            )
    if flags.markdown:
        check_destination(
            flags.markdown,
            ours=is_ours,
            advice="it is no table of an evaluation; choose another name",
        )
    if flags.predictions:
        check_predictions(flags.predictions)


def _write(outcome: Outcome, documents: Sequence[dict[str, Any]], flags: EvalFlags) -> None:
    from ..evaluate import draw, markdown, tables, write_predictions
    from ..files import write_text

    try:
        if flags.predictions:
            write_predictions(flags.predictions, outcome.answers)
        if flags.markdown:
            write_text(flags.markdown, markdown(documents))
        if flags.plot:
            draw(flags.plot, documents)
    finally:  # what took long to find out is shown, even if a file cannot be written
        if flags.as_json:
            show_json(documents[-1])
        else:
            show("\n\n".join(table.text() for table in tables(documents)))


def _write_tasks(models: ModelFlags, flags: EvalFlags, folder: Path) -> None:
    from ..evaluate import write_tasks
    from ..prompts import language as find_language

    if not models.lang:
        raise UsageError("name the language of the tasks: --lang CODE")
    language = find_language(models.lang)
    sources = _data(language, flags).wanted(_names(flags.tasks))
    names = write_tasks(folder, sources, language.code, flags.limit, flags.shots)
    show("\n".join(names))


def _harness(models: ModelFlags, run: RunFlags, flags: EvalFlags, tasks: Sequence[str]) -> None:
    """Each method on the harness's tasks, in one table."""
    import os
    from importlib.util import find_spec

    from ..errors import TrimixError
    from ..showing import Table

    if find_spec("lm_eval") is None:
        raise TrimixError("--lm-eval needs the harness: pip install 'trimix-cpp[lm-eval]'")
    if not flags.download:  # read when the harness is imported
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    from ..decoding import Trio
    from ..evaluate import roles_of
    from ..evaluate.harness import run_harness

    spec, _ = find_models(models)
    methods = _methods(flags, spec)
    with ExitStack() as stack:
        roles = roles_of(methods) or tuple(spec.roles)
        options = _options(run, spec, flags, roles, flags.limit or 1 << 16)
        trio = stack.enter_context(Trio(spec, roles, options))
        template = _template(trio, flags, stack)
        found = {
            method.name: run_harness(
                model,
                tasks,
                include=flags.include,
                shots=flags.shots,
                limit=flags.limit,
                seed=flags.seed,
            )
            for method, model in _models(trio, methods, template)
        }
    if flags.as_json:
        show_json({"format": "trimix-cpp eval lm-eval 1", "results": found})
        return
    rows = [
        [task, method, key.partition(",")[0], f"{value:.4f}"]
        for method, tasks in found.items()
        for task, values in tasks.items()
        for key, value in values.items()
        if isinstance(value, float) and "_stderr" not in key
    ]
    show(Table(["task", "method", "metric", "value"], rows).text())


def _models(
    trio: Trio, methods: Sequence[Method], template: ChatTemplate | None
) -> Iterator[tuple[Method, TrimixLM]]:
    from ..evaluate.harness import TrimixLM
    from ..evaluate.scoring import Fusion

    for method in methods:
        weights = trio.spec.weights if method.how == "preset" else method.weights
        if weights is None or method.merged:
            raise UsageError(f"--lm-eval runs methods with fixed weights, not {method.name}")
        yield method, TrimixLM(trio, Fusion(weights, method.plausibility), template)


def _list(models: ModelFlags, flags: EvalFlags) -> None:
    from ..evaluate import languages_here, listing
    from ..prompts import language as find_language

    named = [find_language(models.lang)] if models.lang else languages_here(flags.folders)
    rows = listing([_data(language, flags) for language in named])
    if flags.as_json:
        show_json(rows.document)
        return
    show(rows.table.text())
    if not flags.folders:
        notice("--data FOLDER counts the items of what is there")
