"""Files of texts and their translations, opened as a memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..documents import (
    FORMATS,
    Document,
    FormatOptions,
    decode,
    first_row,
    format_of,
    open_document,
)
from ..errors import TrimixError, UsageError
from ..files import read_bytes
from ..prompts import Language, language
from .memory import Memory

_TABLES = ("tsv", "csv")


def add_files(memory: Memory, paths: Iterable[Path], source: Language, target: Language) -> None:
    """Add what these files hold to a memory, in their order.

    Raises:
        UsageError: a format cannot be told, or holds no translations.
        TrimixError: a file is not of its format, or nothing in it is translated.
        OSError: it cannot be read.
    """
    for path in paths:
        document = open_pairs(path, source, target)
        pairs = document.pairs or ()
        if not any(not pair.fuzzy and pair.translation.strip() for pair in pairs):
            raise TrimixError(f"{path}: nothing in it is translated")
        memory.add(pairs, labels=document.format.labels)


def open_pairs(path: Path, source: Language, target: Language) -> Document:
    """A file that holds texts with their translations.

    A table has two columns, the text and its translation; or more, if the first row names those of
    the two languages by their codes.

    Raises:
        UsageError: its format cannot be told, or holds one language only.
        TrimixError: it is not of its format, or of other languages.
        OSError: it cannot be read.
    """
    data, name = read_bytes(path), str(path)
    try:
        format = format_of(name)
    except UsageError:
        raise UsageError(
            f"{name}: its ending is none of a format that holds translations, such as .po or .tsv"
        ) from None
    options = FormatOptions(source=source.code, target=target.code)
    if format in _TABLES:
        text, _ = decode(data, name, FORMATS[format].encodings, source=source.code)
        options = _columns(first_row(text, name, format), name, source, target)
    document = open_document(data, name, format, options)
    if document.pairs is None:
        raise UsageError(f"{name}: a file of the format {format} holds no translations")
    for told in document.notices:
        raise TrimixError(f"{told.rpartition(': ')[0]}; it says nothing of these languages")
    return document


def _columns(row: list[str], name: str, source: Language, target: Language) -> FormatOptions:
    codes = [_code(cell) for cell in row]
    header = source.code in codes and target.code in codes
    if header:
        columns = codes.index(source.code), codes.index(target.code)
    elif len(row) == 2 or not row:
        columns = 0, 1
    else:
        raise TrimixError(
            f"{name}: line 1: has {len(row)} columns; leave the text and its translation, or name "
            f"theirs in a first row by the languages, {_short(source)} and {_short(target)}"
        )
    return FormatOptions(
        column=str(columns[0] + 1), into=str(columns[1] + 1), header=header,
        source=source.code, target=target.code,
    )  # fmt: skip


def _code(cell: str) -> str | None:
    try:
        return language(cell.strip()).code
    except UsageError:
        return None


def _short(language: Language) -> str:
    return next(iter(language.aliases), language.code)
