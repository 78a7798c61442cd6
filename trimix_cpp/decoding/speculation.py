"""Who drafts the next tokens, and how many: what was seen so far, for `policy`. Runs no model.

In a round of speculative decoding some tokens are drafted, and the other roles then evaluate them
all in one batch, which may cost far less than as many steps (llama.cpp's `speculative` example).
cpt drafts by its own choices, stepped alone; what the text said before (llama.cpp's `lookup`
example) or a smaller model may guess these ahead, so that cpt too evaluates several in a batch.
What is accepted is what plain stepping would have given: `Rounds` fuses and samples row by row and
stops at the first difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..fusion import Row, Weights
from .draft_costs import Costs, Time
from .draft_guesses import MOST_DRAFTS, Lookup, Offset
from .policy import Belief, best_depth
from .text import Text

# Texts that are drafted for together; with more of them a plain batch is large enough.
MOST_TOGETHER = 4
# Plain steps before the first round: they show for nothing whether drafts would have been right.
_LOOKS = 2
# Of the later ones, one in so many looks; so many rounds after one, it is measured anew.
_LOOK_EVERY, _STEP_AFTER = 2, 64


@dataclass(frozen=True)
class Draft:
    """How one round is drafted.

    Attributes:
        name: of the drafter: a role, or "lookup".
        depth: how many tokens are drafted.
        guesses: tokens that the text itself suggests; the drafts, or what the role checks.
        guesser: a role that guesses what the drafter will choose; None for none.
        ahead: how many tokens it guesses at a time.
    """

    name: str
    depth: int
    guesses: tuple[int, ...] = ()
    guesser: str | None = None
    ahead: int = 0

    @property
    def role(self) -> str | None:
        """Whose choices the drafts are; None where they are the text's own."""
        return None if self.name == "lookup" else self.name


@dataclass
class Speculator:
    """Chooses the draft of each round by what drafts and batches were seen to be worth.

    Args:
        depth: drafts of every round; None adapts, and steps plainly where drafting does not pay.
        draft_role: a model that is no part of the fusion and only guesses; None for none.
        costs: what batches take, if that is known from before.
        looks_up: what the text said before is guessed again.

    Attributes:
        rounds: so far.
        drafted: tokens of all rounds.
        compared: of them, those up to the first wrong one of each round, or to the text's end.
        accepted: of these, the right ones.
    """

    depth: int | None = None
    draft_role: str | None = None
    costs: Costs = field(default_factory=Costs)
    looks_up: bool = True
    rounds: int = 0
    drafted: int = 0
    compared: int = 0
    accepted: int = 0
    _beliefs: dict[str, Belief] = field(default_factory=dict)
    _offsets: dict[str, Offset] = field(default_factory=dict)
    _lookup: Lookup = field(default_factory=Lookup)
    _weights: Weights | None = None
    _steps: dict[int, Time] = field(default_factory=dict)
    _rounds_since_step: int = 0
    _is_resting: bool = False

    @property
    def most(self) -> int:
        """The most drafts of a round: a role must give one logits row more."""
        return self.depth or MOST_DRAFTS

    def plan(self, texts: Sequence[Text], most: int) -> Draft | None:
        """The draft of the next round of one text, or of some with the same weights.

        `most`: tokens of each that there is room for. None to step plainly.
        """
        if texts[0].weights != self._weights:
            self._forget(texts[0].weights)
        step = self._step(len(texts))
        most = min(most, self.most)
        drafters = self._drafters(texts)
        if most < 1 or not drafters:
            return None
        if self.depth is not None:
            return self._draft(texts, drafters[0], most)
        if step.n < _LOOKS or self._rounds_since_step >= _STEP_AFTER:
            return None
        if "lookup" not in drafters and self._is_resting and not self.looks(len(texts)):
            return None  # nothing was learned since
        choices = [(*self._best(texts, name, most), name) for name in drafters]
        depth, _, name = max(choices, key=lambda choice: choice[1])
        self._is_resting = not depth
        return self._draft(texts, name, depth) if depth else None

    def belief(self, name: str) -> Belief:
        """How often the drafts of a drafter are right, or with "a>b" the guesses of a about b."""
        return self._beliefs.setdefault(name, Belief())

    def offset(self, name: str) -> Offset:
        """What to add to the logits of a drafter."""
        return self._offsets.setdefault(name, Offset())

    def look(self, text: Text, rows: Mapping[str, Row], fused: Row, token: int) -> None:
        """See in a plain step whether drafts would have been right.

        Args:
            text: as it was before `token`.
            rows: role -> its logits, shape [n_tokens].
            fused: what `token` was sampled from, shape [n_tokens].
            token: what the plain step gave.
        """
        for name in self._drafters([text]):
            if name == "lookup":
                guess = self._lookup.guesses[0]
            elif name in rows:
                offset = self.offset(name)
                before, likely = text.tokens, offset.add_to(rows[name])
                guess = text.sampler.pick(likely, before, len(before))
                offset.note(fused, rows[name])
            else:
                continue
            self.belief(name).note(int(token == guess), 1)

    def looks(self, n_texts: int = 1) -> bool:
        """Whether the next plain step of so many texts should `look`."""
        done = self._step(n_texts).n
        return self.depth is None and (done <= _LOOKS or done % _LOOK_EVERY == 0)

    def note_step(self, seconds: float, n_texts: int = 1) -> None:
        """A plain step, a token for each of some texts, took `seconds`."""
        self._step(n_texts).note(seconds)
        self._rounds_since_step = 0

    def note_round(self, draft: Draft, right: int, n_tokens: int) -> None:
        """A round gave a text `n_tokens`; its first `right` drafts were right."""
        compared = min(n_tokens, draft.depth)
        self.drafted += draft.depth
        self.compared += compared
        self.accepted += right
        self.rounds += 1
        self._rounds_since_step += 1
        self.belief(draft.name).note(right, compared)

    def _step(self, n_texts: int) -> Time:
        return self._steps.setdefault(n_texts, Time())

    def _forget(self, weights: Weights) -> None:
        """Other weights: drafts are right at another rate; other roles take other seconds too."""
        self._beliefs.clear()
        self._offsets.clear()
        if self._weights is None or weights.roles != self._weights.roles:
            self._steps.clear()
            self._rounds_since_step = 0
        self._is_resting = False
        self._weights = weights

    def _drafters(self, texts: Sequence[Text]) -> list[str]:
        """Every way to draft, the one for a fixed depth first.

        cpt and base together, in the proportion of the weights, are right less often than cpt
        alone and cost a step of base for each draft (docs/performance.md).
        """
        drafters, roles = [], texts[0].weights.roles
        if "cpt" in roles and len(roles) > 1:
            drafters.append("cpt")
        elif self.draft_role:
            drafters.append(self.draft_role)
        # Guesses are of one text: several go on in step, by what they all have.
        self._lookup.guesses = []
        if self.looks_up and len(texts) == 1 and self._lookup.find(texts[0]):
            drafters.append("lookup")
        return drafters

    def _draft(self, texts: Sequence[Text], name: str, depth: int) -> Draft:
        guesses = tuple(self._lookup.guesses[:depth])
        if name == "lookup":
            return Draft(name, len(guesses), guesses)
        guesser, ahead, _ = self._guesser(texts, name, depth - 1)
        if guesser == "lookup":
            return Draft(name, depth, guesses[:ahead])
        return Draft(name, depth, (), guesser, ahead)

    def _best(self, texts: Sequence[Text], name: str, most: int) -> tuple[int, float]:
        """The best depth of a drafter, and the tokens a second that it promises each text."""
        n, roles, costs = len(texts), texts[0].weights.roles, self.costs
        besides = self._besides(texts)
        _, _, drafting = self._guesser(texts, name, most - 1)

        def seconds(depth: int, all_right: float) -> float:
            checked = besides + costs.all([r for r in roles if r != name], n * (depth + 1))
            if name == "lookup":
                return checked
            # It is stepped once more for those whose drafts are all right.
            last = costs.of(name, n) * (1 - (1 - all_right) ** n) if name in roles else 0.0
            return checked + depth * drafting + last

        most = min(most, len(self._lookup.guesses)) if name == "lookup" else most
        return best_depth(self._step(n).seconds, seconds, self.belief(name), most)

    def _guesser(
        self, texts: Sequence[Text], name: str, most: int
    ) -> tuple[str | None, int, float]:
        """Who guesses how far ahead what the drafter will choose; its seconds for a draft then.

        The same decision as that of a round, one floor down: the drafter's step is the plain one.
        """
        n, besides, costs = len(texts), self._besides(texts), self.costs
        step = besides + costs.of(name, n)
        found: tuple[str | None, int, float] = (None, 0, step)
        if not step or name == "lookup" or n > 1:
            return found
        guessers = {"lookup": len(self._lookup.guesses)}
        if self.draft_role and name != self.draft_role:
            guessers[self.draft_role] = most
        for guesser, ahead in guessers.items():
            each = besides + costs.of(guesser, 1) if guesser == self.draft_role else 0.0

            def seconds(depth: int, all_right: float, each: float = each) -> float:
                return besides + costs.of(name, depth + 1) + depth * each

            belief = self.belief(f"{guesser}>{name}")
            depth, speed = best_depth(step, seconds, belief, min(ahead, most))
            if depth and 1 / speed < found[2]:
                found = guesser, depth, 1 / speed
        return found

    def _besides(self, texts: Sequence[Text]) -> float:
        """Seconds that a step takes besides the models: a round takes them for every batch."""
        n = len(texts)
        return max(self._step(n).seconds - self.costs.all(texts[0].weights.roles, n), 0.0)
