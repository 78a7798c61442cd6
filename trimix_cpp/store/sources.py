"""Where the models of a trio come from: repositories on the Hugging Face Hub, as a TOML names them.

Nothing is fetched here; `pull` does that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .names import is_file_path, is_repository
from .values import number, text


@dataclass(frozen=True)
class Repository:
    """A repository on the Hub.

    Attributes:
        name: "owner/name".
        revision: a branch, a tag or a commit; None takes the newest commit of its main branch.
        file: of a GGUF repository, the one file to take; None finds it by the type that is wanted.
    """

    name: str
    revision: str | None = None
    file: str | None = None

    @property
    def key(self) -> tuple[str, str | None]:
        """What decides which files it has."""
        return self.name, self.revision


@dataclass(frozen=True)
class Source:
    """How a role's GGUF file is to be had.

    Attributes:
        checkpoint: safetensors, to be converted and quantized here.
        gguf: ready GGUF files; taken where one of them has the type that the profile wants.
        lora: a PEFT adapter, which sits on the base model and is converted here.
        lora_scale: the strength of that adapter.
    """

    checkpoint: Repository | None = None
    gguf: Repository | None = None
    lora: Repository | None = None
    lora_scale: float = 1.0

    @property
    def repositories(self) -> tuple[Repository, ...]:
        """All that it names."""
        return tuple(r for r in (self.checkpoint, self.gguf, self.lora) if r is not None)


def is_source(value: Any) -> bool:
    """Whether a role's value in the TOML names a repository instead of a file."""
    if not isinstance(value, dict):
        return False
    return "repo" in value or "gguf" in value or isinstance(value.get("lora"), dict)


def parse_source(value: Mapping[str, Any]) -> Source:
    """A role's table in the TOML, as `docs/trios.md` describes it.

    Raises:
        ValueError: a key or a name that means nothing.
    """
    _known(value, {"repo", "revision", "gguf", "lora", "scale"})
    if "lora" in value:
        _known(value, {"lora", "scale"})
        lora = _repository(value["lora"], {"repo", "revision"})
        return Source(lora=lora, lora_scale=number(value, "scale", 1.0))
    _known(value, {"repo", "revision", "gguf"})
    checkpoint = None
    if "repo" in value:
        plain = {key: value[key] for key in ("repo", "revision") if key in value}
        checkpoint = _repository(plain, set(plain))
    elif "revision" in value:
        raise ValueError("a revision needs a repo")
    gguf = value.get("gguf")
    if gguf is None:
        return Source(checkpoint)
    table = {"repo": gguf} if isinstance(gguf, str) else gguf
    return Source(checkpoint, _repository(table, {"repo", "revision", "file"}))


def _repository(table: Any, keys: set[str]) -> Repository:
    if not isinstance(table, dict) or "repo" not in table:
        raise ValueError('a repository is written { repo = "owner/name" }')
    _known(table, keys)
    name, revision, file = (text(table, key) or None for key in ("repo", "revision", "file"))
    if name is None or not is_repository(name):
        raise ValueError(f"{name!r} is no name of a repository, such as Qwen/Qwen2.5-1.5B")
    if file is not None and not (file.endswith(".gguf") and is_file_path(file)):
        raise ValueError(f"{file!r} is no GGUF file")
    return Repository(name, revision, file)


def _known(table: Mapping[str, Any], keys: set[str]) -> None:
    if unknown := set(table) - keys:
        raise ValueError(f"{sorted(unknown)[0]!r} has no place there")
