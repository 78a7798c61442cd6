"""Weights without labelled data: of a task, by sample prompts, and of each prompt by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ..decoding import Decoder, Text, Trio
from ..errors import TrimixError
from ..fusion import TRIO_ROLES, AnswersChooser, Grid, Observer, Weights
from ..runtime import parse_weighting
from ..showing import Progress
from ..store import TrioSpec
from ..tuning import score_prompts
from .journal import Lines, key_of
from .methods import Criterion
from .prompts import Prompt, Prompter
from .tasks import Source

# A label -> shows the progress of a piece of work.
Bars = Callable[[str], AbstractContextManager[Progress | None]]


def chooser_of(criterion: str, spec: TrioSpec) -> Callable[[Prompt], Observer]:
    """Makes what chooses the weights of one prompt."""
    if criterion == "ppl-answers":
        return lambda prompt: AnswersChooser(prompt.spans)
    choosing = parse_weighting(criterion, spec).chooser
    assert choosing is not None
    return lambda prompt: choosing(0)


class TaskChooser:
    """Chooses the weights of tasks; what the journal knows is not done again.

    Args:
        trio: the models.
        journal: what is known.
        identity: roles -> what decides about their logits, JSON values.
        prompter: makes the prompts.
        bars: shows progress.
        grid: the pairs.
        samples: prompts that are drawn with `seed`.
    """

    def __init__(
        self,
        trio: Trio,
        journal: Lines,
        identity: Callable[[Iterable[str]], Any],
        prompter: Prompter,
        bars: Bars,
        grid: Grid,
        *,
        samples: int,
        seed: int,
    ) -> None:
        self.trio, self.journal, self.identity = trio, journal, identity
        self.prompter, self.bars, self.grid = prompter, bars, grid
        self.samples, self.seed = samples, seed

    def weights(self, source: Source, criteria: Sequence[Criterion]) -> dict[str, Weights]:
        """The task's weights by each criterion.

        "ppl", "ppl-opt" and "ent" look at prompts of the items, shorter than those that are
        answered, as published; "ppl-answers" at the answers of exemplars, in draws of them.

        Raises:
            TrimixError: no prompt fits into the context, or there is no exemplar.
        """
        found: dict[str, Weights] = {}
        by_prompts = [criterion for criterion in criteria if criterion != "ppl-answers"]
        if by_prompts:
            found |= self._by_prompts(source, by_prompts)
        if "ppl-answers" in criteria:
            found["ppl-answers"] = self._by_answers(source)
        return found

    def is_known(self, source: Source, criteria: Sequence[Criterion]) -> bool:
        """Whether the journal has the task's weights by each criterion; raises as `weights`."""
        found = [self._known(self._key(each, self._asked(source, each))) for each in criteria]
        return None not in found

    def _asked(self, source: Source, criterion: Criterion) -> Sequence[object]:
        return self._answers(source) if criterion == "ppl-answers" else self._prompts(source)

    def _prompts(self, source: Source) -> list[list[int]]:
        """The prompts of items that weights are chosen by."""
        items, shots = source.choosing(self.samples, self.seed)
        fitted = [self.prompter.fit(item, shots, 1) for item in items]
        prompts = [list(prompt.tokens) for prompt in fitted if prompt and len(prompt.tokens) > 1]
        self._check(source, prompts)
        return prompts

    def _by_prompts(self, source: Source, criteria: Sequence[Any]) -> dict[str, Weights]:
        prompts = self._prompts(source)
        keys = {criterion: self._key(criterion, prompts) for criterion in criteria}
        missing = [criterion for criterion in criteria if self._known(keys[criterion]) is None]
        if missing:
            self.trio.require(TRIO_ROLES)
            fine = "ppl-opt" in missing
            with self.bars(f"weights of {source.task.name}") as progress:
                scores = score_prompts(self.trio, prompts, self.grid, fine=fine, progress=progress)
            for criterion in missing:
                self._keep(keys[criterion], scores.best(criterion)[0])
        found = {criterion: self._known(key) for criterion, key in keys.items()}
        return {criterion: weights for criterion, weights in found.items() if weights}

    def _by_answers(self, source: Source) -> Weights:
        prompts = self._answers(source)
        key = self._key("ppl-answers", prompts)
        if known := self._known(key):
            return known
        weights = self._likeliest(source, prompts)
        self._keep(key, weights)
        return weights

    def _answers(self, source: Source) -> list[tuple[list[int], tuple[tuple[int, int], ...]]]:
        """Draws of exemplars as prompts, and where their answers stand in each."""
        draws = source.draws(self.samples, self.seed)
        if not draws:
            raise TrimixError(
                f"{source.task.name} has no exemplars, whose answers trimix-ppl-answers looks at"
            )
        prompts = []
        for own in draws:
            *shots, last = own
            # It ends behind the last answer, which is scored like the others.
            prompt = self.prompter.fit(last, shots, 1)
            if prompt:
                kept = [*shots[: prompt.shots], last]
                text = self.prompter.text(last, shots[: prompt.shots]) + last.gap + last.answer
                tokens = self.prompter.tokens(text, end=False)[: self.trio.n_ctx]
                prompts.append((tokens, self.prompter.spans(tokens, kept)))
        self._check(source, prompts)
        return prompts

    def _likeliest(
        self, source: Source, prompts: Sequence[tuple[list[int], tuple[tuple[int, int], ...]]]
    ) -> Weights:
        """The pair with the least mean, over the prompts, of their answers' nats a token."""
        texts = []
        for tokens, spans in prompts:
            chooser = AnswersChooser(spans, self.grid)
            texts.append(
                Text(tokens, Weights(0, 1), max_tokens=0, observers=(chooser,), tag=chooser)
            )
        means = []
        with self.bars(f"answers of {source.task.name}") as progress, Decoder(self.trio) as decoder:
            for done, text in enumerate(decoder.run(texts), 1):
                text.raise_error()
                assert isinstance(text.tag, AnswersChooser)
                means.append((texts.index(text), text.tag.score.mean))
                if progress:
                    progress(done, len(texts))
        # In the order of the prompts: sums of floats depend on it.
        ordered = [mean for _, mean in sorted(means, key=lambda each: each[0])]
        return self.grid.weights(*self.grid.best(np.mean(ordered, axis=0)))

    def _check(self, source: Source, prompts: Sequence[object]) -> None:
        if not prompts:
            raise TrimixError(
                f"{source.task.name}: no prompt fits into a context of {self.trio.n_ctx} tokens; "
                "give a larger -c"
            )

    def _key(self, criterion: str, prompts: object) -> str:
        lines = (self.grid.alphas, self.grid.betas)
        return key_of("task", criterion, *lines, self.identity(TRIO_ROLES), prompts)

    def _keep(self, key: str, weights: Weights) -> None:
        self.journal.add(key, {"weights": list(weights.numbers)})

    def _known(self, key: str) -> Weights | None:
        known = self.journal.get(key) or {}
        return Weights.of(known["weights"]) if "weights" in known else None
