"""Drafting on simulated machines: never worse than plain stepping, nearly as good as hindsight."""

from __future__ import annotations

import random
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.decoding.draft_costs import Costs, between
from trimix_cpp.decoding.policy import MARGIN, SIZES, Belief, best_depth
from trimix_cpp.decoding.speculation import Speculator
from trimix_cpp.decoding.text import Text
from trimix_cpp.fusion.weights import Weights

# Single tokens of large that a batch costs, and a step of cpt. The first two were measured
# (docs/performance.md: 7B Q4_K_M beside 1.5B); the others are of kinds that users have.
EPYC = {1: 1, 2: 1.57, 3: 2.1, 4: 2.74, 5: 2.98, 6: 3.72, 8: 5.06, 12: 6.7, 16: 6.01, 32: 11.5}
XEON = {1: 1, 2: 1.81, 3: 2.51, 4: 1.37, 6: 2.95, 8: 2.72, 12: 3.79, 16: 3.25}
LAPTOP = {1: 1, 2: 1.04, 4: 1.13, 8: 1.5, 16: 2.7}
GPU = {1: 1, 16: 1.1}
MACHINES = {"epyc": (EPYC, 0.2), "xeon": (XEON, 0.2), "laptop": (LAPTOP, 0.25), "gpu": (GPU, 0.4)}
RATES = [0.0, 0.3, 0.5, 0.7, 0.85, 0.95, 0.98]


class Machine:
    """Takes its time for batches; drafts of cpt are right by luck."""

    def __init__(self, name: str, rate: float) -> None:
        self.batches, self.cpt = MACHINES[name]
        self.rate = rate

    def best(self, n_tokens: int) -> float:
        """How much faster than plain stepping the best constant depth is, on average."""
        return max(self._constant(depth, n_tokens) for depth in (0, *(n - 1 for n in SIZES)))

    def _constant(self, most: int, n_tokens: int) -> float:
        seconds = [0.0]  # for the last n tokens, n = 0, 1, ...
        for left in range(1, n_tokens + 1):
            depth = min(most, left - 1)
            steps = depth + self.rate**depth
            mean = between(self.batches, depth + 1) + steps * self.cpt
            for right in range(depth):
                mean += self.rate**right * (1 - self.rate) * seconds[left - right - 1]
            seconds.append(mean + self.rate**depth * seconds[left - depth - 1])
        return n_tokens * (1 + self.cpt) / seconds[-1]

    def speed(self, n_tokens: int, seed: int, *, known: bool = True) -> float:
        """What the policy makes of it; whether costs are `known` or learned on the way."""
        luck, done, seconds = random.Random(seed), 0, 0.0
        steps = {"large": self.batches, "cpt": {1: 1.0, 2: 1.5}} if known else {}
        speculator = Speculator(costs=Costs(steps), looks_up=False)
        costs, text = speculator.costs, Text([1], Weights(0.1, 0.9))
        while done < n_tokens:
            draft = speculator.plan([text], n_tokens - done - 1)
            depth = draft.depth if draft else 0
            right = 0
            while right < depth and luck.random() < self.rate:
                right += 1
            took = between(self.batches, depth + 1)
            costs.note("large", depth + 1, took)
            costs.note("cpt", 1, self.cpt)
            took += (depth + (right == depth)) * self.cpt
            if draft:
                speculator.note_round(draft, right, right + 1)
            else:
                if speculator.looks():
                    speculator.belief("cpt").note(int(luck.random() < self.rate), 1)
                speculator.note_step(took)
            seconds += took
            done += right + 1
        return n_tokens * (1 + self.cpt) / seconds


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", MACHINES)
def test_it_never_loses_and_is_nearly_as_good_as_hindsight(name: str, rate: float) -> None:
    machine = Machine(name, rate)
    n = 60 if rate > 0.6 else 10  # there texts differ more
    short = mean(machine.speed(50, seed) for seed in range(2 * n))
    long = mean(machine.speed(200, seed) for seed in range(n))
    assert min(short, long) >= 0.97
    assert short >= 0.9 * machine.best(50)
    assert long >= 0.95 * machine.best(200)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", MACHINES)
def test_what_batches_cost_is_learned_on_the_way(name: str, rate: float) -> None:
    machine = Machine(name, rate)
    speeds = [machine.speed(300, seed, known=False) for seed in range(8)]
    assert mean(speeds) >= max(0.96, 0.85 * machine.best(300))


@given(st.floats(0.01, 50), st.floats(0.01, 50), st.lists(st.floats(0.01, 9), min_size=1))
def test_the_depth_is_the_best_of_all(right: float, wrong: float, seconds: list[float]) -> None:
    """Against the mean of the game, written out by the chance to lose at each draft."""
    belief = Belief(right, wrong)
    depth, speed = best_depth(1.0, lambda k, _: seconds[k - 1], belief, len(seconds))

    def promised(k: int) -> float:
        alive, tokens = 1.0, 0.0
        for i in range(k):
            lost = (wrong) / (right + wrong + i)
            tokens += alive * lost * (i + 1)
            alive *= 1 - lost
        return (tokens + alive * (k + 1)) / (seconds[k - 1] if k else 1.0)

    assert speed == pytest.approx(promised(depth))
    others = [
        promised(k) for k in range(1, len(seconds) + 1) if k + 1 in (*SIZES, len(seconds) + 1)
    ]
    assert speed >= max(others) * (1 - 1e-9) if depth else max(others) <= MARGIN * (1 + 1e-9)


def test_a_belief_follows_what_happens() -> None:
    belief = Belief()
    for _ in range(200):
        belief.note(3, 3)
    assert belief.rate > 0.97
    for _ in range(200):
        belief.note(0, 1)
    assert belief.rate < 0.03


def test_a_smaller_model_guesses_where_it_saves_time() -> None:
    """cpt is the plain step of a cascade: guesses must promise more drafts a second than it."""
    text = Text([1], Weights(0.1, 0.9))
    for drafter, expected in ((0.1, "draft"), (0.9, None)):
        costs = Costs({"cpt": {1: 1, 8: 1.2}, "large": GPU})
        speculator = Speculator(draft_role="draft", costs=costs)
        for role, seconds in (("cpt", 1.0), ("large", 3.0), ("draft", drafter)):
            costs.note(role, 1, seconds)
        speculator.plan([text], 15)
        for _ in range(3):
            speculator.note_step(4.0)
        for name in ("cpt", "draft>cpt"):
            speculator.belief(name).note(20, 20)
        draft = speculator.plan([text], 15)
        assert draft
        assert (draft.name, draft.guesser) == ("cpt", expected)
        assert (draft.ahead > 0) == (expected is not None)


def test_costs_are_measured_or_lie_between() -> None:
    costs = Costs()
    assert costs.of("large", 4) == 0
    costs.note("large", 1, 1.0)
    assert 1 < costs.of("large", 4) < 2  # hopeful
    costs.note("large", 500, 100.8)
    assert costs.of("large", 4) == pytest.approx(1.6)
    costs.note("large", 4, 2.5)
    assert costs.of("large", 4) == 2.5
    assert costs.of("large", 2) == pytest.approx(1.5)
    known = Costs({"large": {1: 1, 4: 2, 8: 2}})
    known.note("large", 1, 3.0)
    assert [known.of("large", n) for n in (1, 2, 4, 6)] == [3, 4, 6, 6]
    known.note("large", 4, 9.0)
    assert known.all(("large", "large"), 4) == 18
