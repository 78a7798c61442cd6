"""What `impact` and `plan` share: a trio, how its sides are evaluated, and where all is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from ..decoding import DEFAULT_N_CTX
from ..files import Closing
from ..fusion import Weights
from ..gguf import read_header
from ..quant import Options
from ..showing import Bar
from ..store import TrioSpec
from .cache import keep, kept, key_of
from .compare import Comparison, Task, compare_sides, fused_name, noise_side
from .costs import Cost, cost, timed_run
from .evaluator import Evaluator
from .free_running import Answer, answers
from .sides import Side, Workshop
from .windows import Window, noise_windows


@dataclass
class Evaluation(Closing):
    """One evaluation of a trio's sides; closing it frees the models.

    Attributes:
        spec: the trio.
        weights: of the fusion.
        cache: the folder where everything is kept.
        n_ctx: tokens of a window.
        chunks: most windows of a text; None for all.
        one_by_one: True loads one model at a time; None does so where it must be.
        n_threads, n_gpu_layers, rpc, exact: as `quant.Options`.
        quiet: without bars.
    """

    spec: TrioSpec
    weights: Weights
    cache: Path
    n_ctx: int = 512
    chunks: int | None = None
    one_by_one: bool | None = None
    n_threads: int = 0
    n_gpu_layers: int = -1
    rpc: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exact: bool = False
    quiet: bool = False
    _closing: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def trained_ctx(self) -> int:
        """Tokens of context that the models were trained for."""
        files = (self.spec.roles[role] for role in self.weights.roles if role in self.spec.roles)
        known = (read_header(one.path).number("context_length") for one in files)
        return min((n_ctx for n_ctx in known if n_ctx), default=1 << 31)

    @property
    def model_ctx(self) -> int:
        """Tokens of context that a trio has if nothing is said."""
        return min(DEFAULT_N_CTX, self.trained_ctx)

    def bar(self, label: str, unit: str = "tensors") -> AbstractContextManager[Bar]:
        """Shows how far something is."""
        return Bar(label, unit, quiet=self.quiet)

    def workshop(self, roles: Sequence[str]) -> Workshop:
        """Makes the files of sides."""
        return Workshop(self.spec, roles, self.cache, self.bar, exact=self.exact)

    def evaluator(self, roles: Sequence[str]) -> Evaluator:
        """Evaluates them; it is closed with this."""
        evaluator = Evaluator(
            {role: self.spec.roles[role] for role in roles},
            n_ctx=self.n_ctx,
            n_threads=self.n_threads,
            n_gpu_layers=self.n_gpu_layers,
            rpc=self.rpc,
            exact=self.exact,
        )
        return self._closing.enter_context(evaluator)

    def sides(self, workshop: Workshop, names: Sequence[str]) -> list[Side]:
        """The sides of these names; two that would be called alike are called as they were named.

        Raises:
            UsageError, TrimixError: as `Workshop.side`.
        """
        found = [workshop.side(name) for name in names]
        told = distinct([side.name for side in found], names)
        return [replace(side, name=name) for side, name in zip(found, told, strict=True)]

    def compare(
        self,
        evaluator: Evaluator,
        reference: Side,
        sides: Sequence[Side],
        windows: Sequence[Window],
        task: Task,
        label: str = "comparing",
    ) -> list[Comparison]:
        """Every side against the reference, as `compare_sides`, with a bar."""
        with self.bar(label, "windows") as progress:
            return compare_sides(
                evaluator,
                reference,
                sides,
                windows,
                task,
                self.cache,
                one_by_one=self.one_by_one,
                progress=progress,
            )

    def noise(
        self, evaluator: Evaluator, sides: Sequence[Side], windows: Sequence[Window]
    ) -> dict[str, float]:
        """A side's name -> mean KLD of its fused distribution in batches of another size."""
        task, few = Task(self.weights), noise_windows(windows)
        found = {}
        for side in sides:
            label = f"noise of {side.name}"
            (rounding,) = self.compare(evaluator, side, [noise_side(side)], few, task, label)
            found[side.name] = rounding.mean_kld(fused_name(self.weights.roles))
        return found

    def cost(self, side: Side, prompt: Sequence[int] | None = None) -> Cost:
        """What a side costs; with a prompt its speed is measured after it."""
        run = None
        if prompt is not None:
            run = timed_run(side.spec(self.spec), self.weights, self.options(side, 1), prompt)
        return cost(side, self.weights, self.model_ctx, run)

    def windows(self, evaluator: Evaluator, texts: Sequence[tuple[str, str]]) -> list[Window]:
        """The windows of all texts, (label, text)."""
        return [
            window
            for label, text in texts
            for window in evaluator.windows(text, label)[: self.chunks]
        ]

    def options(self, side: Side, n_parallel: int) -> Options:
        """How a side runs freely."""
        return Options(
            n_parallel=n_parallel,
            n_threads=self.n_threads,
            n_gpu_layers=dict.fromkeys(side.variants, self.n_gpu_layers),
            rpc=self.rpc,
            type_k=side.type_k,
            type_v=side.type_v,
            exact=self.exact,
        )

    def answers(
        self, side: Side, prompts: Sequence[str], max_tokens: int, n_parallel: int
    ) -> list[Answer]:
        """The greedy answers of a side; from the cache where they are known."""
        key = key_of(
            side.identity(self.weights.roles, self.cache),
            self.weights.coefficients,
            [*prompts],
            [max_tokens, n_parallel, self.exact],
        )
        path = self.cache / "answers" / key
        if (known := kept(path)) is not None:
            return [Answer(tuple(tokens), text) for tokens, text in json.loads(known)]
        with self.bar(f"answering {side.name}", "answers") as progress:
            found = answers(
                side.spec(self.spec),
                self.weights,
                prompts,
                self.options(side, n_parallel),
                max_tokens=max_tokens,
                progress=progress,
            )
        keep(path, json.dumps([(one.tokens, one.text) for one in found]).encode())
        return found

    def close(self) -> None:
        """Free the models; harmless when done twice."""
        self._closing.close()


def distinct(short: Sequence[str], full: Sequence[str]) -> list[str]:
    """Names to tell things apart by: the short ones, and the full one where two would be alike."""
    by_name: dict[str, set[str]] = {}
    for name, whole in zip(short, full, strict=True):
        by_name.setdefault(name, set()).add(whole)
    return [
        name if len(by_name[name]) == 1 else whole for name, whole in zip(short, full, strict=True)
    ]
