"""`trimix-cpp translate --cluster`: the texts of a run over the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .clusters import makers_of, tell_differing

if TYPE_CHECKING:
    from ..cluster import Address, Spread
    from ..runtime import Settings
    from ..translate import Maker, Outcome, Recipe, Unit


class Clustered:
    """Starts a run's models on the workers of a cluster; a `Start`.

    Args:
        address: of the cluster.
        settings, units, parallel: as the models would be loaded here.
        known: what decides the results, for the journals.
    """

    def __init__(
        self,
        address: Address,
        settings: Settings,
        units: Sequence[Unit],
        parallel: int,
        known: Mapping[str, Any],
    ) -> None:
        self._address, self._settings, self._units = address, settings, units
        self._parallel, self._known = parallel, known
        self._spread: Spread[Unit, Outcome] | None = None

    @contextmanager
    def __call__(self, recipe: Recipe) -> Iterator[Spread[Unit, Outcome]]:
        """See `translate.Start`.

        Raises:
            TrimixError: no scheduler, no worker that takes part, or a broken model.
        """
        from ..cluster import connected
        from ..translate import Elsewhere, Loading

        loading = Loading.of(self._settings, recipe, self._units, self._parallel)
        if self._address.kind == "local":
            loading = loading.share(self._address.n_workers)
        opening = Elsewhere.of(loading, self._known)
        with connected(self._address, opening) as self._spread:
            yield self._spread
        if self._settings.options.exact:
            tell_differing(self._makers())

    def maker(self) -> Maker | None:
        """With what the workers translate, as far as they said; None: no text came back yet."""
        makers = self._makers()
        return makers[0].together(makers) if makers else None

    def _makers(self) -> list[Maker]:
        return makers_of(self._spread.made_by) if self._spread else []
