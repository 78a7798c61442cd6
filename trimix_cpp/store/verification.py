"""Are the files of the pulled trios what their manifests say? Every byte is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import UsageError
from ..files import read_sha256
from ..showing import Bar
from .manifest import FileRecord, read_manifest
from .names import is_trio_name
from .root import MANIFEST, MODELS, TRIOS, home
from .trios import pulled_names

State = Literal["ok", "missing", "damaged"]


@dataclass(frozen=True)
class Check:
    """One file of the store, the trios that use it, and what it is like."""

    path: Path
    trios: tuple[str, ...]
    state: State


def verify(names: Sequence[str] = ()) -> Iterator[Check]:
    """Check the files of these trios, or of all, each file once; yields as it goes.

    A manifest that cannot be read does not stand in the way of other trios that are named.

    Raises:
        UsageError: a trio is not in the store.
        TrimixError: a manifest cannot be read.
    """
    root = home()
    files: dict[Path, tuple[FileRecord, list[str]]] = {}
    for name in names or pulled_names(root):
        manifest = read_manifest(root / TRIOS / name / MANIFEST) if is_trio_name(name) else None
        if manifest is None:
            if names:
                raise UsageError(
                    f"the trio {name!r} is not installed; `trimix-cpp list` shows which are"
                )
            continue
        for model in manifest.models:
            for file in model.files:
                path = root / MODELS / model.folder / file.name
                files.setdefault(path, (file, []))[1].append(name)
    for path, (file, trios) in files.items():
        yield Check(path, tuple(trios), _state(path, file))


def _state(path: Path, file: FileRecord) -> State:
    try:
        if path.stat().st_size != file.size:
            return "damaged"
        with Bar(path.name, "B") as progress:
            found = read_sha256(path, lambda done: progress(done, file.size))
            return "ok" if found == file.sha256 else "damaged"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
