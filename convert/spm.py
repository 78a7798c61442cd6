"""A SentencePiece vocabulary (BPE with scores), as GGUF stores it.

It comes from `tokenizer.model`, as in llama.cpp's converter (`_create_vocab_sentencepiece` in
`conversion/base.py`), or from `tokenizer.json` where that is all there is, as in most continually
pretrained models. llama.cpp merges the two neighbours whose union has the highest score;
`tokenizer.json` lists the pairs in the order in which they are merged. So the order gives the
scores, provided that every pair whose union is a token is in the list: that is checked.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType

from trimix_cpp.errors import TrimixError
from trimix_cpp.showing import count

from .checkpoint import Config, read_json
from .pretokenizer import space_prefix
from .sentencepiece_model import read_model
from .tokenizer import AddedToken, Specials, TokenizerFiles, added_tokens, specials
from .vocab import check_ids, check_options, malformed, pieces_by_id

logger = logging.getLogger(__name__)

# llama.cpp's converter gives these scores; none of them takes part in merging.
ADDED_SCORE, PADDING_SCORE = -1000.0, -10000.0

# One id's entry: text, score, type.
Entry = tuple[str, float, TokenType]


@dataclass(frozen=True)
class SpmVocabulary:
    """Everything under `tokenizer.*`: `tokens`, `scores`, `types` have one entry for each id.

    `space_prefix` says whether a space is put before a text; None leaves llama.cpp's default, yes.
    """

    tokens: list[str]
    scores: list[float]
    types: list[TokenType]
    specials: Specials
    space_prefix: bool | None

    def write(self, writer: GGUFWriter) -> None:
        """Add the metadata to `writer`, in the order of llama.cpp's converter."""
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(self.tokens)
        writer.add_token_scores(self.scores)
        writer.add_token_types(self.types)
        self.specials.write(writer)
        if self.space_prefix is not None:
            writer.add_add_space_prefix(self.space_prefix)


def load_spm(
    files: TokenizerFiles, config: Config, vocab_size: int, pre: str | None = None
) -> SpmVocabulary:
    """Read the SentencePiece vocabulary of a checkpoint.

    Args:
        files: the tokenizer's files; `tokenizer.model` in their folder is used where it is there.
        config: the model's configuration, for its `…_token_id` entries.
        vocab_size: rows of the embedding; ids without a token become `[PAD{id}]`, UNUSED. Added
            tokens beyond it are left out, as transformers cannot use them either.
        pre: what the caller says of the pre-tokenizer: these have but one.

    Raises:
        TrimixError: a file is malformed, or llama.cpp's tokenizer would read other tokens.
    """
    if pre not in (None, "default"):
        raise TrimixError(
            f"--pre {pre}: {files.folder} has a SentencePiece tokenizer, leave it out"
        )
    with malformed(files.path):
        added = {**_legacy_added(files.folder), **added_tokens(files)}
        lost = sorted(token_id for token_id in added if token_id >= vocab_size)
        if lost:
            logger.warning(
                "%s: the model has no rows for %d added tokens, such as %r: they are left out",
                files.folder, len(lost), added[lost[0]].content,
            )  # fmt: skip
            added = {token_id: token for token_id, token in added.items() if token_id < vocab_size}
        model = files.folder / "tokenizer.model"
        if model.is_file():
            entries, prefix = _from_model(model, files, added)
        else:
            entries, prefix = _from_json(files, added)
        check_ids(files.path, set(entries), vocab_size)
        padding = [(f"[PAD{i}]", PADDING_SCORE, TokenType.UNUSED) for i in range(vocab_size)]
        columns = zip(*(entries.get(i, padding[i]) for i in range(vocab_size)), strict=True)
        tokens, scores, types = map(list, columns)
        return SpmVocabulary(tokens, scores, types, specials(files, config, vocab_size), prefix)


def _legacy_added(folder: Path) -> dict[int, AddedToken]:
    """The tokens of `added_tokens.json`, which old versions of transformers wrote."""
    found = read_json(folder / "added_tokens.json", optional=True)
    return {int(token_id): AddedToken(text, special=False) for text, token_id in found.items()}


def _from_model(
    path: Path, files: TokenizerFiles, added: dict[int, AddedToken]
) -> tuple[dict[int, Entry], bool]:
    """Entries by id from `tokenizer.model`; added tokens stand on top of its own."""
    model = read_model(path)
    stated = {int(key) for key in files.settings.get("added_tokens_decoder") or {}}
    entries: dict[int, Entry] = {}
    for token_id, piece in enumerate(model.pieces):
        entries[token_id] = (piece.text, piece.score, piece.type)
        if piece.type == TokenType.USER_DEFINED:
            added.setdefault(token_id, AddedToken(piece.text, special=False))
    for token_id, token in added.items():
        known = token_id not in stated and token_id in entries
        if not known or entries[token_id][2] not in (TokenType.CONTROL, TokenType.UNKNOWN):
            entries[token_id] = (token.text, ADDED_SCORE, token.type)
    vocab = files.data.get("model", {}).get("vocab", {})
    strangers = [text for text, token_id in vocab.items() if token_id not in entries]
    if strangers:
        raise TrimixError(
            f"{files.path} has {count(len(strangers), 'token')} that tokenizer.model lacks, such "
            f"as {strangers[0]!r}: remove the one that does not belong to the model"
        )
    return entries, model.space_prefix


def _from_json(
    files: TokenizerFiles, added: dict[int, AddedToken]
) -> tuple[dict[int, Entry], bool]:
    """Entries by id from `tokenizer.json`."""
    path, model = files.path, files.data["model"]
    if model.get("type", "BPE") != "BPE" or not model.get("byte_fallback"):
        raise TrimixError(f"{path} holds no SentencePiece-like BPE with byte fallback")
    check_options(path, model)
    prefix = space_prefix(path, files.data)
    names = pieces_by_id(path, model["vocab"])
    entries: dict[int, Entry] = {}
    for token_id, text in names.items():
        if token_id in added:
            continue
        if re.fullmatch(r"<0x[0-9A-F]{2}>", text):
            entries[token_id] = (text, 0.0, TokenType.BYTE)
        elif text == model.get("unk_token"):
            entries[token_id] = (text, 0.0, TokenType.UNKNOWN)
        else:
            entries[token_id] = (text, 0.0, TokenType.NORMAL)
    normal = {t: i for i, (t, _, kind) in entries.items() if kind == TokenType.NORMAL}
    for token_id, score in _scores(path, normal, model).items():
        entries[token_id] = (names[token_id], score, TokenType.NORMAL)
    for token_id, token in added.items():
        entries[token_id] = (token.text, ADDED_SCORE, token.type)
    return entries, prefix


def _scores(path: Path, normal: dict[str, int], model: dict[str, Any]) -> dict[int, float]:
    """Scores by id that merge the pairs in the order of `tokenizer.json`.

    SentencePiece numbers its merges 0, -1, -2, … in the order of ids, from the first normal piece
    on. So is it done here, but for pieces whose merges come later than their ids say: these get
    the next lower number. Single characters are never merged, their scores count for nothing.
    """
    order = _merge_order(path, normal, model)
    first = min(normal.values(), default=0)
    scores = {token_id: -float(token_id - first) for token_id in normal.values()}
    last = 1.0
    for text in order:
        token_id = normal[text]
        scores[token_id] = last = min(scores[token_id], last - 1.0)
    return scores


def _merge_order(path: Path, normal: dict[str, int], model: dict[str, Any]) -> list[str]:
    """Normal tokens that merges make, in the order of their merges.

    Raises:
        TrimixError: the merges are not all pairs of tokens whose union is a token, or one token's
            do not follow each other. Such a list cannot be expressed by scores.
    """
    vocab = model["vocab"]
    pairs: dict[str, set[str]] = {}
    previous = ""
    for entry in model["merges"]:
        left, right = entry.split(" ") if isinstance(entry, str) else entry
        text = left + right
        if text not in normal:
            continue  # an added token, which is found before anything is merged
        if text in pairs and text != previous:
            raise TrimixError(_no_scores(path, text))
        pairs.setdefault(text, set()).add(left)
        previous = text
    for text in normal:
        ends = range(1, len(text))
        expected = {text[:end] for end in ends if text[:end] in vocab and text[end:] in vocab}
        if expected != pairs.get(text, set()):
            raise TrimixError(_no_scores(path, text))
    return list(pairs)


def _no_scores(path: Path, text: str) -> str:
    return (
        f"{path}: the merges that give {text!r} are not a SentencePiece model's, and llama.cpp "
        "merges by scores: put the tokenizer.model of the base model beside it"
    )
