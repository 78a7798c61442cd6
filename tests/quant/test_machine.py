"""The memory of this process: control groups of both versions decide, where they have a limit."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from trimix_cpp.quant.machine import free_memory, total_memory

MIB = 1 << 20
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
V2 = ("memory.max", "memory.current", "")


def group(
    folder: Path, names: tuple[str, str, str], limit: object, used: int = 0, cached: int = 0
) -> None:
    limit_file, usage_file, prefix = names
    folder.mkdir(parents=True, exist_ok=True)
    (folder / limit_file).write_text(f"{limit}\n")
    (folder / usage_file).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(
        f"anon 5\n{prefix}inactive_file {cached}\n{prefix}active_file {cached}\n"
    )


def told(root: Path, lines: str) -> None:
    path = root / "proc/self/cgroup"
    path.parent.mkdir(parents=True)
    path.write_text(lines)


def test_a_container_of_version_2(tmp_path: Path) -> None:
    told(tmp_path, "0::/\n")
    group(tmp_path / "sys/fs/cgroup", V2, 64 * MIB, used=40 * MIB, cached=10 * MIB)
    assert total_memory(tmp_path) == 64 * MIB
    assert free_memory(tmp_path) == 44 * MIB


def test_the_tightest_of_all_groups_above_counts(tmp_path: Path) -> None:
    told(tmp_path, "0::/user.slice/user-0.slice/app\n")
    top = tmp_path / "sys/fs/cgroup"
    group(top / "user.slice", V2, 50 * MIB, used=49 * MIB)
    group(top / "user.slice/user-0.slice", V2, "max", used=49 * MIB)
    group(top / "user.slice/user-0.slice/app", V2, 90 * MIB, used=10 * MIB)
    assert total_memory(tmp_path) == 50 * MIB
    assert free_memory(tmp_path) == MIB


@pytest.mark.parametrize("path", ["/", "/docker/0123abcd", "/../../elsewhere"])
def test_a_container_of_version_1(tmp_path: Path, path: str) -> None:
    """Its path is often the host's, of which it sees only the root."""
    told(tmp_path, f"12:cpu,cpuacct:{path}\n9:memory:{path}\n0::/\n")
    group(tmp_path / "sys/fs/cgroup/memory", V1, 32 * MIB, used=30 * MIB, cached=2 * MIB)
    assert total_memory(tmp_path) == 32 * MIB
    assert free_memory(tmp_path) == 6 * MIB


def test_a_group_of_version_1_below_the_root(tmp_path: Path) -> None:
    told(tmp_path, "4:pids,memory:/batch/job7\n")
    top = tmp_path / "sys/fs/cgroup/memory"
    group(top, V1, (1 << 63) - 4096)
    group(top / "batch/job7", V1, 16 * MIB, used=20 * MIB)
    assert total_memory(tmp_path) == 16 * MIB
    assert free_memory(tmp_path) == 0


@pytest.mark.parametrize(
    ("lines", "limit"),
    [
        (None, 0),
        ("", 0),
        ("garbage\n0:x\n::\n", 0),
        ("0::/\n", "max"),
        ("0::/\n", (1 << 63) - 4096),
        ("0::/\n", -1),
        ("0::/\n", "x"),
        ("1:name=systemd:/\n", MIB),
    ],
)
def test_without_a_limit_the_machine_counts(
    tmp_path: Path, lines: str | None, limit: object
) -> None:
    if lines is not None:
        told(tmp_path, lines)
    group(tmp_path / "sys/fs/cgroup", V2, limit)
    assert total_memory(tmp_path) == psutil.virtual_memory().total
    assert free_memory(tmp_path) > MIB


def test_a_group_that_tells_half(tmp_path: Path) -> None:
    told(tmp_path, "0::/\n")
    folder = tmp_path / "sys/fs/cgroup"
    group(folder, V2, MIB)
    (folder / "memory.stat").write_text("no numbers here\n")
    assert total_memory(tmp_path) == psutil.virtual_memory().total


def test_here() -> None:
    assert 0 < free_memory() <= total_memory() < 1 << 50
