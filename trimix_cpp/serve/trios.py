"""The loaded trio as requests see it: the ids of `large`, prompts, what was said before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock

import numpy as np

from ..api import TriMix
from ..chat import Answered, Prompter, template_of
from ..errors import TrimixError
from ..files import Closing
from .errors import RequestError

# Conversations whose last prompt is remembered.
_REMEMBERED = 128


class Answers:
    """Prompts that were answered, for the next turns of the same conversations; any thread."""

    def __init__(self) -> None:
        self._by_text: OrderedDict[str, Answered] = OrderedDict()
        self._lock = Lock()

    def add(self, answered: Answered) -> None:
        """Remember it; the ones that were of no use for longest are forgotten."""
        with self._lock:
            self._by_text[answered.rendered] = answered
            self._by_text.move_to_end(answered.rendered)
            while len(self._by_text) > _REMEMBERED:
                self._by_text.popitem(last=False)

    def find(self, rendered: str) -> Answered | None:
        """The longest of the prompts that `rendered` goes on from."""
        with self._lock:
            known = [text for text in self._by_text if rendered.startswith(text)]
            best = max(known, key=len, default=None)
            if best is None:
                return None
            self._by_text.move_to_end(best)
            return self._by_text[best]


class Loaded(Closing):
    """A loaded trio, its chat template, and the answers that were given.

    Args:
        trimix: the trio, the caller's.
        answers: prompts that were answered.
    """

    def __init__(self, trimix: TriMix, answers: Answers) -> None:
        self.trimix, self.answers = trimix, answers
        self._template = template_of(trimix.trio)
        self.prompter = Prompter(trimix.trio, self._template)

    def close(self) -> None:
        """Stop the template's process; the trio stays."""
        self._template.close()

    def to_ids(self, tokens: Sequence[int]) -> list[int]:
        """Ids as the model file of the reference role has them: what clients' tokenizers give."""
        alignment = self.trimix.trio.alignment
        return [alignment.id_in_role(alignment.reference, token) for token in tokens]

    def from_ids(self, ids: Sequence[int]) -> list[int]:
        """Tokens of these ids.

        Raises:
            RequestError: an id that the roles do not share.
        """
        alignment = self.trimix.trio.alignment
        try:
            tokens: list[int] = alignment.from_role(
                alignment.reference, np.asarray(ids, np.int32)
            ).tolist()
        except (ValueError, OverflowError, TrimixError):
            tokens = [-1]
        if not all(0 <= token < self.trimix.n_tokens for token in tokens):
            raise RequestError("a token's id is none of the vocabulary's", param="prompt")
        return tokens

    def bytes_of(self, token: int) -> bytes:
        """The bytes of a token; of a control token its name."""
        trio = self.trimix.trio
        if trio.alignment.control()[token]:
            return trio.text_of(token).encode("utf-8")
        return trio.piece(token)

    def text_of(self, tokens: Sequence[int]) -> str:
        """The text of tokens, names of control tokens among it."""
        return b"".join(map(self.bytes_of, tokens)).decode("utf-8", "replace")

    def bias_of(
        self, said: Mapping[str, float] | Sequence[tuple[int | str, float]]
    ) -> tuple[tuple[int, float], ...]:
        """What a request adds to logits: by a token's id, or by a text, all tokens of it.

        Raises:
            RequestError: an id that is none.
        """
        pairs = said.items() if isinstance(said, Mapping) else said
        bias = list[tuple[int, float]]()
        for key, value in pairs:
            if isinstance(key, int) or (key.isascii() and key.isdecimal() and len(key) < 10):
                tokens = self.from_ids([int(key)])
            else:
                tokens = self.trimix.trio.tokenize(key)
            bias += [(token, max(-1e9, min(float(value), 1e9))) for token in tokens]
        return tuple(bias)
