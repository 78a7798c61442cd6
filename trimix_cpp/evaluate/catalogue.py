"""Which tasks there are for a language in some folders, and the ones that `--tasks` names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import TrimixError, UsageError
from ..prompts import Language, known_languages
from ..prompts.paper import Instructions
from ..showing import Table
from . import flores, milic, pairs
from .files import MissingDataError
from .tasks import Source, Task


@dataclass(frozen=True)
class DataFolders:
    """Where the data lie, and which part of them is asked for.

    Attributes:
        folders: of `--data`; the first that has a file gives it.
        language: whose tasks.
        split: "test" or "dev".
        train: MiLiC-Eval's training set that gives exemplars, 1 to 3.
        instructions: language of the prompts.
    """

    folders: Sequence[Path]
    language: Language
    split: str = "test"
    train: int = 1
    instructions: Instructions = "en"

    def names(self) -> list[str]:
        """Every task that the language has, whether its files are here or not."""
        names = milic.task_names(self.language, self.instructions)
        if flores.belebele_codes(self.language):
            names.append("belebele")
        if self.instructions == "en":  # their labels and sentences are paired with English
            if flores.sib_codes(self.language, self.folders):
                names.append("sib200")
            names += pairs.task_names(self.language, self.folders)
        return names

    def open(self, name: str) -> Source:
        """The records of a task, by its full name.

        Raises:
            UsageError: there is no such task, or the language lacks it.
            TrimixError: a file is missing or not as it must be.
        """
        if name == "belebele":
            if not flores.belebele_codes(self.language):
                known = flores.BELEBELE_CODES
                raise flores.lacking("Belebele", self.language, known)
            return flores.open_belebele(self.language, self.folders)
        if name == "sib200":
            return flores.open_sib200(self.language, self.folders, self.split)
        if name.startswith("pairs."):
            return pairs.open_pairs(name, self.language, self.folders, self.split)
        return milic.open_task(
            name,
            self.language,
            self.folders,
            split=self.split,
            train=self.train,
            instructions=self.instructions,
        )

    def wanted(self, names: Sequence[str]) -> list[Source]:
        """The tasks that `--tasks` names: "all" that are here, "paper" for Table 2's, or names.

        A name without its direction means both directions.

        Raises:
            UsageError: there is no such task, or the language lacks it.
            TrimixError: a file is missing or not as it must be; none is here.
        """
        opened: dict[str, Source] = {}
        for name in names:
            for full in self._expanded(name):
                if full not in opened:
                    opened[full] = self.open(full)
        return list(opened.values())

    def _expanded(self, name: str) -> list[str]:
        known = self.names()
        if name == "all":
            here = [task for task in known if self._is_here(task)]
            if not here:
                where = ", ".join(map(str, self.folders))
                raise TrimixError(
                    f"{where}: no data of a task in {self.language.name} ({self.language.code}); "
                    "--list says what belongs where"
                )
            return here
        if name == "paper":
            if self.language.code not in milic.CODES:
                raise flores.lacking("MiLiC-Eval", self.language, list(milic.CODES))
            return [full for part in milic.PAPER for full in self._expanded(part)]
        found = [task for task in known if task == name or task.partition(".")[0] == name]
        if found or name in ("belebele", "sib200"):
            return found or [name]
        raise self._unknown(name, known)

    def _unknown(self, name: str, known: Sequence[str]) -> UsageError:
        if name.partition(".")[0] in milic.STEMS:
            return flores.lacking(f"MiLiC-Eval's {name}", self.language, milic.having(name))
        close = difflib.get_close_matches(name, [*known, "all", "paper"], n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(known)}"
        return UsageError(f"unknown task {name!r}; {hint}")

    def here(self, split: str) -> bool:
        """Whether a split of a task in this language is in the folders."""
        return any(replace(self, split=split)._is_here(name) for name in self.names())

    def rows(self) -> list[dict[str, Any]]:
        """A row of the listing for each task of the language."""
        rows = []
        for name in self.names():
            task = self.task(name)
            row: dict[str, Any] = {
                "language": self.language.code, "task": name, "exemplars": task.shots,
                "metric": task.metric, "column": task.column, "items": None,
                "where": task.published,
            }  # fmt: skip
            for split in dict.fromkeys((self.split, *milic.SPLITS)):
                try:
                    source = replace(self, split=split).open(name)
                except MissingDataError:
                    continue
                except TrimixError as error:
                    row["where"] = str(error)
                    break
                more = "" if split == self.split else f" (--split {split})"
                row |= {"items": len(source.records), "where": source.path + more}
                break
            rows.append(row)
        return rows

    def task(self, name: str) -> Task:
        """The task of this name, without its data."""
        if name == "belebele":
            return flores.BELEBELE
        if name == "sib200":
            return flores.SIB200
        if name.startswith("pairs."):
            return pairs.pairs_task(name, self.language)
        return milic.milic_task(name, self.language)

    def _is_here(self, name: str) -> bool:
        try:
            self.open(name)
        except MissingDataError:  # a file that is there and broken is another matter
            return False
        return True


@dataclass(frozen=True)
class Listing:
    """What there is, as a table and as a document."""

    table: Table
    document: list[dict[str, Any]]


def languages_here(folders: Sequence[Path]) -> list[Language]:
    """MiLiC-Eval's languages, and those of which there is a file in one of the folders."""
    known = dict.fromkeys(known_languages().values())
    own = [one for one in known if one.code in milic.CODES]
    return own + [
        one
        for one in known
        if one not in own and any(DataFolders(folders, one).here(split) for split in milic.SPLITS)
    ]


def listing(data: Sequence[DataFolders]) -> Listing:
    """The tasks of some languages: exemplars, metric, items where they are here, else a source."""
    rows = [row for own in data for row in own.rows()]
    head = ["language", "task", "exemplars", "metric", "column", "items", ""]
    cells = [
        [
            row["language"], row["task"], str(row["exemplars"]), row["metric"], row["column"],
            "-" if row["items"] is None else f"{row['items']:,}", row["where"],
        ]
        for row in rows
    ]  # fmt: skip
    return Listing(Table(head, cells), rows)
