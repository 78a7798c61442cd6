"""A context manager that closes."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TypeVar

C = TypeVar("C", bound="Closing")


class Closing:
    """Closes at the end of a `with`, and when it is forgotten, except at the interpreter's end."""

    def close(self) -> None:
        """Free what is held; harmless when done twice."""
        raise NotImplementedError

    def __enter__(self: C) -> C:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.close()
