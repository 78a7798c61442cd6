"""Toy models over tokens, and the exact distribution over bytes: every tokenization enumerated."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import cache

import numpy as np

from trimix_cpp.bytewise import END, N_SYMBOLS, Beam, Distribution, Pruning, Spelling, Stem

Model = Callable[[tuple[int, ...]], np.ndarray]
EXACT = Pruning(None, 0.0, canonical=False)


def random_model(n_vocab: int, *, seed: int = 0, scale: float = 3.0) -> Model:
    """Logits that are a function of the tokens so far."""

    @cache
    def logits(path: tuple[int, ...]) -> np.ndarray:
        rng = np.random.default_rng(zlib.crc32(repr((seed, path)).encode()))
        return (rng.standard_normal(n_vocab) * scale).astype(np.float32)

    return logits


def vocabulary(words: Iterable[bytes], *, doubled: Iterable[bytes] = ()) -> list[bytes]:
    """All bytes, then words, then second tokens of the same bytes, and one that ends a text."""
    return [*(bytes((byte,)) for byte in range(256)), *words, *doubled, b""]


def follow(
    spelling: Spelling,
    pruning: Pruning,
    model: Model,
    text: bytes,
    tokenize: Callable[[bytes], Sequence[int] | None] = lambda data: None,
) -> tuple[list[np.ndarray], int]:
    """The beam's log-probabilities before each byte of `text` and after the last; evaluations."""
    start, asked = Stem(), 1
    start.after = spelling.read(model(()))
    beam = Beam(spelling, pruning, start)
    rows = [beam.log_probabilities()]
    for byte in text:
        step = beam.push(byte, tokenize)
        for stem in step.wanted:
            stem.after = spelling.read(model(tuple(stem.tokens(start))))
            asked += 1
        beam = step.finish()
        rows.append(beam.log_probabilities())
    return rows, asked


def oracle(spelling: Spelling, model: Model, text: bytes) -> np.ndarray:
    """The same after `text`, by adding up every tokenization that covers it; float64 [257]."""
    places = range(len(spelling.ids))
    pieces = [spelling.pieces[token] for token in spelling.ids.tolist()]
    firsts = np.array([piece[0] for piece in pieces])
    rests = [text[done:] for done in range(len(text))]
    fitting = [[p for p in places if _fits(pieces[p], rest)] for rest in rests]

    @cache
    def after(path: tuple[int, ...]) -> Distribution:
        return spelling.read(model(path))

    total = np.zeros(N_SYMBOLS)

    def add(path: tuple[int, ...], done: int, weight: float) -> None:
        row, rest = after(path), text[done:]
        if not rest:
            np.add.at(total, firsts, weight * row.tokens)
            total[END] += weight * row.end
            return
        for place in fitting[done]:
            piece, p = pieces[place], float(row.tokens[place])
            if len(piece) > len(rest):
                total[piece[len(rest)]] += weight * p
            else:
                add((*path, int(spelling.ids[place])), done + len(piece), weight * p)

    add((), 0, 1.0)
    assert math.isfinite(total.sum())
    return total / total.sum()


def _fits(piece: bytes, rest: bytes) -> bool:
    return piece.startswith(rest) or rest.startswith(piece)


def worst(row: np.ndarray, exact: np.ndarray) -> float:
    """The largest difference of two distributions, the first of log-probabilities."""
    return float(np.abs(np.exp(row.astype(np.float64)) - exact).max())
