"""Room on the disk, asked for before the work."""

from __future__ import annotations

import shutil
from pathlib import Path

from trimix_cpp.errors import TrimixError
from trimix_cpp.showing import size_text


def check_space(folder: Path, need: int) -> None:
    """Raise TrimixError when fewer than `need` bytes are free in `folder`."""
    free = shutil.disk_usage(folder).free
    if free < need:
        raise TrimixError(
            f"not enough disk space in {folder}: {size_text(need)} needed, {size_text(free)} free"
        )
