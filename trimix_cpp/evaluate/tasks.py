"""The tasks by name: how an item is asked, how its answer is judged, where the score counts.

The numbers are those of the paper's published scripts. A data set (`Source`) holds the records of
one language; `milic`, `flores` and `pairs` open them from their publishers' files.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import TrimixError

Kind = Literal["option", "label", "number", "text"]
Metric = Literal["accuracy", "chrF++", "ROUGE-L"]
# Table 2: multiple choice, generation in English, generation in the low-resource language.
Column = Literal["MC", "ENG-G", "LRL-G"]
Record = Mapping[str, Any]

# How exemplars of the labels are mixed, as published.
_SHUFFLE_SEED = 0


@dataclass(frozen=True)
class Task:
    """How a task is asked and judged.

    Attributes:
        name: of `--tasks`.
        kind: "option": a letter out of a list; "label": a name out of a list; "number": the last
            number of the answer; "text": by its likeness to the reference.
        metric: of the answers.
        column: of Table 2 in which the score counts.
        shots: exemplars; with kind "label" so many of each label.
        max_tokens: most tokens of an answer that is generated.
        preset: name of the trio's weights for it.
        passage: characters to which passages are cut; None leaves them whole.
        choosing: the same for the prompts by which weights are chosen: exemplars, characters.
        published: where the files are.
    """

    name: str
    kind: Kind
    metric: Metric
    column: Column
    shots: int
    max_tokens: int
    preset: str
    passage: int | None = None
    choosing: tuple[int, int | None] = (3, None)
    published: str = ""

    @property
    def closed(self) -> bool:
        """Whether the answer is one of a list."""
        return self.kind in ("option", "label")


@dataclass(frozen=True)
class Item:
    """A question as the models get it, and what is right.

    Attributes:
        id: unique in its file.
        question: ends where the answer begins.
        gap: what stands between question and answer: a space, or nothing.
        answer: as an exemplar has it.
        gold: what answers are held against.
        choices: the possible answers of a closed task, in the order of the list.
    """

    id: str
    question: str
    gap: str
    answer: str
    gold: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """The records of one task in one language, from its files.

    Attributes:
        task: what they belong to.
        path: the file of the items.
        records: the items, as their file has them; checked.
        train: what exemplars come from; empty where there are none.
        item: a record and the characters to which its passage is cut (None: all) -> the item. It
            goes through pickle, so that a worker of a cluster needs no data.
        note: what is particular about them, for the report.
    """

    task: Task
    path: str
    records: Sequence[Record]
    train: Sequence[Record]
    item: Callable[[Record, int | None], Item]
    note: str = ""

    def items(self, limit: int | None = None) -> list[Item]:
        """The first `limit` items, or all."""
        return [self.item(record, self.task.passage) for record in self.records[:limit]]

    def exemplars(self, shots: int | None = None) -> list[Item]:
        """What stands before every item: the first ones of the file.

        Of labels: the first ones of each label, in the sorted order of the labels, then shuffled
        with a seed. (The published order depended on Python's hash seed.)
        """
        return self._exemplars(self.task.shots if shots is None else shots, self.task.passage)

    def choosing(self, n: int, seed: int) -> tuple[list[Item], list[Item]]:
        """`n` items drawn by `seed` and their exemplars, shorter, to choose weights by."""
        shots, passage = self.task.choosing
        drawn = sorted(
            random.Random(seed).sample(range(len(self.records)), min(n, len(self.records)))
        )
        items = [self.item(self.records[i], passage) for i in drawn]
        return items, self._exemplars(shots if self.train else 0, passage)

    def draws(self, n: int, seed: int) -> list[list[Item]]:
        """`n` draws of as many exemplars as a prompt has; one where there are no more."""
        size, passage = len(self.exemplars()), self.task.choosing[1]
        if size >= len(self.train):
            return [self._exemplars(self.task.shots, passage)] if self.train else []
        rng = random.Random(seed)
        drawn = [rng.sample(range(len(self.train)), size) for _ in range(n)]
        return [[self.item(self.train[i], passage) for i in own] for own in drawn]

    def _exemplars(self, shots: int, passage: int | None) -> list[Item]:
        if self.task.kind != "label":
            return [self.item(record, passage) for record in self.train[:shots]]
        chosen: dict[str, list[Item]] = {}
        for record in self.train:
            item = self.item(record, passage)
            own = chosen.setdefault(item.gold, [])
            if len(own) < shots:
                own.append(item)
        mixed = [item for label in sorted(chosen) for item in chosen[label]]
        random.Random(_SHUFFLE_SEED).shuffle(mixed)
        return mixed


def text_of(record: Record, key: str, where: str) -> str:
    """The text under `key`, which must not be blank.

    Raises:
        TrimixError: it is missing, or no text: the data may be of another version.
    """
    value = record.get(key)
    if not isinstance(value, str):
        what = f"has no {key!r}" if value is None else f"has no text under {key!r}"
        raise TrimixError(f"{where} {what}: is this another version of the data?")
    if not value.strip():
        raise TrimixError(f"{where} has an empty {key!r}")
    return value


def texts_of(record: Record, key: str, where: str) -> list[str]:
    """The list of texts under `key`, none of them blank.

    Raises:
        TrimixError: it is missing, empty, or no list of texts.
    """
    value = record.get(key)
    if not isinstance(value, list):
        what = f"has no {key!r}" if value is None else f"has no list under {key!r}"
        raise TrimixError(f"{where} {what}: is this another version of the data?")
    if not value or not all(isinstance(text, str) and text.strip() for text in value):
        raise TrimixError(f"{where} has an empty {key!r}, or an empty text in it")
    return list(value)


def letter_of(record: Record, options: Sequence[str], where: str) -> str:
    """The letter under "answer", which stands for one of the `options`.

    Raises:
        TrimixError: it does not.
    """
    letters = letters_of(options)
    answer = text_of(record, "answer", where)
    if answer not in letters:
        raise TrimixError(f"{where}: the answer is {answer!r}, but its options are {letters}")
    return answer


def letters_of(options: Sequence[str]) -> str:
    """A letter for each option: "ABCD"."""
    return "".join(chr(ord("A") + i) for i in range(len(options)))
