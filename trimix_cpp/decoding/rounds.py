"""Rounds of drafting and checking, for one text or a few that run in step (see `speculation`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..errors import TrimixError
from ..fusion import Row, Rows
from .engine import Engine
from .parts import Part, lanes_of
from .speculation import Draft, Speculator
from .text import Text


@dataclass
class _Ahead:
    """One text's part of a round.

    Attributes:
        tokens: of the text, and the drafts.
        guesses: tokens that the drafter's next batch checks.
        chosen: the drafter's rows that drafts were chosen by, and the one after them.
        rows: role -> rows of the drafts' positions and the one after them.
        right: drafts that were right.
    """

    text: Text
    tokens: list[int]
    guesses: list[int]
    chosen: list[Row] = field(default_factory=list)
    rows: dict[str, Sequence[Row] | Rows] = field(default_factory=dict)
    right: int = 0

    def room(self, draft: Draft) -> int:
        """Drafts that are still to come."""
        return draft.depth - len(self.chosen)


class Rounds:
    """Drafts tokens and keeps those that plain steps would give.

    Args:
        engine: evaluates.
        speculator: says how to draft.
        accept: takes a token that is right.
        fail: takes what is wrong with a text.
    """

    def __init__(
        self,
        engine: Engine,
        speculator: Speculator,
        accept: Callable[[Text, int], None],
        fail: Callable[[Text, TrimixError], None],
    ) -> None:
        self._engine, self._speculator = engine, speculator
        self._accept, self._fail = accept, fail

    def plan(self, texts: Sequence[Text]) -> Draft | None:
        """How the next round of these texts is drafted, None for a plain step."""
        trio = self._engine.trio
        if trio.uncut:
            return None  # each round would empty the caches
        most = min(trio.n_outputs, trio.n_batch) // len(texts)
        for text in texts:
            room = trio.n_ctx - len(text.tokens)
            if text.max_tokens is not None:
                room = min(room, text.n_prompt + text.max_tokens - len(text.tokens))
            most = min(most, room)
        return self._speculator.plan(texts, most - 1)

    def run(self, texts: Sequence[Text], draft: Draft) -> list[int]:
        """Draft some tokens, check them all in one batch; returns how many of each were right.

        Each row is fused and sampled with the tokens that really stand before it, and the noise
        is a function of the position, so nothing shows that the tokens were guessed first.
        """
        aheads = [_Ahead(text, [*text.tokens], list(draft.guesses)) for text in texts]
        self._guess(aheads, draft)
        roles = [role for role in texts[0].roles if role != draft.role]
        checked = self._rows(aheads, roles, draft.depth + 1)
        for one, rows in zip(aheads, checked, strict=True):
            one.rows = {**rows, **({draft.name: one.chosen} if draft.role else {})}
            while one.text.stop is None and one.right < draft.depth and self._take(one, draft):
                pass
        # Where all were right one more token comes; the drafter was not fed the last draft.
        complete = [one for one in aheads if one.right == draft.depth and one.text.stop is None]
        if draft.role in texts[0].roles and complete:
            for one, rows in zip(complete, self._rows(complete, [draft.name], 1), strict=True):
                one.chosen.extend(rows[draft.name])
        for one in complete:
            self._take(one, draft)
        for text in texts:
            lanes_of(text).rewind(len(text.tokens) - 1)
        return [one.right for one in aheads]

    def _take(self, one: _Ahead, draft: Draft) -> bool:
        """Accept the token that the next rows give; whether it is the drafted one."""
        text, at, chosen = one.text, one.right, one.chosen
        try:
            token = self._engine.pick(text, {role: one.rows[role][at] for role in text.roles})
        except TrimixError as error:
            self._fail(text, error)
            return False
        if at < min(draft.depth, len(chosen)) and not text.plausibility:
            self._speculator.offset(draft.name).note(self._engine.row, chosen[at])
        is_right = at < draft.depth and token == one.tokens[len(text.tokens)]
        self._accept(text, token)
        one.right += is_right
        return is_right

    def _guess(self, aheads: Sequence[_Ahead], draft: Draft) -> None:
        """Draft tokens, and keep the rows of the role that chose them, without its offset.

        The role is fed all but the last draft. What is guessed before it changes nothing but how
        many of its rows come from one batch.
        """
        if draft.role is None:
            for one in aheads:
                one.tokens, one.guesses = [*one.tokens, *one.guesses], []
            return
        for one in aheads:  # a role that takes no part in the fusion lags behind
            self._engine.catch_up(lanes_of(one.text), draft.role, one.tokens[:-1])
        while coming := [one for one in aheads if one.room(draft) > 0]:
            for one in coming:
                if draft.guesser:
                    one.guesses = self._ahead(one, draft.guesser, draft.ahead)
                one.guesses = one.guesses[: one.room(draft) - 1]
            for one, rows in zip(coming, self._rows(coming, [draft.role]), strict=True):
                self._choose(one, rows[draft.role], draft)

    def _choose(self, one: _Ahead, rows: Rows, draft: Draft) -> None:
        """The drafter's own choices by its rows, up to the first that was guessed wrong."""
        guesses, one.guesses, right = one.guesses, [], 0
        offset = self._speculator.offset(draft.name)
        for row in rows:
            one.chosen.append(row.copy())
            before = one.tokens
            before.append(one.text.sampler.pick(offset.add_to(row), before, len(before)))
            if right == len(guesses) or before[-1] != guesses[right]:
                break
            right += 1
        if guesses:
            belief = self._speculator.belief(f"{draft.guesser or 'lookup'}>{draft.name}")
            belief.note(right, min(right + 1, len(guesses)))
            lanes_of(one.text)[draft.name].rewind(len(one.tokens) - 1)

    def _ahead(self, one: _Ahead, role: str, n: int) -> list[int]:
        """The next `n` tokens by a role's own choices."""
        lanes, found = lanes_of(one.text), _Ahead(one.text, [*one.tokens], [])
        lanes[role].rewind(len(found.tokens) - 1)
        self._engine.catch_up(lanes, role, found.tokens[:-1])
        for _ in range(n):
            (rows,) = self._rows([found], [role])
            row = rows[role][0]
            found.tokens.append(one.text.sampler.pick(row, found.tokens, len(found.tokens)))
        return found.tokens[len(one.tokens) :]

    def _rows(
        self, aheads: Sequence[_Ahead], roles: Sequence[str], n_rows: int = 0
    ) -> list[dict[str, Rows]]:
        """Rows of these roles, after guesses too: of the last positions, or of all uncached ones.

        One batch for each role; the rows are valid until its next one.
        """
        if not roles:
            return [{} for _ in aheads]
        parts = []
        for one in aheads:
            lanes, tokens = lanes_of(one.text), [*one.tokens, *one.guesses]
            n = n_rows or len(tokens) - lanes.cached(roles[0])
            feeds = {role: lanes[role].feeds(tokens, len(tokens), n) for role in roles}
            ends = dict.fromkeys(roles, len(tokens))
            parts.append(Part(one.text, feeds, ends, len(tokens) - n, n))
        return self._engine.evaluate(parts)
