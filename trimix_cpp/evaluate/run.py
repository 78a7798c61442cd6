"""Runs the methods on the tasks: chooses weights, answers, scores; what is known is not done again.

The rows of a table in the order of its methods; the models are loaded when something is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import chain
from typing import Any

import numpy as np

from .. import __version__
from ..decoding import Trio
from ..fusion import DEFAULT_GRID, Grid, Weights
from ..prompts import ChatTemplate
from ..store import fingerprint
from .answering import Answerer, Plan, Score
from .choosing import Bars, TaskChooser, chooser_of
from .journal import Lines
from .methods import METHODS, Method, criteria_of
from .metrics import Doubles
from .prompts import Prompter
from .results import Answers, Result, result_of, score_of
from .scoring import Fusion
from .tasks import Item, Source, Task

SAMPLES = 50


@dataclass(frozen=True)
class Settings:
    """What decides the results besides models, methods and tasks.

    Attributes:
        score: how closed tasks are answered.
        limit: items of each task; None for all.
        shots: exemplars; None for each task's own number.
        samples: prompts by which a task's weights are chosen, drawn with `seed`.
        grid: the pairs.
    """

    score: Score = "generate"
    limit: int | None = None
    shots: int | None = None
    samples: int = SAMPLES
    seed: int = 0
    grid: Grid = DEFAULT_GRID


@dataclass
class Outcome:
    """What came out.

    Attributes:
        results: of each task and method.
        answers: (task, method) -> {id: text}.
        grids: task -> the scores of all pairs, [n_alpha, n_beta].
    """

    results: list[Result] = field(default_factory=list)
    answers: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    grids: dict[str, Doubles] = field(default_factory=dict)

    def update(self, other: Outcome) -> None:
        """Add what another run found out, with the methods of each task in the tables' order."""
        self.results += other.results
        order = list(METHODS)
        self.results.sort(key=lambda result: order.index(result.method.name))
        self.answers |= other.answers
        self.grids |= other.grids


class Evaluation:
    """Methods on tasks, with one trio.

    Args:
        trio: the models; loaded as methods need them.
        journal: what is known.
        settings: see there.
        template: for `--chat-template`.
        bars: shows progress.
    """

    def __init__(
        self,
        trio: Trio,
        journal: Lines,
        settings: Settings,
        bars: Bars,
        template: ChatTemplate | None = None,
    ) -> None:
        self.trio, self.journal, self.settings, self.bars = trio, journal, settings, bars
        self._prints: dict[str, str] = {}
        self.prompter = Prompter(trio, template)
        self.answerer = Answerer(trio, journal, self.identity, self.prompter, settings.score)
        self.chooser = TaskChooser(
            trio, journal, self.identity, self.prompter, bars, settings.grid,
            samples=settings.samples, seed=settings.seed,
        )  # fmt: skip

    def identity(self, roles: Iterable[str]) -> Any:
        """What decides about the logits of some roles, as JSON values."""
        options = self.trio.options
        found: list[Any] = [
            [__version__, version("llama-cpp-python"), options.exact, options.flash_attn]
        ]
        for role in sorted(roles):
            if role not in self._prints:  # gigabytes are hashed only if they are used
                self._prints[role] = fingerprint(self.trio.spec.roles[role])
            found.append([role, self._prints[role], *options.cache_types(role)])
        return found

    def run(self, sources: Sequence[Source], methods: Sequence[Method]) -> Outcome:
        """The results of all methods on all tasks.

        Raises:
            TrimixError: a role has no file, a logit is not finite, or the disk is full.
        """
        outcome = Outcome()
        for source in sources:
            self._run(source, methods, outcome)
        return outcome

    def plans(self, source: Source, methods: Sequence[Method]) -> list[list[Plan]]:
        """Those of each method; weights that are chosen for the task are found out."""
        chosen = self.chooser.weights(source, criteria_of(methods))
        return [self._plans(source.task, method, chosen) for method in methods]

    def look(self, source: Source, plans: Sequence[Sequence[Plan]]) -> Iterator[bool]:
        """Of each item of a task, whether the journal has all answers to it."""
        return self.answerer.look(*self._asked(source, plans))

    def find(self, source: Source, methods: Sequence[Method], which: Sequence[int]) -> None:
        """Let the journal have the weights that are chosen for a task, and answers to some items.

        Raises:
            TrimixError: as `run`.
        """
        task, items, shots, plans = self._asked(source, self.plans(source, methods))
        if which:
            with self.bars(task.name) as progress:
                self.answerer.run(task, [items[i] for i in which], shots, plans, progress)

    def _asked(
        self, source: Source, plans: Sequence[Sequence[Plan]]
    ) -> tuple[Task, list[Item], list[Item], list[Plan]]:
        items, shots = source.items(self.settings.limit), source.exemplars(self.settings.shots)
        return source.task, items, shots, [*chain(*plans)]

    def _run(self, source: Source, methods: Sequence[Method], outcome: Outcome) -> None:
        plans = self.plans(source, methods)
        task, items, shots, flat = self._asked(source, plans)
        with self.bars(task.name) as progress:
            found = iter(self.answerer.run(task, items, shots, flat, progress))
        for method, own in zip(methods, plans, strict=True):
            answers = [next(found) for _ in own]
            best = answers[0]
            if method.how == "grid":
                best = self._best(task, items, answers, outcome)
            outcome.results.append(result_of(task, method, items, best))
            texts = {item.id: text for item, text in zip(items, best.texts, strict=True)}
            outcome.answers[task.name, method.name] = texts

    def _plans(self, task: Task, method: Method, chosen: Mapping[str, Weights]) -> list[Plan]:
        spec, mask = self.trio.spec, method.plausibility
        if method.how == "grid":
            return [
                Plan(Fusion(self.settings.grid.weights(*at)))
                for at in np.ndindex(self.settings.grid.shape)
            ]
        if method.how == "preset":
            return [Plan(Fusion(spec.presets.get(task.preset, spec.weights)))]
        if method.how == "task":
            return [Plan(Fusion(chosen[method.criterion or ""]))]
        if method.how == "input":
            criterion = method.criterion or ""
            default = spec.presets.get(task.preset, spec.weights)
            return [Plan(Fusion(default), criterion, chooser_of(criterion, spec))]
        assert method.weights is not None
        return [Plan(Fusion(method.weights, mask))]

    def _best(
        self,
        task: Task,
        items: Sequence[Item],
        answers: Sequence[Answers],
        outcome: Outcome,
    ) -> Answers:
        """The answers of the pair that turns out best, the first of equal ones."""
        scores = np.array([score_of(task, items, own) for own in answers])
        outcome.grids[task.name] = scores.reshape(self.settings.grid.shape)
        return answers[int(np.argmax(scores))]
