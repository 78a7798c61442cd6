"""How fast a trio is on this machine: each role alone, fused, with drafts, in batches.

All tests run in one process on the same loaded models, in turn: every repetition runs each of them
once, so that a slow minute hits all alike, and ratios are taken within a repetition. As
llama-bench does, prompts and cached tokens are random ones, and generation goes on past ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..decoding import MOST_DRAFTS, Decoder, Event, Feed, Share, Speculator, Trio
from ..decoding import Sequence as Text
from ..fusion import Row, Rows, Sampler, Weights
from ..showing import Progress

# Steps of a batch, as a part of the tokens of other tests; and at least.
_BATCH_PART, _BATCH_LEAST = 4, 4
LARGE_ALONE = Weights(1, 0)


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        weights: of the fusion.
        n_prompt: tokens of a prompt.
        n_gen: tokens to generate.
        depth: tokens that are cached before generation begins; at least 2.
        repetitions: of every test.
        batches: numbers of sequences that run at once.
        drafts: tokens drafted a round; None adapts.
        acceptance: how often a draft counts as right, decided by `seed`; None lets the models say.
    """

    weights: Weights
    n_prompt: int = 128
    n_gen: int = 32
    depth: int = 64
    repetitions: int = 5
    batches: tuple[int, ...] = (1, 2, 4, 8, 16)
    drafts: tuple[int | None, ...] = (1, 2, 3, 5, 7, None)
    acceptance: float | None = None
    seed: int = 0

    @property
    def n_parallel(self) -> int:
        """Places: the widest batch, the shared beginning, and one for roles alone."""
        return max(self.batches, default=1) + 2

    @property
    def n_ctx(self) -> int:
        """Tokens that a sequence needs, the last round's drafts included."""
        return max(self.n_prompt, self.depth + self.n_gen + 2 * self.most_drafts) + 2

    @property
    def n_outputs(self) -> int:
        """Logits rows of a step."""
        return max(self.n_parallel, self.most_drafts + 1)

    @property
    def most_drafts(self) -> int:
        """The most drafts of a round."""
        return max((depth or MOST_DRAFTS for depth in self.drafts), default=0)

    @property
    def speculates(self) -> bool:
        """Whether cpt can draft for another role."""
        return bool(self.drafts) and "cpt" in self.weights.roles and len(self.weights.roles) > 1


@dataclass(frozen=True)
class Sample:
    """One run of one test: its seconds, its tokens, and what else it counted."""

    seconds: float
    tokens: int
    counts: Mapping[str, float] = field(default_factory=dict)

    @property
    def seconds_per_token(self) -> float:
        """Of this run."""
        return self.seconds / self.tokens


Samples = Mapping[str, Sequence[Sample]]


@dataclass
class Clock:
    """Seconds of a run by what they were spent on."""

    models: float = 0.0
    choosing: float = 0.0
    sampling: float = 0.0

    def counts(self, total: float) -> dict[str, float]:
        """Shares of `total`, for a `Sample`."""
        fusion = self.choosing - self.sampling
        parts = {"models": self.models, "fusion": fusion, "sampling": self.sampling}
        return {**parts, "python": max(total - sum(parts.values()), 0.0)}


@dataclass(frozen=True)
class TimedSampler(Sampler):
    """Counts the seconds that sampling takes."""

    clock: Clock = field(default_factory=Clock)

    def pick(self, logits: Row, recent: Sequence[int], position: int) -> int:
        """As `Sampler.pick`."""
        began = time.perf_counter()
        token = super().pick(logits, recent, position)
        self.clock.sampling += time.perf_counter() - began
        return token


class MeasuredDecoder(Decoder):
    """A decoder that counts seconds, and may go on past ends.

    Attributes:
        clock: where seconds are counted.
        to_the_end: an end-of-generation token ends a text.
    """

    def __init__(self, trio: Trio) -> None:
        super().__init__(trio)
        self.clock = Clock()
        self.to_the_end = False

    def _evaluate(self, shares: list[Share]) -> list[dict[str, Rows]]:
        rows = super()._evaluate(shares)
        fed = {role for share in shares for role in share.spans}
        self.clock.models += sum(self.trio.seconds[role] for role in fed)
        return rows

    def _step_roles(self, sequence: Text, roles: tuple[str, ...], token: int) -> dict[str, Row]:
        rows = super()._step_roles(sequence, roles, token)
        self.clock.models += sum(self.trio.seconds[role] for role in roles)
        return rows

    def _choose(self, sequence: Text, rows: dict[str, Row]) -> int:
        began = time.perf_counter()
        token = super()._choose(sequence, rows)
        self.clock.choosing += time.perf_counter() - began
        return token

    def _accept(self, sequence: Text, token: int) -> Event:
        event = super()._accept(sequence, token)
        if sequence.stop == "end" and not self.to_the_end:
            sequence.stop = None
        return event


class BenchSpeculator(Speculator):
    """Drafts by models alone: a lookup would copy from what random weights repeat.

    Args:
        depth: as `Speculator`.
        acceptance: how often a draft counts as right, None where the models say. One that counts
            as right becomes the token, one that counts as wrong is replaced, and everything else
            is done as it always is.
    """

    def __init__(self, depth: int | None, acceptance: float | None = None) -> None:
        super().__init__(depth)
        self.acceptance = acceptance
        self._luck = np.random.default_rng(0)

    def _drafters(self, sequence: Text) -> dict[str, dict[str, float]]:
        drafters = super()._drafters(sequence)
        drafters.pop("lookup", None)
        return drafters

    def settle(self, token: int, draft: int) -> int:
        """As `Speculator.settle`."""
        if self.acceptance is None:
            return token
        if self._luck.random() < self.acceptance:
            return draft
        return token if token != draft else abs(token - 1)


class Bench:
    """The tests of a plan on a loaded trio.

    Args:
        trio: has the plan's roles, and large where it is to be compared with.
        plan: what is measured.
        prompts: texts that are continued to their ends where drafts are the models' own.
    """

    def __init__(self, trio: Trio, plan: Plan, prompts: Sequence[list[int]] = ()) -> None:
        self.trio, self.plan, self.prompts = trio, plan, prompts
        self.decoder = MeasuredDecoder(trio)
        ordinary = np.flatnonzero(~trio.alignment.control)
        rng = np.random.default_rng(plan.seed)
        self._cached: list[int] = rng.choice(ordinary, plan.depth).tolist()
        self._new: NDArray[np.int32] = rng.choice(ordinary, max(plan.n_prompt, plan.n_gen)).astype(
            np.int32
        )
        self._speculators = {d: BenchSpeculator(d, plan.acceptance) for d in plan.drafts}
        self.decoder.share(self._cached, trio.roles)
        self._slot = trio.n_parallel - 1

    def tests(self) -> dict[str, Callable[[], Sample]]:
        """Name -> what runs it once."""
        plan, tests = self.plan, dict[str, Callable[[], Sample]]()
        for role in self.trio.roles:
            if plan.n_prompt:
                tests[f"prompt {role}"] = partial(self._prompt_alone, role)
        if plan.n_prompt:
            tests["prompt fused"] = self._first_token
        for role in self.trio.roles:
            tests[f"step {role}"] = partial(self._steps_alone, role)
        tests["step fused"] = partial(self._together, 1, plan.n_gen)
        if self.prompts:
            if "large" in self.trio.roles:
                tests["text large"] = partial(self._texts, LARGE_ALONE, None)
            tests["text fused"] = partial(self._texts, plan.weights, None)
        if plan.speculates:
            for depth in plan.drafts:
                tests[f"draft {depth or 'auto'}"] = partial(self._drafted, depth)
        for size in plan.batches:
            steps = max(plan.n_gen // _BATCH_PART, _BATCH_LEAST)
            tests[f"batch {size}"] = partial(self._together, size, steps)
        return tests

    def run(self, progress: Progress | None = None) -> dict[str, list[Sample]]:
        """Every test, once in each repetition; test -> samples."""
        tests = self.tests()
        samples: dict[str, list[Sample]] = {name: [] for name in tests}
        total = len(tests) * self.plan.repetitions
        self._together(1, 2)  # llama.cpp allots what it needs for single tokens
        for repetition in range(self.plan.repetitions):
            for done, (name, test) in enumerate(tests.items()):
                if progress:
                    progress(repetition * len(tests) + done, total)
                samples[name].append(test())
        if progress:
            progress(total, total)
        return samples

    def _prompt_alone(self, role: str) -> Sample:
        """One role's prompt, in the batches that a trio would take."""
        trio, tokens = self.trio, self._new[: self.plan.n_prompt]
        trio.rewind(role, self._slot, 0)
        began = time.perf_counter()
        for start in range(0, len(tokens), trio.n_batch):
            part = tokens[start : start + trio.n_batch]
            last = start + len(part) == len(tokens)
            trio.decode({role: [Feed(self._slot, part, start, int(last))]})
        seconds = time.perf_counter() - began
        trio.rewind(role, self._slot, 0)
        return Sample(seconds, len(tokens))

    def _first_token(self) -> Sample:
        """A prompt through all roles, and the first token after it."""
        sequence = Text(self._new[: self.plan.n_prompt].tolist(), self.plan.weights)
        self.decoder.speculator = None
        self.decoder.add(sequence)
        began = time.perf_counter()
        while not sequence.generated:
            self.decoder.step()
        seconds = time.perf_counter() - began
        self.decoder.remove(sequence)
        return Sample(seconds, self.plan.n_prompt)

    def _steps_alone(self, role: str) -> Sample:
        """Single tokens through one role, in a loop that does nothing else."""
        context, start = self.trio.context(role), self.plan.depth - 1
        tokens = self.trio.alignment.to_role(role, self._new[: self.plan.n_gen]).tolist()
        self.trio.rewind(role, self._slot, 0)
        self.trio.copy(role, 0, self._slot, start)
        began = time.perf_counter()
        for i, token in enumerate(tokens):
            context.step(token, start + i, self._slot)
            context.logits()
        seconds = time.perf_counter() - began
        self.trio.rewind(role, self._slot, 0)
        return Sample(seconds, len(tokens))

    def _together(self, size: int, steps: int) -> Sample:
        """`size` sequences at once, plainly, from the cached beginning on."""
        decoder = self.decoder
        decoder.speculator, decoder.to_the_end = None, False
        sequences = [self._sequence(self._cached, self.plan.weights) for _ in range(size)]
        for sequence in sequences:
            decoder.add(sequence)
        decoder.step()  # the last token of the beginning

        def work() -> int:
            for _ in range(steps):
                decoder.step()
            return steps * size

        sample = self._timed(work)
        for sequence in sequences:
            decoder.remove(sequence)
        return sample

    def _drafted(self, depth: int | None) -> Sample:
        """With drafts: the texts, or random tokens with a simulated acceptance."""
        speculator = self._speculators[depth]
        compared, accepted = speculator.compared, speculator.accepted
        if self.prompts:
            sample = self._texts(self.plan.weights, speculator)
        else:
            self.decoder.to_the_end = False
            sample = self._continue([self._cached], self.plan.weights, speculator)
        counts = {
            "compared": speculator.compared - compared,
            "accepted": speculator.accepted - accepted,
        }
        return Sample(sample.seconds, sample.tokens, {**sample.counts, **counts})

    def _texts(self, weights: Weights, speculator: Speculator | None) -> Sample:
        """The texts to their ends, or to `n_gen` tokens."""
        self.decoder.to_the_end = True
        return self._continue(self.prompts, weights, speculator)

    def _continue(
        self, prompts: Sequence[list[int]], weights: Weights, speculator: Speculator | None
    ) -> Sample:
        """Generation after the first token of each prompt; a whole round is counted as it comes."""
        decoder, parts = self.decoder, []
        decoder.speculator = speculator
        for prompt in prompts:
            sequence = self._sequence(prompt, weights)
            decoder.add(sequence)
            while not sequence.generated:
                decoder.step()

            def work(sequence: Text = sequence) -> int:
                first = len(sequence.generated)
                while sequence.stop is None and len(sequence.generated) <= self.plan.n_gen:
                    decoder.step()
                return len(sequence.generated) - first

            parts.append(self._timed(work))
            decoder.remove(sequence)
        counts = {key: sum(part.counts[key] for part in parts) for key in parts[0].counts}
        tokens = max(sum(part.tokens for part in parts), 1)
        return Sample(sum(part.seconds for part in parts), tokens, counts)

    def _sequence(self, prompt: list[int], weights: Weights) -> Text:
        stops = self.trio.spec.stops if self.decoder.to_the_end else ()
        return Text(prompt, weights, TimedSampler(clock=self.decoder.clock), stops=stops)

    def _timed(self, work: Callable[[], int]) -> Sample:
        """Run it; it returns how many tokens it made."""
        clock = self.decoder.clock
        clock.models = clock.choosing = clock.sampling = 0.0
        began = time.perf_counter()
        tokens = work()
        seconds = time.perf_counter() - began
        return Sample(seconds, tokens, clock.counts(seconds))
