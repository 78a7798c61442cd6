"""The models for some texts, loaded: here, or on a worker of a cluster that has the same files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ..decoding import open_trio
from ..errors import TrimixError
from ..fusion import ROLES
from ..llama import physical_cores
from ..quant import Options, free_memory
from ..runtime import Settings, pulled_profile, same_models
from ..showing import notice, size_text
from ..store import TrioSpec, fingerprint
from .capacity import Machine
from .engine import Translator
from .job import machine
from .journal_lines import as_json
from .recipe import Recipe
from .units import Unit

if TYPE_CHECKING:
    from ..cluster import Told
    from ..decoding import Speculator

# What a worker's limit of memory must leave beside the weights.
_BESIDE_WEIGHTS = 256 << 20


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
        hashes: of the roles' files.
        profile: with which the trio was pulled; None: it was not.
        key: what is loaded, in letters and digits.
    """

    loading: Loading
    hashes: Mapping[str, str]
    profile: str | None
    key: str

    @classmethod
    def of(cls, loading: Loading, settings: Mapping[str, Any]) -> Elsewhere:
        """With what decides the results (`settings_of`); raises OSError: a file cannot be read."""
        spec = loading.spec
        used = {*loading.roles, *(role for role in spec.roles if role not in ROLES)}
        hashes = {
            role: fingerprint(spec.roles[role]) for role in sorted(used) if role in spec.roles
        }
        said = [settings, loading.recipe.sampler.seed, repr(loading.options), loading.parallel]
        key = hashlib.sha256(as_json([hashes, *said])).hexdigest()[:16]
        return cls(loading, hashes, pulled_profile(spec), key)

    @contextmanager
    def open(self, told: Told) -> Iterator[Translator]:
        """The models on a worker.

        Raises:
            TrimixError: it has other files, or what `Loading.open` raises, or a pull.
            OSError: a file cannot be read.
        """
        loading = self.loading
        spec = same_models(loading.spec, self.hashes, self.profile, notice)
        weights = sum(role.path.stat().st_size for role in spec.roles.values())
        if 0 < told.memory < weights + _BESIDE_WEIGHTS:
            raise TrimixError(
                f"its limit of {size_text(told.memory)} leaves no room beside models of "
                f"{size_text(weights)}: start it with --memory-limit 0"
            )
        n_cores = min(told.n_threads, physical_cores())
        options = replace(loading.options, n_threads=loading.options.n_threads or n_cores)
        here = replace(loading, spec=spec, options=options)
        with here.open(n_cores, told.memory) as translator:
            yield translator

    def made_by(self) -> dict[str, Any]:
        """With what this machine translates: the fields of `Maker`, as JSON values."""
        return asdict(machine())
