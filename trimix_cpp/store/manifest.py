"""What the store writes down: a record for every model, a manifest for every trio. JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import TrimixError
from ..files import replacing
from ..showing import json_text

FORMAT = 1
_TOOLS = ("llama-cpp-python", "gguf", "huggingface-hub", "numpy")


@dataclass(frozen=True)
class FileRecord:
    """A file: name, bytes, SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class ModelRecord:
    """A model in the store: where it came from, how it was made, what it is.

    Attributes:
        folder: its folder under `models/`.
        stem: its name there; what tells it from others of the same source.
        repository, revision: the Hub's; the revision is a commit.
        recipe: how its files were made of the sources.
        sources: the files that were downloaded.
        files: what lies in the folder; more than one where the model is split, in order.
        tools: versions of what made it.
    """

    folder: str
    stem: str
    repository: str
    revision: str
    recipe: Mapping[str, Any]
    sources: tuple[FileRecord, ...]
    files: tuple[FileRecord, ...]
    tools: Mapping[str, str]
    date: str

    @property
    def name(self) -> str:
        """Its path under `models/`, without a suffix."""
        return f"{self.folder}/{self.stem}"

    @property
    def nbytes(self) -> int:
        """Bytes on the disk."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class RoleRecord:
    """What plays a role: a model of the store by name, and an adapter on it by name."""

    model: str
    lora: str | None = None
    lora_scale: float = 1.0


@dataclass(frozen=True)
class Manifest:
    """An installed trio.

    Attributes:
        requested: role -> its source as the TOML names it.
        profile: name and hash of the quantization profile.
        type_k, type_v: the profile's KV cache types.
        models: every model of the store that it uses.
    """

    name: str
    requested: Mapping[str, Any]
    profile: Mapping[str, str]
    type_k: str
    type_v: str
    roles: Mapping[str, RoleRecord]
    models: tuple[ModelRecord, ...]
    tools: Mapping[str, str]
    date: str
    format: int = field(default=FORMAT)

    @property
    def nbytes(self) -> int:
        """Bytes on the disk, those that are shared with other trios among them."""
        return sum(model.nbytes for model in self.models)


def tool_versions() -> dict[str, str]:
    """Versions of the programs that decide what a model file looks like."""
    return {"trimix-cpp": __version__, **{name: metadata.version(name) for name in _TOOLS}}


def now() -> str:
    """The time, UTC, as ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def write(value: Manifest | ModelRecord, path: Path) -> None:
    """Write a manifest or a record; it appears whole or not at all."""
    write_json(asdict(value), path)


def write_json(data: Any, path: Path) -> None:
    """Write one JSON document, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json_text(data) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The document at `path`; None where there is no such file.

    Raises:
        TrimixError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise TrimixError(f"{path}: cannot be read ({error}); remove it and pull again") from None


def read_manifest(path: Path) -> Manifest | None:
    """The manifest at `path`; None where there is none.

    Raises:
        TrimixError: it is broken, or of a later version.
    """
    data = read_json(path)
    if data is None:
        return None
    if isinstance(data, dict) and data.get("format") not in (None, FORMAT):
        raise TrimixError(f"{path}: was written by another version of trimix-cpp; pull again")
    try:
        data["roles"] = {role: RoleRecord(**value) for role, value in data["roles"].items()}
        data["models"] = tuple(_model(value) for value in data["models"])
        files = {model.name: model.files[0] for model in data["models"]}
        for role in data["roles"].values():
            for name in filter(None, (role.model, role.lora)):
                files[name]  # what plays a role is there, and has a file
        return Manifest(**data)
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        raise TrimixError(f"{path}: is no manifest ({error}); remove it and pull again") from None


def read_record(path: Path) -> ModelRecord | None:
    """The record at `path`; None where there is none.

    Raises:
        TrimixError: it is broken.
    """
    data = read_json(path)
    try:
        return None if data is None else _model(data)
    except (TypeError, KeyError, AttributeError) as error:
        raise TrimixError(f"{path}: is no record ({error}); remove it and pull again") from None


def _model(data: dict[str, Any]) -> ModelRecord:
    files = {key: tuple(FileRecord(**value) for value in data[key]) for key in ("sources", "files")}
    return ModelRecord(**{**data, **files})
