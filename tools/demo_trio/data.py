"""The demo trio's text: read it, split it, and cut it into rows of tokens.

A data folder holds `en-ug/{train,dev}.tsv.gz` (columns: id, en, ug, source),
`mono/ug.txt.gz` and `english/*.txt.gz`, one record a line, UTF-8.

The three kinds of rows that training draws from, all `length` tokens long:

* `TextRows`: lines of one or two languages, shuffled, joined by line breaks;
* `PairRows`: the translation prompt and its answer, several examples a row.

A row is (tokens, wanted, document), each an int64 array of shape (length,):
`wanted` is 1 where the token is to be learned, and a token attends only to
tokens of the same document.
"""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"

PROMPT = "Please translate the following English text into Uyghur.\nEnglish: {}\nUyghur: "

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


class Pair(NamedTuple):
    """One English string and its Uyghur translation."""

    english: str
    uyghur: str
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
    return [Pair(english, uyghur, source) for _, english, uyghur, source in rows]


def task_pairs(data: Path, count: int) -> list[Pair]:
    """The first `count` train pairs that are neither place names nor machine translated."""
    pairs = [
        pair
        for pair in read_pairs(data / "en-ug" / "train.tsv.gz")
        if pair.source not in DROPPED_SOURCES and not TIME_ZONE.match(pair.english)
    ]
    return pairs[:count]


def dev_pairs(data: Path) -> list[Pair]:
    """The development split, whole: nothing is dropped from what is measured."""
    return read_pairs(data / "en-ug" / "dev.tsv.gz")


def english_lines(data: Path) -> list[str]:
    """English text, each file as often as `ENGLISH_REPEATS` says."""
    lines: list[str] = []
    for name, repeats in ENGLISH_REPEATS.items():
        if repeats:
            lines += read_lines(data / "english" / f"{name}.txt.gz") * repeats
    return lines


def uyghur_lines(data: Path) -> list[str]:
    """Raw Uyghur text: 62,100 segments."""
    return read_lines(data / "mono" / "ug.txt.gz")


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of a text, nothing added."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def encode_all(tokenizer: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """Token ids of many texts, each of dtype int16 to stay small."""
    encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [np.array(encoding.ids, dtype=np.int16) for encoding in encodings]


def shuffled(count: int, dice: random.Random) -> Iterator[int]:
    """The numbers below `count` in a new random order each time around, without end."""
    order = list(range(count))
    while True:
        dice.shuffle(order)
        yield from order


@dataclass
class Language:
    """Lines of one language and the label that half of them get, as in `English: …`."""

    lines: list[np.ndarray]
    label: list[int]
    share: float  # of the tokens, among the languages of one TextRows


@dataclass
class TextRows:
    """Rows of shuffled lines, joined by line breaks, languages mixed by their shares."""

    languages: list[Language]
    newline: int
    length: int
    dice: random.Random
    labelled: float = 0.5

    def __iter__(self) -> Iterator[Row]:
        orders = [shuffled(len(language.lines), self.dice) for language in self.languages]
        used = [1.0] * len(self.languages)
        ones = np.ones(self.length, dtype=np.int64)
        zeros = np.zeros(self.length, dtype=np.int64)
        buffer: list[int] = []
        while True:
            while len(buffer) < self.length:
                shares = [
                    n / language.share for n, language in zip(used, self.languages, strict=True)
                ]
                pick = shares.index(min(shares)) if self.dice.random() < 0.5 else self.draw()
                language = self.languages[pick]
                line = language.lines[next(orders[pick])].tolist()
                label = language.label if self.dice.random() < self.labelled else []
                buffer += label + line + [self.newline]
                used[pick] += len(label) + len(line) + 1
            yield Row(np.array(buffer[: self.length], dtype=np.int64), ones, zeros)
            buffer = buffer[self.length :]

    def draw(self) -> int:
        """A language, by its share."""
        shares = [language.share for language in self.languages]
        return self.dice.choices(range(len(shares)), shares)[0]


@dataclass
class PairRows:
    """Rows of translation examples.

    Half of the rows hold independent examples (each a document of its own), half hold one
    document of several examples parted by a blank line, as in a few-shot prompt or a chat.
    An answer always ends with a line break, which cpt and base know as an end too. After it comes
    `<|im_end|>` (as in a chat), but for half of the contexts of several examples, which then have
    a blank line (as in the paper).
    """

    pairs: list[Pair]
    tokenizer: Tokenizer
    length: int
    dice: random.Random
    chat_share: float = 0.5
    newline: int = field(init=False)
    turn_end: int = field(init=False)
    end: int = field(init=False)

    def __post_init__(self) -> None:
        (self.newline,) = encode(self.tokenizer, "\n")
        self.turn_end = self.tokenizer.token_to_id(TURN_END)
        self.end = self.tokenizer.token_to_id(END_OF_TEXT)
        prompts = [PROMPT.format(pair.english) for pair in self.pairs]
        answers = [pair.uyghur for pair in self.pairs]
        joined = [p + a for p, a in zip(prompts, answers, strict=True)]
        self.prompts = encode_all(self.tokenizer, prompts)
        self.answers = encode_all(self.tokenizer, answers)
        self.joined = encode_all(self.tokenizer, joined)

    def example(self, index: int, joined: bool) -> tuple[list[int], list[int]]:
        """Tokens of one example, its line break the last, and which are wanted.

        `joined` tokenizes prompt and answer as one text, as the earlier turns of a prompt
        are; otherwise the answer begins after the prompt's own last token, a space.
        """
        prompt, answer = self.prompts[index], self.answers[index]
        if joined:
            whole = self.joined[index].tolist()
            start = len(prompt) - 1  # the prompt's space belongs to the answer's first token
        else:
            whole = prompt.tolist() + answer.tolist()
            start = len(prompt)
        return [*whole, self.newline], [0] * start + [1] * (len(whole) - start + 1)

    def __iter__(self) -> Iterator[Row]:
        order = shuffled(len(self.pairs), self.dice)
        while True:
            yield self.row(order, one_document=self.dice.random() < 0.5)

    def row(self, order: Iterator[int], one_document: bool) -> Row:
        """One row, filled with as many examples as fit."""
        tokens: list[int] = []
        wanted: list[int] = []
        document: list[int] = []
        chat = not one_document or self.dice.random() < self.chat_share
        while True:
            ids, want = self.example(next(order), one_document and self.dice.random() < 0.5)
            if chat:
                ids, want = [*ids, self.turn_end], [*want, 1]
            if one_document:
                ids, want = [*ids, self.newline], [*want, 0]
            if len(tokens) + len(ids) > self.length:
                break
            document += [document[-1] + (not one_document) if document else 0] * len(ids)
            tokens += ids
            wanted += want
        rest = self.length - len(tokens)
        tokens += [self.end] * rest
        wanted += [0] * rest
        document += [-1] * rest
        return Row(np.array(tokens), np.array(wanted), np.array(document))


def mixed(sources: list[tuple[Iterator[Row], float]], dice: random.Random) -> Iterator[Row]:
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
