"""Which tokens to guess ahead, and whether guessing pays. No model is touched here.

In a round of speculative decoding some tokens are drafted: by stepping the small roles alone, whose
logits are kept, or by looking up how the text went on before. The other roles then evaluate all
drafts in one batch, which costs far less than as many steps (llama.cpp's `speculative` example; the
lookup is that of its `lookup` example). What is accepted is what plain stepping would have given:
`Decoder` fuses and samples row by row and stops at the first difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..fusion import Row, Weights, fuse
from .draft_costs import Costs, Time
from .draft_guesses import MOST_DRAFTS, Acceptance, Lookup, Offset
from .text import Text

# Drafts of a round that are tried in auto mode; kernels that work in rows of four like 3 + 1.
DEPTHS = (1, 2, 3, 5, 7, 11, MOST_DRAFTS)
# A round must promise this much more than a step: below it is noise.
_MARGIN = 1.03
# What finding out may cost: this part of all the time, and so many plain steps besides.
_MAY_LOSE, _MAY_LOSE_STEPS = 0.02, 2.0
# Tokens of plain stepping before a drafter that did not pay is tried again; doubles up to the last.
_RETRY, _RETRY_MOST = 64, 2048
# Rounds after which a plain step is measured again: at first, and at most.
_STEP_AFTER, _STEP_AFTER_MOST = 8, 64
# Plain steps after one that was found the best, before all is reckoned anew.
_REST = 3
# Plain steps that look whether a draft would have been right: the first ones, then one in so many.
_LOOK_FIRST, _LOOK_EVERY = 8, 8


@dataclass(frozen=True)
class Draft:
    """How one round is drafted.

    Attributes:
        name: of the drafter.
        steps: role -> coefficient of its logits in the draft; these roles are stepped one by one.
            Empty where the tokens are known already.
        depth: how many tokens are drafted.
        guesses: the tokens, where they are known already.
    """

    name: str
    steps: Mapping[str, float]
    depth: int
    guesses: tuple[int, ...] = ()


def expected_tokens(rate: float, depth: int) -> float:
    """Tokens that a round of `depth` drafts yields on average: 1 + rate + ... + rate^depth."""
    return sum(rate**i for i in range(depth + 1))


@dataclass
class Speculator:
    """Chooses the draft of each round by measured acceptance and measured seconds.

    Whether a draft would have been right shows in plain steps too, where cpt is evaluated anyway:
    rounds are tried where they promise to pay, and may lose no more than a fixed part of the time.

    Args:
        depth: drafts of every round; None adapts, and steps plainly where drafting does not pay.
        draft_role: a model that is no part of the fusion and only drafts; None for none.

    Attributes:
        rounds: so far.
        drafted: tokens of all rounds.
        compared: of them, those up to the first wrong one of each round, or to the text's end.
        accepted: of these, the right ones.
    """

    depth: int | None = None
    draft_role: str | None = None
    rounds: int = 0
    drafted: int = 0
    compared: int = 0
    accepted: int = 0
    _acceptance: dict[str, Acceptance] = field(default_factory=dict)
    _offsets: dict[str, Offset] = field(default_factory=dict)
    _lookup: Lookup = field(default_factory=Lookup)
    _weights: Weights | None = None
    _roles: tuple[str, ...] = ()
    _step: Time = field(default_factory=Time)
    _seconds: float = 0.0
    _gained: float = 0.0
    _rounds_since_step: int = 0
    _resting: int = 0
    _until_retry: int = _RETRY
    _retry: int = _RETRY

    @property
    def most(self) -> int:
        """The most drafts of a round: a role must give one logits row more."""
        return self.depth or MOST_DRAFTS

    def plan(self, text: Text, most: int, costs: Costs) -> Draft | None:
        """The draft of the next round, of at most `most` tokens; None to step plainly."""
        if text.weights != self._weights:
            self._forget(text.weights)
        if self._resting > 0:
            self._resting -= 1
            return None
        drafters = self._drafters(text)
        if most < 1 or not drafters:
            return None
        if self.depth is not None:
            name = "lookup" if "lookup" in drafters else next(iter(drafters))
            return self._draft(name, drafters[name], min(self.depth, most))
        if self._wants_step() or not self._may_lose():
            return None
        speed, depth, name = max(
            (self._speed(name, steps, depth, costs), -depth, name)
            for name, steps in drafters.items()
            for depth in DEPTHS
            if depth <= most
        )
        if speed * self._step.seconds > _MARGIN or self._is_time_to_retry():
            return self._draft(name, drafters[name], -depth)
        self._resting = _REST if self._step.n > _LOOK_FIRST else 0
        return None

    def offset(self, name: str) -> Offset:
        """What to add to the logits of a drafter."""
        return self._offsets.setdefault(name, Offset())

    def look(self, text: Text, rows: Mapping[str, Row], fused: Row, token: int) -> None:
        """See whether drafts would have been right, in some of the plain steps.

        Args:
            text: as it was before `token`.
            rows: role -> its logits, shape [n_tokens].
            fused: what `token` was sampled from, shape [n_tokens].
            token: what the plain step gave.
        """
        if self.depth is not None or (self._step.n >= _LOOK_FIRST and self._step.n % _LOOK_EVERY):
            return
        for name, steps in self._drafters(text).items():
            if steps and all(role in rows for role in steps):
                offset = self.offset(name)
                drafted = fuse(rows, steps, np.empty_like(fused))
                before, likely = text.tokens, offset.add_to(drafted)
                guess = text.sampler.pick(likely, before, len(before))
                offset.note(fused, drafted)
            elif name == "lookup":
                guess = self._lookup.guesses[0]
            else:
                continue
            self._accepted(name).note(int(token == guess), 1)

    def note_step(self, seconds: float) -> None:
        """A plain step of one sequence took `seconds`."""
        self._step.note(seconds)
        self._seconds += seconds
        self._until_retry -= 1
        self._rounds_since_step = 0

    def note_round(self, draft: Draft, right: int, n_tokens: int, seconds: float) -> None:
        """A round gave `n_tokens` in `seconds`; its first `right` drafts were right."""
        compared = min(n_tokens, draft.depth)
        self.rounds += 1
        self.drafted += draft.depth
        self.compared += compared
        self.accepted += right
        self._rounds_since_step += 1
        self._seconds += seconds
        self._gained += n_tokens * self._step.seconds - seconds
        self._accepted(draft.name).note(right, compared)

    def _forget(self, weights: Weights) -> None:
        """Other weights: drafts are right at another rate; other roles take other seconds too."""
        self._acceptance.clear()
        self._offsets.clear()
        if self._weights is None or weights.roles != self._roles:
            self._step, self._retry, self._until_retry = Time(), _RETRY, _RETRY
            self._seconds = self._gained = 0.0
            self._rounds_since_step = self._resting = 0
        self._weights, self._roles = weights, weights.roles

    def _wants_step(self) -> bool:
        after = min(_STEP_AFTER * self._step.n, _STEP_AFTER_MOST)
        return self._rounds_since_step >= after

    def _may_lose(self) -> bool:
        """Whether rounds have cost no more than they may, against as many plain steps."""
        may = _MAY_LOSE * self._seconds + _MAY_LOSE_STEPS * self._step.seconds
        return self._gained > -may

    def _drafters(self, text: Text) -> dict[str, dict[str, float]]:
        """Name -> coefficients of the roles to step, for every way to draft; the best first.

        cpt and base together, in the proportion of the weights, are no better than cpt alone
        (benchmarks/acceptance.py) and cost a step of base for each draft.
        """
        coefficients = text.weights.coefficients
        drafters: dict[str, dict[str, float]] = {}
        if self.draft_role:
            drafters["draft"] = {self.draft_role: 1.0}
        if "cpt" in coefficients and len(coefficients) > 1:
            drafters["cpt"] = {"cpt": 1.0}
        if self._lookup.find(text):
            drafters["lookup"] = {}
        return drafters

    def _draft(self, name: str, steps: dict[str, float], depth: int) -> Draft:
        guesses = self._lookup.guesses[:depth] if name == "lookup" else ()
        return Draft(name, steps, len(guesses) or depth, tuple(guesses))

    def _accepted(self, name: str) -> Acceptance:
        return self._acceptance.setdefault(name, Acceptance())

    def _speed(self, name: str, steps: Mapping[str, float], depth: int, costs: Costs) -> float:
        """Tokens a second that a round is expected to give."""
        if name == "lookup":
            depth = min(depth, len(self._lookup.guesses))
        rate = self._accepted(name).rate
        # What a step takes besides the models, a round takes for every batch.
        besides = max(self._step.seconds - costs.all(self._roles, 1), 0.0)
        seconds = besides + costs.all([r for r in self._roles if r not in steps], depth + 1)
        if steps:
            seconds += depth * (besides + costs.all(steps, 1))
            last = [role for role in steps if role in self._roles]
            seconds += rate**depth * costs.all(last, 1)  # stepped only if all drafts are right
        return expected_tokens(rate, depth) / seconds

    def _is_time_to_retry(self) -> bool:
        if self._until_retry > 0:
            return False
        self._retry = min(self._retry * 2, _RETRY_MOST)
        self._until_retry = self._retry
        return True
