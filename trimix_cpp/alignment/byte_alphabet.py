"""The alphabet of models that share no tokens: the bytes of UTF-8, and the end of a text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bytewise import END, N_SYMBOLS, Spelling
from ..errors import AlignmentError, TrimixError
from .columns import Alignment
from .probes import LANGUAGES
from .report import DIFFERENT, Report
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from ..llama import Model

# Tokenizers of llama.cpp that change no text: BPE on bytes, SentencePiece, Gemma 4's BPE.
FAITHFUL = ("gpt2", "llama", "gemma4")


def byte_alphabet(roles: Iterable[str], reference: str) -> Alignment:
    """Ids 0 to 255 are bytes, 256 is the end: what any end-of-generation token of a role says."""
    roles = tuple(roles)
    return Alignment(
        reference=reference,
        n_tokens=N_SYMBOLS,
        columns=dict.fromkeys(roles),
        spelled={},
        enlarged={},
        report=Report(DIFFERENT, reference, ()),
        _inverse={},
        _ends=dict.fromkeys(roles, frozenset((END,))),
        _is_control=np.arange(N_SYMBOLS) == END,
    )


def spelling_of(model: Model) -> Spelling:
    """The vocabulary of a model, by bytes.

    Control tokens, padding, and tokens whose bytes cannot be told have none, and never come.

    Raises:
        AlignmentError: the tokenizer changes texts, or cannot spell some; the file is named.
    """
    vocabulary = Vocabulary(model)
    if vocabulary.model not in FAITHFUL:
        raise AlignmentError(
            f"{vocabulary.name}: cannot be fused over bytes: its tokenizer ({vocabulary.model}) "
            "may change texts"
        )
    pieces = [
        piece if vocabulary.spells(token) else b"" for token, piece in enumerate(model.pieces())
    ]
    try:
        return Spelling(pieces, model.end_of_generation())
    except TrimixError as error:
        raise AlignmentError(f"{vocabulary.name}: cannot be fused over bytes: {error}") from None


@dataclass(frozen=True)
class OverBytes:
    """Whether models that share no tokenizer may be fused over bytes, and what it costs.

    Attributes:
        refused: why they may not; empty where they may.
        n_bytes: of the probes' texts in some languages.
        tokens: role -> how many tokens of its own these are: each is an evaluation.
    """

    refused: str
    n_bytes: int
    tokens: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        possible = not self.refused
        return {"possible": possible, **asdict(self)}

    def line(self) -> str:
        """For the terminal."""
        if self.refused:
            return f"over bytes: {self.refused}"
        counts = ", ".join(f"{role} {n:,}" for role, n in self.tokens.items())
        return (
            "over bytes they may be fused: generate, chat and translate do it with --bytes. Each "
            "model is then evaluated about once for each token of its own "
            f"(of {self.n_bytes:,} bytes in {len(LANGUAGES)} texts: {counts}), and one byte comes "
            "a step; the likeliest byte is not the likeliest token's"
        )


def over_bytes_for(paths: Mapping[str, str | Path]) -> OverBytes:
    """Whether the files in `paths` (role -> file) may be fused over bytes."""
    from ..llama import Model

    tokens, data = dict[str, int](), "\n".join(LANGUAGES)
    for role, path in paths.items():
        with Model(path, vocab_only=True) as model:
            try:
                spelling_of(model)
            except AlignmentError as error:
                return OverBytes(str(error), len(data.encode()), {})
            tokens[role] = len(model.tokenize(data))
    return OverBytes("", len(data.encode()), tokens)
