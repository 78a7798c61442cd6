"""What the store writes down: a record for every model, a manifest for every trio. JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from .. import __version__
from ..errors import TrimixError
from ..files import as_type, check_regular, read_json, write_json
from ..fusion import ROLES
from .names import (
    is_commit,
    is_file_name,
    is_file_path,
    is_repository,
    is_sha256,
    is_trio_name,
    require,
)

T = TypeVar("T")

FORMAT = 1
_TOOLS = ("llama-cpp-python", "gguf", "huggingface-hub", "numpy")
MOST_BYTES = 1 << 60


@dataclass(frozen=True)
class FileRecord:
    """A file: its name, or its path in a repository; bytes; SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        require(is_file_path(self.name), self.name, "name of a file")
        require(0 <= self.size < MOST_BYTES, self.size, "size of a file")
        require(is_sha256(self.sha256), self.sha256, "SHA-256")


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
        notices: files beside it that tell its licence.
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
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (self.folder, self.stem, *self.notices, *(file.name for file in self.files)):
            require(is_file_name(name), name, "name of a file")
        require(is_repository(self.repository), self.repository, "repository")
        require(is_commit(self.revision), self.revision, "commit")
        require(bool(self.files), self.files, "list of files")

    @property
    def name(self) -> str:
        """Its path under `models/`, without a suffix."""
        return f"{self.folder}/{self.stem}"

    @property
    def record(self) -> str:
        """The name of the file that this is written into."""
        return f"{self.stem}.json"

    @property
    def contents(self) -> set[str]:
        """Everything of it in its folder."""
        return {self.record, *self.notices, *(file.name for file in self.files)}

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

    def __post_init__(self) -> None:
        require(math.isfinite(self.lora_scale), self.lora_scale, "strength of an adapter")


@dataclass(frozen=True)
class ProfileRecord:
    """The quantization profile: its name, the hash of what it says, and how to load it again."""

    name: str
    hash: str
    source: str


@dataclass(frozen=True)
class Manifest:
    """An installed trio.

    Attributes:
        requested: role -> its source as the TOML names it.
        profile: how its models were quantized.
        type_k, type_v: the profile's KV cache types.
        models: every model of the store that it uses.
    """

    name: str
    requested: Mapping[str, Any]
    profile: ProfileRecord
    type_k: str
    type_v: str
    roles: Mapping[str, RoleRecord]
    models: tuple[ModelRecord, ...]
    tools: Mapping[str, str]
    date: str
    format: int = field(default=FORMAT)

    def __post_init__(self) -> None:
        from ..gguf import KV_TYPES

        require(is_trio_name(self.name), self.name, "name of a trio")
        for kind in (self.type_k, self.type_v):
            require(kind in KV_TYPES, kind, "KV cache type")
        names = {model.name for model in self.models}
        for role, record in self.roles.items():
            require(role in ROLES, role, "role")
            for name in filter(None, (record.model, record.lora)):
                require(name in names, name, "model of this trio")

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
    check_regular(path)  # a FIFO would wait for a reader
    write_json(asdict(value), path)


def read_manifest(path: Path) -> Manifest | None:
    """The manifest at `path`; None where there is none.

    Raises:
        TrimixError: it is broken, or of a later version.
    """
    found = read_kept(path, Manifest, "manifest")
    if found is not None and found.format != FORMAT:
        raise TrimixError(f"{path}: was written by another version of trimix-cpp; pull again")
    return found


def read_record(path: Path) -> ModelRecord | None:
    """The record at `path`; None where there is none.

    Raises:
        TrimixError: it is broken.
    """
    return read_kept(path, ModelRecord, "record")


def read_kept(path: Path, kind: type[T], what: str) -> T | None:
    """The document at `path` as a `kind`; None where there is none.

    Raises:
        TrimixError: it is broken, in a line that says what to do.
    """
    if not path.exists():
        return None
    try:
        return as_type(read_json(path), kind)
    except ValueError as error:
        raise TrimixError(f"{path}: is no {what} ({error}); remove it and pull again") from None
    except TrimixError as error:
        raise TrimixError(f"{error}; remove it and pull again") from None
