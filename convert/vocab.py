"""A byte-level BPE vocabulary, from `tokenizer.json`, as GGUF stores it.

The entries written are those of llama.cpp's converter (`conversion/base.py`, `get_vocab_base`, and
gguf-py's `SpecialVocab`), read here from the files alone, without transformers.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType

from .checkpoint import Config, read_json
from .errors import ConvertError
from .pretokenizer import detect

logger = logging.getLogger(__name__)

SPECIAL_KINDS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


@dataclass(frozen=True)
class BpeVocabulary:
    """Everything under `tokenizer.*`: `tokens` and `types` have one entry for each id."""

    tokens: list[str]
    types: list[TokenType]
    merges: list[str]
    pre: str
    special_ids: dict[str, int]
    add_special: dict[str, bool]
    chat_template: str | list[dict[str, str]] | None

    def write(self, writer: GGUFWriter) -> None:
        """Add the metadata to `writer`, in the order of llama.cpp's converter."""
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        writer.add_token_merges(self.merges)
        for kind, token_id in self.special_ids.items():
            getattr(writer, f"add_{kind}_token_id")(token_id)
        for kind, add in self.add_special.items():
            getattr(writer, f"add_add_{kind}_token")(add)
        if self.chat_template is not None:
            writer.add_chat_template(self.chat_template)


@dataclass(frozen=True)
class _Added:
    """A token that the tokenizer finds in the text before BPE sees it."""

    content: str
    special: bool

    @property
    def type(self) -> TokenType:
        # Some tokenizers forget to mark `<|…|>` as special; printed as text it would do harm.
        control = self.special or (self.content.startswith("<|") and self.content.endswith("|>"))
        return TokenType.CONTROL if control else TokenType.USER_DEFINED

    @property
    def text(self) -> str:
        """User-defined tokens are matched against plain text, so SentencePiece's space goes."""
        spaced = self.type == TokenType.USER_DEFINED
        return self.content.replace("\u2581", " ") if spaced else self.content


def load_bpe(
    folder: Path, config: Config, vocab_size: int, pre: str | None = None
) -> BpeVocabulary:
    """Read the BPE vocabulary of a checkpoint folder.

    Args:
        folder: holds `tokenizer.json`, and usually `tokenizer_config.json`.
        config: the model's configuration, for its `…_token_id` entries.
        vocab_size: rows of the embedding; ids without a token become `[PAD{id}]`, UNUSED.
        pre: llama.cpp's name of the pre-tokenizer; None to recognise it.

    Raises:
        ConvertError: a file is missing or malformed, the tokenizer is of another kind, or its
            pre-tokenizer is unknown and `pre` is None.
    """
    path = folder / "tokenizer.json"
    tokenizer = read_json(path)
    settings = read_json(folder / "tokenizer_config.json", optional=True)
    try:
        _check_kind(path, tokenizer)
        added = _added_tokens(path, tokenizer, settings)
        tokens, types = _token_list(path, tokenizer["model"]["vocab"], added, vocab_size)
        return BpeVocabulary(
            tokens=tokens,
            types=types,
            merges=[_merge(entry) for entry in tokenizer["model"]["merges"]],
            pre=detect(path, tokenizer, pre),
            special_ids=_special_ids(tokenizer, settings, config),
            add_special=_add_special(tokenizer, settings),
            chat_template=_chat_template(folder, settings),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConvertError(f"{path} is malformed: {type(error).__name__} {error}") from error


def _check_kind(path: Path, tokenizer: dict[str, Any]) -> None:
    model = tokenizer["model"]
    kind = model.get("type", "BPE")
    if kind != "BPE" or model.get("byte_fallback"):
        found = "SentencePiece-like BPE" if kind == "BPE" else kind
        raise ConvertError(f"{path} holds a {found} tokenizer; supported here is byte-level BPE")
    for option in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(option):
            raise ConvertError(f"{path}: the option {option!r} of BPE has no place in GGUF")


def _added_tokens(
    path: Path, tokenizer: dict[str, Any], settings: dict[str, Any]
) -> dict[int, _Added]:
    """Added tokens by id; like transformers, `tokenizer_config.json` has the last word on them."""
    entries = [(int(e["id"]), e) for e in tokenizer.get("added_tokens") or []]
    entries += [(int(key), e) for key, e in (settings.get("added_tokens_decoder") or {}).items()]
    added: dict[int, _Added] = {}
    for token_id, entry in entries:
        token = _Added(str(entry["content"]), bool(entry.get("special", False)))
        if token_id in added and added[token_id].content != token.content:
            raise ConvertError(
                f"{path} and tokenizer_config.json disagree about token {token_id}: "
                f"{added[token_id].content!r} and {token.content!r}"
            )
        added[token_id] = token
    return added


def _token_list(
    path: Path, vocab: dict[str, int], added: dict[int, _Added], vocab_size: int
) -> tuple[list[str], list[TokenType]]:
    names = {token_id: text for text, token_id in vocab.items()}
    if len(names) != len(vocab):
        raise ConvertError(f"{path}: two tokens share one id")
    ids = names.keys() | added.keys()
    if min(ids, default=0) < 0 or max(ids, default=0) >= vocab_size:
        raise ConvertError(
            f"{path} has tokens up to id {max(ids)}, but the model has {vocab_size} rows "
            "(config.json, 'vocab_size'): the tokenizer belongs to another model"
        )
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


def _special_ids(
    tokenizer: dict[str, Any], settings: dict[str, Any], config: Config
) -> dict[str, int]:
    """Ids by kind: named by the tokenizer's settings, else given by the model's configuration."""
    ids_by_text: dict[str, int] = {}
    for entry in tokenizer.get("added_tokens") or []:
        ids_by_text.setdefault(entry["content"], entry["id"])
    found: dict[str, int] = {}
    for kind in SPECIAL_KINDS:
        text = settings.get(f"{kind}_token")
        text = text.get("content") if isinstance(text, dict) else text
        if isinstance(text, str) and text in ids_by_text:
            found[kind] = ids_by_text[text]
    for kind in SPECIAL_KINDS:
        token_id = config.get(f"{kind}_token_id")
        if type(token_id) is int and token_id >= 0:
            found.setdefault(kind, token_id)
    return found


def _add_special(tokenizer: dict[str, Any], settings: dict[str, Any]) -> dict[str, bool]:
    """Whether BOS and EOS are added to a text: the post-processor decides, then the settings."""
    add: dict[str, bool] = {}
    post = tokenizer.get("post_processor") or {}
    for step in post.get("processors", [post]):
        if step.get("type") == "ByteLevel":
            add.setdefault("bos", False)
            add.setdefault("eos", False)
        elif step.get("type") == "TemplateProcessing":
            single = step.get("single") or [{}]
            add["bos"] = "SpecialToken" in single[0]
            add["eos"] = len(single) > 1 and "SpecialToken" in single[-1]
    for kind in SPECIAL_KINDS:
        wish = settings.get(f"add_{kind}_token")
        if isinstance(wish, bool) and kind in ("bos", "eos", "sep"):
            add.setdefault(kind, wish)
    return add


def _chat_template(folder: Path, settings: dict[str, Any]) -> str | list[dict[str, str]] | None:
    """The chat template: Jinja source, or a list of named ones."""
    template = settings.get("chat_template")
    jinja = folder / "chat_template.jinja"
    if template is None and jinja.is_file():
        template = _read_text(jinja)
        more = sorted((folder / "additional_chat_templates").glob("*.jinja"))
        if more:
            template = [{"name": "default", "template": template}]
            template += [{"name": path.stem, "template": _read_text(path)} for path in more]
    elif template is None:
        template = read_json(folder / "chat_template.json", optional=True).get("chat_template")
    if template is not None and not isinstance(template, str | list):
        raise ConvertError(f"{folder}: the chat template is no text: {json.dumps(template)[:60]}")
    return template


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConvertError(f"{path} is not UTF-8 text") from error
