"""What was measured, kept under the hash of everything that decides about it.

One file a window and comparison, written whole or not at all: a run that was killed goes on where
it was, and another text with some of the same windows measures only the others. Every file begins
with the hash of the rest: one that is damaged in any way counts as not there.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import replacing
from ..fusion import Positions
from .windows import Window

# Raised when the meaning of what is kept changes.
_VERSION = 3
_FIELDS = tuple(field.name for field in fields(Positions))


def key_of(*parts: Any) -> str:
    """A name for a file by what decides about its content, this llama.cpp among it; JSON."""
    from ..llama import version

    whole = json.dumps([_VERSION, version(), *parts], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:32]


def keep(path: Path, data: bytes) -> None:
    """Write `data` sealed, its folder too; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(hashlib.sha256(data).digest() + data)


def kept(path: Path) -> bytes | None:
    """What `keep` wrote; None where nothing, or nothing whole, is there."""
    try:
        sealed = path.read_bytes() if path.is_file() else b""
    except OSError:
        return None
    seal, data = sealed[:32], sealed[32:]
    return data if hashlib.sha256(data).digest() == seal else None


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
        self.folder = folder / "impact" / key_of(key)

    def get(self, window: Window) -> Measured | None:
        """What is known of a window; None if nothing, or if its file is damaged."""
        data = kept(self._path(window))
        if data is None:
            return None
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return _unpack({name: file[name] for name in file.files})

    def put(self, window: Window, measured: Measured) -> None:
        """Keep what a window gave; raises OSError."""
        out = io.BytesIO()
        np.savez(out, **_pack(measured))
        keep(self._path(window), out.getvalue())

    def _path(self, window: Window) -> Path:
        return self.folder / f"{window.hash()}.window"


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
