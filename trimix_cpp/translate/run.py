"""Files on their way through the models: one journal and one lock each, one trio for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from ..errors import StoppedError, TrimixError
from ..showing import Bar, count, notice
from . import files
from .job import grouped, known_outcomes, machine, with_seed
from .journal import Journal
from .journal_lines import Maker, Share
from .recipe import Recipe
from .task import Task
from .units import Outcome, Unit


class Translates(Protocol):
    """What texts are sent through: a `Translator`, or the workers of a cluster."""

    @property
    def in_flight(self) -> int:
        """How many are translated at once."""
        ...

    def run(self, units: Iterable[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Each with its outcome, in the order in which they end."""
        ...


Start = Callable[[Recipe], AbstractContextManager[Translates]]


@dataclass(frozen=True)
class Rules:
    """What may be written, and what is kept.

    Attributes:
        force: outputs are overwritten.
        restart: journals are emptied.
        keep_journal: journals stay after the end.
        keep_seed: a journal that goes on keeps its seed.
        quiet: no progress.
    """

    force: bool = False
    restart: bool = False
    keep_journal: bool = False
    keep_seed: bool = False
    quiet: bool = False


class Run:
    """Translates files of one pair of languages with one trio.

    A file is opened when its first text is due, and written and closed when its last one is there;
    a text that stands in several is sent once. Journals of a run of several files stay until all
    of them are done, so that the same command knows which are.

    Args:
        tasks: the files.
        settings: what decides their results, for the journals.
        recipe: how texts are translated.
        start: loads the models; not called where nothing is left to do.
        rules: what may be written.
        fault: is told of a file that fails; what it raises ends the run.
        maker: tells with what texts are translated, as far as it is known; None: this machine.

    Attributes:
        failed: files that failed.
        recipe: with the seed that the journals go on with.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        settings: Mapping[str, Any],
        recipe: Recipe,
        start: Start,
        rules: Rules,
        fault: Callable[[Task, Exception], None],
        maker: Callable[[], Maker | None] | None = None,
    ) -> None:
        self.failed: list[Task] = []
        self.recipe = recipe
        self._tasks, self._settings, self._start = tasks, settings, start
        self._rules, self._fault, self._maker = rules, fault, maker or machine
        self._keep_seed = rules.keep_seed
        self._open: list[Task] = []
        self._known: dict[Unit, Outcome] = {}
        self._total = len({unit for task in tasks for unit in task.units})

    def go(self) -> None:
        """Translate the files.

        Raises:
            StoppedError: the user stopped it; the line says where it goes on.
            TrimixError, OSError: what `fault` raised, and whatever ends all files.
        """
        try:
            feed = self._feed()
            first = next(feed, None)
            if first is not None:
                self._translate(chain([first], feed))
        except KeyboardInterrupt:
            raise StoppedError(self._stopped()) from None
        finally:
            for task in self._open:
                task.held.close()
        kept = self._rules.keep_journal or any(task.shard for task in self._tasks)
        if not self.failed and not kept and len(self._tasks) > 1:
            self._remove_journals()

    def _translate(self, units: Iterator[Unit]) -> None:
        tokens, done = 0, len(self._known)
        with (
            self._start(self.recipe) as translator,
            Bar(
                "translating", "texts",
                done=done, in_flight=translator.in_flight, quiet=self._rules.quiet,
            ) as bar,
        ):  # fmt: skip
            began = time.monotonic()
            for unit, outcome in translator.run(units):
                self._take(unit, outcome)
                tokens += outcome.tokens
                speed = tokens / max(time.monotonic() - began, 1e-3)
                bar(len(self._known), self._total, f"{speed:.1f} tokens/s")

    def _feed(self) -> Iterator[Unit]:
        """The units that no file has yet, as they are due."""
        asked: set[Unit] = set()
        for task in self._tasks:
            with self._guarded(task):
                self._begin(task)
                if not task.left:
                    self._complete(task)
            if task in self._open:
                new = grouped(unit for unit in task.left if unit not in asked)
                asked.update(new)
                yield from new

    @contextmanager
    def _guarded(self, task: Task) -> Iterator[None]:
        """What goes wrong with a file ends that file alone."""
        try:
            yield
        except (TrimixError, OSError) as error:
            if task in self._open:
                self._open.remove(task)
            task.held.close()
            self.failed.append(task)
            self._fault(task, error)

    def _begin(self, task: Task) -> None:
        """Lock the output and take over what the journal has."""
        self._open.append(task)
        task.hold()
        if task.journal_path is not None:
            task.journal = self._journal(task.journal_path, task.share)
            task.held.enter_context(task.journal)
        units = task.units
        task.outcomes = known_outcomes(units, task.journal)
        task.resumed = len(task.outcomes)
        self._known.update(task.outcomes)
        task.left = dict.fromkeys(unit for unit in units if unit not in task.outcomes)
        if task.left and not task.shard and not self._may_replace(task):
            files.refuse_existing(task.output)
        if task.resumed and task.left and not self._rules.quiet:
            where = f"{count(len(units), 'text')} are in {task.journal_path}"
            notice(f"going on: {task.resumed:,} of {where}")
        for unit in list(task.left):  # what another file of this run has brought
            if unit in self._known:
                self._add(task, unit, self._known[unit])

    def _may_replace(self, task: Task) -> bool:
        return self._rules.force or task.redo is not None

    def _journal(self, path: Path, share: Share | None) -> Journal:
        journal = Journal(
            path,
            self._settings,
            seed=self.recipe.sampler.seed,
            keep_seed=self._keep_seed,
            restart=self._rules.restart,
            shard=share,
            machine=self._maker,
        )
        if journal.damaged:
            lines = "1 line is" if journal.damaged == 1 else f"{journal.damaged:,} lines are"
            notice(f"{path}: {lines} damaged; what was in them is translated again")
        # One trio draws with one seed: that of the first journal.
        self.recipe, self._keep_seed = with_seed(self.recipe, journal.seed), False
        return journal

    def _add(self, task: Task, unit: Unit, outcome: Outcome) -> None:
        if task.journal is not None:
            task.journal.add(unit, outcome)
        task.outcomes[unit] = outcome
        del task.left[unit]

    def _take(self, unit: Unit, outcome: Outcome) -> None:
        self._known[unit] = outcome
        for task in [task for task in self._open if unit in task.left]:
            with self._guarded(task):
                self._add(task, unit, outcome)
                if not task.left:
                    self._complete(task)

    def _complete(self, task: Task) -> None:
        if task.journal is not None:
            task.journal.sync()
        if task.shard:
            self._tell_shard(task)
            task.done = True
        else:
            task.write(self._may_replace(task))
            if task.journal is not None and len(self._tasks) == 1 and not self._rules.keep_journal:
                task.journal.remove()
        self._open.remove(task)
        task.held.close()

    def _tell_shard(self, task: Task) -> None:
        if self._rules.quiet:
            return
        assert task.shard
        share = f"shard {task.shard}: its {len(task.units):,} of {count(len(task.ordered), 'text')}"
        if task.units:
            where = f"are in {task.journal_path}; with the journals of all shards --merge writes"
        else:
            where = "are none; --merge does not wait for it and writes"
        notice(f"{share} {where} {task.output}")

    def _remove_journals(self) -> None:
        for task in self._tasks:
            if task.journal is not None:
                with files.sole_writer(task.output, task.journal_path):
                    task.journal.remove()

    def _stopped(self) -> str:
        kept = [task.journal_path for task in self._open if task.journal_path]
        where = f"in {kept[0]}" if len(kept) == 1 else "in the journals beside the outputs"
        where += ": the same command goes on there" if kept or len(self._tasks) > 1 else ""
        if not kept and len(self._tasks) == 1:
            where = "lost"
        total = count(self._total, "text")
        return f"interrupted; {len(self._known):,} of {total} are {where}"
