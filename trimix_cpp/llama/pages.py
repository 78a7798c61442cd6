"""Lets go of pages of a model's file that llama.cpp has copied into another order while it loads.

llama.cpp maps the whole file into memory, repacks what its kernels want so, and leaves the pages
that it copied from where they are: without this, weights that are repacked count twice until the
system needs the memory. Loading without a map takes twice as long.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path

from ..files import real_path

_MADV_DONTNEED = 4  # Linux: pages of a file are read again from the system's cache when needed


class Pages:
    """The pages of `path` that this process has mapped; nothing where the system is not Linux."""

    def __init__(self, path: Path) -> None:
        self._path = os.fsencode(real_path(path))

    def drop(self) -> None:
        """Let go of them all; those that are still in use come back by themselves."""
        if not sys.platform.startswith("linux"):
            return
        # Read anew each time: llama.cpp unmaps what it has copied, all of it where weights went
        # to a GPU, and other memory then lies at those addresses.
        for start, size in self._mapped():
            _libc().madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _MADV_DONTNEED)

    def _mapped(self) -> list[tuple[int, int]]:
        """Address and size of every map of the file, after proc_pid_maps(5)."""
        found = []
        try:
            with open("/proc/self/maps", "rb") as maps:
                for line in maps:
                    span, permissions, *_, path = line.rstrip(b"\n").split(None, 5)
                    if path == self._path and permissions.startswith(b"r--"):
                        start, end = (int(number, 16) for number in span.split(b"-"))
                        found.append((start, end - start))
        except (OSError, ValueError):
            pass  # then the pages stay
        return found


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
