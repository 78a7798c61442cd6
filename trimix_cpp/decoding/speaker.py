"""One role by itself: its tokens, names and chat template, where each role has its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..alignment import align
from ..llama import Model


class Speaker:
    """A role of a `ByteTrio` in its own tokens; asked as a `Trio` is by what makes prompts.

    Attributes:
        roles: the role alone.
        alignment: of its tokens, padding left out.
        chat_template: its own, untrusted; None where it has none.
    """

    def __init__(self, role: str, model: Model) -> None:
        self._role, self._model = role, model
        self.roles = (role,)
        self.alignment = align({role: model})
        self.chat_template = model.chat_template

    def tokenize(
        self, text: str, *, add_special: bool = False, parse_special: bool = False
    ) -> list[int]:
        """Ids of `text`, as the role's tokenizer splits it."""
        ids = self._model.tokenize(text, add_special=add_special, parse_special=parse_special)
        own = np.asarray(ids, np.int32)
        tokens: list[int] = self.alignment.from_role(self._role, own).tolist()
        return tokens

    def own(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """The model's own ids of these."""
        return tuple(self.alignment.to_role(self._role, np.asarray(tokens, np.int32)).tolist())

    def piece(self, token: int) -> bytes:
        """The bytes of one token; none of control tokens."""
        return self._model.piece(self.alignment.id_in_role(self._role, token))

    def text_of(self, token: int) -> str:
        """The name of a token, control tokens included."""
        own = self.alignment.id_in_role(self._role, token)
        return self._model.piece(own, special=True).decode("utf-8", "replace")

    def special_text(self, which: str) -> str:
        """The text of its `bos` or `eos` token; empty if it has none."""
        token = self._model.bos if which == "bos" else self._model.eos
        return (
            self._model.piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""
        )
