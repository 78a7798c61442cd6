"""The one way from options to a trio."""

from __future__ import annotations

from collections.abc import Iterable

from ..quant import Options
from ..store import TrioSpec
from .byte_trio import ByteTrio
from .trio import Trio


def open_trio(spec: TrioSpec, roles: Iterable[str], options: Options) -> Trio:
    """Load the roles in use; see `Trio`. With `options.bytes` they are fused over bytes."""
    return (ByteTrio if options.bytes else Trio)(spec, roles, options)
