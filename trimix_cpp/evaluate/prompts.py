"""Questions and exemplars as tokens that fit into the context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..decoding import Trio, common_length
from ..prompts import ChatTemplate
from ..prompts.paper import few_shot
from .journal import key_of
from .tasks import Item

# Stands for the user's text while a chat template is rendered; no template writes it itself.
_MARK = "\ufdd0text\ufdd1"


@dataclass(frozen=True)
class Prompt:
    """An item's prompt.

    Attributes:
        tokens: its ids.
        shots: exemplars that it still has.
        spans: where their answers stand: (first token, behind the last one) of each.
        choices: ids that each possible answer adds to `tokens`; empty for an open task.
    """

    tokens: tuple[int, ...]
    shots: int
    spans: tuple[tuple[int, int], ...] = ()
    choices: tuple[tuple[int, ...], ...] = ()

    @cached_property
    def key(self) -> str:
        """Stands for it in the journal's keys."""
        return key_of(self.tokens, self.choices)


class Prompter:
    """Makes the prompts of a trio.

    Args:
        trio: tokenizes.
        template: the whole prompt is a user's message in it; None for plain text, as published.

    Raises:
        TrimixError: the template is broken.
    """

    def __init__(self, trio: Trio, template: ChatTemplate | None = None) -> None:
        self.trio, self.chat = trio, template is not None
        self._around: tuple[list[int], list[int]] = [], []
        self._last: tuple[Any, tuple[tuple[int, int], ...]] = None, ()
        if template:
            text = template.render([{"role": "user", "content": _MARK}])
            before, _, after = text.partition(_MARK)
            self._around = (self._special(before), self._special(after))

    def _special(self, text: str) -> list[int]:
        return self.trio.tokenize(text, parse_special=True) if text else []

    def tokens(self, text: str, answer: str = "", *, end: bool = True) -> list[int]:
        """Ids of a prompt, and of what is answered; without `end` it may still go on."""
        before, after = self._around
        if not self.chat:  # names of control tokens in somebody's text are text
            return self.trio.tokenize(text + answer, add_special=True)
        if not end:
            return [*before, *self.trio.tokenize(text)]
        said = self.trio.tokenize(answer) if answer else []
        return [*before, *self.trio.tokenize(text.rstrip()), *after, *said]

    def fit(
        self, item: Item, shots: Sequence[Item], max_tokens: int, *, choose: bool = False
    ) -> Prompt | None:
        """The prompt with as many exemplars as leave room for the answer; None if even none does.

        Args:
            item: the question.
            shots: exemplars; the last ones go first.
            max_tokens: of the answer.
            choose: the answer is one of the item's choices, which are scored.
        """
        room = self.trio.n_ctx - min(max_tokens, self.trio.n_ctx // 2)
        for n in range(len(shots), -1, -1):
            text = self.text(item, shots[:n])
            tokens = self.tokens(text)
            if choose:
                tokens, choices = self._choices(item, text, tokens)
                if len(tokens) + max(map(len, choices)) <= self.trio.n_ctx:
                    return Prompt(tuple(tokens), n, self._spans(tokens, shots[:n]), choices)
            elif len(tokens) <= room:
                return Prompt(tuple(tokens), n, self._spans(tokens, shots[:n]))
        return None

    def _spans(self, tokens: Sequence[int], shots: Sequence[Item]) -> tuple[tuple[int, int], ...]:
        """`spans`, found once for all prompts with these exemplars."""
        key = tuple((shot.question, shot.answer) for shot in shots)
        if key != self._last[0]:
            self._last = key, self.spans(tokens, shots)
        return self._last[1]

    def spans(self, tokens: Sequence[int], shots: Sequence[Item]) -> tuple[tuple[int, int], ...]:
        """Where the answers of `shots` stand in a prompt that begins with them."""
        found = []
        for i, shot in enumerate(shots):
            asked = self.text(shot, shots[:i])
            # A token that both sides of a border are in belongs to what comes after it.
            start = common_length(self.tokens(asked, end=False), tokens)
            end = common_length(self.tokens(asked + shot.gap + shot.answer, end=False), tokens)
            if end > start:
                found.append((start, end))
        return tuple(found)

    def text(self, item: Item, shots: Sequence[Item]) -> str:
        """The prompt as text, without a chat template."""
        return few_shot([(s.question, s.gap + s.answer) for s in shots], item.question)

    def _choices(
        self, item: Item, text: str, tokens: list[int]
    ) -> tuple[list[int], tuple[tuple[int, ...], ...]]:
        """The prompt's tokens, and what each choice adds to them."""
        gap = "" if self.chat else item.gap
        whole = [self.tokens(text, gap + choice) for choice in item.choices]
        # A tokenizer may join the end of the prompt and the answer's beginning. At least one token
        # of each answer is its own.
        shared = min(len(tokens), *(min(common_length(tokens, own), len(own) - 1) for own in whole))
        return tokens[:shared], tuple(tuple(own[shared:]) for own in whole)
