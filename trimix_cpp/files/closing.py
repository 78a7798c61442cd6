"""A context manager that closes."""

from __future__ import annotations

from typing import TypeVar

C = TypeVar("C", bound="Closing")


class Closing:
    """Closes at the end of a `with`."""

    def close(self) -> None:
        """Free what is held; harmless when done twice."""
        raise NotImplementedError

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
