"""Rounds of drafting and checking, for a text that runs alone (see `speculation`)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..fusion import Row, Rows, fuse
from .draft_guesses import Offset
from .engine import Engine
from .parts import Part, lanes_of
from .speculation import Draft, Speculator
from .text import Text


class Rounds:
    """Drafts tokens and keeps those that plain steps would give.

    Args:
        engine: evaluates.
        speculator: says how to draft.
        accept: takes a token that is right.
    """

    def __init__(
        self, engine: Engine, speculator: Speculator, accept: Callable[[Text, int], None]
    ) -> None:
        self._engine, self._speculator, self._accept = engine, speculator, accept

    def plan(self, text: Text) -> Draft | None:
        """How the next round is drafted, None for a plain step."""
        trio = self._engine.trio
        if trio.uncut:
            return None  # each round would empty the caches
        limit = trio.n_ctx
        if text.max_tokens is not None:
            limit = min(limit, text.n_prompt + text.max_tokens)
        most = min(trio.n_outputs, trio.n_batch, limit - len(text.tokens)) - 1
        return self._speculator.plan(text, most, self._engine.costs)

    def run(self, text: Text, draft: Draft) -> int:
        """Draft some tokens, check them all in one batch; returns how many were right.

        Each row is fused and sampled with the tokens that really stand before it, and the noise
        is a function of the position, so nothing shows that the tokens were guessed first.
        """
        at, n_rows = len(text.tokens) - 1, draft.depth + 1
        offset, learns = self._speculator.offset(draft.name), not text.plausibility
        drafts, kept, drafted = self._guess(text, draft, offset)
        ahead = [*text.tokens, *drafts]
        checked = self._check(text, ahead, at, [r for r in text.roles if r not in kept])
        right = came = 0
        while text.stop is None and right == came:
            if right == draft.depth and not kept.keys().isdisjoint(text.roles):
                self._step(text, ahead, kept)  # all were right: one more token comes
            rows = {role: (kept.get(role) or checked[role])[right] for role in text.roles}
            token = self._engine.pick(text, rows)
            if right < draft.depth and drafted and learns:
                offset.note(self._engine.row, drafted[right])
            self._accept(text, token)
            came += 1
            right += right < n_rows - 1 and token == drafts[right]
        lanes_of(text).rewind(len(text.tokens) - 1)
        return right

    def _guess(
        self, text: Text, draft: Draft, offset: Offset
    ) -> tuple[list[int], dict[str, list[Row]], list[Row]]:
        """Tokens that may come; the rows of the stepped roles; what each was drafted from.

        The roles are fed all but the last draft; what a token was drafted from is without `offset`.
        """
        ahead, drafted = [*text.tokens, *draft.guesses], list[Row]()
        n_ahead = len(text.tokens) + draft.depth
        kept: dict[str, list[Row]] = {role: [] for role in draft.steps}
        for role in draft.steps:  # one that takes no part in the fusion lags behind
            self._engine.catch_up(lanes_of(text), role, text.tokens[:-1])
        while len(ahead) < n_ahead:
            last = self._step(text, ahead, kept)
            drafted.append(fuse(last, draft.steps, np.empty_like(self._engine.buffer())))
            row = offset.add_to(drafted[-1])
            ahead.append(text.sampler.pick(row, ahead, len(ahead)))
        return ahead[len(text.tokens) :], kept, drafted

    def _step(self, text: Text, ahead: list[int], kept: dict[str, list[Row]]) -> dict[str, Row]:
        """Step the roles of `kept` by one position; their rows, which `kept` holds from then on."""
        at = lanes_of(text).cached(next(iter(kept)))
        for role, row in self._engine.step(text, tuple(kept), ahead, at + 1).items():
            kept[role].append(row.copy())
        return {role: own[-1] for role, own in kept.items()}

    def _check(self, text: Text, ahead: list[int], at: int, roles: list[str]) -> dict[str, Rows]:
        """Rows of all positions from `at` on, of these roles."""
        if not roles:
            return {}
        lanes, n_rows = lanes_of(text), len(ahead) - at
        feeds = {role: lanes[role].feeds(ahead, len(ahead), n_rows) for role in roles}
        part = Part(text, feeds, dict.fromkeys(roles, len(ahead)), at, n_rows)
        return self._engine.evaluate([part])[0]
