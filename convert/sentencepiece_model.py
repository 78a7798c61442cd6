"""Reads `tokenizer.model`: SentencePiece's protocol buffer, the few fields that GGUF needs.

The message is `ModelProto` of sentencepiece's `src/sentencepiece_model.proto`. A field is a varint
key (number * 8 + wire type) and a value; unknown fields are skipped. Three of its messages matter
here, which does not justify a compiled dependency.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gguf import TokenType

from trimix_cpp.errors import TrimixError

_BPE = 2


@dataclass(frozen=True)
class Piece:
    """One token: its text, its score, and SentencePiece's type, whose numbers are GGUF's."""

    text: str
    score: float
    type: TokenType


@dataclass(frozen=True)
class SentencePieceModel:
    """The pieces in the order of their ids, and whether a space is put before a text."""

    pieces: list[Piece]
    space_prefix: bool


def read_model(path: Path) -> SentencePieceModel:
    """Read a BPE model.

    Raises:
        TrimixError: the file is malformed, of another kind than BPE, or normalizes text in a way
            that llama.cpp would not.
    """
    try:
        fields = list(_fields(path.read_bytes()))
        pieces = [_piece(value) for number, value in fields if number == 1]
        trainer = dict(_fields(_last(fields, 2)))
        normalizer = dict(_fields(_last(fields, 3)))
    except (ValueError, struct.error, TypeError) as error:
        raise TrimixError(f"{path} is no SentencePiece model: {error}") from error
    if not pieces:
        raise TrimixError(f"{path} is no SentencePiece model: it holds no tokens")
    if trainer.get(3, 1) != _BPE:
        raise TrimixError(f"{path} is no BPE model (model_type {trainer.get(3, 1)!r})")
    if normalizer.get(2):
        raise TrimixError(
            f"{path} normalizes text, which llama.cpp does not do for SentencePiece models: "
            "the converted model would read other tokens"
        )
    return SentencePieceModel(pieces, bool(normalizer.get(3, 1)))


def _piece(value: bytes | int) -> Piece:
    fields = dict(_fields(value))
    text, score = fields.get(1, b""), fields.get(2, b"\0\0\0\0")
    if isinstance(text, int) or isinstance(score, int):
        raise ValueError("a token is malformed")
    return Piece(text.decode("utf-8"), struct.unpack("<f", score)[0], TokenType(fields.get(3, 1)))


def _last(fields: list[tuple[int, bytes | int]], number: int) -> bytes | int:
    return next((value for found, value in reversed(fields) if found == number), b"")


def _fields(message: bytes | int) -> Iterator[tuple[int, bytes | int]]:
    """Yield (number, value) for each field: an int for varints, else the bytes."""
    if isinstance(message, int):
        raise ValueError("a message is malformed")
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = _varint(message, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError("a field of unknown type")
        if at + length > len(message):
            raise ValueError("the file is truncated")
        yield key >> 3, message[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("the file is truncated")
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at
