"""What batches take: measured as they come, guessed from others until then. Nothing is run here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

# The first few measurements are outliers upwards; after them new ones replace old ones this fast.
_FIRST, _RATE = 3, 0.25
# A batch that was measured so often is no longer guessed.
_KNOWN = 2
# Batches of at least so many tokens tell what a token costs in a large one.
_LARGE = 32
# What one more token in a batch is taken to cost, in single tokens, before a large one was seen.
_PACE_GUESS = 0.1


@dataclass
class Time:
    """Seconds that something takes: the least of the first few times, then a moving average."""

    seconds: float = 0.0
    n: int = 0

    def note(self, seconds: float) -> None:
        """One more measurement."""
        self.n += 1
        if self.n <= _FIRST:
            self.seconds = min(self.seconds or seconds, seconds)
        else:
            self.seconds += _RATE * (seconds - self.seconds)


@dataclass
class Costs:
    """Seconds that a role takes for a batch of n tokens of one sequence."""

    _small: dict[str, dict[int, Time]] = field(default_factory=dict)
    _pace: dict[str, float] = field(default_factory=dict)

    def note(self, role: str, n_tokens: int, seconds: float) -> None:
        """A batch of `n_tokens` took `seconds`."""
        if n_tokens >= _LARGE:
            pace = seconds / n_tokens
            self._pace[role] = min(self._pace.get(role, pace), pace)
        else:
            self._small.setdefault(role, {}).setdefault(n_tokens, Time()).note(seconds)

    def of(self, role: str, n_tokens: int) -> float:
        """Seconds of a batch: measured, or hopefully guessed from what was."""
        times = self._small.get(role, {})
        measured = times.get(n_tokens, Time())
        if measured.n >= _KNOWN or not times:
            return measured.seconds
        shorter = max((n for n, time in times.items() if n < n_tokens and time.n), default=0)
        longer = (time.seconds for n, time in times.items() if n > n_tokens and time.n >= _KNOWN)
        guess = min([self._from_shorter(role, shorter, n_tokens), *longer])
        return min(guess, measured.seconds) if measured.n else guess

    def all(self, roles: Iterable[str], n_tokens: int) -> float:
        """Seconds of a batch of each of these roles."""
        return sum(self.of(role, n_tokens) for role in roles)

    def _from_shorter(self, role: str, shorter: int, n_tokens: int) -> float:
        single = self._small[role].get(1, Time()).seconds
        pace = min(self._pace.get(role, _PACE_GUESS * single), single)
        return (self._small[role][shorter].seconds if shorter else 0) + (n_tokens - shorter) * pace
