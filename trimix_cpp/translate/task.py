"""A file on its way through the models: what it asks of them, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ..documents import Document, Result
from ..showing import notice
from . import files
from .aids import Aids
from .job import grouped, results_of, units_of
from .journal import Journal
from .journal_lines import Share
from .places import make_folders
from .placing import Placing
from .recipe import Recipe
from .redoing import Redo
from .shards import Shard
from .summary import Summary, summarize
from .units import Layout, Outcome, Unit


@dataclass(eq=False)
class Task:
    """A file on its way.

    Attributes:
        document: the file.
        output: where its translation goes.
        journal_path: where finished texts are kept; None: nowhere.
        layouts: of its segments.
        aids: what helped to lay them out.
        placing: which results come into the output, and how.
        redo: what was there before, where it is translated again.
        shard: which part of its texts is translated; None: all, and the output is written.
        outcomes: of its units, as they come.
        left: units without an outcome, in the order of the file.
        resumed: how many units were in the journal.
        done: the translation is there.
    """

    document: Document
    output: Path
    journal_path: Path | None
    layouts: Sequence[Layout]
    aids: Aids = field(default_factory=Aids)
    placing: Placing = field(default_factory=Placing)
    redo: Redo | None = None
    shard: Shard | None = None
    outcomes: dict[Unit, Outcome] = field(default_factory=dict)
    left: dict[Unit, None] = field(default_factory=dict)
    resumed: int = 0
    done: bool = False
    journal: Journal | None = None
    held: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def ordered(self) -> list[Unit]:
        """All its units in the order of work, which machines with the same file agree on."""
        return grouped(units_of(self.layouts))

    @cached_property
    def units(self) -> list[Unit]:
        """What it asks the models."""
        return self.shard.units(self.ordered) if self.shard else units_of(self.layouts)

    @property
    def share(self) -> Share | None:
        """What its journal says of its shard."""
        return self.shard.share(self.ordered) if self.shard else None

    def hold(self) -> None:
        """Lock what it writes, until `held` is closed; a folder that is missing is made.

        Raises:
            TrimixError: another process has it.
            OSError: the folder cannot be made.
        """
        if files.is_file(self.output):
            self.held.callback(_remove_empty, make_folders(self.output))
        # Shards of one file may run beside each other, in a folder that machines share.
        written = self.journal_path if self.shard and self.journal_path else self.output
        self.held.enter_context(files.sole_writer(written, self.journal_path))

    def results(self) -> dict[int, Result]:
        """What became of its segments, by key, checked."""
        judged = self.placing.judged(self.layouts, results_of(self.layouts, self.outcomes))
        return self.redo.better(judged) if self.redo else judged

    def rendered(self) -> bytes:
        """The output."""
        kept = self.redo.kept if self.redo else {}
        return self.document.render({**kept, **self.placing.placed(self.layouts, self.results())})

    def write(self, replace: bool) -> None:
        """Let the output appear, in place of one that is there only if told so.

        Raises:
            TrimixError: one is there; or its encoding lacks a character.
            OSError: the system refused.
        """
        data = self.rendered()
        if self.resumed == len(self.outcomes) and files.holds(self.output, data):
            # The last run was cut short between the output's appearance and the journal's end.
            notice(f"{self.output}: is complete already")
        else:
            if not replace:  # it may have come up meanwhile
                files.refuse_existing(self.output)
            files.write(self.output, data, self.document.codec)
        self.done = True

    def summary(self, recipe: Recipe, seconds: float) -> Summary:
        """What became of it."""
        results = self.results()
        return summarize(
            self.layouts, results, self.outcomes, self.placing.placed(self.layouts, results),
            resumed=self.resumed, recipe=recipe, seconds=seconds,
        )  # fmt: skip


def _remove_empty(folders: Sequence[Path]) -> None:
    """Take away folders that were made, where nothing came into them."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
