"""A byte-level BPE vocabulary, from `tokenizer.json`, as GGUF stores it.

The entries written are those of llama.cpp's converter (`conversion/base.py`, `get_vocab_base`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType

from trimix_cpp.errors import TrimixError
from trimix_cpp.showing import one_line

from .checkpoint import Config
from .pretokenizer import detect
from .tokenizer import AddedToken, Specials, TokenizerFiles, added_tokens, specials


@dataclass(frozen=True)
class BpeVocabulary:
    """Everything under `tokenizer.*`: `tokens` and `types` have one entry for each id."""

    tokens: list[str]
    types: list[TokenType]
    merges: list[str]
    pre: str
    specials: Specials

    def write(self, writer: GGUFWriter) -> None:
        """Add the metadata to `writer`, in the order of llama.cpp's converter."""
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        writer.add_token_merges(self.merges)
        self.specials.write(writer)


def load_bpe(
    files: TokenizerFiles, config: Config, vocab_size: int, pre: str | None = None
) -> BpeVocabulary:
    """Read the BPE vocabulary of a checkpoint.

    Args:
        files: the tokenizer's files.
        config: the model's configuration, for its `…_token_id` entries.
        vocab_size: rows of the embedding; ids without a token become `[PAD{id}]`, UNUSED.
        pre: llama.cpp's name of the pre-tokenizer; None to recognise it.

    Raises:
        TrimixError: a file is missing or malformed, the tokenizer is of another kind, or its
            pre-tokenizer is unknown and `pre` is None.
    """
    path = files.path
    if not files.data:
        raise TrimixError(f"{path} is missing: save the tokenizer with transformers once more")
    with malformed(path):
        _check_kind(path, files.data)
        model = files.data["model"]
        tokens, types = _token_list(path, model["vocab"], added_tokens(files), vocab_size)
        return BpeVocabulary(
            tokens=tokens,
            types=types,
            merges=[_merge(entry) for entry in model["merges"]],
            pre=detect(path, files.data, pre),
            specials=specials(files, config),
        )


@contextmanager
def malformed(path: Path) -> Iterator[None]:
    """One line for a file that is JSON, but not as a tokenizer has it."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        why = one_line(f"{type(error).__name__} {error}")[:200]
        raise TrimixError(f"{path} is malformed: {why}") from error


def check_options(path: Path, model: dict[str, Any]) -> None:
    """Refuse options of BPE that GGUF cannot express."""
    for option in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(option):
            raise TrimixError(f"{path}: the option {option!r} of BPE has no place in GGUF")


def _check_kind(path: Path, tokenizer: dict[str, Any]) -> None:
    model = tokenizer["model"]
    kind = model.get("type", "BPE")
    if kind != "BPE" or model.get("byte_fallback"):
        found = "SentencePiece-like BPE" if kind == "BPE" else one_line(str(kind))[:40]
        raise TrimixError(f"{path} holds a {found} tokenizer; supported here is byte-level BPE")
    check_options(path, model)


def pieces_by_id(path: Path, vocab: dict[str, int]) -> dict[int, str]:
    """The model's tokens by id; raises TrimixError where two share one."""
    names = {token_id: text for text, token_id in vocab.items()}
    if len(names) != len(vocab):
        raise TrimixError(f"{path}: two tokens share one id")
    return names


def check_ids(path: Path, ids: set[int], vocab_size: int) -> None:
    """Raise TrimixError for ids that the embedding has no rows for."""
    if min(ids, default=0) < 0 or max(ids, default=0) >= vocab_size:
        raise TrimixError(
            f"{path} has tokens up to id {max(ids)}, but the model has {vocab_size} rows "
            "(config.json, 'vocab_size'): the tokenizer belongs to another model"
        )


def _token_list(
    path: Path, vocab: dict[str, int], added: dict[int, AddedToken], vocab_size: int
) -> tuple[list[str], list[TokenType]]:
    names = pieces_by_id(path, vocab)
    check_ids(path, names.keys() | added.keys(), vocab_size)
    tokens, types = [], []
    for token_id in range(vocab_size):
        if token_id in added:
            tokens.append(added[token_id].text)
            types.append(added[token_id].type)
        elif token_id in names:
            tokens.append(names[token_id])
            types.append(TokenType.NORMAL)
        else:
            tokens.append(f"[PAD{token_id}]")
            types.append(TokenType.UNUSED)
    return tokens, types


def _merge(entry: str | list[str]) -> str:
    """One merge, "left right"; newer files store pairs, whose parts may hold spaces."""
    if isinstance(entry, str):
        return entry
    left, right = entry
    return " ".join(part.replace(" ", "\u0120") for part in (left, right))
