"""What may be refused, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from trimix_cpp.errors import TrimixError

T = TypeVar("T")


def taken(read: Callable[[], T]) -> T | None:
    """What `read` gives; None where it refuses, which it is to do in one line."""
    try:
        return read()
    except TrimixError as error:
        refused = str(error)
    assert refused
    assert "\n" not in refused
    return None
