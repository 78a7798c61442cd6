"""Reads data sets as their publishers store them: JSON, JSON lines, tab-separated values."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import TrimixError
from ..files import decode_utf8, parse_json, read_text

_MOST_BYTES = 1 << 30


class MissingDataError(TrimixError):
    """The items of a task are not in the folders that were named."""


def missing(folders: Sequence[Path], file: str, task: str, published: str) -> MissingDataError:
    """The error for a `file` of items that is in none of the folders."""
    where = ", ".join(map(str, folders)) or "--data"
    source = f"; it is published at {published}" if published else ""
    return MissingDataError(f"{where}: no {file}, which {task} needs{source}")


def first_file(folders: Sequence[Path], names: Iterable[str]) -> Path | None:
    """The first of the relative `names` that is a file in one of the `folders`."""
    found = (folder / name for name in names for folder in folders)
    return next((path for path in found if path.is_file()), None)


def read_data(path: Path) -> str:
    """The text of a file, `.gz` unpacked.

    Raises:
        TrimixError: it cannot be read, is damaged, or is not UTF-8.
    """
    if path.suffix != ".gz":
        return read_text(path)
    try:
        with gzip.open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "is damaged"
        raise TrimixError(f"{path}: {reason}") from None
    if len(data) > _MOST_BYTES:
        raise TrimixError(f"{path}: unpacks to more than a GiB, which is too much")
    return decode_utf8(data, str(path))


def read_json_list(path: Path) -> list[dict[str, Any]]:
    """A JSON list of objects, or JSON lines.

    Raises:
        TrimixError: it is neither, or empty.
    """
    text = read_data(path)
    if path.suffix == ".jsonl":
        lines = [(i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
        values = [_json(line, f"{path}: line {i}") for i, line in lines]
    else:
        values = _json(text, str(path))
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise TrimixError(f"{path}: is no list of JSON objects: is it another version of the data?")
    if not values:
        raise TrimixError(f"{path}: there is nothing in it")
    return values


def _json(text: str, where: str) -> Any:
    value = parse_json(text, where)
    try:  # a lone surrogate cannot be tokenized, nor written anywhere
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise TrimixError(f"{where}: has half of a character (a lone \\ud800 escape)") from None
    return value


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a file of tab-separated values whose first line names at least `columns`.

    Values are taken as they are: these files quote nothing.

    Raises:
        TrimixError: a column is missing, a row has another number of them, or there is no row.
    """
    lines = [line.removesuffix("\r") for line in read_data(path).split("\n")]
    head = lines[0].split("\t")
    missing = [name for name in columns if name not in head]
    if missing:
        raise TrimixError(
            f"{path}: has no column {missing[0]!r} (it has {', '.join(head)}): is it another "
            "version of the data?"
        )
    rows = []
    for i, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        values = line.split("\t")
        if len(values) != len(head):
            raise TrimixError(f"{path}: line {i} has {len(values)} columns instead of {len(head)}")
        rows.append(dict(zip(head, values, strict=True)))
    if not rows:
        raise TrimixError(f"{path}: there is nothing in it")
    return rows
