"""The models for some texts, loaded: here, or on a worker of a cluster that has the same files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ..decoding import open_trio
from ..fusion import ROLES
from ..llama import physical_cores
from ..quant import Options, free_memory
from ..runtime import SentModels, Settings
from ..store import TrioSpec
from .capacity import Machine
from .engine import Translator
from .job import machine
from .journal_lines import as_json
from .recipe import Recipe
from .units import Unit

if TYPE_CHECKING:
    from ..cluster import Told
    from ..decoding import Speculator


@dataclass(frozen=True)
class Loading:
    """A trio with as many places, and as long contexts, as some texts need.

    Attributes:
        spec: the trio.
        roles: those in use.
        options: as the user gave them, with the length of a context.
        recipe: what is asked of the models.
        n_units: how many texts there are.
        parallel: texts in flight, 0 for what the machine affords.
        speculator: drafts while a single text is in flight.
    """

    spec: TrioSpec
    roles: tuple[str, ...]
    options: Options
    recipe: Recipe
    n_units: int
    parallel: int
    speculator: Speculator | None

    @classmethod
    def of(
        cls, settings: Settings, recipe: Recipe, units: Sequence[Unit], parallel: int
    ) -> Loading:
        """For these texts, on this machine."""
        roles = tuple(settings.weighting.roles)
        machine = Machine(settings.spec, roles, settings.options)
        options = replace(settings.options, n_ctx=machine.context_length(recipe, units))
        return cls(settings.spec, roles, options, recipe, len(units), parallel, settings.speculator)

    def share(self, n_workers: int) -> Loading:
        """As one of some workers on this machine loads it: cores and memory are divided."""
        machine = Machine(
            self.spec, self.roles, self.options,
            n_cores=max(1, physical_cores() // n_workers), memory=free_memory() // n_workers,
        )  # fmt: skip
        parallel = machine.parallel(self._n_ctx, -(-self.n_units // n_workers))
        return replace(self, parallel=self.parallel or parallel)

    @contextmanager
    def open(self, n_cores: int = 0, memory: int = 0) -> Iterator[Translator]:
        """The models, loaded; `n_cores` and `memory` as `Machine` has them.

        Raises:
            TrimixError: a file is missing or broken, the models may not be fused, or no memory.
        """
        machine = Machine(self.spec, self.roles, self.options, n_cores=n_cores, memory=memory)
        parallel = self.parallel or machine.parallel(self._n_ctx, self.n_units)
        places = machine.places(parallel)
        options = replace(
            self.options,
            n_parallel=places,
            flash_attn=machine.flash_attn(self._n_ctx, places),
        )
        with open_trio(self.spec, self.roles, options) as trio:
            yield Translator(trio, self.recipe, self.speculator)

    @property
    def _n_ctx(self) -> int:
        assert self.options.n_ctx
        return self.options.n_ctx


@dataclass(frozen=True)
class Elsewhere:
    """A `Loading` that goes to other machines, which have the files or pull them.

    Attributes:
        loading: as on the machine of the client.
        models: of the roles that are used.
        key: what is loaded, in letters and digits.
    """

    loading: Loading
    models: SentModels
    key: str

    @classmethod
    def of(cls, loading: Loading, settings: Mapping[str, Any]) -> Elsewhere:
        """With what decides the results (`settings_of`); raises OSError: a file cannot be read."""
        drafting = (role for role in loading.spec.roles if role not in ROLES)
        models = SentModels.of(loading.spec, (*loading.roles, *drafting))
        said = [settings, loading.recipe.sampler.seed, repr(loading.options), loading.parallel]
        key = hashlib.sha256(as_json([models.hashes, *said])).hexdigest()[:16]
        return cls(loading, models, key)

    @contextmanager
    def open(self, told: Told) -> Iterator[Translator]:
        """The models on a worker.

        Raises:
            TrimixError: it has other files, or what `Loading.open` raises, or a pull.
            OSError: a file cannot be read.
        """
        loading, spec = self.loading, self.models.here(told.memory)
        n_cores = min(told.n_threads, physical_cores())
        options = replace(loading.options, n_threads=loading.options.n_threads or n_cores)
        here = replace(loading, spec=spec, options=options)
        with here.open(n_cores, told.memory) as translator:
            yield translator

    def made_by(self) -> dict[str, Any]:
        """With what this machine translates: the fields of `Maker`, as JSON values."""
        return asdict(machine())
