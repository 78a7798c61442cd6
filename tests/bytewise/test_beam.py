"""The beam over bytes against every tokenization, added up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimix_cpp.bytewise import END, Beam, Pruning, Spelling, Stem, allowed, unfinished
from trimix_cpp.errors import TrimixError

from .toys import EXACT, follow, oracle, random_model, vocabulary, worst

WORDS = [
    b"ab",
    b"abc",
    b"bc",
    b"ca",
    b"abcab",
    b"  ",
    b" a",
    "ئ".encode(),
    "ༀ".encode(),
    b"\xe0\xbc",
]
LETTERS = st.sampled_from(
    [b"a", b"b", b"c", b" ", "ئ".encode(), "ༀ".encode(), b"\n", "😀".encode()]
)
TEXTS = st.lists(LETTERS, max_size=6).map(b"".join).filter(lambda text: len(text) <= 9)


def spelling_of(words: list[bytes] = WORDS, doubled: tuple[bytes, ...] = ()) -> Spelling:
    pieces = vocabulary(words, doubled=doubled)
    return Spelling(pieces, {len(pieces) - 1})


@settings(max_examples=25)
@given(TEXTS, st.integers(0, 3), st.sampled_from([(), (b"a", b"ab")]))
def test_without_pruning_it_is_exact(text: bytes, seed: int, doubled: tuple[bytes, ...]) -> None:
    spelling = spelling_of(doubled=doubled)
    model = random_model(len(spelling.pieces), seed=seed)
    rows, _ = follow(spelling, EXACT, model, text)
    assert worst(rows[-1], oracle(spelling, model, text)) < 1e-6


@settings(max_examples=25)
@given(
    TEXTS, st.integers(0, 3), st.sampled_from([1, 2, 6, None]), st.sampled_from([0.0, 0.01, 1.0])
)
def test_rows_are_distributions_whatever_is_pruned(
    text: bytes, seed: int, width: int | None, threshold: float
) -> None:
    spelling = spelling_of()
    model = random_model(len(spelling.pieces), seed=seed, scale=6)
    rows, _ = follow(spelling, Pruning(width, threshold), model, text)
    for row in rows:
        assert row.dtype == np.float32
        assert row.shape == (257,)
        assert np.exp(row.astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)


def test_the_default_is_near_the_sum_where_a_model_knows_its_tokens() -> None:
    """A model that puts most of its weight on the tokenizer's own reading."""
    words = [b"the", b" the", b" cat", b" sat", b"th", b"at", b" ca", b" s"]
    spelling = spelling_of(words)
    text = b"the cat sat"
    right = [256, 258, 259]
    blind = random_model(len(spelling.pieces), scale=1.0)

    def model(path: tuple[int, ...]) -> np.ndarray:
        logits = blind(path).copy()
        if path == tuple(right[: len(path)]) and len(path) < len(right):
            logits[right[len(path)]] += 9
        return logits

    rows, asked = follow(spelling, Pruning(), model, text)
    for at, row in enumerate(rows[:-1]):
        assert worst(row, oracle(spelling, model, text[:at])) < 5e-3
    assert asked <= 2 * len(right)


def test_a_byte_that_nothing_expects_is_followed() -> None:
    """Pruned to one hypothesis, the beam goes on with any text, and finds back to its tokens."""
    spelling = spelling_of([b"abcde", b"xyz"])

    def model(path: tuple[int, ...]) -> np.ndarray:
        logits = np.full(len(spelling.pieces), -20.0, np.float32)
        logits[256 if not path or path[-1] == 256 else 257] = 20
        return logits

    def tokenize(data: bytes) -> list[int]:
        return list(data)

    rows, _ = follow(spelling, Pruning(1, 0.9), model, "abcཀ😀q".encode(), tokenize)
    # The tokens so far are bytes, after which this model says "xyz".
    assert int(np.argmax(rows[-1])) == ord("x")


def test_the_tokenizers_own_reading_is_kept_of_those_that_end_alike() -> None:
    spelling = spelling_of([b"ab"])
    model = random_model(len(spelling.pieces), scale=0.1)

    def tokenize(data: bytes) -> list[int]:
        out: list[int] = []
        for byte in data:
            merged = out and out[-1] == ord("a") and byte == ord("b")
            out = [*out[:-1], 256] if merged else [*out, byte]
        return out

    start = Stem()
    start.after = spelling.read(model(()))
    beam = Beam(spelling, Pruning(None, 0.0), start)
    for byte in b"abab":
        step = beam.push(byte, tokenize)
        for stem in step.wanted:
            stem.after = spelling.read(model(tuple(stem.tokens(start))))
        beam = step.finish()
    ended = [h.stem.tokens(start) for h in beam.live if h.node is spelling.root]
    assert ended == [[256, 256]]


def test_a_tokenizer_that_cannot_tell_drops_nothing() -> None:
    spelling = spelling_of()
    model = random_model(len(spelling.pieces))
    rows, _ = follow(spelling, Pruning(None, 0.0, canonical=True), model, b"abcab")
    assert worst(rows[-1], oracle(spelling, model, b"abcab")) < 1e-6


def test_the_end_takes_part_where_a_token_ends() -> None:
    spelling = spelling_of()
    model = random_model(len(spelling.pieces))
    rows, _ = follow(spelling, EXACT, model, b"ab")
    assert np.exp(rows[-1][END]) == pytest.approx(oracle(spelling, model, b"ab")[END], rel=1e-4)


def test_a_vocabulary_that_cannot_spell_every_text_is_refused() -> None:
    pieces = vocabulary(WORDS)
    pieces[0x41] = b""
    with pytest.raises(TrimixError, match="0x41"):
        Spelling(pieces, {len(pieces) - 1})
    pieces = vocabulary(WORDS)
    pieces[0xFF] = b""  # in no text
    Spelling(pieces, {len(pieces) - 1})


def test_only_bytes_that_go_on_with_utf8_are_allowed() -> None:
    # Every character's beginnings, by what may follow them.
    follows: dict[bytes, set[int]] = {b"": set(range(0x80))}
    for code in range(0x80, 0x110000, 64):  # the last byte may be any
        if not 0xD800 <= code < 0xE000:
            data = chr(code).encode()
            for at in range(len(data) - 1):
                follows.setdefault(data[:at], set()).add(data[at])
            follows.setdefault(data[:-1], set()).update(range(0x80, 0xC0))
    for begun, may in follows.items():
        assert unfinished(b"x" + begun) == begun
        assert set(np.flatnonzero(allowed(begun)).tolist()) - {END} == may
        assert bool(allowed(begun)[END]) == (begun == b"")


@settings(max_examples=25)
@given(st.text(max_size=6))
def test_a_whole_text_ends_with_a_character(text: str) -> None:
    assert unfinished(text.encode()) == b""
