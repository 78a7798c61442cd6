"""What a GGUF file says about its tokenizer, with a name for every token that files can share.

Read from the header alone. Defaults follow `llama_vocab::impl::load` in llama.cpp's
`src/llama-vocab.cpp`, where a key that is missing in the file has a meaning all the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFileError
from ..gguf import Array

if TYPE_CHECKING:
    from ..llama import Model

# Token types of the file; `llama_token_type` in llama.h.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

# What a token that was added as a name looks like: <image>, <|tool|>, [PAD]. Words that were added
# are text.
_NAME = re.compile(rb"<[^\s<>]+>|\[[^\s\[\]]+\]")

KINDS = {b"t": "text", b"b": "byte", b"c": "control"}

# Tokenizers of llama.cpp that read merges, those that read scores, those with U+2581 for a space.
_MERGING = {"gpt2", "hybriddna", "whitespace", "gemma4"}
_SCORING = {"llama", "t5", "plamo2"}
_ESCAPING = {"llama", "t5", "gemma4", "plamo2"}
# Names of one and the same pre-tokenizer.
_SAME_PRE = {"llama3": "llama-bpe", "llama-v3": "llama-bpe", "deepseek-r1-qwen": "qwen2"}


class Vocabulary:
    """The tokens and the tokenizer settings of one model file.

    Attributes:
        name: the file's name, for messages.
        model: llama.cpp's kind of tokenizer, e.g. "gpt2" (byte-level BPE), "llama" (SentencePiece).
        tokens: the token texts, in the file's own encoding.
        types: token types, int32 [n_vocab].
        is_real: which ids are tokens; the others are padding. bool [n_vocab].
        settings: name -> value, as llama.cpp understands the file, of what steers tokenization.

    Raises:
        ModelFileError: the file has no vocabulary.
    """

    def __init__(self, model: Model) -> None:
        header = model.header
        tokens = header.metadata.get("tokenizer.ggml.tokens")
        if not isinstance(tokens, Array) or tokens.count != model.n_vocab:
            raise ModelFileError(f"{header.path}: holds no vocabulary")
        types = header.numbers("tokenizer.ggml.token_type")
        self.name = header.path.name
        self.model = str(header.metadata.get("tokenizer.ggml.model"))
        self.tokens = tokens
        self.n_vocab = tokens.count
        self.types: NDArray[np.int32] = (
            np.full(self.n_vocab, NORMAL, np.int32) if types is None else types.astype(np.int32)
        )
        self.is_real: NDArray[np.bool_] = self.types != UNUSED
        self._drop_placeholders()
        self.n_real = int(np.count_nonzero(self.is_real))
        self._header = header
        self.settings = self._settings(model)

    def _drop_placeholders(self) -> None:
        # Older converters typed the rows beyond the tokenizer, named [PAD{id}], USER_DEFINED.
        if b"[PAD" in self.tokens.raw:
            for token, text in enumerate(self.texts):
                if text.startswith(b"[PAD") and text == b"[PAD%d]" % token:
                    self.is_real[token] = False

    def _settings(self, model: Model) -> dict[str, str]:
        def flag(name: str, default: bool) -> str:
            value = self._header.metadata.get(f"tokenizer.ggml.{name}", default)
            return "true" if value else "false"

        settings = {
            "tokenizer": self.model,
            "pre-tokenizer": self._pre_tokenizer(),
            "BOS": self.describe(model.bos) if model.adds_bos else "not added",
            "EOS": self.describe(model.eos) if model.adds_eos else "not added",
        }
        if self.model in ("llama", "t5"):
            settings["add_space_prefix"] = flag("add_space_prefix", self.model == "llama")
        if self.model == "t5":
            settings["remove_extra_whitespaces"] = flag("remove_extra_whitespaces", False)
            settings["precompiled_charsmap"] = self._digest("precompiled_charsmap")
        if self.model == "bert":
            lowercase = self._header.metadata.get("tokenizer.ggml.normalizer.lowercase", True)
            settings["normalizer.lowercase"] = flag("normalizer.lowercase", True)
            settings["normalizer.strip_accents"] = flag("normalizer.strip_accents", bool(lowercase))
        return settings

    def _pre_tokenizer(self) -> str:
        if self.model == "gemma4":
            return "gemma4"
        if self.model not in _MERGING:  # llama.cpp reads the name for BPE only
            return "default"
        name = str(self._header.metadata.get("tokenizer.ggml.pre") or "default")
        return _SAME_PRE.get(name, name)

    def _digest(self, name: str) -> str:
        value = self._header.metadata.get(f"tokenizer.ggml.{name}")
        if not isinstance(value, Array):
            return "none"
        return f"sha256 {hashlib.sha256(value.raw).hexdigest()[:12]}"

    @cached_property
    def texts(self) -> list[bytes]:
        """The token texts as the file has them."""
        return self.tokens.strings()

    @property
    def is_control(self) -> NDArray[np.bool_]:
        """Which ids are control tokens, bool [n_vocab]."""
        return np.equal(self.types, CONTROL)

    @cached_property
    def is_special(self) -> NDArray[np.bool_]:
        """Which ids are no text: control tokens, and added ones that are names; bool [n_vocab]."""
        special = np.isin(self.types, (CONTROL, UNKNOWN))
        for token in np.flatnonzero(self.types == USER_DEFINED).tolist():
            special[token] = _NAME.fullmatch(self.texts[token]) is not None
        return special

    @cached_property
    def merges(self) -> Array | None:
        """The merges in order of rank, where the tokenizer reads them."""
        value = self._header.metadata.get("tokenizer.ggml.merges")
        return value if self.model in _MERGING and isinstance(value, Array) else None

    @cached_property
    def scores(self) -> NDArray[np.float32] | None:
        """The scores, float32 [n_vocab], where the tokenizer reads them."""
        if self.model not in _SCORING:
            return None
        value = self._header.numbers("tokenizer.ggml.scores")
        return np.zeros(self.n_vocab, np.float32) if value is None else value.astype(np.float32)

    @cached_property
    def keys(self) -> list[bytes]:
        """For every id what the token is, equal in two vocabularies for the same token.

        Letter of the kind and the token's bytes; empty for padding. Where a vocabulary has the
        same token several times, all but the first, in order of their texts in the file, are
        numbered, so that the keys are unique.
        """
        keys = [self._key(token) for token in range(self.n_vocab)]
        if len(set(keys)) - (self.n_real < self.n_vocab) == self.n_real:
            return keys
        places: dict[bytes, list[int]] = {}
        for token, key in enumerate(keys):
            if key:
                places.setdefault(key, []).append(token)
        for key, tokens in places.items():
            for rank, token in enumerate(sorted(tokens, key=lambda t: (self.texts[t], t))[1:], 2):
                keys[token] = b"%d" % rank + key
        return keys

    def _key(self, token: int) -> bytes:
        if not self.is_real[token]:
            return b""
        text, kind = self.texts[token], self._types[token]
        if kind in (CONTROL, UNKNOWN):  # llama.cpp treats both alike, and converters disagree
            return b"c" + text
        if kind == BYTE:
            return b"b" + _byte(text)
        if kind == NORMAL and self.model == "gpt2":
            return b"t" + _from_byte_alphabet(text)
        return b"t" + (text.replace(b"\xe2\x96\x81", b" ") if self.model in _ESCAPING else text)

    def spells(self, token: int) -> bool:
        """Whether the token is one that stands for bytes of a text, and they are known."""
        if not self.is_real[token] or self._types[token] in (CONTROL, UNKNOWN):
            return False
        if self._types[token] == NORMAL and self.model == "gpt2":
            return _is_byte_level(self.texts[token])
        return True

    @cached_property
    def _types(self) -> list[int]:
        types: list[int] = self.types.tolist()
        return types

    def bytes_of(self, token: int) -> bytes:
        """The bytes that a token is of a text; the name of a special one, empty for padding."""
        return self._key(token)[1:]

    def describe(self, token: int) -> str:
        """A token for a person to read: kind and text, e.g. `control '<|im_end|>'`."""
        if not 0 <= token < self.n_vocab:
            return "none"
        key = self._key(token)
        return f"{KINDS[key[:1]]} {readable(key[1:])}" if key else "padding"

    def control_texts(self) -> list[str]:
        """The names that stand for one token wherever `parse_special` is on."""
        wanted = np.flatnonzero(self.is_real & np.isin(self.types, (CONTROL, USER_DEFINED)))
        return [self.texts[token].decode("utf-8", "ignore") for token in wanted.tolist()]


def readable(raw: bytes, limit: int = 40) -> str:
    """`raw` quoted on one line, unprintable characters escaped, shortened to `limit`."""
    try:
        quoted = repr(raw.decode("utf-8"))
    except UnicodeDecodeError:
        quoted = repr(raw)
    return quoted if len(quoted) <= limit else quoted[: limit - 1] + "…"


def _byte(text: bytes) -> bytes:
    """The byte that `<0x0A>` names; the text itself if it is not of this form."""
    if len(text) == 6 and text[:3] == b"<0x" and text[5:] == b">":
        try:
            return bytes([int(text[3:5], 16)])
        except ValueError:
            pass
    return text


_PRINTABLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}


def _byte_alphabet(themselves: Collection[int]) -> dict[int, int]:
    others = [byte for byte in range(256) if byte not in themselves]
    return {0x100 + place: byte for place, byte in enumerate(others)}


# GPT-2's: printable bytes stand for themselves, for the others the letters from U+0100 on; here are
# those letters' bytes.
BYTE_LETTERS = _byte_alphabet(_PRINTABLE)
_LETTERS = frozenset(map(chr, (*_PRINTABLE, *BYTE_LETTERS)))


def _is_byte_level(text: bytes) -> bool:
    """Whether a piece of byte-level BPE is made of its letters alone."""
    return all(letter in _LETTERS for letter in text.decode("utf-8", "replace"))


def _from_byte_alphabet(text: bytes) -> bytes:
    """The bytes that a piece of byte-level BPE spells; the text itself if it is not one."""
    try:
        return text.decode("utf-8").translate(BYTE_LETTERS).encode("latin-1")
    except UnicodeError:
        return text
