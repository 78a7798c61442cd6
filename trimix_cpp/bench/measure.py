"""How fast a trio is on this machine: each role alone, fused, with drafts, in batches.

All tests run in one process on the same loaded models, in turn: every repetition runs each of them
once, so that a slow minute hits all alike, and ratios are taken within a repetition. As
llama-bench does, prompts and cached tokens are random ones, and generation goes on past ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..decoding import (
    MOST_DRAFTS,
    MOST_TOGETHER,
    Costs,
    Decoder,
    Feed,
    Speculator,
    Text,
    Trio,
)
from ..fusion import Row, Sampler, Weights
from ..showing import Progress
from ..store import known_batch_costs

# Steps of a batch, as a part of the tokens of other tests; and at least.
_BATCH_PART, _BATCH_LEAST = 4, 4
LARGE_ALONE = Weights(1, 0)


@dataclass(frozen=True)
class Workload:
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
        """Logits rows of a step: of every place, or of as many rounds as are drafted together."""
        together = min(max(self.batches, default=1), MOST_TOGETHER)
        return max(self.n_parallel, together * (self.most_drafts + 1))

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


@dataclass(frozen=True)
class Simulated(Sampler):
    """Lets drafts be right by chance; everything else is done as it always is.

    A place is asked for when its token is guessed and again when the guess is checked, or when a
    plain step looks whether a guess would have been right. The second answer is the first one, with
    the probability `acceptance`, or another token.
    """

    acceptance: float = 0.0
    luck: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    _guessed: dict[int, int] = field(default_factory=dict)

    def pick(self, logits: Row, recent: Sequence[int], position: int) -> int:
        """As `Sampler.pick`, the first time at a position."""
        token = super().pick(logits, recent, position)
        guess = self._guessed.pop(position, None)
        if guess is None:
            self._guessed[position] = token
            return token
        if self.luck.random() < self.acceptance:
            return guess
        self._guessed.clear()  # what was guessed after it
        return token if token != guess else abs(token - 1)


class Bench:
    """The tests of a workload on a loaded trio.

    Args:
        trio: has the workload's roles, and large where it is to be compared with.
        workload: what is measured.
        prompts: texts that are continued to their ends where drafts are the models' own.
    """

    def __init__(self, trio: Trio, workload: Workload, prompts: Sequence[list[int]] = ()) -> None:
        self.trio, self.workload, self.prompts = trio, workload, prompts
        self.decoder = Decoder(trio, keep=False)
        ordinary = np.flatnonzero(~trio.alignment.of().special)
        rng = np.random.default_rng(workload.seed)
        self._cached: list[int] = rng.choice(ordinary, workload.depth).tolist()
        self._new: NDArray[np.int32] = rng.choice(
            ordinary, max(workload.n_prompt, workload.n_gen)
        ).astype(np.int32)
        # A lookup would copy from what random weights repeat.
        known = known_batch_costs(trio.spec, trio.options)
        self._speculators = {
            depth: Speculator(depth, costs=Costs(known), looks_up=False)
            for depth in workload.drafts
        }
        self._luck = np.random.default_rng(0)
        # The last token of the beginning is each text's own.
        self._held = self.decoder.pin(self._cached[:-1], trio.roles)
        self._slot = trio.take()

    def tests(self) -> dict[str, Callable[[], Sample]]:
        """Name -> what runs it once."""
        workload, tests = self.workload, dict[str, Callable[[], Sample]]()
        for role in self.trio.roles:
            if workload.n_prompt:
                tests[f"prompt {role}"] = partial(self._prompt_alone, role)
        if workload.n_prompt:
            tests["prompt fused"] = self._first_token
        for role in self.trio.roles:
            tests[f"step {role}"] = partial(self._steps_alone, role)
        tests["step fused"] = partial(self._together, 1, workload.n_gen)
        if self.prompts:
            if "large" in self.trio.roles:
                tests["text large"] = partial(self._texts, LARGE_ALONE, None)
            tests["text fused"] = partial(self._texts, workload.weights, None)
        if workload.speculates:
            for depth in workload.drafts:
                tests[f"draft {depth or 'auto'}"] = partial(self._drafted, depth)
        for size in workload.batches:
            steps = max(workload.n_gen // _BATCH_PART, _BATCH_LEAST)
            tests[f"batch {size}"] = partial(self._together, size, steps)
            if workload.speculates and None in workload.drafts and 1 < size <= MOST_TOGETHER:
                tests[f"batch {size} drafts auto"] = partial(
                    self._together, size, steps, self._speculators[None]
                )
        return tests

    def run(self, progress: Progress | None = None) -> dict[str, list[Sample]]:
        """Every test, once in each repetition; test -> samples."""
        tests = self.tests()
        samples: dict[str, list[Sample]] = {name: [] for name in tests}
        total = len(tests) * self.workload.repetitions
        self._together(1, 2)  # llama.cpp allots what it needs for single tokens
        for repetition in range(self.workload.repetitions):
            for done, (name, test) in enumerate(tests.items()):
                if progress:
                    progress(repetition * len(tests) + done, total)
                samples[name].append(test())
        if progress:
            progress(total, total)
        return samples

    def _prompt_alone(self, role: str) -> Sample:
        """One role's prompt, in the batches that a trio would take."""
        trio, tokens = self.trio, self._new[: self.workload.n_prompt]
        trio.rewind(role, self._slot, 0)
        began = time.perf_counter()
        for start in range(0, len(tokens), trio.n_batch):
            part = tokens[start : start + trio.n_batch]
            last = start + len(part) == len(tokens)
            own = trio.alignment.to_role(role, part).tolist()
            trio.decode({role: [Feed(self._slot, own, start, int(last))]})
        seconds = time.perf_counter() - began
        trio.rewind(role, self._slot, 0)
        return Sample(seconds, len(tokens))

    def _first_token(self) -> Sample:
        """A prompt through all roles, and the first token after it."""
        text = Text(self._new[: self.workload.n_prompt].tolist(), self.workload.weights)
        self.decoder.speculator = None
        began = time.perf_counter()
        self._begin(text)
        seconds = time.perf_counter() - began
        self.decoder.drop(text)
        return Sample(seconds, self.workload.n_prompt)

    def _steps_alone(self, role: str) -> Sample:
        """Single tokens through one role, in a loop that does nothing else."""
        context = self.trio.context(role)
        tokens = self.trio.alignment.to_role(role, self._new[: self.workload.n_gen]).tolist()
        self.trio.rewind(role, self._slot, 0)
        self.trio.copy(role, self._held.lanes.slot, self._slot)
        start = context.last_position(self._slot) + 1
        began = time.perf_counter()
        for i, token in enumerate(tokens):
            context.step(token, start + i, self._slot)
            context.logits()
        seconds = time.perf_counter() - began
        self.trio.rewind(role, self._slot, 0)
        return Sample(seconds, len(tokens))

    def _together(self, size: int, steps: int, speculator: Speculator | None = None) -> Sample:
        """`size` sequences at once from the cached beginning on, plainly or with drafts."""
        decoder = self.decoder
        decoder.speculator = speculator
        texts = [self._text(self._cached, self.workload.weights) for _ in range(size)]
        for text in texts:
            decoder.submit(text)
        decoder.step()  # the last token of the beginning

        def work() -> int:
            before = sum(len(text.tokens) for text in texts)
            while (done := sum(len(text.tokens) for text in texts) - before) < steps * size:
                decoder.step()
            return done

        sample = self._timed(work)
        for text in texts:
            decoder.drop(text)
        return sample

    def _drafted(self, depth: int | None) -> Sample:
        """With drafts: the texts, or random tokens with a simulated acceptance."""
        speculator = self._speculators[depth]
        compared, accepted = speculator.compared, speculator.accepted
        if self.prompts:
            sample = self._texts(self.workload.weights, speculator)
        else:
            sample = self._continue([self._cached], self.workload.weights, speculator)
        counts = {
            "compared": speculator.compared - compared,
            "accepted": speculator.accepted - accepted,
        }
        return Sample(sample.seconds, sample.tokens, {**sample.counts, **counts})

    def _texts(self, weights: Weights, speculator: Speculator | None) -> Sample:
        """The texts to their ends, or to `n_gen` tokens."""
        return self._continue(self.prompts, weights, speculator)

    def _continue(
        self, prompts: Sequence[list[int]], weights: Weights, speculator: Speculator | None
    ) -> Sample:
        """Generation after the first token of each prompt; a whole round is counted as it comes."""
        decoder, parts = self.decoder, []
        decoder.speculator = speculator
        for prompt in prompts:
            text = self._text(prompt, weights, to_the_end=bool(self.prompts))
            self._begin(text)

            def work(text: Text = text) -> int:
                first = len(text.generated)
                while text.stop is None and len(text.generated) <= self.workload.n_gen:
                    decoder.step()
                return len(text.generated) - first

            parts.append(self._timed(work))
            decoder.drop(text)
        counts = {key: sum(part.counts[key] for part in parts) for key in parts[0].counts}
        tokens = max(sum(part.tokens for part in parts), 1)
        return Sample(sum(part.seconds for part in parts), tokens, counts)

    def _begin(self, text: Text) -> None:
        """Get the first token of a text."""
        self.decoder.submit(text)
        while not text.generated:
            self.decoder.step()
            text.raise_error()

    def _text(self, prompt: list[int], weights: Weights, *, to_the_end: bool = False) -> Text:
        """A text that goes on past ends, or stops there."""
        simulated = self.decoder.speculator and self.workload.acceptance is not None
        sampler = Simulated(acceptance=self.workload.acceptance or 0.0, luck=self._luck)
        return Text(
            prompt,
            weights,
            sampler if simulated else Sampler(),
            stops=self.trio.spec.stops if to_the_end else (),
            ignore_ends=not to_the_end,
        )

    def _timed(self, work: Callable[[], int]) -> Sample:
        """Run it; it returns how many tokens it made."""
        before = replace(self.decoder.timings)
        began = time.perf_counter()
        tokens = work()
        seconds = time.perf_counter() - began
        after = self.decoder.timings
        parts = {
            name: getattr(after, name) - getattr(before, name)
            for name in ("models", "fusion", "sampling")
        }
        parts["python"] = max(seconds - sum(parts.values()), 0.0)
        return Sample(seconds, tokens, parts)
