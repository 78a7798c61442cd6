"""Small GGUF files that hold a tokenizer and no weights, written with the gguf package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gguf import GGUFWriter

from .tiny import byte_alphabet, finish

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

# Pieces of byte-level BPE that are put together by merges, in order of rank.
MERGES = ("t h", "th e", "Ġ the", "Ġ Ġ", "i n", "in g", "Ø ¦", "Û ķ", "1 2", "' s", "Ċ Ċ")
SPECIALS = (
    ("<|endoftext|>", CONTROL),
    ("<|im_start|>", CONTROL),
    ("<|im_end|>", CONTROL),
    ("<tool_call>", USER_DEFINED),
)


@dataclass(frozen=True)
class VocabFile:
    """A tokenizer to be written; `metadata` is added under `tokenizer.ggml.`."""

    tokens: tuple[tuple[str, int], ...]
    merges: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    model: str = "gpt2"
    pre: str = "qwen2"
    metadata: dict[str, Any] = field(default_factory=dict)

    def id(self, text: str) -> int:
        """The id of the token with this text."""
        return [token for token, _ in self.tokens].index(text)

    def padded(self, n: int, kind: int = UNUSED) -> VocabFile:
        """With `n` more rows, named as converters name them."""
        rows = tuple((f"[PAD{len(self.tokens) + i}]", kind) for i in range(n))
        scores = self.scores and self.scores + (-10000.0,) * n
        return replace(self, tokens=self.tokens + rows, scores=scores)

    def with_tokens(self, *tokens: tuple[str, int]) -> VocabFile:
        """With more tokens at the end."""
        return replace(self, tokens=self.tokens + tokens)

    def permuted(self, order: Sequence[int]) -> VocabFile:
        """With the token of id order[i] under the id i."""
        ids = {old: new for new, old in enumerate(order)}
        metadata = {
            key: ids[value] if key.endswith("_token_id") else value
            for key, value in self.metadata.items()
        }
        return replace(
            self,
            tokens=tuple(self.tokens[i] for i in order),
            scores=tuple(self.scores[i] for i in order) if self.scores else (),
            metadata=metadata,
        )

    def with_metadata(self, **metadata: Any) -> VocabFile:
        """With more keys under `tokenizer.ggml.`."""
        return replace(self, metadata={**self.metadata, **metadata})

    def write(self, path: Path) -> Path:
        """Write the file and return its path."""
        writer = GGUFWriter(path, "llama")
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list([text.encode() for text, _ in self.tokens])
        writer.add_token_types([kind for _, kind in self.tokens])
        if self.merges:
            writer.add_token_merges(list(self.merges))
        if self.scores:
            writer.add_token_scores(list(self.scores))
        for key, value in self.metadata.items():
            if isinstance(value, bool):
                writer.add_bool(f"tokenizer.ggml.{key}", value)
            else:
                writer.add_uint32(f"tokenizer.ggml.{key}", value)
        return finish(writer, path)


def bpe() -> VocabFile:
    """A byte-level BPE like Qwen's: 256 bytes, a few merges, four special tokens."""
    pieces = (*byte_alphabet(), *(merge.replace(" ", "") for merge in MERGES))
    tokens = (*((piece, NORMAL) for piece in pieces), *SPECIALS)
    vocabulary = VocabFile(tokens, merges=MERGES)
    return vocabulary.with_metadata(
        bos_token_id=vocabulary.id("<|endoftext|>"),
        eos_token_id=vocabulary.id("<|im_end|>"),
        add_bos_token=False,
    )


def sentencepiece() -> VocabFile:
    """A SentencePiece vocabulary like Llama 2's: byte fallback and a few scored pieces."""
    pieces = ("▁", "t", "h", "e", "th", "the", "▁the", "▁▁", "a", "n", "an", "d", "and")
    tokens = (
        ("<unk>", UNKNOWN),
        ("<s>", CONTROL),
        ("</s>", CONTROL),
        *((f"<0x{byte:02X}>", BYTE) for byte in range(256)),
        *((piece, NORMAL) for piece in pieces),
    )
    scores = (0.0,) * 259 + tuple(-float(rank) for rank in range(len(pieces)))
    return VocabFile(tokens, scores=scores, model="llama", pre="default")
