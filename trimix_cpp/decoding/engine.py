"""The arithmetic of a step: batches for every role, their rows, and the token that is picked."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from ..fusion import Row, Rows, control_from_large, fuse, keep_plausible, score
from .draft_costs import Costs
from .feeds import Feed
from .lanes import Lanes
from .parts import Part, count, lanes_of
from .text import Text, Timings
from .trio import Trio

# Of a role that is fed nothing: its lane has what it needs.
_NO_ROWS: Rows = np.empty((0, 0), np.float32)


class Engine:
    """Evaluates what it is told to, and keeps count of what that took.

    Attributes:
        trio: the roles.
        timings: seconds of models, fusion and sampling are counted here.
        costs: where it is noted what batches took; None notes nothing.
        row: what the last token was picked from, float32 [n_tokens].
        feeding: the texts of the batch that is evaluated.
    """

    def __init__(self, trio: Trio) -> None:
        self.trio, self.timings = trio, Timings()
        self.costs: Costs | None = None
        self.row: Row = np.empty(0, np.float32)
        self.feeding: tuple[Text, ...] = ()

    def evaluate(self, parts: Sequence[Part]) -> list[dict[str, Rows]]:
        """Decode one batch; for each part its rows, by role: shape [n_rows, n_tokens]."""
        feeds: dict[str, list[Feed]] = {}
        for part in parts:
            for role, own in part.feeds.items():
                feeds.setdefault(role, []).extend(own)
        logits = self._decode(feeds, tuple(part.text for part in parts))
        if self.costs:
            for role, own in feeds.items():
                if own:
                    self.costs.note(role, count(own), self.trio.seconds[role])
        at = dict.fromkeys(feeds, 0)
        found = []
        for part in parts:
            lanes, rows = lanes_of(part.text), {}
            for role, own in part.feeds.items():
                lane, first = lanes[role], at[role]
                at[role] += sum([feed.n_logits for feed in own])
                rows[role] = lane.rows(logits[role][first : at[role]])
                lane.cached = part.ends[role]
            found.append(rows)
        return found

    def step(
        self, text: Text, roles: Sequence[str], tokens: Sequence[int], end: int
    ) -> dict[str, Row]:
        """Feed roles the one token that they lack to get to `end`; their rows [n_tokens]."""
        own = lanes_of(text)
        lanes = {role: own[role] for role in roles}
        feeds = {role: lane.feeds(tokens, end, 1) for role, lane in lanes.items()}
        logits = self._decode(feeds, (text,))
        rows = {}
        for role, lane in lanes.items():
            rows[role] = lane.rows(logits[role])[-1]
            lane.cached = end
            if self.costs and feeds[role]:
                self.costs.note(role, 1, self.trio.seconds[role])
        return rows

    def catch_up(self, lanes: Lanes, role: str, tokens: Sequence[int]) -> None:
        """Feed a role what it lacks of `tokens`, without rows."""
        lane = lanes[role]
        while lane.cached < len(tokens):
            end = lane.reach(tokens, self.trio.n_batch)
            logits = self._decode({role: lane.feeds(tokens, end, 0)}, ())
            lane.rows(logits[role])
            lane.cached = end

    def _decode(self, feeds: dict[str, list[Feed]], texts: tuple[Text, ...]) -> dict[str, Rows]:
        self.feeding, fed = texts, {role: own for role, own in feeds.items() if own}
        try:
            logits = self.trio.decode(fed) if fed else {}
        finally:
            self.feeding = ()
        self.timings.models += sum([self.trio.seconds[role] for role in fed])
        return {role: logits.get(role, _NO_ROWS) for role in feeds}

    def pick(self, text: Text, rows: dict[str, Row]) -> int:
        """The next token, by the rows of one position.

        Raises:
            TrimixError: a logit is NaN or infinite; the role is named.
        """
        began = time.perf_counter()
        coefficients = text.weights.coefficients
        row = fuse(rows, coefficients, self.buffer())
        of = self.trio.alignment.of(text.weights.roles)
        if len(of.lacked):
            row[of.lacked] = -np.inf
        if text.plausibility:
            keep_plausible(row, rows[text.plausibility.role], text.plausibility.threshold)
        if text.control == "large" and "large" in coefficients and len(coefficients) > 1:
            control_from_large(row, rows["large"], of.special, out=row)
        if (may := self.trio.may_come(text.tokens)) is not None:
            row[~may] = -np.inf
        fused = time.perf_counter()
        token = text.sampler.pick(row, text.tokens, len(text.tokens))
        if text.n_top is not None:
            del text.scores[len(text.tokens) - text.n_prompt :]  # of a step that was interrupted
            text.scores.append(score(row, token, text.n_top, rows if text.by_role else None))
        self.timings.fusion += fused - began
        self.timings.sampling += time.perf_counter() - fused
        return token

    def count(self, parts: Sequence[Part], seconds: float) -> None:
        """What a step took, divided among prompts and generation by the tokens that were fed."""
        prompt = generated = 0
        for part in parts:
            fed, timings = part.n_fed, part.text.timings
            if fed > 1:
                prompt += fed
                timings.prompt_tokens += fed
                timings.prompt_seconds += seconds
            else:
                generated += fed
                timings.generation_seconds += seconds
        self.timings.prompt_tokens += prompt
        share = prompt / (prompt + generated) if prompt else 0.0
        self.timings.prompt_seconds += share * seconds
        self.timings.generation_seconds += (1 - share) * seconds

    def buffer(self) -> Row:
        """Where a row is fused; its length is known when a role is loaded."""
        if len(self.row) != self.trio.n_tokens:
            self.row = np.empty(self.trio.n_tokens, np.float32)
        return self.row
