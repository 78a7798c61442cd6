"""Weights by task that `tune --save` keeps: in the user's own trio file, or beside the trios.

A trio that came by its name has its saved presets in `HOME/presets/<trio>.toml`, merged over those
it came with; a TOML file that the user named takes them into its own `[presets]` table, where
comments and layout stay.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from ..errors import TrimixError, UsageError
from ..files import edit_toml, read_text, read_toml, real_path, write_toml
from ..fusion import Weights
from .spec import TrioSpec

_LOCK_SECONDS = 30.0


def saved_file(home: Path, name: str) -> Path:
    """Where the saved presets of the trio called `name` are."""
    # A name is free text; a file's name is not.
    return home / "presets" / f"{quote(name, safe=' ')}.toml"


def with_saved(spec: TrioSpec, home: Path) -> TrioSpec:
    """The trio with its saved presets over those it came with.

    Raises:
        TrimixError: the saved file is broken.
    """
    saved = _read(saved_file(home, spec.name))
    return replace(spec, presets={**spec.presets, **saved}) if saved else spec


def save(path: Path, home: Path, task: str, weights: Weights) -> None:
    """Write `weights` as the preset of `task` into the TOML file at `path`.

    Everything else in the file stays, comments too; the file is made where there is none. An
    interruption leaves the old one. `home` has the lock that keeps two writers apart.

    Raises:
        UsageError: the task has no name.
        TrimixError: the file is no TOML, or another process holds the lock.
        OSError: the system refused to write.
    """
    from filelock import FileLock, Timeout

    check_task(task)
    lock = home / "presets" / ".lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=_LOCK_SECONDS):
            path.parent.mkdir(parents=True, exist_ok=True)
            # A link stays a link.
            _write(real_path(path), task, weights)
    except Timeout:
        raise TrimixError(f"another process is saving presets ({lock} is locked)") from None


def check_task(task: str) -> None:
    """Raises UsageError where `task` is no name that a user could type again."""
    if not task.strip() or not task.isprintable():
        raise UsageError(f"{task!r} is no name for a task, such as translation.eng-uig")


def _write(path: Path, task: str, weights: Weights) -> None:
    import tomlkit

    newline = "\n"
    if path.exists():
        newline = "\r\n" if "\r\n" in read_text(path) else "\n"
        document = edit_toml(path)
    else:
        document = tomlkit.document()
        document.add(tomlkit.comment("Weights that `trimix-cpp tune --save` chose: alpha, beta."))
    table = document.setdefault("presets", tomlkit.table())
    if not isinstance(table, MutableMapping):
        raise TrimixError(f"{path}: presets is not a table; make it a [presets] table")
    table[task] = list(weights.numbers)
    write_toml(document, path, newline)


def _read(path: Path) -> dict[str, Weights]:
    if not path.is_file():
        return {}
    data = read_toml(path, "presets")
    try:
        return {task: Weights.of(pair) for task, pair in data.get("presets", {}).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise TrimixError(f"{path}: no readable presets ({error}); mend or remove it") from None
