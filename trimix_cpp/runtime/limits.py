"""The least and the most that a number may be: for the command line and for Python alike."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import UsageError
from ..quant import BOUNDS

LIMITS: Mapping[str, tuple[int, int]] = {
    **BOUNDS,
    "max_tokens": (1, 1 << 24),
    "top_k": (0, 1 << 31),
    "repeat_last_n": (-1, 1 << 31),
    "seed": (0, 2**64 - 1),
    "draft": (1, 63),
    "beam": (1, 64),
}


def check_limits(values: Mapping[str, int | None], names: Mapping[str, str] | None = None) -> None:
    """Hold numbers against `LIMITS`; `names` says what to call them, None is not looked at.

    Raises:
        UsageError: one is out of its bounds, or no whole number.
    """
    for key, value in values.items():
        least, most = LIMITS[key]
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            name = (names or {}).get(key, key)
            raise UsageError(f"{name} is a whole number from {least} to {most}, not {shown(value)}")


def whole_number(text: str, least: int, most: int) -> int | None:
    """The number that ASCII digits spell; None where it is none or out of bounds."""
    # int() refuses thousands of digits with an error of its own; ISO digits are not meant.
    if not (text.isascii() and text.isdecimal()) or len(text) > 20:
        return None
    value = int(text)
    return value if least <= value <= most else None


def shown(value: object) -> str:
    """A value in a message, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python spells
        return "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:59]}…"
