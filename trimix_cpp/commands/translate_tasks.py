"""What `translate` is to do: which file goes where, opened, with its journal and its aids."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..documents import FORMATS
from ..errors import TrimixError, UsageError
from ..prompts import language
from ..showing import notice
from .translate_checks import checking

if TYPE_CHECKING:
    from ..documents import Document, FormatOptions
    from ..translate import Aids, Checking, Redo, Task


def template_of(
    sources: tuple[Path, ...], output: Path | None, flags: dict[str, Any]
) -> str | None:
    """The template of outputs; None where one file goes into one. `--into` may hold it, or `-o`."""
    from ..translate import STREAM, is_template

    into = flags["into"] if flags["into"] and is_template(flags["into"]) else None
    named = str(output) if output is not None and is_template(str(output)) else None
    if into and output is not None:
        raise UsageError("-o and --into both say where the translation goes: leave one of them out")
    if into:
        flags["into"] = None  # it names no column
    template: str | None = into or named
    if template is None:
        if len(sources) > 1 or sources[0].is_dir() or _is_pattern(sources[0]):
            raise UsageError(
                "several files need a template of their outputs: --into 'out/{path}', or {folder}, "
                "{name}, {stem}, {ext}, {lang}"
            )
        return None
    if STREAM in sources:
        raise UsageError("- is one text: say where it goes with -o OUT")
    if flags["journal_path"]:
        raise UsageError("--journal is for one file; several have theirs beside their outputs")
    return template


def _is_pattern(path: Path) -> bool:
    return any(char in str(path) for char in "*?[") and not os.path.lexists(path)


def output_of(source: Path, output: Path | None, flags: dict[str, Any]) -> Path:
    """Where the translation goes; raises UsageError for what cannot be."""
    from ..documents import format_of
    from ..translate import STREAM

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


def journal_path(output: Path, wanted: Path | None, flags: dict[str, Any]) -> Path | None:
    """Where finished texts are kept; None where they are not."""
    from ..translate import STREAM, files

    if wanted == STREAM:
        raise UsageError("--journal names a file: - is for the texts")
    if wanted is not None or flags["merge"]:
        return wanted
    if shard := flags["shard"]:
        if not files.is_file(output):
            raise UsageError("--shard keeps its texts beside OUT: name a file with -o")
        return Path(shard.journal(output))
    return output.parent / f"{output.name}.journal" if files.is_file(output) else None


def refuse_existing(output: Path, journal: Path | None, flags: dict[str, Any]) -> None:
    """An output that is there is told before the work; a merge finds out whether it is its own."""
    from ..translate import files

    may_be = flags["force"] or flags["redo"] or flags["merge"] or (journal and journal.exists())
    if not may_be:
        files.refuse_existing(output)


def opened(source: Path, flags: dict[str, Any]) -> Document:
    """A file, opened, with the languages that are said somewhere."""
    from ..api import languages
    from ..documents import open_document
    from ..translate import files

    document = open_document(
        files.read(source), str(source), flags["format_"], format_options(flags)
    )
    for line in document.notices:
        notice(line)
    for flag, tag in (("--from", document.source), ("--to", document.target)):
        if tag is None:
            raise UsageError(f"{source}: names no language for {flag}; say {flag} CODE")
    languages(str(document.source), str(document.target))
    return document


def aids_for(documents: Sequence[Document], flags: dict[str, Any]) -> list[Aids]:
    """What helps with the texts of each document: memory, glossary, contexts."""
    from ..translate import aids_of

    return aids_of(
        documents,
        flags["memory"],
        flags["glossary"],
        own=not flags["no_memory"],
        context=flags["context"],
    )


def task_of(
    document: Document, output: Path, journal: Path | None, aids: Aids, flags: dict[str, Any]
) -> Task:
    """What is to be translated of a document, and how it is placed."""
    from ..translate import Placing, Task, lay_out

    checks = checking(flags, document.source, document.target)
    placing = Placing(checks, flags["on_fault"], flags["mark"])
    again = _redo(document, output, checks, flags) if flags["redo"] else None
    if again:
        document = again.document
    segments = again.around if again else document.segments
    layouts = lay_out(
        segments,
        cut=flags["cut"],
        labels=document.format.labels,
        aids=aids,
        target=language(str(document.target)).code,
    )
    if again:
        keys = {segment.key for segment in again.segments}
        layouts = [layout for layout in layouts if layout.segment.key in keys]
    return Task(document, output, journal, layouts, aids, placing, again, flags["shard"])


def _redo(document: Document, output: Path, checks: Checking, flags: dict[str, Any]) -> Redo:
    """What is translated again of an output: what a report names, or what is faulty in it."""
    from ..documents import open_document
    from ..translate import files, named_in, redo

    if not files.is_file(output) or not output.exists():
        raise UsageError(f"{output}: is not there; --redo translates again what is faulty in it")
    named = None
    if flags["redo"] != "faults":
        named = named_in(Path(flags["redo"]))
    elif flags["report_path"] and flags["report_path"].suffix == ".json":
        named = named_in(flags["report_path"]) if flags["report_path"].exists() else None
    options = replace(format_options(flags), source=document.source, target=document.target)
    old = open_document(files.read(output), str(output), flags["format_"], options)
    return redo(document, old, named, checks)


def tasks_of(
    named: tuple[Path, ...], template: str, flags: dict[str, Any]
) -> tuple[list[Task], int]:
    """A task for each file that can be translated, and how many cannot; those are told."""
    from ..translate import files, output_of, paired, sources

    for flag in ("from_", "to"):
        if flags[flag]:
            language(flags[flag])
    found, documents, failed = [], [], 0
    for source in sources(named, flags["format_"]):
        try:
            documents.append(opened(source.path, flags))
            found.append(source)
        except (TrimixError, OSError) as error:
            failed += 1
            tell_fault(source.path, error)
    outputs = [
        output_of(template, source, flags["to"] or str(document.target))
        for source, document in zip(found, documents, strict=True)
    ]
    kept, told = paired(found, outputs)
    for line in told:
        notice(line)
    tasks, aids = [], aids_for(documents, flags)
    for i in kept:
        path, output = found[i].path, outputs[i]
        journal = journal_path(output, None, flags)
        try:
            files.check_paths(
                path, output, journal, flags["report_path"], force=flags["force"], folders=True
            )
            refuse_existing(output, journal, flags)
            tasks.append(task_of(documents[i], output, journal, aids[i], flags))
        except (TrimixError, OSError) as error:
            failed += 1
            tell_fault(path, error)
    return tasks, failed


def tell_fault(path: Path, error: Exception) -> None:
    """Say what is wrong with one of several files."""
    text = str(error)
    if isinstance(error, OSError):
        text = f"{error.filename or path}: {error.strerror or error}"
    notice(text if str(path) in text else f"{path}: {text}")


def format_options(flags: dict[str, Any]) -> FormatOptions:
    """The options of formats."""
    from ..documents import FormatOptions

    names = ("paragraphs", "column", "into", "header", "field", "fuzzy", "encoding")
    for code in filter(None, (flags["to"], flags["from_"])):
        language(code)  # an unknown one is told before any file is read
    return FormatOptions(
        **{name: flags[name] for name in names}, target=flags["to"], source=flags["from_"]
    )
