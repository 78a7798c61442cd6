"""Numbers in words: what is counted, bytes, time."""

from __future__ import annotations


def count(n: int, noun: str) -> str:
    """A number and what it counts: 1 prompt, 2 prompts, 1,000 prompts."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def size_text(n_bytes: float) -> str:
    """Bytes for a reader: 812 B, 3.4 KiB, 1.2 GiB.

    Units are powers of 1024 wherever sizes are shown: memory and files are compared all the time.
    """
    value, units = float(n_bytes), iter(("KiB", "MiB", "GiB", "TiB"))
    if value < 1024:
        return f"{value:.0f} B"
    unit = ""
    while round(value, 1) >= 1024 and (larger := next(units, "")):
        value, unit = value / 1024, larger
    return f"{value:,.1f} {unit}"


def duration(seconds: float) -> str:
    """Seconds for a reader: 20 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
