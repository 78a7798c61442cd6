"""How many examples hypothesis draws where a test does not want the profile's own number."""

from __future__ import annotations

from hypothesis import settings

EXPLORE = "explore"
_MORE = 20


def examples(n: int) -> int:
    """`n` in the default suite, 20 times as many in `make test-slow`."""
    return n * _MORE if settings.get_current_profile_name() == EXPLORE else n


def register_profiles() -> None:
    """The default suite draws the same on every machine; `explore` looks for new examples."""
    settings.register_profile("suite", derandomize=True, deadline=None)
    settings.register_profile(EXPLORE, max_examples=100 * _MORE, deadline=None, print_blob=True)
    settings.load_profile("suite")
