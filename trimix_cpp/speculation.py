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

from .sequence import Sequence

# Drafts of a round that are tried in auto mode; kernels that work in rows of four like 3 + 1.
DEPTHS = (1, 2, 3, 5, 7, 11, 15)
MOST_DRAFTS = DEPTHS[-1]
# A batch of n + 1 tokens is taken to cost 1 + n * this many single tokens until it is measured.
_BATCH_GUESS = 0.06
# How fast new measurements of time replace old ones.
_RATE = 0.25
# A round must promise this much more than a step: below it is noise.
_MARGIN = 1.03
# Tokens of plain stepping before a drafter that did not pay is tried again; doubles up to the last.
_RETRY, _RETRY_MOST = 64, 2048
# Plain steps to measure first, and rounds after which one is measured again.
_STEPS_FIRST, _STEP_EVERY = 3, 64
_NGRAMS = (4, 3, 2)


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


@dataclass
class Acceptance:
    """How often a drafter's next token is the fused one; starts hopeful, forgets slowly."""

    hits: float = 4.8
    trials: float = 6.0

    @property
    def rate(self) -> float:
        """Estimated probability that one more draft is accepted."""
        return self.hits / self.trials

    def note(self, accepted: int, drafted: int) -> None:
        """A round in which `accepted` of `drafted` tokens were right, up to the first wrong one."""
        trials = accepted + (accepted < drafted)
        keep = 0.97**trials
        self.hits = self.hits * keep + accepted
        self.trials = self.trials * keep + trials


def expected_tokens(rate: float, depth: int) -> float:
    """Tokens that a round of `depth` drafts yields on average: 1 + rate + ... + rate^depth."""
    return sum(rate**i for i in range(depth + 1))


@dataclass
class Time:
    """Seconds that something takes: the least of the first few times, then a moving average."""

    seconds: float = 0.0
    n: int = 0

    def note(self, seconds: float) -> None:
        """One more measurement."""
        self.n += 1
        if self.n <= _STEPS_FIRST:
            self.seconds = min(self.seconds or seconds, seconds)
        else:
            self.seconds += _RATE * (seconds - self.seconds)


@dataclass
class Speculator:
    """Chooses the draft of each round by measured acceptance and measured seconds.

    Args:
        depth: drafts of every round; None adapts, and steps plainly where drafting does not pay.
        draft_role: a model that is no part of the fusion and only drafts; None for none.
    """

    depth: int | None = None
    draft_role: str | None = None
    rounds: int = 0
    drafted: int = 0
    accepted: int = 0
    _acceptance: dict[str, Acceptance] = field(default_factory=dict)
    _round: dict[tuple[str, int], Time] = field(default_factory=dict)
    _step: Time = field(default_factory=Time)
    _role: dict[str, Time] = field(default_factory=dict)
    _lookup: Lookup = field(default_factory=lambda: Lookup())
    _roles: tuple[str, ...] = ()
    _rounds_since_step: int = 0
    _until_retry: int = _RETRY
    _retry: int = _RETRY

    @property
    def most(self) -> int:
        """The most drafts of a round: a role must give one logits row more."""
        return self.depth or MOST_DRAFTS

    def plan(self, sequence: Sequence, most: int) -> Draft | None:
        """The draft of the next round, of at most `most` tokens; None to step plainly."""
        if sequence.weights.roles != self._roles:
            self._forget(sequence.weights.roles)
        drafters = self._drafters(sequence)
        if most < 1 or not drafters:
            return None
        if self.depth is not None:
            name = "lookup" if "lookup" in drafters else next(iter(drafters))
            return self._draft(name, drafters[name], min(self.depth, most))
        if self._step.n < _STEPS_FIRST or self._rounds_since_step >= _STEP_EVERY:
            return None
        speed, depth, name = max(
            (self._speed(name, steps, depth), -depth, name)
            for name, steps in drafters.items()
            for depth in DEPTHS
            if depth <= most
        )
        if speed * self._step.seconds > _MARGIN or self._is_time_to_retry():
            return self._draft(name, drafters[name], -depth)
        return None

    def note_step(self, seconds: float, role_seconds: Mapping[str, float]) -> None:
        """A plain step of one sequence took `seconds`, and each role its own."""
        self._step.note(seconds)
        for role, own in role_seconds.items():
            self._role.setdefault(role, Time()).note(own)
        self._until_retry -= 1
        self._rounds_since_step = 0

    def note_round(self, draft: Draft, accepted: int, seconds: float) -> None:
        """A round took `seconds`, and `accepted` of its drafts were right."""
        self.rounds += 1
        self.drafted += draft.depth
        self.accepted += accepted
        self._rounds_since_step += 1
        self._acceptance[draft.name] = acceptance = self._accepted(draft.name)
        acceptance.note(accepted, draft.depth)
        self._round.setdefault((draft.name, draft.depth), Time()).note(seconds)

    def _forget(self, roles: tuple[str, ...]) -> None:
        """Other weights: acceptance and costs are others."""
        self._roles = roles
        self._acceptance.clear()
        self._round.clear()
        self._step, self._retry, self._until_retry = Time(), _RETRY, _RETRY

    def _drafters(self, sequence: Sequence) -> dict[str, dict[str, float]]:
        """Name -> coefficients of the roles to step, for every way to draft; the best first."""
        coefficients = sequence.weights.coefficients
        drafters: dict[str, dict[str, float]] = {}
        if self.draft_role:
            drafters["draft"] = {self.draft_role: 1.0}
        if "cpt" in coefficients and len(coefficients) > 1:
            drafters["cpt"] = {"cpt": 1.0}
            small = {role: coefficients[role] for role in ("cpt", "base") if role in coefficients}
            scale = sum(small.values())
            if len(coefficients) > len(small) > 1 and scale > 0:
                drafters["cpt+base"] = {role: value / scale for role, value in small.items()}
        if self._lookup.find(sequence):
            drafters["lookup"] = {}
        return drafters

    def _draft(self, name: str, steps: dict[str, float], depth: int) -> Draft:
        guesses = self._lookup.guesses[:depth] if name == "lookup" else ()
        return Draft(name, steps, len(guesses) or depth, tuple(guesses))

    def _speed(self, name: str, steps: Mapping[str, float], depth: int) -> float:
        """Tokens a second that a round is expected to give."""
        if name == "lookup":
            depth = min(depth, len(self._lookup.guesses))
        rate = self._accepted(name).rate
        return expected_tokens(rate, depth) / self._round_seconds(name, steps, depth)

    def _accepted(self, name: str) -> Acceptance:
        """What is known of a drafter; of a new one that it does little better than cpt alone."""
        if name in self._acceptance:
            return self._acceptance[name]
        known = self._acceptance.get("cpt") if name == "cpt+base" else None
        return Acceptance(4 * known.rate + 1, 5) if known else Acceptance()

    def _round_seconds(self, name: str, steps: Mapping[str, float], depth: int) -> float:
        """What a round takes; a guess from the roles' steps until it was measured twice."""
        measured = self._round.get((name, depth), Time())
        if measured.n > 1:
            return measured.seconds
        own = {role: self._role[role].seconds for role in self._role}
        drafting = sum(own.get(role, 0.0) for role in steps)
        checking = sum(own.get(role, 0.0) for role in self._roles if role not in steps)
        guess = self._step.seconds + depth * (drafting + _BATCH_GUESS * checking)
        if measured.n:
            guess = min(guess, measured.seconds)
        # A longer batch takes no less than a shorter one that fills whole rows of four.
        for (other, shorter), time in self._round.items():
            if other == name and shorter < depth and shorter % 4 == 3 and time.n > 1:
                guess = max(guess, time.seconds + (depth - shorter) * drafting)
        return guess

    def _is_time_to_retry(self) -> bool:
        if self._until_retry > 0:
            return False
        self._retry = min(self._retry * 2, _RETRY_MOST)
        self._until_retry = self._retry
        return True


@dataclass
class Lookup:
    """How the text went on after its last few tokens when they stood there before."""

    guesses: list[int] = field(default_factory=list)
    _ends: dict[tuple[int, ...], int] = field(default_factory=dict)
    _sequence: Sequence | None = None
    _seen: int = 0

    def find(self, sequence: Sequence) -> bool:
        """Look for the longest known ending of its tokens; `guesses` then holds what followed."""
        tokens = sequence.tokens
        if sequence is not self._sequence or len(tokens) < self._seen:
            self._ends.clear()
            self._sequence, self._seen = sequence, 0
        # The ending itself is left out: it would find itself.
        for end in range(max(self._seen, 1), len(tokens)):
            for n in _NGRAMS:
                if n <= end:
                    self._ends[tuple(tokens[end - n : end])] = end
        self._seen = len(tokens)
        self.guesses = []
        for n in _NGRAMS:
            found = self._ends.get(tuple(tokens[-n:])) if len(tokens) >= n else None
            if found is not None:
                self.guesses = tokens[found : found + MOST_DRAFTS]
                break
        return bool(self.guesses)
