"""An evaluation on the workers of a cluster: they fill the journal, from which it is then made.

What they find out stands under the keys that it has here, so that nothing is known of workers where
tables are made. A part is either the weights of a task, or answers to some of its items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..chat import template_of
from ..decoding import DEFAULT_N_CTX, Trio
from ..fusion import ROLES
from ..llama import physical_cores
from ..prompts import ChatTemplate
from ..quant import Options, free_memory
from ..runtime import SCORED_ROWS, SentModels
from ..showing import Progress
from ..store import TrioSpec
from ..translate import Machine, machine
from .journal import Noted
from .methods import Method, criteria_of, roles_of
from .run import Evaluation, Settings
from .tasks import Source

if TYPE_CHECKING:
    from ..cluster import Spread, Take, Told

# Lines of the journal.
Found = Mapping[str, Mapping[str, Any]]
# Texts of a part: what a worker that dies loses, and what has a shared beginning to itself.
_MOST = 128


def placed(
    options: Options,
    spec: TrioSpec,
    roles: Sequence[str],
    n_items: int,
    parallel: int | None,
    *,
    n_cores: int = 0,
    memory: int = 0,
) -> Options:
    """How the models run: as many texts at once as pay, and fit into memory.

    Args:
        options: as the user gave them.
        spec: of the trio.
        roles: of it, that are used.
        n_items: of the longest task.
        parallel: texts at once, where the user said so.
        n_cores: as `Machine` has it.
        memory: so too.
    """
    here = Machine(spec, roles, options, n_cores=n_cores, memory=memory)
    n_ctx = options.n_ctx or DEFAULT_N_CTX
    places = parallel or here.places(here.parallel(n_ctx, n_items))
    return replace(
        options,
        n_parallel=places,
        n_outputs=max(SCORED_ROWS, places),
        flash_attn=here.flash_attn(n_ctx, places),
    )


@dataclass(frozen=True)
class Part:
    """What a worker finds out at once.

    Attributes:
        source: number of the task.
        items: numbers of its items; none: the weights that are chosen for it.
        known: lines of the journal about them.
    """

    source: int
    items: tuple[int, ...] = ()
    known: Found = field(default_factory=dict, compare=False)


class Finder:
    """Finds out parts of an evaluation; a `Runner`.

    Args:
        trio, template: for the evaluation.
        settings, sources, methods: of it.
    """

    in_flight = 1  # a part has many texts

    def __init__(
        self,
        trio: Trio,
        template: ChatTemplate | None,
        settings: Settings,
        sources: Sequence[Source],
        methods: Sequence[Method],
    ) -> None:
        self._lines = Noted()
        self._evaluation = Evaluation(trio, self._lines, settings, self._bar, template)
        self._sources, self._methods = sources, methods
        self._next: Callable[[], None] = lambda: None

    def live(self, take: Take[Part]) -> Iterator[tuple[Part, Found]]:
        """See `Runner`: each part with the lines that it adds to the journal."""
        following: Part | None = None

        def look() -> None:
            nonlocal following
            following = following or take(False)

        self._next = look
        while part := following or take(True):
            following = None
            yield part, self._found(part)

    def _bar(self, label: str) -> AbstractContextManager[Progress]:
        # Whoever is to end in the middle of a part is told so when it takes.
        return nullcontext(lambda done, total: self._next())

    def _found(self, part: Part) -> Found:
        self._lines.lines = {key: dict(line) for key, line in part.known.items()}
        source = self._sources[part.source]
        self._evaluation.find(source, self._methods, part.items)
        return {key: line for key, line in self._lines.taken().items() if key not in part.known}


@dataclass(frozen=True)
class Elsewhere:
    """Opens a `Finder` on other machines, which have the files of the models or pull them.

    Attributes:
        models: of the trio.
        roles: those that are loaded first.
        options: as on the client, whose length of a context and flash attention decide results.
        parallel: texts at once; None for what each machine affords.
        share: workers that share a machine's memory.
        chat: prompts are messages in large's template.
        settings, sources, methods: of the evaluation.
        key: of this run alone.
    """

    models: SentModels
    roles: Sequence[str]
    options: Options
    parallel: int | None
    share: int
    chat: bool
    settings: Settings
    sources: Sequence[Source]
    methods: Sequence[Method]
    key: str = field(default_factory=lambda: uuid4().hex)

    @classmethod
    def of(
        cls,
        evaluation: Evaluation,
        sources: Sequence[Source],
        methods: Sequence[Method],
        parallel: int | None,
        share: int = 1,
    ) -> Elsewhere:
        """For what an evaluation of this machine lacks; raises OSError: a file cannot be read."""
        trio, spec = evaluation.trio, evaluation.trio.spec
        roles = roles_of(methods) or tuple(spec.roles)
        # Weights of the trio's own may need any of them.
        own = any(method.how in ("preset", "input") for method in methods)
        models = SentModels.of(spec, (*roles, *(ROLES if own else ())))
        return cls(
            models, roles, replace(trio.options, n_ctx=trio.n_ctx), parallel, share,
            evaluation.prompter.chat, evaluation.settings, sources, methods,
        )  # fmt: skip

    @contextmanager
    def open(self, told: Told) -> Iterator[Finder]:
        """The models on a worker.

        Raises:
            TrimixError: it has other files, or they cannot be loaded.
            OSError: a file cannot be read.
        """
        spec, n_items = self.models.here(told.memory), _longest(self.sources, self.settings)
        n_cores, memory = min(told.n_threads, physical_cores()), told.memory
        if self.share > 1:
            memory = free_memory() // self.share
        options = placed(
            self.options, spec, self.roles, n_items, self.parallel, n_cores=n_cores, memory=memory
        )
        options = replace(
            options,
            flash_attn=self.options.flash_attn,
            n_threads=self.options.n_threads or n_cores,
        )
        with Trio(spec, self.roles, options) as trio, ExitStack() as stack:
            template = stack.enter_context(template_of(trio)) if self.chat else None
            yield Finder(trio, template, self.settings, self.sources, self.methods)

    def made_by(self) -> dict[str, Any]:
        """With what this machine computes, as JSON values."""
        return asdict(machine())


def fill(
    evaluation: Evaluation,
    noted: Noted,
    sources: Sequence[Source],
    methods: Sequence[Method],
    start: Callable[[], AbstractContextManager[Spread[Part, Found]]],
) -> list[Any]:
    """Let workers find out what the journal lacks; with what they computed.

    Args:
        evaluation: whose journal is `noted`; it only reads, so the trio may have no weights.
        noted: above the journal.
        sources: the tasks that it will be asked for.
        methods: those that it will be asked for.
        start: starts the workers; not called where nothing is missing.

    Raises:
        TrimixError: as `Evaluation.run`, `connected` and `Spread.run`.
    """
    with ExitStack() as stack:
        spread: Spread[Part, Found] | None = None
        if parts := list(_unchosen(evaluation, noted, sources, methods)):
            spread = stack.enter_context(start())
            with evaluation.bars("weights of tasks") as progress:
                _take(spread.run(parts), noted, progress, len(parts))
        if parts := list(_unanswered(evaluation, noted, sources, methods)):
            spread = spread or stack.enter_context(start())
            n_plans = sum(map(len, evaluation.plans(sources[0], methods)))
            sizes = (max(1, n // n_plans) for n in (evaluation.trio.n_parallel, _MOST))
            together = _together(parts, spread, *sizes)
            with evaluation.bars("answers") as progress:
                _take(spread.run(together), noted, progress, len(parts))
        return spread.made_by if spread else []


def _take(
    results: Iterable[tuple[Part, Found]], noted: Noted, progress: Progress | None, total: int
) -> None:
    """Write what comes."""
    done = 0
    for part, found in results:
        for key, line in found.items():
            if noted.get(key) is None:  # items with one prompt may be in several parts
                noted.add(key, line)
        noted.taken()
        done += max(1, len(part.items))
        if progress:
            progress(done, total)


def _unchosen(
    evaluation: Evaluation, noted: Noted, sources: Sequence[Source], methods: Sequence[Method]
) -> Iterator[Part]:
    """Of each task whose weights are not all known."""
    for i, source in enumerate(sources):
        noted.taken()
        if not evaluation.chooser.is_known(source, criteria_of(methods)):
            yield Part(i, known=noted.taken())


def _unanswered(
    evaluation: Evaluation, noted: Noted, sources: Sequence[Source], methods: Sequence[Method]
) -> Iterator[Part]:
    """Of each item whose answers are not all known, one by one."""
    for i, source in enumerate(sources):
        noted.taken()
        plans = evaluation.plans(source, methods)
        chosen = noted.taken()
        for k, is_known in enumerate(evaluation.look(source, plans)):
            known = noted.taken()
            if not is_known:
                yield Part(i, (k,), chosen | known)


def _together(
    parts: Sequence[Part], spread: Spread[Part, Found], least: int, most: int
) -> Iterator[Part]:
    """Large parts first, small ones at the end, so that all workers end together."""
    left = len(parts)
    for source, group in groupby(parts, key=attrgetter("source")):
        own = [*group]
        while own:
            size = min(most, max(least, left // max(1, spread.in_flight)))
            taken, own = own[:size], own[size:]
            left -= len(taken)
            known = {key: line for part in taken for key, line in part.known.items()}
            yield Part(source, tuple(part.items[0] for part in taken), known)


def _longest(sources: Sequence[Source], settings: Settings) -> int:
    return max(len(source.records[: settings.limit]) for source in sources)
