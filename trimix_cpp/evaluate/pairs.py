"""Pairs of sentences in tab-separated files: `<xx>-<yy>/{train,dev,test}.tsv[.gz]`.

The first line names the columns: `id` and the two languages by their ISO 639-1 codes. It is the
form of the software strings that the bundled trio is trained and measured on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..errors import TrimixError
from ..prompts import Language, language
from ..prompts.paper import translation_question
from .files import first_file, missing, read_table
from .tasks import Item, Record, Source, Task


def task_names(target: Language, folders: Sequence[Path]) -> list[str]:
    """Both directions, where a file of pairs with English lies in one of the folders."""
    if target.code == "eng" or _find(target, folders, "*") is None:
        return []
    return [f"pairs.{target.code}-eng", f"pairs.eng-{target.code}"]


def pairs_task(name: str, target: Language) -> Task:
    """The task of a direction, `pairs.<from>-<to>`."""
    direction = name.partition(".")[2]
    return Task(
        name, "text", "chrF++", "LRL-G" if direction.endswith(f"-{target.code}") else "ENG-G",
        shots=5, max_tokens=200, preset=f"translation.{direction}",
    )  # fmt: skip


def _short(side: Language) -> str:
    return next((code for code in side.aliases if len(code) == 2), side.code)


def _find(target: Language, folders: Sequence[Path], split: str) -> Path | None:
    name = f"en-{_short(target)}"
    if split == "*":
        splits = [f"{name}/{part}.tsv{end}" for part in ("test", "dev") for end in ("", ".gz")]
    else:
        splits = [f"{name}/{split}.tsv{end}" for end in ("", ".gz")]
    return first_file(folders, splits)


def open_pairs(name: str, target: Language, folders: Sequence[Path], split: str) -> Source:
    """The pairs in the direction that `name`, one of `task_names`, says.

    Raises:
        TrimixError: a file is missing or not as it must be.
    """
    task = pairs_task(name, target)
    source, goal = (language(part) for part in name.partition(".")[2].split("-"))
    found = [_find(target, folders, part) for part in (split, "train")]
    if found[0] is None:
        raise missing(folders, f"en-{_short(target)}/{split}.tsv", name, "")
    if found[1] is None:
        raise TrimixError(f"{found[0].parent}: no train.tsv, which the exemplars of {name} need")
    keys = _short(source), _short(goal)

    item = partial(_pair, source, goal)
    records, exemplars = (_rows(path, keys) for path in found if path)
    return Source(task, str(found[0]), records, exemplars, item)


def _pair(source: Language, goal: Language, record: Record, cut: int | None) -> Item:
    text, right = record[_short(source)], record[_short(goal)]
    return Item(record["id"], translation_question(text, source, goal), "", right, right)


def _rows(path: Path, keys: tuple[str, str]) -> list[Record]:
    rows = read_table(path, ("id", *keys))
    for i, row in enumerate(rows, 2):
        if not all(row[key].strip() for key in keys):
            raise TrimixError(f"{path}: line {i} has an empty side")
    if len({row["id"] for row in rows}) < len(rows):
        raise TrimixError(f"{path}: two lines have one id")
    return list(rows)
