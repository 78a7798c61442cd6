"""What batches take: measured before, or as they come. Nothing is run here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# The first few measurements are outliers upwards; after them new ones replace old ones this fast.
_FIRST, _RATE = 3, 0.25
# What one more token in a batch is taken to cost, in single tokens, before any batch was seen.
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
    """Seconds that a role takes for a batch of n tokens, of one text or a few.

    Args:
        steps: role -> n -> what was measured before, in single tokens of the role; 1 among them.
    """

    steps: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    _times: dict[str, dict[int, Time]] = field(default_factory=dict)
    _known: dict[str, list[float]] = field(init=False)

    def __post_init__(self) -> None:
        self._known = {
            role: [between(sizes, n) for n in range(max(sizes) + 1)]
            for role, sizes in self.steps.items()
        }

    def note(self, role: str, n_tokens: int, seconds: float) -> None:
        """A batch of `n_tokens` took `seconds`."""
        self._times.setdefault(role, {}).setdefault(n_tokens, Time()).note(seconds)

    def of(self, role: str, n_tokens: int) -> float:
        """Seconds of a batch, between those that were measured; 0 where nothing was."""
        times = self._times.get(role, {})
        if n_tokens in times:
            return times[n_tokens].seconds
        known = self._known.get(role, ())
        if n_tokens < len(known) and 1 in times:
            return times[1].seconds * known[n_tokens]
        return between({n: time.seconds for n, time in times.items()}, n_tokens)

    def all(self, roles: Iterable[str], n_tokens: int) -> float:
        """Seconds of a batch of each of these roles."""
        return sum(self.of(role, n_tokens) for role in roles)


def between(measured: Mapping[int, float], n_tokens: int) -> float:
    """What `n_tokens` cost, on the line between the measured sizes around; hopeful beyond the last.

    Linear, since a batch that was too dear costs one round, and one never tried all of them.
    """
    below = max((n for n in measured if n <= n_tokens), default=None)
    above = min((n for n in measured if n > n_tokens), default=None)
    if below is None:
        return measured[above] if above else 0.0
    if above is None:
        single = measured[min(measured)] / min(measured)
        return measured[below] + (n_tokens - below) * _PACE_GUESS * single
    part = (n_tokens - below) / (above - below)
    return measured[below] + part * (measured[above] - measured[below])
