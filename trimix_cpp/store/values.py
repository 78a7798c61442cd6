"""Values of a TOML table, each of the type that it must have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Beyond all measure for what a trio's TOML holds: a rank, the strength of an adapter.
_HUGE = 10**6


def text(table: Mapping[str, Any], key: str, otherwise: str = "") -> str:
    """A text that is not empty where it is given; raises ValueError where it is something else."""
    value = table.get(key, otherwise)
    if not isinstance(value, str) or "\0" in value or (key in table and not value):
        raise _wrong(key, "text", value)
    return value


def texts(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """A list of texts; raises ValueError where it is none."""
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _wrong(key, "a list of texts", value)
    return tuple(value)


def whole(table: Mapping[str, Any], key: str, otherwise: int) -> int:
    """A whole number; raises ValueError where it is none, or out of all measure."""
    value = table.get(key, otherwise)
    if type(value) is not int or abs(value) > _HUGE:
        raise _wrong(key, "a whole number", value)
    return value


def number(table: Mapping[str, Any], key: str, otherwise: float) -> float:
    """A finite number; raises ValueError where it is none, or out of all measure."""
    value = table.get(key, otherwise)
    if type(value) not in (int, float) or not abs(value) <= _HUGE:  # nor NaN
        raise _wrong(key, "a number", value)
    return float(value)


def flag(table: Mapping[str, Any], key: str) -> bool:
    """True or false; raises ValueError where it is neither."""
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise _wrong(key, "true or false", value)
    return value


def inner(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A table; empty where there is none. Raises ValueError where it is something else."""
    value = table.get(key, {})
    if not isinstance(value, Mapping):
        raise _wrong(key, "a table", value)
    return value


def _wrong(key: str, wanted: str, value: Any) -> ValueError:
    return ValueError(f"{key} must be {wanted}, not {repr(value)[:60]}")
