"""What was measured of a window, kept under the hash of everything that decides about it.

One file a window and comparison, written whole or not at all: a run that was killed goes on where
it was, and another text with some of the same windows measures only the others.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import replacing
from ..fusion import Positions
from .rows import Window

# Raised when the meaning of what is kept changes.
_VERSION = 2
_FIELDS = tuple(field.name for field in fields(Positions))


@dataclass(frozen=True)
class Measured:
    """What one window gave.

    Attributes:
        positions: name -> positions, names as `impact` gives them.
        arrays: further arrays by name.
    """

    positions: Mapping[str, Positions]
    arrays: Mapping[str, NDArray[Any]]


class Cache:
    """The windows that were measured in one comparison.

    Args:
        folder: the cache's folder.
        key: everything that decides about the numbers, but for the windows; JSON.
    """

    def __init__(self, folder: Path, key: Any) -> None:
        from ..llama import version

        whole = json.dumps([_VERSION, version(), key], sort_keys=True)
        self.folder = folder / "impact" / hashlib.sha256(whole.encode()).hexdigest()[:32]

    def get(self, window: Window) -> Measured | None:
        """What is known of a window; None if nothing, or if its file is broken."""
        try:
            with np.load(self._path(window), allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return _unpack(found)

    def put(self, window: Window, measured: Measured) -> None:
        """Keep what a window gave; raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._path(window)) as temporary, open(temporary, "wb") as file:
            np.savez(file, **_pack(measured))

    def _path(self, window: Window) -> Path:
        return self.folder / f"{window.hash()}.npz"


def _pack(measured: Measured) -> dict[str, Any]:
    arrays: dict[str, Any] = {f"array/{name}": value for name, value in measured.arrays.items()}
    for name, positions in measured.positions.items():
        for field in _FIELDS:
            arrays[f"positions/{name}/{field}"] = getattr(positions, field)
    return arrays


def _unpack(found: Mapping[str, NDArray[Any]]) -> Measured:
    parts: dict[str, dict[str, Any]] = {}
    arrays = {}
    for key, value in found.items():
        kind, _, rest = key.partition("/")
        if kind == "array":
            arrays[rest] = value
        else:
            name, _, field = rest.rpartition("/")
            parts.setdefault(name, {})[field] = int(value) if field == "n_bad" else value
    return Measured({name: Positions(**values) for name, values in parts.items()}, arrays)
