"""`trimix-cpp translate --cluster`: the texts of a run over the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from ..errors import TrimixError, UsageError
from ..showing import notice

if TYPE_CHECKING:
    from ..cluster import Address, Spread
    from ..runtime import Settings
    from ..translate import Maker, Outcome, Recipe, Unit

_PACKAGES = ("distributed", "cryptography")

cluster_option = click.option(
    "--cluster",
    metavar="local:N|tcp://HOST:PORT|FILE",
    help="Share the texts out: to N processes here, to the workers of a Dask scheduler, or to a "
    "cluster that a TOML file describes.",
)


def address_of(said: str | None, rpc: object) -> Address | None:
    """What `--cluster` says; raises UsageError, or TrimixError where Dask is missing."""
    if said is None:
        return None
    if rpc:
        raise UsageError(
            "--cluster does not go with --rpc, whose servers have one client at a time"
        )
    from ..cluster import Address, read_description

    address = Address.parse(said)
    for package in _PACKAGES:
        if find_spec(package) is None:
            raise TrimixError(
                f"--cluster needs further packages ({package} is missing): "
                "pip install 'trimix-cpp[cluster]'"
            )
    if address.path:
        read_description(address.path)
    return address


class Clustered:
    """Starts a run's models on the workers of a cluster; a `Start`.

    Args:
        address: of the cluster.
        settings, units, parallel: as the models would be loaded here.
        known: what decides the results, for the journals.

    Raises:
        UsageError: the settings do not go with a cluster.
    """

    def __init__(
        self,
        address: Address,
        settings: Settings,
        units: Sequence[Unit],
        parallel: int,
        known: Mapping[str, Any],
    ) -> None:
        if settings.options.rpc:
            raise UsageError(
                "--rpc does not go with --cluster: a server serves one process, not the workers"
            )
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
        if self._settings.options.exact and len({maker.features for maker in self._makers()}) > 1:
            notice(
                "exact mode, but the workers' CPUs have different features: some texts may be "
                "others than on one machine"
            )

    def maker(self) -> Maker | None:
        """With what the workers translate, as far as they said; None: no text came back yet."""
        makers = self._makers()
        return makers[0].together(makers) if makers else None

    def _makers(self) -> list[Maker]:
        from ..translate import Maker

        return [Maker(**made) for made in self._spread.made_by] if self._spread else []
