"""A new trio, looked at before any weights are fetched, and its TOML file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import TrimixError, UsageError
from ..files import read_json, write_toml
from ..gguf import Header, ModelShape, read_header, shape_of_config
from ..store import Repository, Tell
from ..store.names import is_repository, is_trio_name
from .hub import download, list_repository

if TYPE_CHECKING:
    from ..alignment import Report
    from ..fusion import Weights

ROLES = ("base", "cpt", "large")
# What tells the vocabulary of a checkpoint, and its sizes.
_SMALL = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
    "added_tokens.json", "special_tokens_map.json", "generation_config.json",
)  # fmt: skip
_MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class Draft:
    """A trio that somebody has in mind.

    Attributes:
        name: its name, which is its file's too.
        models: role -> "owner/name" of a checkpoint on the Hub, or a GGUF file.
        languages: ISO 639-3 codes.
        gguf: a repository with ready files of large; None for none.
        weights: where no task is named.
        licence: in a line.

    Raises:
        UsageError: a name that cannot be one, or a model that is neither.
    """

    name: str
    models: Mapping[str, str]
    languages: tuple[str, ...]
    gguf: str | None
    weights: Weights
    licence: str = ""

    def __post_init__(self) -> None:
        if not is_trio_name(self.name):
            raise UsageError(f"{self.name!r} cannot name a trio: use letters, digits, . _ -")
        for role, model in self.models.items():
            if not self.is_file(role) and not is_repository(model):
                raise UsageError(
                    f"{role}: {model!r} is neither a GGUF file here nor a repository, owner/name"
                )
        if self.gguf and (self.is_file("large") or not is_repository(self.gguf)):
            raise UsageError(f"--gguf {self.gguf!r}: a repository beside that of large, owner/name")

    def is_file(self, role: str) -> bool:
        """Whether a role's model is a file of this machine."""
        return self.models[role].endswith(".gguf") or Path(self.models[role]).is_file()

    @property
    def is_remote(self) -> bool:
        """Whether some model is on the Hub."""
        return not all(map(self.is_file, self.models))


@dataclass(frozen=True)
class Look:
    """What was seen of a draft: the vocabularies compared, and the sizes of the models."""

    report: Report
    shapes: Mapping[str, ModelShape | Header]


def look_at(draft: Draft, tell: Tell, *, online: bool) -> Look:
    """Compare what can be compared: files by their headers, repositories by their small files.

    Args:
        draft: the trio.
        tell: gets lines about what happens.
        online: the Hub may be asked; without it only files are looked at.

    Raises:
        TrimixError: a file is broken, a repository cannot be had, or its tokenizer is not known.
    """
    from ..alignment import report_for

    with tempfile.TemporaryDirectory(prefix="trimix-trio-") as folder:
        paths: dict[str, Path] = {}
        shapes: dict[str, ModelShape | Header] = {}
        for role, model in draft.models.items():
            if draft.is_file(role):
                paths[role], shapes[role] = Path(model), read_header(model)
            elif online:
                fetched = _fetch(Repository(model), Path(folder) / role, tell)
                paths[role] = _vocabulary(fetched)
                shapes[role] = shape_of_config(read_json(fetched / "config.json"), model)
        return Look(report_for(paths), shapes)


def _fetch(repository: Repository, folder: Path, tell: Tell) -> Path:
    """The small files of a checkpoint."""
    listing = list_repository(repository, tell)
    folder.mkdir()
    for file in listing.files:
        if file.path in _SMALL and file.size <= _MOST_BYTES:
            tell(f"fetching {repository.name}/{file.path}")
            download(listing, file, folder / file.path, tell)
    if not (folder / "config.json").is_file():
        raise TrimixError(f"{repository.name} has no config.json: is it a checkpoint?")
    return folder


def _vocabulary(folder: Path) -> Path:
    from ..convert.vocabulary import convert_vocabulary

    return convert_vocabulary(folder, folder / "vocabulary.gguf")


def write_draft(draft: Draft, path: Path, seen: str) -> None:
    """Write the TOML file of a trio; `seen` says how far its models were looked at.

    Raises:
        OSError: the system refused to write.
    """
    import tomlkit

    document = tomlkit.document()
    document.add("name", tomlkit.item(draft.name))
    document.add("languages", tomlkit.item(list(draft.languages)))
    if draft.licence:
        document.add("licence", tomlkit.item(draft.licence))
    if seen:
        document.add("seen", tomlkit.item(seen))
    document.add("weights", tomlkit.item(list(draft.weights.numbers)))
    models = tomlkit.table()
    for role, model in draft.models.items():
        models.add(role, _model(draft, role, model, path.parent))
    document.add("models", models)
    write_toml(document, path)


def _model(draft: Draft, role: str, model: str, folder: Path) -> object:
    import tomlkit

    if draft.is_file(role):
        file = Path(model).absolute()
        with suppress(ValueError):  # beside the TOML: the folder may move as a whole
            return tomlkit.item(file.relative_to(folder.absolute()).as_posix())
        return tomlkit.item(str(file))
    table = tomlkit.inline_table()
    table.append("repo", model)
    if role == "large" and draft.gguf:
        table.append("gguf", draft.gguf)
    return table
