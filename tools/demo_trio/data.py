"""The demo trio's text: read it, split it, and cut it into rows of tokens.

A data folder holds `en-XX/{train,dev}.tsv.gz` (columns: id, en, XX, source), `mono/ug.txt.gz` and
`english/*.txt.gz`, one record a line, UTF-8.

The two kinds of rows that training draws from, all `length` tokens long:

* `TextRows`: lines of one language, shuffled, joined by line breaks;
* `PairRows`: the translation prompt and its answer, several examples a row.

A row is (tokens, wanted, document), each an int64 array of shape (length,): `wanted` is 1 where the
token is to be learned, and a token attends only to tokens of the same document.
"""

from __future__ import annotations

import gzip
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"

PROMPT = "Please translate the following English text into {}.\nEnglish: {}\n{}: "
LANGUAGES = {"ug": "Uyghur", "kk": "Kazakh", "mn": "Mongolian"}

# Place names (transliterations) and raw machine translation: see the data's README.
DROPPED_SOURCES = {
    "kgeography-data",
    "libgweather-4-common",
    "iso-codes",
    "vlc-l10n",
    "django",
}
TIME_ZONE = re.compile(r"^[A-Z][A-Za-z]+/[A-Z][\w/ -]+$")

# How often each English file is read for one reading of the text as a whole.
ENGLISH_REPEATS = {
    "ui-strings": 2,
    "desktop-help": 2,
    "debian-docs": 1,
    "software-manuals": 1,
    "dictionaries": 1,
    "essays": 1,
    "kjv": 0,
}

# Train pairs that no model sees: exemplars, and what training is watched by.
HELD_OUT = 500
HELD_OUT_WORDS = range(4, 13)  # of their English


class Pair(NamedTuple):
    """One English string and its translation."""

    english: str
    answer: str
    source: str


class Row(NamedTuple):
    """One training row: three int64 arrays of shape (length,)."""

    tokens: np.ndarray
    wanted: np.ndarray
    document: np.ndarray


def read_lines(path: Path) -> list[str]:
    """The lines of a gzipped text file, without their line ends."""
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        return [line.rstrip("\n") for line in file]


def read_pairs(path: Path) -> list[Pair]:
    """All pairs of a gzipped TSV file, in its (random, fixed) order."""
    rows = [line.split("\t") for line in read_lines(path)[1:]]
    return [Pair(english, answer, source) for _, english, answer, source in rows]


def dev_pairs(data: Path) -> list[Pair]:
    """The development split, whole: nothing is dropped from what is measured."""
    return read_pairs(data / "en-ug" / "dev.tsv.gz")


def fit_for_the_task(data: Path, code: str) -> list[Pair]:
    """Train pairs that are neither place names nor machine translated."""
    return [
        pair
        for pair in read_pairs(data / f"en-{code}" / "train.tsv.gz")
        if pair.source not in DROPPED_SOURCES and not TIME_ZONE.match(pair.english)
    ]


def held_out_pairs(data: Path) -> list[Pair]:
    """The last `HELD_OUT` train pairs of a sentence's length."""
    pairs = fit_for_the_task(data, "ug")
    return [p for p in pairs if len(p.english.split()) in HELD_OUT_WORDS][-HELD_OUT:]


class Text:
    """What a data folder gives to learn from; nothing that is held out is in it."""

    def __init__(self, data: Path, tokenizer: Tokenizer) -> None:
        self.data, self.tokenizer = data, tokenizer
        held_out = held_out_pairs(data)
        self._hidden = {text for pair in held_out for text in (pair.english, pair.answer)}

    @cached_property
    def english(self) -> list[np.ndarray]:
        """Token ids of English lines, each file as often as `ENGLISH_REPEATS` says."""
        lines: list[np.ndarray] = []
        for name, repeats in ENGLISH_REPEATS.items():
            if repeats:
                own = self._shown(read_lines(self.data / "english" / f"{name}.txt.gz"))
                lines += encode_all(self.tokenizer, own) * repeats
        return lines

    @cached_property
    def uyghur(self) -> list[np.ndarray]:
        """Token ids of the raw Uyghur text: 62,100 segments, less those held out."""
        return encode_all(self.tokenizer, self._shown(read_lines(self.data / "mono/ug.txt.gz")))

    def pairs(self, code: str, count: int) -> list[Pair]:
        """The first `count` pairs from English into a language."""
        pairs = fit_for_the_task(self.data, code)
        return [p for p in pairs if not {p.english, p.answer} & self._hidden][:count]

    def _shown(self, lines: list[str]) -> list[str]:
        return [line for line in lines if line not in self._hidden]


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of a text, nothing added."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def encode_all(tokenizer: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """Token ids of many texts, each of dtype int16 to stay small."""
    encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [np.array(encoding.ids, dtype=np.int16) for encoding in encodings]


def shuffled(items: Sequence[int], dice: random.Random) -> Iterator[int]:
    """The items in a new random order each time around, without end."""
    order = list(items)
    while True:
        dice.shuffle(order)
        yield from order


@dataclass
class TextRows:
    """Rows of shuffled lines joined by line breaks; half of them labelled, as in `English: …`."""

    lines: list[np.ndarray]
    label: list[int]
    newline: int
    length: int
    dice: random.Random
    labelled: float = 0.5

    def __iter__(self) -> Iterator[Row]:
        ones = np.ones(self.length, dtype=np.int64)
        zeros = np.zeros(self.length, dtype=np.int64)
        buffer: list[int] = []
        for i in shuffled(range(len(self.lines)), self.dice):
            label = self.label if self.dice.random() < self.labelled else []
            buffer += [*label, *self.lines[i].tolist(), self.newline]
            while len(buffer) >= self.length:
                yield Row(np.array(buffer[: self.length], dtype=np.int64), ones, zeros)
                buffer = buffer[self.length :]


@dataclass
class PairRows:
    """Rows of translation examples, prompts and answers to be learned alike.

    Half of the rows hold independent examples (each a document of its own), half hold one
    document of several examples parted by a blank line, as in a few-shot prompt or a chat; in
    `related` of these all examples come from one program. An answer ends with a line break. After
    it comes `<|im_end|>` (as in a chat), but for half of the contexts of several examples, which
    then have a blank line (as in the paper).
    """

    pairs: list[Pair]
    language: str
    tokenizer: Tokenizer
    length: int
    dice: random.Random
    related: float = 0.5
    chat_share: float = 0.5
    newline: int = field(init=False)
    turn_end: int = field(init=False)
    end: int = field(init=False)

    def __post_init__(self) -> None:
        (self.newline,) = encode(self.tokenizer, "\n")
        self.turn_end = self.tokenizer.token_to_id(TURN_END)
        self.end = self.tokenizer.token_to_id(END_OF_TEXT)
        prompts = [PROMPT.format(self.language, pair.english, self.language) for pair in self.pairs]
        answers = [pair.answer for pair in self.pairs]
        joined = [p + a for p, a in zip(prompts, answers, strict=True)]
        self.prompts = encode_all(self.tokenizer, prompts)
        self.answers = encode_all(self.tokenizer, answers)
        self.joined = encode_all(self.tokenizer, joined)

    def example(self, index: int, joined: bool) -> list[int]:
        """Tokens of one example, its line break the last.

        `joined` tokenizes prompt and answer as one text, as the earlier turns of a prompt
        are; otherwise the answer begins after the prompt's own last token, a space.
        """
        if joined:
            return [*self.joined[index].tolist(), self.newline]
        return [*self.prompts[index].tolist(), *self.answers[index].tolist(), self.newline]

    def __iter__(self) -> Iterator[Row]:
        by_source = defaultdict(list)
        for index, pair in enumerate(self.pairs):
            by_source[pair.source].append(index)
        programs = list(by_source)
        sizes = [len(by_source[name]) for name in programs]
        orders = {name: shuffled(own, self.dice) for name, own in by_source.items()}
        everything = shuffled(range(len(self.pairs)), self.dice)
        while True:
            one_document = self.dice.random() < 0.5
            order = everything
            if one_document and self.dice.random() < self.related:
                order = orders[self.dice.choices(programs, sizes)[0]]
            yield self.row(order, one_document)

    def row(self, order: Iterator[int], one_document: bool) -> Row:
        """One row, filled with as many examples as fit."""
        tokens: list[int] = []
        document: list[int] = []
        chat = not one_document or self.dice.random() < self.chat_share
        while True:
            ids = self.example(next(order), one_document and self.dice.random() < 0.5)
            if chat:
                ids = [*ids, self.turn_end]
            if one_document:
                ids = [*ids, self.newline]
            if len(tokens) + len(ids) > self.length:
                break
            document += [document[-1] + (not one_document) if document else 0] * len(ids)
            tokens += ids
        used, rest = len(tokens), self.length - len(tokens)
        return Row(
            np.array(tokens + [self.end] * rest, dtype=np.int64),
            np.array([1] * used + [0] * rest, dtype=np.int64),
            np.array(document + [-1] * rest, dtype=np.int64),
        )


def mixed(sources: Sequence[tuple[Iterator[Row], float]], dice: random.Random) -> Iterator[Row]:
    """Rows drawn from several sources with the given odds."""
    iterators = [source for source, _ in sources]
    odds = [share for _, share in sources]
    while True:
        yield next(dice.choices(iterators, odds)[0])


def batches(rows: Iterator[Row], size: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Stacked rows: tokens, wanted, document, each of shape (size, length)."""
    while True:
        group = [next(rows) for _ in range(size)]
        yield tuple(np.stack(arrays) for arrays in zip(*group, strict=True))
