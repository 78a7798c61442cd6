"""Measuring what variants give on windows of text, window by window, and keeping it.

A pass takes some windows. One variant of a role after the other is evaluated on them, and its rows
go to a temporary file on the disk, which the system may keep in memory as far as there is room;
then they are compared. Never more logits than a pass has are held, and where the memory is short
never more models than one.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import TrimixError
from ..fusion import Rows
from ..quant import free_memory
from ..showing import Progress, size_text
from .cache import Cache, Measured
from .evaluator import Evaluator, Variant
from .windows import Window

SPOOL_BYTES = 4 << 30


@dataclass(frozen=True)
class Job:
    """A comparison, window by window.

    Attributes:
        variants: whose rows it needs.
        measure: makes of their rows on a window, float32 [n_scored, n_tokens], what is kept.
        cache: where that is kept.
    """

    variants: Sequence[Variant]
    measure: Callable[[Mapping[Variant, Rows], Window], Measured]
    cache: Cache


def measure(
    evaluator: Evaluator,
    jobs: Sequence[Job],
    windows: Sequence[Window],
    folder: Path,
    *,
    one_by_one: bool | None = None,
    spool_bytes: int = SPOOL_BYTES,
    progress: Progress | None = None,
) -> list[list[Measured]]:
    """What every job makes of every window; what its cache knows is not measured again.

    Args:
        evaluator: of the variants.
        jobs: all are measured by the same passes.
        windows: all of one size.
        folder: as `passes`.
        one_by_one: as `passes`.
        spool_bytes: as `passes`.
        progress: as `passes`.

    Raises:
        TrimixError: as `passes`.
    """
    found = [[job.cache.get(window) for window in windows] for job in jobs]
    missing = [i for i in range(len(windows)) if any(known[i] is None for known in found)]
    pending = [(job, known) for job, known in zip(jobs, found, strict=True) if None in known]
    variants = dict.fromkeys(variant for job, _ in pending for variant in job.variants)
    for numbers, rows in passes(
        evaluator,
        list(variants),
        [windows[i] for i in missing],
        folder=folder,
        one_by_one=one_by_one,
        spool_bytes=spool_bytes,
        progress=progress,
    ):
        for place, i in enumerate(missing[number] for number in numbers):
            here = {variant: own[place] for variant, own in rows.items()}
            for job, known in pending:
                if known[i] is None:
                    known[i] = made = job.measure(here, windows[i])
                    job.cache.put(windows[i], made)
    return [[one for one in known if one is not None] for known in found]


Pass = tuple[Sequence[int], Mapping[Variant, Rows]]


def passes(
    evaluator: Evaluator,
    variants: Sequence[Variant],
    windows: Sequence[Window],
    *,
    folder: Path,
    spool_bytes: int,
    one_by_one: bool | None = None,
    progress: Progress | None = None,
) -> Iterator[Pass]:
    """(indices of the pass's windows, variant -> rows [n_windows, n_scored, n_tokens]).

    The rows are valid until the next pass.

    Args:
        evaluator: of the variants.
        variants: without repetition.
        windows: all of one size.
        folder: where the temporary file of the rows lies; it has no name there.
        spool_bytes: most bytes of that file, but one window's at least.
        one_by_one: load one model at a time; None does so where they do not fit into the memory.
        progress: is told (windows times variants done, in all).

    Raises:
        TrimixError: the rows of one window do not fit on the disk.
    """
    if not windows:
        return
    if one_by_one is None:
        one_by_one = evaluator.needed(variants) > 0.8 * free_memory()
    n_scored = len(windows[0].targets)
    row = n_scored * evaluator.n_tokens
    one = 4 * row * len(variants)
    size = min(max(spool_bytes, one), shutil.disk_usage(folder).free // 2) // one
    if size < 1:
        raise TrimixError(
            f"{folder}: the logits of one window need twice {size_text(one)} there; name a folder "
            "with room by --cache, or give a smaller -c"
        )
    # With all models at hand nothing is gained by long passes, and less is lost by a stop.
    size = min(size, len(windows)) if one_by_one else 1
    with tempfile.TemporaryFile(dir=folder) as file:
        rows = np.memmap(file, np.float32, "w+", shape=(len(variants), size, row))
        for start in range(0, len(windows), size):
            numbers = range(start, min(start + size, len(windows)))
            found = {}
            for index, variant in enumerate(variants):
                out = rows[index, : len(numbers)].reshape(len(numbers), n_scored, -1)
                evaluator.evaluate(variant, [windows[i] for i in numbers], out)
                if one_by_one:
                    evaluator.release()
                found[variant] = out
                if progress:
                    done = start * len(variants) + (index + 1) * len(numbers)
                    progress(done, len(windows) * len(variants))
            yield numbers, found
        del rows
