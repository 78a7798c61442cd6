"""Files that are translated while their sender looks at the progress, and what is kept of them."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..documents import Result
from ..errors import TrimixError
from ..files import Closing
from ..translate import Layout, Outcome, Unit, reasons_of, results_of
from .engine import UnavailableError
from .errors import RequestError, error_document
from .translating import Translating

MOST_JOBS = 16
# Finished ones are kept so long for those who fetch them.
KEPT_SECONDS = 3600.0
_MOST_SHOWN = 500


@dataclass
class Job:
    """A file on its way.

    Attributes:
        id: known to its sender alone.
        name: of the file, without folders.
        folder: private; holds what is kept of it.
        document, layouts: what it is made of, while it runs.
        task: its way through the engine.
        state: "running", "done", "failed" or "cancelled".
        error: why it failed.
        ended: when it did, by the clock of the event loop.
        segments: what became of them, once it is done.
        follower: waits for its end.
    """

    id: str
    name: str
    folder: Path
    document: Any
    layouts: Sequence[Layout]
    task: Translating
    state: str = "running"
    error: TrimixError | None = None
    ended: float = 0.0
    segments: list[dict[str, Any]] = field(default_factory=list)
    follower: asyncio.Task[None] | None = None

    @property
    def path(self) -> Path:
        """The translated file."""
        return self.folder / "file"

    def told(self) -> dict[str, Any]:
        """Where it stands."""
        told: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "done": len(self.task.outcomes),
            "total": self.task.n_units,
            "segments": len(self.segments) or len(self.layouts),
            "flagged": sum(bool(each["reasons"]) for each in self.segments),
        }
        if self.state == "done":
            told["download"] = f"/jobs/{self.id}/file"
        if self.error is not None:
            told |= error_document(self.error)
        return told

    def shown(self, start: int) -> list[dict[str, Any]]:
        """What is known of the segments from number `start` on."""
        if self.state == "done":
            return self.segments[start : start + _MOST_SHOWN]
        outcomes = dict(self.task.outcomes)
        chosen = self.layouts[start : start + _MOST_SHOWN]
        return [_segment(layout, *_known(layout, outcomes)) for layout in chosen]


class Jobs(Closing):
    """The jobs of a server, and their folder, which nobody else may enter and goes with it."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._jobs: dict[str, Job] = {}

    def __getitem__(self, name: str) -> Job:
        """The job with this id; raises RequestError where there is none."""
        self._forget_old()
        if name not in self._jobs:
            raise RequestError("there is no such job, or not any more", status=404)
        return self._jobs[name]

    def check(self) -> None:
        """Raises UnavailableError where there is no room for another one."""
        self._forget_old()
        if len(self._jobs) >= MOST_JOBS:
            oldest = min(self._jobs.values(), key=lambda job: job.ended or float("inf"))
            if not oldest.ended:
                raise UnavailableError(f"{MOST_JOBS} files are being translated", retry_after=60)
            self.remove(oldest)

    def add(self, job: Job) -> None:
        """Keep a job."""
        self._jobs[job.id] = job

    def new_folder(self, name: str) -> Path:
        """A private folder for one job."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="trimix-cpp-"))
        folder = self._folder / name
        folder.mkdir(mode=0o700)
        return folder

    def remove(self, job: Job) -> None:
        """Forget a job, and its files."""
        self._jobs.pop(job.id, None)
        if job.follower is not None:
            job.follower.cancel()
        shutil.rmtree(job.folder, ignore_errors=True)

    def close(self) -> None:
        """Forget all."""
        for job in tuple(self._jobs.values()):
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                self.remove(job)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _forget_old(self) -> None:
        now = time.monotonic()
        for job in tuple(self._jobs.values()):
            if job.ended and now - job.ended > KEPT_SECONDS:
                self.remove(job)


def keep(job: Job) -> None:
    """Write a job's file; what became of its segments stays in memory.

    Raises:
        TrimixError: the file's code page has not the characters.
        OSError: it cannot be written.
    """
    outcomes = job.task.outcomes
    job.path.write_bytes(job.document.render(results_of(job.layouts, outcomes)))
    job.segments = [_segment(layout, *_known(layout, outcomes)) for layout in job.layouts]


def _known(
    layout: Layout, outcomes: Mapping[Unit, Outcome]
) -> tuple[Result | None, tuple[str, ...]]:
    """The result of a segment, if it has one, and why somebody should look at it."""
    if any(unit not in outcomes for unit in layout.asked):
        return None, ()
    result = layout.result(outcomes)
    if result is not None:
        return result, result.reasons
    return None, reasons_of(outcomes[unit] for unit in layout.asked)


def _segment(layout: Layout, result: Result | None, reasons: Sequence[str]) -> dict[str, Any]:
    segment = layout.segment
    return {
        "where": segment.where,
        "source": segment.text,
        "translation": None if result is None else result.text,
        "reasons": list(reasons),
    }
