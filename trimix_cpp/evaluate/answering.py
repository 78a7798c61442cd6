"""Sends a task's items through the one loop: weights, likelihoods and answers of many methods.

Each prompt is evaluated once, for all methods: first by a text that only looks, which chooses
weights and scores the choices; then the methods' answers go on from what is cached. What the
prompts have in common, their exemplars, is found in the caches too. The journal has what an earlier
run found out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..decoding import Decoder, Text, Trio, common_beginning
from ..fusion import Observer, Weights
from ..showing import Progress
from .journal import Lines, key_of
from .metrics import clean
from .prompts import Prompt, Prompter
from .results import Answers
from .scoring import Endings, Fusion, Looker
from .tasks import Item, Task

Score = Literal["generate", "likelihood"]
# An answer is one line, as in the paper's tasks.
STOPS = ("\n",)


@dataclass(frozen=True)
class Plan:
    """How a method weighs the models: a fixed fusion, or one that each prompt chooses.

    Attributes:
        fusion: the fixed one; with a chooser that of a prompt which gives nothing to choose by.
        criterion: names the chooser, in the journal.
        choosing: makes the chooser of a prompt.
    """

    fusion: Fusion
    criterion: str = ""
    choosing: Callable[[Prompt], Observer] | None = None


@dataclass
class _Work:
    """An item on its way.

    Attributes:
        index: of the item.
        prompt: its prompt.
        fusions: of each plan; None where it is not chosen yet.
        answers: of each fusion, as far as they are known.
        choosers: of the plans that are not decided, by their number.
        likelihoods: of the choices, by fusion.
        open: texts that have not ended.
    """

    index: int
    item: Item
    prompt: Prompt
    fusions: list[Fusion | None]
    answers: dict[Fusion, str] = field(default_factory=dict)
    choosers: dict[int, _Kept] = field(default_factory=dict)
    likelihoods: dict[Fusion, list[float]] = field(default_factory=dict)
    open: int = 0

    def missing(self) -> list[Fusion]:
        """The fusions whose answers are not known, each once."""
        known = [own for own in self.fusions if own is not None]
        return [own for own in dict.fromkeys(known) if own not in self.answers]


class Answerer:
    """Answers the items of tasks.

    Args:
        trio: the models.
        journal: what is known, and where what is found out goes.
        identity: roles -> what decides about their logits, JSON values.
        prompter: makes the prompts.
        score: closed tasks are answered by "generate", as published, or by the "likelihood" of
            each choice.
    """

    def __init__(
        self,
        trio: Trio,
        journal: Lines,
        identity: Callable[[Iterable[str]], Any],
        prompter: Prompter,
        score: Score = "generate",
    ) -> None:
        self.trio, self.journal, self.identity = trio, journal, identity
        self.prompter, self.score = prompter, score

    def run(
        self,
        task: Task,
        items: Sequence[Item],
        shots: Sequence[Item],
        plans: Sequence[Plan],
        progress: Progress | None = None,
    ) -> list[Answers]:
        """The answers of each plan to the items; `progress` is told (items done, in all).

        Raises:
            TrimixError: a logit is not finite, a role has no file, or the journal's disk is full.
        """
        choose = self._chooses(task)
        prompts = [self.prompter.fit(item, shots, task.max_tokens, choose=choose) for item in items]
        texts = [[""] * len(items) for _ in plans]
        chosen: list[list[Weights]] = [[plan.fusion.weights] * len(items) for plan in plans]
        works = (
            self._work(i, item, prompt, plans)
            for i, (item, prompt) in enumerate(zip(items, prompts, strict=True))
            if prompt is not None
        )
        lost = prompts.count(None)
        shared = common_beginning([prompt.tokens for prompt in prompts if prompt])
        for done, work in enumerate(_Loop(self, task, plans, choose).run(works, shared), lost + 1):
            for p, fusion in enumerate(work.fusions):
                assert fusion is not None
                texts[p][work.index] = work.answers[fusion]
                chosen[p][work.index] = fusion.weights
            if progress:
                progress(done, len(items))
        cut = sum(prompt is not None and prompt.shots < len(shots) for prompt in prompts)
        return [
            Answers(own, weights, lost, cut) for own, weights in zip(texts, chosen, strict=True)
        ]

    def look(
        self, task: Task, items: Sequence[Item], shots: Sequence[Item], plans: Sequence[Plan]
    ) -> Iterator[bool]:
        """Of each item, whether the journal has all its answers, or it has no prompt."""
        choose = self._chooses(task)
        for i, item in enumerate(items):
            prompt = self.prompter.fit(item, shots, task.max_tokens, choose=choose)
            if prompt is None:
                yield True
                continue
            work = self._work(i, item, prompt, plans)
            self.recall(work, task)
            yield not work.missing() and None not in work.fusions

    def recall(self, work: _Work, task: Task) -> None:
        """Take the answers that the journal has."""
        choose = self._chooses(task)
        for fusion in work.missing():
            known = self.journal.get(self.answer_key(fusion, work.prompt, task.max_tokens)) or {}
            if "text" in known and not choose:
                work.answers[fusion] = known["text"]
            elif len(known.get("likelihoods", ())) == len(work.item.choices) and choose:
                work.answers[fusion] = _best(known["likelihoods"], work.item)

    def _chooses(self, task: Task) -> bool:
        return self.score == "likelihood" and task.closed

    def _work(self, index: int, item: Item, prompt: Prompt, plans: Sequence[Plan]) -> _Work:
        fusions: list[Fusion | None] = []
        for plan in plans:
            if plan.choosing is None:
                fusions.append(plan.fusion)
                continue
            known = self.journal.get(self.weights_key(plan, prompt)) or {}
            if "weights" in known:
                weights = Weights.of(known["weights"])
                fusions.append(Fusion(weights, plan.fusion.plausibility))
            else:
                fusions.append(None)
        return _Work(index, item, prompt, fusions)

    def weights_key(self, plan: Plan, prompt: Prompt) -> str:
        """The journal's key of the weights that a prompt chooses."""
        assert plan.choosing is not None
        roles = plan.choosing(prompt).roles
        return key_of("weights", plan.criterion, self.identity(roles), prompt.key)

    def answer_key(self, fusion: Fusion, prompt: Prompt, max_tokens: int) -> str:
        """The journal's key of an answer, or of the likelihoods of the choices."""
        mask = fusion.plausibility
        return key_of(
            "likelihoods" if prompt.choices else "answer",
            self.identity(fusion.roles),
            fusion.weights.numbers,
            [mask.role, mask.threshold] if mask else None,
            prompt.key,
            None if prompt.choices else max_tokens,
        )


class _Loop:
    """Items through a decoder, as many at a time as there are places."""

    def __init__(self, answerer: Answerer, task: Task, plans: Sequence[Plan], choose: bool) -> None:
        self.answerer, self.task, self.plans, self.choose = answerer, task, plans, choose
        self.journal = answerer.journal
        self._ready: deque[Text] = deque()
        self._then: dict[Text, Callable[[Text], None]] = {}
        self._done: deque[_Work] = deque()

    def run(self, works: Iterator[_Work], shared: Sequence[int]) -> Iterator[_Work]:
        """Each item when all plans have answered it; `shared` is what all prompts begin with."""
        trio = self.answerer.trio
        places = trio.n_parallel
        # What nobody comes back to would only be in the way of the others' attention.
        keep = self.choose or len(self.plans) > 1
        with Decoder(trio, keep=keep) as decoder, ExitStack() as stack:
            in_flight, more = 0, True
            while more or in_flight or self._ready or self._done:
                while self._done:
                    yield self._done.popleft()
                while in_flight < places and (self._ready or more):
                    if not self._ready:  # answers first: their prompts are in the caches now
                        work = next(works, None)
                        more = work is not None
                        if work is not None:
                            self._begin(work)
                        if self._done:
                            break
                        continue
                    if shared and places > 1 and (roles := self._roles()):
                        held = decoder.pin(shared, roles)
                        stack.callback(decoder.unpin, held)
                        places, shared = places - 1, ()
                    decoder.submit(self._ready.popleft())
                    in_flight += 1
                if not in_flight:
                    continue
                for event in decoder.step():
                    if event.text.stop:
                        in_flight -= 1
                        event.text.raise_error()
                        self._then.pop(event.text)(event.text)

    def _roles(self) -> tuple[str, ...]:
        """Those that prompts go on from what they share with: who looks at all of them does not."""
        fixed = [plan.fusion for plan in self.plans if plan.choosing is None]
        return tuple(dict.fromkeys(role for fusion in fixed for role in fusion.roles))

    def _begin(self, work: _Work) -> None:
        """Take what is known; a text that looks at the prompt, if something is not."""
        self.answerer.recall(work, self.task)
        unknown = [i for i, fusion in enumerate(work.fusions) if fusion is None]
        missing = work.missing()
        if not unknown and not missing:
            self._done.append(work)
            return
        if not unknown and self.choose:
            self._score(work, missing)
        elif not unknown and len(missing) == 1:
            self._generate(work, missing[0])
        else:
            work.choosers = {i: _Kept(self.plans[i], work.prompt) for i in unknown}
            roles = dict.fromkeys(role for own in missing for role in own.roles)
            looking: list[Observer] = [*work.choosers.values(), Looker(tuple(roles))]
            self._submit(work, work.prompt.tokens, looking, self._looked)

    def _submit(
        self,
        work: _Work,
        tokens: Sequence[int],
        observers: Sequence[Observer],
        then: Callable[[_Work, Text], None],
        **more: Any,
    ) -> None:
        text = Text(
            list(tokens), more.pop("weights", Weights(0, 1)),
            max_tokens=more.pop("max_tokens", 0), observers=tuple(observers), **more,
        )  # fmt: skip
        self._then[text] = lambda ended: then(work, ended)
        self._ready.append(text)
        work.open += 1

    def _looked(self, work: _Work, text: Text) -> None:
        """The prompt is evaluated: weights that it chose, then what goes on from it."""
        work.open -= 1
        for i, observer in work.choosers.items():
            plan = self.plans[i]
            weights = observer.weights or plan.fusion.weights
            key = self.answerer.weights_key(plan, work.prompt)
            self.journal.add(key, {"weights": list(weights.numbers)})
            work.fusions[i] = Fusion(weights, plan.fusion.plausibility)
        self.answerer.recall(work, self.task)
        missing = work.missing()
        if not missing:
            self._done.append(work)
        elif self.choose:
            self._score(work, missing)
        else:
            for fusion in missing:
                self._generate(work, fusion)

    def _generate(self, work: _Work, fusion: Fusion) -> None:
        def ended(work: _Work, text: Text) -> None:
            answer = clean(text.text)
            key = self.answerer.answer_key(fusion, work.prompt, self.task.max_tokens)
            self.journal.add(key, {"text": answer})
            work.answers[fusion] = answer
            self._close(work)

        self._submit(
            work, work.prompt.tokens, (), ended,
            weights=fusion.weights, plausibility=fusion.plausibility,
            max_tokens=self.task.max_tokens, stops=STOPS,
        )  # fmt: skip

    def _score(self, work: _Work, fusions: Sequence[Fusion]) -> None:
        """Texts that look at the prompt and the beginnings of its choices."""
        tokens, choices = work.prompt.tokens, work.prompt.choices
        work.likelihoods = {fusion: [0.0] * len(choices) for fusion in fusions}
        # Choices that differ in their last token alone, such as letters, need one text.
        alike: dict[tuple[int, ...], list[int]] = {}
        for i, choice in enumerate(choices):
            alike.setdefault(choice[:-1], []).append(i)
        for beginning, own in alike.items():
            endings = Endings(fusions, len(tokens) - 1, [choices[i][-1] for i in own])

            def ended(
                work: _Work, text: Text, own: list[int] = own, endings: Endings = endings
            ) -> None:
                for fusion, values in zip(fusions, endings.values, strict=True):
                    for i, value in zip(own, values, strict=True):
                        work.likelihoods[fusion][i] = value
                self._close(work)

            self._submit(work, (*tokens, *beginning), (endings,), ended)

    def _close(self, work: _Work) -> None:
        """One text of an item has ended; after the last one its choices are compared."""
        work.open -= 1
        if work.open:
            return
        for fusion, values in work.likelihoods.items():
            key = self.answerer.answer_key(fusion, work.prompt, self.task.max_tokens)
            # JSON has no infinity: a choice that the mask forbids is null.
            kept = [value if np.isfinite(value) else None for value in values]
            self.journal.add(key, {"likelihoods": kept})
            work.answers[fusion] = _best(kept, work.item)
        self._done.append(work)


class _Kept:
    """An observer whose choice is kept, where a text has several."""

    def __init__(self, plan: Plan, prompt: Prompt) -> None:
        assert plan.choosing is not None
        observer = self._observer = plan.choosing(prompt)
        self.roles = observer.roles
        self.first, self.add = observer.first, observer.add
        self.weights: Weights | None = None

    def end(self, last: Mapping[str, Any]) -> Weights | None:
        """See `Observer`."""
        self.weights = self._observer.end(last)
        return None


def _best(likelihoods: Sequence[float | None], item: Item) -> str:
    """The likeliest choice, the first of equal ones."""
    values = [-np.inf if value is None else value for value in likelihoods]
    return item.choices[int(np.argmax(values))]
