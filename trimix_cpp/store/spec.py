"""Which file plays which role: `TrioSpec`, read from TOML. No model is loaded here.

A role is a file, or a source on the Hub; `store` knows where the files of a pulled source lie.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import TrimixError
from ..files import read_toml
from ..fusion import ROLES, Weights
from . import values
from .sources import Source, is_source, parse_source

_KEYS = {
    "name",
    "description",
    "languages",
    "scripts",
    "licence",
    "seen",
    "rank",
    "bundled",
    "models",
    "weights",
    "presets",
    "stops",
    "cache",
}
# The pair that the paper's authors published most often.
DEFAULT_WEIGHTS = Weights(0.1, 0.9)


@dataclass(frozen=True)
class RoleSpec:
    """One role's GGUF file, and a LoRA adapter on it if the role is one."""

    path: Path
    lora: Path | None = None
    lora_scale: float = 1.0


# "Qwen3-4B-Base", "gemma-3-12b-it", "Sailor2-1B": billions of parameters, as names tell them.
_BILLIONS = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)b(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class TrioSpec:
    """A trio by name.

    Attributes:
        roles: role -> files; those of a source only once it has been pulled.
        sources: role -> where its model comes from on the Hub.
        languages: ISO 639-3 codes that its cpt was trained for.
        scripts: ISO 15924 codes of the text that it was trained on.
        licence: whose terms the models are under, in a line.
        seen: when its models were looked up, and how far; in a line.
        rank: of several trios for a language the one of the lowest rank is taken.
        weights: the weights where no task is named.
        presets: task -> weights, e.g. "translation.eng-uig".
        stops: strings that end a reply of this trio in a chat.
        bundled: it comes with the program, for a first try.
        type_k, type_v: role -> KV cache type (`memory.KV_TYPES`) that it is meant to run with.
        path: the TOML file that it was read from.
    """

    name: str
    roles: Mapping[str, RoleSpec]
    languages: tuple[str, ...] = ()
    weights: Weights = DEFAULT_WEIGHTS
    presets: Mapping[str, Weights] = field(default_factory=dict)
    stops: tuple[str, ...] = ()
    description: str = ""
    bundled: bool = False
    sources: Mapping[str, Source] = field(default_factory=dict)
    scripts: tuple[str, ...] = ()
    licence: str = ""
    seen: str = ""
    rank: int = 100
    type_k: Mapping[str, str] = field(default_factory=dict)
    type_v: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None

    def billions(self, role: str) -> float | None:
        """Parameters of a role's model, as the name of its repository tells them."""
        source = self.sources.get(role)
        names = [repository.name for repository in source.repositories] if source else []
        found = _BILLIONS.search(names[0]) if names else None
        return float(found[1]) if found else None


def spec_from_files(files: Mapping[str, Path]) -> TrioSpec:
    """A spec from `--base F --cpt F --large F`.

    The weights are the default pair where their roles are given, else those of the single model.
    """
    single = {
        "large": Weights(1, 0),
        "cpt": Weights(0, 1),
        "base": Weights(0, 0),
        "large_base": Weights(0, 0, 1),
    }
    weights = single[next(iter(files))] if len(files) == 1 else DEFAULT_WEIGHTS
    roles = {role: RoleSpec(Path(path)) for role, path in files.items()}
    return TrioSpec(name="the given models", roles=roles, weights=weights)


def load_spec(path: Path) -> TrioSpec:
    """Read a trio's TOML file; relative model paths are taken from its folder.

    Raises:
        TrimixError: no such file, not TOML, or keys that mean nothing.
    """
    data = read_toml(path, "trio")
    try:
        return _from_table(data, path)
    except (KeyError, TypeError, ValueError) as error:
        raise TrimixError(f"{path}: not a trio: {error} (docs/trios.md shows one)") from None


def _from_table(data: dict[str, Any], path: Path) -> TrioSpec:
    if unknown := set(data) - _KEYS:
        raise ValueError(f"unknown key {sorted(unknown)[0]!r}")
    models = data.get("models")
    if not isinstance(models, dict) or not models:
        raise ValueError("it has no [models] table")
    if foreign := set(models) - set(ROLES):
        raise ValueError(f"unknown role {sorted(foreign)[0]!r}; roles are {', '.join(ROLES)}")
    sources = {role: parse_source(value) for role, value in models.items() if is_source(value)}
    files = {role: value for role, value in models.items() if role not in sources}
    if lora_on_nothing := [
        r for r, source in sources.items() if source.lora and "base" not in models
    ]:
        raise ValueError(f"{lora_on_nothing[0]}: a LoRA adapter needs a base to sit on")
    presets = values.inner(data, "presets")
    type_k, type_v = _cache_types(data["cache"]) if "cache" in data else ({}, {})
    return TrioSpec(
        name=values.text(data, "name", path.stem),
        roles={role: _role(value, files, path.parent) for role, value in files.items()},
        languages=values.texts(data, "languages"),
        weights=Weights.of(data["weights"]) if "weights" in data else DEFAULT_WEIGHTS,
        presets={task: Weights.of(pair) for task, pair in presets.items()},
        stops=values.texts(data, "stops"),
        description=_line(data, "description"),
        bundled=values.flag(data, "bundled"),
        sources=sources,
        scripts=values.texts(data, "scripts"),
        licence=_line(data, "licence"),
        seen=_line(data, "seen"),
        rank=values.whole(data, "rank", 100),
        type_k=type_k,
        type_v=type_v,
        path=path,
    )


def _cache_types(table: Any) -> tuple[dict[str, str], dict[str, str]]:
    """`type_k` and `type_v` of the `[cache]` table, each one type for all roles or role -> type."""
    from ..gguf import KV_TYPES

    if not isinstance(table, dict) or set(table) - {"type_k", "type_v"}:
        raise ValueError("[cache] holds type_k and type_v")

    def types(key: str) -> dict[str, str]:
        value: Any = table.get(key, {})
        by_role: dict[str, str] = value if isinstance(value, dict) else dict.fromkeys(ROLES, value)
        for role, name in by_role.items():
            if role not in ROLES or not isinstance(name, str) or name not in KV_TYPES:
                raise ValueError(
                    f"{key}: {role} = {name!r} is no KV cache type; known are {', '.join(KV_TYPES)}"
                )
        return by_role

    return types("type_k"), types("type_v")


def _line(data: Mapping[str, Any], key: str) -> str:
    """A text that may be empty."""
    return values.text(data, key) if data.get(key) != "" else ""


def _role(value: Any, models: Mapping[str, Any], folder: Path) -> RoleSpec:
    if isinstance(value, str):
        return RoleSpec(folder / values.text({"file": value}, "file"))
    if not isinstance(value, dict) or not {"lora", "path"} & set(value):
        raise ValueError('a role is a file name or a table such as { lora = "cpt-lora.gguf" }')
    # An adapter without a path of its own sits on the base model.
    path = values.text(value, "path") or models.get("base")
    if not isinstance(path, str):
        raise ValueError("a LoRA adapter needs a path, or a base to sit on")
    lora = values.text(value, "lora")
    return RoleSpec(
        folder / path, folder / lora if lora else None, values.number(value, "scale", 1.0)
    )
