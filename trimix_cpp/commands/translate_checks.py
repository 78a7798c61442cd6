"""`trimix-cpp translate --check`: what is wrong with translations that exist, without models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import UsageError
from ..showing import count, notice, one_line, show, show_json
from .options import Real, whole

if TYPE_CHECKING:
    from ..documents import Document, FormatOptions
    from ..translate import Checking, Existing

_Command = TypeVar("_Command", bound=Callable[..., Any])
_EXCERPT = 60


def check_options(command: _Command) -> _Command:
    """Options of checks, of a translation that is made and of one that is there."""
    for option in reversed(
        [
            click.option(
                "--check",
                is_flag=True,
                help="Translate nothing: check the translations in IN; exit code 1 if any is "
                "faulty.",
            ),
            click.option(
                "--source",
                "original",
                type=click.Path(path_type=Path),
                metavar="FILE",
                help="--check: what IN was translated from, if it holds one language.",
            ),
            click.option("--json", "as_json", is_flag=True, help="--check: one JSON document."),
            click.option(
                "--no-check",
                multiple=True,
                metavar="NAME[,NAME]",
                help="Checks that are switched off, such as ends,numbers; `list` names all.",
            ),
            click.option(
                "--on-fault",
                type=click.Choice(["mark", "keep", "drop"]),
                default="mark",
                show_default=True,
                help="A faulty translation is put in, the source stands for it, or nothing does.",
            ),
            click.option(
                "--redo",
                metavar="faults|REPORT",
                help="Translate again what is faulty in OUT, or what a JSON report names.",
            ),
            click.option(
                "--mark",
                type=click.Choice(["all", "faults", "none"]),
                default="faults",
                show_default=True,
                help="Which translations the file itself marks for review, if its format can.",
            ),
            click.option(
                "--max-length",
                type=whole(0),
                default=0,
                metavar="N",
                help="Most characters of a translation, of a line in subtitles.  [default: any]",
            ),
            click.option(
                "--reading-speed",
                type=Real(0, 1000),
                default=20,
                show_default=True,
                metavar="N",
                help="srt, vtt: characters a second that can be read; 0: any.",
            ),
        ]
    ):
        command = option(command)
    return command


def checking(flags: dict[str, Any], source: str | None, target: str | None) -> Checking:
    """What the flags say of checks; raises UsageError for an unknown one."""
    from ..prompts import language
    from ..translate import Checking, known_checks

    return Checking(
        language(source) if source else None,
        language(target) if target else None,
        known_checks(flags["no_check"]),
        flags["max_length"],
        flags["reading_speed"],
    )


def list_checks() -> int:
    """Show the names of all checks."""
    from ..showing import Table
    from ..translate import CHECKS

    rows = [(check.name, check.about) for check in CHECKS.values()]
    show(Table(("CHECK", "LOOKS AT"), rows).text())
    return 0


def check(paths: Sequence[Path], flags: dict[str, Any], options: FormatOptions) -> int:
    """Check the translations in files; 1 if one is faulty."""
    if flags["original"] and len(paths) != 1:
        raise UsageError("--source goes with one file")
    files = [_checked(path, flags, options) for path in paths]
    faulty = [item for _, found in files for item in found if item.faults]
    pairs, missing, fuzzy = (
        sum(getattr(existing, name) for existing, _ in files)
        for name in ("n_pairs", "missing", "fuzzy")
    )
    if flags["as_json"]:
        faults = [
            {
                "where": item.pair.segment.where,
                "check": fault.check,
                "reason": fault.reason,
                "source": item.pair.segment.text,
                "translation": item.pair.translation,
            }
            for item in faulty
            for fault in item.faults
        ]
        show_json(
            {"ok": not faulty, "checked": pairs, "untranslated": missing, "fuzzy": fuzzy,
             "faults": faults}
        )  # fmt: skip
        return 1 if faulty else 0
    for item in faulty:
        for fault in item.faults:
            excerpt = one_line(item.pair.translation)[:_EXCERPT]
            show(f"{item.pair.segment.where}: {fault.check}: {fault.reason}: {excerpt}")
    if not flags["quiet"]:
        parts = [f"{count(pairs, 'translation')} checked, {len(faulty)} faulty"]
        parts += [f"{missing} not translated"] if missing else []
        parts += [f"{fuzzy} fuzzy, left out"] if fuzzy else []
        notice(", ".join(parts))
    return 1 if faulty else 0


def _checked(path: Path, flags: dict[str, Any], options: FormatOptions) -> tuple[Existing, Any]:
    from ..translate import existing_in

    document = _document(path, flags, options)
    original = _document(flags["original"], flags, options) if flags["original"] else None
    there = existing_in(document, original, flags["fuzzy"])
    source = document.source or (original.source if original else None)
    made = checking(flags, source, document.target)
    if flags["glossary"]:
        if made.source is None or made.target is None:
            raise UsageError(f"{path}: --glossary needs both languages: say --from and --to")
        from ..translate import read_glossary

        terms = read_glossary(flags["glossary"], made.source, made.target)
        made = replace(made, glossary=terms)
    return there, there.checked(made)


def _document(path: Path, flags: dict[str, Any], options: FormatOptions) -> Document:
    from ..documents import open_document
    from ..translate import files

    return open_document(files.read(path), str(path), flags["format_"], options)
