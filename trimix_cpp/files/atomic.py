"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(dst: Path, *, private: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `dst`; on success it becomes `dst`, else it is removed.

    It is flushed to the disk and renamed, so an error or an interruption at any point leaves
    whatever stood at `dst` before. With `private` only the owner may ever read it.

    Raises:
        OSError: the system refused to write.
    """
    temporary = dst.with_name(f".{dst.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        if private:
            temporary.touch(mode=0o600, exist_ok=False)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, dst)
    except BaseException:  # KeyboardInterrupt too: nothing half-written may stay behind
        with suppress(OSError):
            temporary.unlink()
        raise
