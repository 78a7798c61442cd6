"""The processor, and how much memory there is for this process.

That is the machine's, or less where a container says so. Linux keeps a process in control groups,
and kills it when a group takes more than its limit. A container's own view shows the machine's
memory all the same, so the limits are read here: of every group from the process's own up to the
root, in version 2 of the interface and in version 1.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

# Version 1 writes the largest number of pages where there is no limit.
_UNLIMITED = 1 << 60


@dataclass(frozen=True)
class _Names:
    """Files of a memory group: its limit, what it takes, and the counts of what can be dropped."""

    limit: str
    usage: str
    files: tuple[str, str]


_V2 = _Names("memory.max", "memory.current", ("inactive_file", "active_file"))
_V1 = _Names(
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)


def cpu_name() -> str:
    """The processor's name as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def total_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that this process may ever have; `root` is where proc and sys are."""
    limits = [limit for limit, _ in _limits(root)]
    return min([int(psutil.virtual_memory().total), *limits])


def free_memory(root: Path = Path("/")) -> int:
    """Bytes that are free or can be made so, in this process's control groups if it has any."""
    free = [limit - used for limit, used in _limits(root)]
    return max(min([int(psutil.virtual_memory().available), *free]), 0)


def _limits(root: Path) -> Iterator[tuple[int, int]]:
    """(limit, bytes that cannot be dropped) of each group that has a limit."""
    for folder, names in _groups(root):
        try:
            limit = int((folder / names.limit).read_text())  # "max" is no number
            if not 0 <= limit < _UNLIMITED:
                continue
            used = int((folder / names.usage).read_text())
            lines = (folder / "memory.stat").read_text().splitlines()
            counts = dict(line.split() for line in lines)
            # Pages of files can be dropped.
            yield limit, used - sum(int(counts.get(name, 0)) for name in names.files)
        except (OSError, ValueError):
            continue  # no limit that we can read


def _groups(root: Path) -> Iterator[tuple[Path, _Names]]:
    """Folders of the process's memory groups and their parents, where they are mounted as usual."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            mount, names = root / "sys/fs/cgroup", _V2
        elif "memory" in controllers.split(","):
            mount, names = root / "sys/fs/cgroup/memory", _V1
        else:
            continue
        # In a container the path may be the host's, of which only the mount itself is there.
        inner = PurePosixPath(path.lstrip("/"))
        if ".." not in inner.parts:
            for group in (inner, *inner.parents):
                yield mount / group, names
        else:
            yield mount, names
