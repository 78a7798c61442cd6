"""`--cluster`, for the commands whose work can be shared out."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from ..errors import TrimixError, UsageError
from ..showing import notice

if TYPE_CHECKING:
    from ..cluster import Address
    from ..translate import Maker

_PACKAGES = ("distributed", "cryptography")

cluster_option = click.option(
    "--cluster",
    metavar="local:N|tcp://HOST:PORT|FILE",
    help="Share the work out: to N processes here, to the workers of a Dask scheduler, or to a "
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


def makers_of(made_by: Iterable[Any]) -> list[Maker]:
    """With what the workers compute, as they said."""
    from ..translate import Maker

    return [Maker(**made) for made in made_by]


def tell_differing(makers: Iterable[Maker]) -> None:
    """Say where exact mode may not be exact."""
    if len({maker.features for maker in makers}) > 1:
        notice(
            "exact mode, but the workers' CPUs have different features: some texts may be others "
            "than on one machine"
        )
