"""`trimix-cpp translate --shard` and `--merge`: a corpus over machines that need not talk."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import TrimixError, UsageError
from ..prompts import language
from ..runtime import DecodingFlags

if TYPE_CHECKING:
    from ..translate import Recipe, Shard, Summary, Task

_Command = TypeVar("_Command", bound=Callable[..., Any])


def shard_options(command: _Command) -> _Command:
    """Options of a corpus over many machines."""
    for option in reversed(
        [
            click.option(
                "--shard",
                metavar="I/N",
                help="Translate the I-th of N even parts, into OUT.I-of-N.journal alone.",
            ),
            click.option(
                "--merge",
                is_flag=True,
                help="Write OUT from the journals of all shards: those beside OUT, or those named "
                "after IN. Loads no models.",
            ),
        ]
    ):
        command = option(command)
    return command


def shard_of(flags: dict[str, Any]) -> Shard | None:
    """What `--shard` says; raises UsageError for what does not go with it, or with `--merge`."""
    if flags["shard"] is None and not flags["merge"]:
        return None
    from ..translate import Shard

    shard = None if flags["shard"] is None else Shard.parse(flags["shard"])
    if shard and flags["merge"]:
        raise UsageError("--shard translates a part, --merge puts the parts together: one of both")
    mode = "--shard" if shard else "--merge"
    refused = {"check": "--check", "redo": "--redo"}
    if shard:
        refused |= {"report_path": "--report"}
    else:
        refused |= {"journal_path": "--journal", "restart": "--restart"}
    for flag, name in refused.items():
        if flags[flag]:
            raise UsageError(f"{name} does not go with {mode}{_INSTEAD.get(name, '')}")
    return shard


_INSTEAD = {
    "--report": ": --merge knows all segments",
    "--journal": ": name the journals after IN",
}


def merge_files(
    tasks: Sequence[Task],
    named: Sequence[Path],
    decoding: DecodingFlags,
    shots: tuple[tuple[str, str], ...],
    force: bool,
    began: float,
    fault: Callable[[Task, Exception], None],
) -> tuple[int, list[Summary]]:
    """Write the outputs of tasks from the journals of their shards.

    How many failed, and what became of the others.
    """
    from ..fusion import Weights
    from ..translate import Recipe, journals_of, merge, shots_digest

    failed, reports = 0, []
    for task in tasks:
        source, target = (language(str(code)) for code in _pair(task))
        said: dict[str, Any] = {"from": source.code, "to": target.code}
        said["shots"] = shots_digest(shots)
        if decoding.run.exact:
            said["exact"] = True
        try:
            merge(task, journals_of(named, task.output), said, force=force)
        except (TrimixError, OSError) as error:
            failed += 1
            fault(task, error)
            continue
        recipe: Recipe = Recipe(source, target, Weights(1, 0), shots=shots)
        reports.append(task.summary(recipe, time.perf_counter() - began))
    return failed, reports


def _pair(task: Task) -> tuple[str | None, str | None]:
    return task.document.source, task.document.target
