"""`trimix-cpp translate`: a file, segment by segment, resumable."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..documents import CUT, FORMATS
from ..errors import TrimixError, UsageError
from ..files import read_text
from ..prompts import language
from ..runtime import LIMITS, DecodingFlags
from ..showing import count, notice, show_json
from .clusters import address_of, cluster_option
from .options import decoding_options, whole
from .translate_checks import check, check_options, checking, list_checks
from .translate_clusters import Clustered
from .translate_shards import merge_files, shard_of, shard_options

if TYPE_CHECKING:
    from ..runtime import Settings
    from ..translate import Aids, Recipe, Summary, Task, Translator, Unit


from .translate_tasks import (
    aids_for,
    format_options,
    journal_path,
    opened,
    output_of,
    refuse_existing,
    task_of,
    tasks_of,
    tell_fault,
    template_of,
)


@click.command("translate", short_help="Translate a file, resumably.")
@click.argument(
    "sources", metavar="IN...", type=click.Path(path_type=Path), nargs=-1, required=True
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="The translated file; - is stdout.  [default: - if IN is -]",
)
@click.option(
    "--from", "from_", metavar="CODE", help="Language of IN (eng).  [default: what IN says]"
)
@click.option("--to", metavar="CODE", help="Language of OUT (uig).  [default: what IN says]")
@click.option(
    "--format",
    "format_",
    type=click.Choice(tuple(FORMATS)),
    help="Of IN and OUT.  [default: by the name's extension; text for -]",
)
@click.option(
    "--encoding",
    metavar="NAME[:NAME]",
    help="Of IN, and after a colon of OUT.  [default: UTF-8, or what IN says; as IN]",
)
@click.option("--paragraphs", is_flag=True, help="text: blank lines, not line breaks, part it.")
@click.option("--column", metavar="NAME|N", help="tsv, csv: the column of the text.")
@click.option("--field", metavar="NAME", help="jsonl: the field of the text.  [default: text]")
@click.option(
    "--into",
    metavar="NAME|N|TEMPLATE",
    help="tsv, csv, jsonl: column or field of the translation.  [default: translation]  "
    "With {path} or its like: where the translations of several files go.",
)
@click.option(
    "--header/--no-header",
    default=None,
    help="tsv, csv: the first row names the columns.  [default: if --column is a name]",
)
@click.option(
    "--fuzzy",
    is_flag=True,
    help="po, xliff, ts, xcstrings: translate anew what is marked to be looked at.",
)
@click.option(
    "--shots",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Exemplars, a TSV file of a text and its translation a line; the first 5 count.",
)
@click.option(
    "--memory",
    "memory",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Translations to take over and to learn from; may be given several times.",
)
@click.option("--no-memory", is_flag=True, help="Do not look at what IN holds translated already.")
@click.option(
    "--glossary",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Terms and their translations, to be used: TSV, CSV, TBX, or as --memory.",
)
@click.option(
    "--context",
    is_flag=True,
    help="Tell the models where a text stands: its context, comments, the texts around it.",
)
@click.option(
    "--score-shots",
    is_flag=True,
    help="--weights ppl: score the exemplars with every text; much slower.",
)
@click.option(
    "--cut",
    type=whole(0),
    default=CUT,
    show_default=True,
    metavar="N",
    help="Cut lines of more than N characters at sentence ends; 0: never.",
)
@click.option("--no-retry", is_flag=True, help="No second attempt where a placeholder is lost.")
@click.option(
    "-np",
    "--parallel",
    type=click.IntRange(0, LIMITS["n_parallel"][1]),
    default=0,
    metavar="N",
    help="Segments in flight.  [default: by cores and memory]",
)
@click.option("--force", is_flag=True, help="Overwrite OUT.")
@click.option(
    "--journal",
    "journal_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where finished segments are kept on the way.  [default: OUT.journal]",
)
@click.option("--keep-journal", is_flag=True, help="Do not remove the journal at the end.")
@click.option("--restart", is_flag=True, help="Empty the journal and begin anew.")
@click.option(
    "--report",
    "report_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a report: JSON, or all segments as FILE.tsv or FILE.html; - is stdout.",
)
@click.option("--report-all", is_flag=True, help="All segments in a JSON report too.")
@shard_options
@cluster_option
@check_options
@click.option("-q", "--quiet", is_flag=True, help="No progress, and at the end warnings only.")
@decoding_options(control="fused", over_bytes=True)
def command(
    sources: tuple[Path, ...], output: Path | None, decoding: DecodingFlags, **flags: Any
) -> int:
    """Translate the file IN, segment by segment, into OUT.

    Text (a line is a segment), tables, catalogues, subtitles, Markdown and other formats:
    docs/translate.md tells what each keeps. Finished segments go to OUT.journal at once: after an
    interruption of any kind the same command goes on from there. OUT appears when it is complete.

    Several files, a folder or a pattern in quotes go with --into 'out/{path}', or {folder}, {name},
    {stem}, {ext}, {lang}: each has a journal, the models are loaded once, and a file that fails is
    told and leaves the others alone.

    -c and -n fit the text if left out: an answer has 200 tokens, a long one more. --weights preset
    takes the preset translation.FROM-TO if the trio has it. The models are those of the language
    that is not English if none are named.
    """
    from ..translate import files

    began = time.perf_counter()
    if flags["no_check"] == ("list",):
        return list_checks()
    checking(flags, None, None)
    flags["shard"] = shard_of(flags)
    if flags["check"]:
        return check(sources, flags, format_options(flags))
    for flag, name in (("original", "--source"), ("as_json", "--json")):
        if flags[flag]:
            raise UsageError(f"{name} goes with --check")
    template = template_of(sources[:1] if flags["merge"] else sources, output, flags)
    journals: tuple[Path, ...] = ()
    if template is None:
        source, output, journals = sources[0], output_of(sources[0], output, flags), sources[1:]
        journal = journal_path(output, flags["journal_path"], flags)
        files.check_paths(source, output, journal, flags["report_path"], force=flags["force"])
        refuse_existing(output, journal, flags)
        document = opened(source, flags)
        (aids,) = aids_for([document], flags)
        tasks, failed = [task_of(document, output, journal, aids, flags)], 0
    else:
        tasks, failed = tasks_of(sources, template, flags)
    alone = template is None
    if flags["merge"]:
        failed += _merge(tasks, journals, decoding, flags, began, alone)
    else:
        failed += _translate(tasks, decoding, flags, began, alone)
    if failed:
        raise TrimixError(
            f"{failed} of {count(len(tasks) + failed, 'file')} could not be translated: "
            f"what is wrong with them is said above"
        )
    return 0


def _translate(
    tasks: Sequence[Task], decoding: DecodingFlags, flags: dict[str, Any], began: float, alone: bool
) -> int:
    """Translate the files, those of one pair of languages with one trio; how many failed."""
    from ..translate import Rules, Run, settings_of, units_of

    rules = Rules(
        **{name: flags[name] for name in ("force", "restart", "keep_journal", "quiet")},
        keep_seed=decoding.sampling.seed == -1,
    )

    address = address_of(flags["cluster"], decoding.run.rpc)
    failed, reports = 0, []
    pairs = dict.fromkeys((task.document.source, task.document.target) for task in tasks)
    for source, target in pairs:
        group = [
            task
            for task in tasks
            if (task.document.source, task.document.target) == (source, target)
        ]
        settings, recipe = _settings(decoding, str(source), str(target), group[0].aids, flags)
        if flags["shard"] and decoding.sampling.seed == -1 and recipe.sampler.temperature:
            raise UsageError("--shard with --temp: all shards need one seed, say -s N")
        known = settings_of(
            recipe,
            settings.spec,
            settings.weighting.roles,
            settings.options,
            str(decoding.weights.weights),
        )
        units = units_of(layout for task in group for layout in task.layouts)
        fault = partial(_fault, alone)
        if address:
            start = Clustered(address, settings, units, flags["parallel"], known)
            run = Run(group, known, recipe, start, rules, fault, start.maker)
        else:
            here = partial(_started, settings, units, flags["parallel"])
            run = Run(group, known, recipe, here, rules, fault)
        run.go()
        failed += len(run.failed)
        seconds = time.perf_counter() - began
        whole = [task for task in group if task.done and not task.shard]
        reports += [task.summary(recipe, seconds) for task in whole]
    _tell_all(reports, tasks, flags, began, alone)
    return failed


def _merge(
    tasks: Sequence[Task],
    journals: Sequence[Path],
    decoding: DecodingFlags,
    flags: dict[str, Any],
    began: float,
    alone: bool,
) -> int:
    """Write the files from the journals of their shards; how many failed."""
    shots, fault = _shots(flags["shots"]), partial(_fault, alone)
    failed, reports = merge_files(tasks, journals, decoding, shots, flags["force"], began, fault)
    _tell_all(reports, tasks, flags, began, alone)
    return failed


def _fault(alone: bool, task: Task, error: Exception) -> None:
    if alone:
        raise error
    tell_fault(task.output, error)


def _tell_all(
    reports: Sequence[Summary],
    tasks: Sequence[Task],
    flags: dict[str, Any],
    began: float,
    alone: bool,
) -> None:
    from ..translate import total

    if not reports:
        return
    texts = len({unit for task in tasks if task.done for unit in task.outcomes})
    told = reports[0] if alone else total(reports, texts, time.perf_counter() - began)
    source, target = tasks[0].document.source, tasks[0].document.target
    _tell(told, str(source), str(target), flags)


def _settings(
    decoding: DecodingFlags, from_: str, to: str, aids: Aids, flags: dict[str, Any]
) -> tuple[Settings, Recipe]:
    """What the flags mean: for the models, and for the texts."""
    from ..api import languages, translation_task

    source, target = languages(from_, to)
    if not decoding.models.named:
        lang = to if target.code != "eng" else from_
        decoding = replace(decoding, models=replace(decoding.models, lang=lang))
    return translation_task(
        decoding,
        decoding.resolve(),
        source,
        target,
        shots=_shots(flags["shots"]),
        aids=aids,
        retry=not flags["no_retry"],
        score_shots=flags["score_shots"],
        no_check=flags["no_check"],
    )


def _shots(path: Path | None) -> tuple[tuple[str, str], ...]:
    from ..translate import MAX_SHOTS, read_shots

    if path is None:
        return ()
    shots = read_shots(read_text(path), str(path))
    if len(shots) > MAX_SHOTS:
        notice(f"{path}: has {len(shots)} exemplars; the first {MAX_SHOTS} are taken")
    return tuple(shots[:MAX_SHOTS])


def _started(
    settings: Settings, units: Sequence[Unit], parallel: int, recipe: Recipe
) -> AbstractContextManager[Translator]:
    """The models, loaded with as many places and as long contexts as the texts need."""
    from ..translate import Loading

    return Loading.of(settings, recipe, units, parallel).open()


def _tell(report: Summary, source: str, target: str, flags: dict[str, Any]) -> None:
    from ..translate import files, write_report

    for line in report.warnings() if flags["quiet"] else report.lines():
        notice(line)
    if flags["report_path"] == files.STREAM:
        show_json(report.document(flags["report_all"]))
    elif flags["report_path"]:
        write_report(
            flags["report_path"], report, language(source), language(target), flags["report_all"]
        )
