"""`trimix-cpp translate`: a file, segment by segment, resumable."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import StoppedError, UsageError
from ..files import read_text, write_json
from ..runtime import LIMITS, DecodingFlags
from ..showing import count, notice, show_json
from ..translate import CUT, FORMATS
from .options import decoding_options, whole

if TYPE_CHECKING:
    from ..runtime import Settings
    from ..translate import (
        Document,
        FormatOptions,
        Journal,
        Layout,
        Outcome,
        Recipe,
        Summary,
        Translator,
        Unit,
    )


@click.command("translate", short_help="Translate a file, resumably.")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
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
    metavar="NAME|N",
    help="tsv, csv, jsonl: column or field of the translation.  [default: translation]",
)
@click.option(
    "--header/--no-header",
    default=None,
    help="tsv, csv: the first row names the columns.  [default: if --column is a name]",
)
@click.option("--fuzzy", is_flag=True, help="po: translate fuzzy entries anew.")
@click.option(
    "--shots",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Exemplars, a TSV file of a text and its translation a line; the first 5 count.",
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
    help="Write a JSON report; - is stdout.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress, and at the end warnings only.")
@decoding_options(control="fused")
def command(source: Path, output: Path | None, decoding: DecodingFlags, **flags: Any) -> None:
    """Translate the file IN, segment by segment, into OUT.

    Text (a line is a segment), TSV, CSV, JSONL, gettext PO, SubRip and WebVTT subtitles, Markdown;
    docs/translate.md tells what each keeps. Finished segments go to OUT.journal at once: after an
    interruption of any kind the same command goes on from there. OUT appears when it is complete.

    -c and -n fit the text if left out: an answer has 200 tokens, a long one more. --weights preset
    takes the preset translation.FROM-TO if the trio has it. The models are those of the language
    that is not English if none are named.
    """
    from ..translate import files

    began = time.perf_counter()
    output = _output(source, output, flags)
    journal_path = _journal_path(output, flags["journal_path"])
    files.check_paths(source, output, journal_path, flags["report_path"], force=flags["force"])
    with files.sole_writer(output, journal_path):
        if not flags["force"] and not (journal_path and journal_path.exists()):
            files.refuse_existing(output)
        _translate(source, output, journal_path, decoding, flags, began)


def _output(source: Path, output: Path | None, flags: dict[str, Any]) -> Path:
    """Where the translation goes; raises UsageError for what cannot be."""
    from ..translate import STREAM, format_of

    if output is None and source != STREAM:
        raise UsageError("say where the translation goes: -o OUT, or -o - for standard output")
    output = output or STREAM
    if STREAM in (source, output):
        known = flags["format_"] or format_of(str(source))
        if FORMATS[known].binary:
            raise UsageError(f"{known} is no text: it needs files, not -")
    if flags["report_path"] == STREAM == output:
        raise UsageError("translation and report cannot both go to standard output")
    return output


def _journal_path(output: Path, wanted: Path | None) -> Path | None:
    from ..translate import STREAM, files

    if wanted == STREAM:
        raise UsageError("--journal names a file: - is for the texts")
    if wanted is not None:
        return wanted
    return output.parent / f"{output.name}.journal" if files.is_file(output) else None


def _translate(
    source: Path,
    output: Path,
    journal_path: Path | None,
    decoding: DecodingFlags,
    flags: dict[str, Any],
    began: float,
) -> None:
    from ..translate import (
        files,
        known_outcomes,
        lay_out,
        open_document,
        results_of,
        summarize,
        units_of,
    )

    document = open_document(
        files.read(source), str(source), flags["format_"], _format_options(flags)
    )
    for line in document.notices:
        notice(line)
    settings, recipe = _settings(decoding, document, flags)
    layouts = lay_out(document.segments, cut=flags["cut"], labels=document.format.labels)
    n_units = len(units_of(layouts))
    with _journal(journal_path, settings, recipe, decoding, flags) as (journal, recipe):
        outcomes = known_outcomes(units_of(layouts), journal)
        resumed = len(outcomes)
        finished = resumed == n_units
        if finished and files.holds(output, document.render(results_of(layouts, outcomes))):
            # The last run was cut short between the output's appearance and the journal's end.
            notice(f"{output}: is complete already")
        else:
            if not flags["force"]:
                files.refuse_existing(output)
            if resumed and not flags["quiet"]:
                notice(f"going on: {resumed:,} of {count(n_units, 'text')} are in {journal_path}")
            _finish(layouts, outcomes, journal, settings, recipe, flags)
            data = document.render(results_of(layouts, outcomes))
            if not flags["force"]:  # it may have come up meanwhile
                files.refuse_existing(output)
            files.write(output, data)
        if journal and not flags["keep_journal"]:
            journal.remove()
    report = summarize(
        layouts, results_of(layouts, outcomes), outcomes,
        resumed=resumed, n_shots=len(recipe.shots), seconds=time.perf_counter() - began,
    )  # fmt: skip
    _tell(report, flags)


@contextmanager
def _journal(
    path: Path | None,
    settings: Settings,
    recipe: Recipe,
    decoding: DecodingFlags,
    flags: dict[str, Any],
) -> Iterator[tuple[Journal | None, Recipe]]:
    """The journal, if there is to be one, and the recipe with the seed that it goes on with."""
    from ..translate import Journal, settings_of, with_seed

    if path is None:
        yield None, recipe
        return
    roles = settings.weighting.roles
    known = settings_of(
        recipe, settings.spec, roles, settings.options, str(decoding.weights.weights)
    )
    journal = Journal(
        path,
        known,
        seed=recipe.sampler.seed,
        keep_seed=decoding.sampling.seed == -1,
        restart=flags["restart"],
    )
    with journal:
        if journal.damaged:
            lines = "1 line is" if journal.damaged == 1 else f"{journal.damaged:,} lines are"
            notice(f"{path}: {lines} damaged; what was in them is translated again")
        yield journal, with_seed(recipe, journal.seed)


def _finish(
    layouts: list[Layout],
    outcomes: dict[Unit, Outcome],
    journal: Journal | None,
    settings: Settings,
    recipe: Recipe,
    flags: dict[str, Any],
) -> None:
    from ..translate import finish, units_of

    def start() -> AbstractContextManager[Translator]:
        return _started(settings, recipe, layouts, flags["parallel"])

    try:
        finish(layouts, outcomes, journal, start, quiet=flags["quiet"])
    except KeyboardInterrupt:
        total = len(units_of(layouts))
        where = f"in {journal.path}: the same command goes on there" if journal else "lost"
        raise StoppedError(
            f"interrupted; {len(outcomes):,} of {count(total, 'text')} are {where}"
        ) from None


def _format_options(flags: dict[str, Any]) -> FormatOptions:
    from ..prompts import language
    from ..translate import FormatOptions

    names = ("paragraphs", "column", "into", "header", "field", "fuzzy", "encoding")
    for code in filter(None, (flags["to"], flags["from_"])):
        language(code)  # an unknown one is told before any file is read
    return FormatOptions(
        **{name: flags[name] for name in names}, target=flags["to"], source=flags["from_"]
    )


def _settings(
    decoding: DecodingFlags, document: Document, flags: dict[str, Any]
) -> tuple[Settings, Recipe]:
    """What the flags mean: for the models, and for the texts."""
    from ..api import languages, translation_task

    for flag, tag in (("--from", document.source), ("--to", document.target)):
        if tag is None:
            raise UsageError(f"{document.name}: names no language for {flag}; say {flag} CODE")
    source, target = languages(str(document.source), str(document.target))
    if not decoding.models.named:
        lang = str(document.target if target.code != "eng" else document.source)
        decoding = replace(decoding, models=replace(decoding.models, lang=lang))
    return translation_task(
        decoding,
        decoding.resolve(),
        source,
        target,
        shots=_shots(flags["shots"]),
        retry=not flags["no_retry"],
        score_shots=flags["score_shots"],
    )


def _shots(path: Path | None) -> tuple[tuple[str, str], ...]:
    from ..translate import MAX_SHOTS, read_shots

    if path is None:
        return ()
    shots = read_shots(read_text(path), str(path))
    if len(shots) > MAX_SHOTS:
        notice(f"{path}: has {len(shots)} exemplars; the first {MAX_SHOTS} are taken")
    return tuple(shots[:MAX_SHOTS])


@contextmanager
def _started(
    settings: Settings, recipe: Recipe, layouts: list[Layout], parallel: int
) -> Iterator[Translator]:
    """The models, loaded with as many places and as long contexts as the texts need."""
    from ..decoding import Trio
    from ..translate import Machine, Translator, units_of

    units = units_of(layouts)
    roles = settings.weighting.roles
    machine = Machine(settings.spec, roles, settings.options)
    n_ctx = machine.context_length(recipe, units)
    parallel = parallel or machine.parallel(n_ctx, len(units))
    places = machine.places(parallel)
    options = replace(
        settings.options,
        n_ctx=n_ctx,
        n_parallel=places,
        flash_attn=machine.flash_attn(n_ctx, places),
    )
    with Trio(settings.spec, roles, options) as trio:
        yield Translator(trio, recipe, settings.speculator)


def _tell(report: Summary, flags: dict[str, Any]) -> None:
    from ..translate import files

    for line in report.warnings() if flags["quiet"] else report.lines():
        notice(line)
    if flags["report_path"] == files.STREAM:
        show_json(report.document())
    elif flags["report_path"]:
        write_json(report.document(), flags["report_path"])
