"""Weights that were repacked are in memory once; what a file's map shows stays what it is."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from trimix_cpp.bench.random_models import Shape, write_model
from trimix_cpp.gguf.reader import read_header
from trimix_cpp.gguf.shape import shape_of_header
from trimix_cpp.llama import model as llama_model
from trimix_cpp.llama import pages
from trimix_cpp.llama.backend import repacked_types
from trimix_cpp.llama.context import Context
from trimix_cpp.llama.model import Model
from trimix_cpp.llama.pages import Pages
from trimix_cpp.quant.sizes import repacked_bytes

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages of Linux")


def resident(path: Path) -> int:
    """Bytes of the file that count to this process."""
    maps = psutil.Process().memory_maps()
    return sum(one.rss for one in maps if one.path == str(path.resolve()))


@pytest.mark.skipif(12 not in repacked_types(), reason="Q4_K is not repacked here")
def test_the_pages_of_repacked_weights_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_model(tmp_path / "m.gguf", Shape(512, 2048, 8, 8, 2, 4096, 3900, tied=True), 1)
    copied = repacked_bytes(shape_of_header(read_header(path)), None, repacked_types())
    assert copied > 8 << 20
    kept = []
    for drop in (Pages.drop, lambda self: None):
        monkeypatch.setattr(Pages, "drop", drop)
        with Model(path) as model, Context(model, n_ctx=64, n_threads=1) as context:
            kept.append(resident(path))
            assert context.n_ctx == 64
    assert kept[0] < 0.1 * copied
    assert kept[1] > copied


def test_dropped_pages_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(1 << 20))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        before = mapped[:]
        assert resident(path) == 1 << 20
        Pages(path).drop()
        assert resident(path) == 0
        assert mapped[:] == before


def test_only_what_the_file_is_mapped_to_at_that_moment_is_dropped(
    demo_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, dropped = demo_files["large"], []

    class Recorder:
        def madvise(self, start: ctypes.c_void_p, size: ctypes.c_size_t, _advice: int) -> None:
            maps = [line for line in Path("/proc/self/maps").read_text().splitlines()
                    if line.endswith(str(path.resolve()))]  # fmt: skip
            spans = [[int(end, 16) for end in line.split()[0].split("-")] for line in maps]
            assert [start.value, (start.value or 0) + size.value] in spans
            dropped.append(size.value)

    monkeypatch.setattr(pages, "_libc", Recorder)
    monkeypatch.setattr(llama_model, "may_repack", lambda header: True)
    Model(path).close()
    # The file's beginning, its metadata, is unmapped before the last call.
    assert len(set(dropped)) > 1


def test_ctrl_c_ends_the_loading_of_a_model(
    demo_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def interrupt(self: Pages) -> None:
        nonlocal calls
        calls += 1
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Pages, "drop", interrupt)
    monkeypatch.setattr(llama_model, "may_repack", lambda header: True)
    with pytest.raises(KeyboardInterrupt):
        Model(demo_files["large"])
    assert calls == 1  # the first tensor was the last
