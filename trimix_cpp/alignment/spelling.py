"""Bytes inside a text, in the tokens of one model."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..llama import Model

# What stands before the text while it is tokenized: some tokenizers put a space before a text's
# first word, and some merge it with what it begins with. The first that does neither serves.
_LEADS = ("\n", "a", "")


class Speller:
    """Tokens of texts as they stand inside others; the names of control tokens are text.

    Args:
        model: whose tokens; it stays the caller's.
    """

    def __init__(self, model: Model) -> None:
        self.path = model.path
        self._tokenize = model.tokenize
        self._leads = [(lead, model.tokenize(lead)) for lead in _LEADS]
        self.piece = lru_cache(maxsize=1 << 18)(model.piece)

    def spell(self, raw: bytes) -> tuple[int, ...] | None:
        """The model's own ids of `raw`.

        None where its tokenizer gives no tokens with just these bytes: parts of characters, or a
        tokenizer that changes its text.
        """
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            return None
        for lead, before in self._leads:
            ids = self._tokenize(lead + text)
            own = ids[len(before) :]
            if ids[: len(before)] == before and b"".join(map(self.piece, own)) == raw:
                return tuple(own)
        return None
