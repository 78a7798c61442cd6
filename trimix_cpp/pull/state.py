"""What an unfinished pull keeps, in `trios/<name>/pull.json`, and what others left in the store."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import TrimixError
from ..files import edit_toml, write_json, write_toml
from ..store import MANIFEST, TRIOS, TrioSpec, bundled_files, pulled_names, read_kept, read_manifest
from .agenda import Agenda, Key
from .hub import Listing, RemoteFile

Listings = dict[Key, Listing]
Configurations = dict[Key, dict[str, Any]]


@dataclass(frozen=True)
class State:
    """What an unfinished pull goes by; all empty where there is none.

    Attributes:
        profile: name or TOML of the quantization profile.
        listings, configs: (repository, revision as asked for) -> its files, and its config.json.
    """

    profile: str | None = None
    listings: Listings = field(default_factory=dict)
    configs: Configurations = field(default_factory=dict)


# pull.json, as it is written.
@dataclass(frozen=True)
class _Kept:
    name: str
    requested: str | None
    commit: str
    files: tuple[RemoteFile, ...]
    config: dict[str, Any] | None = None


@dataclass(frozen=True)
class _Document:
    profile: str
    folders: tuple[str, ...]
    listings: tuple[_Kept, ...]


def read_state(path: Path) -> State:
    """What is kept at `path`; raises TrimixError where that is broken."""
    document = read_kept(path, _Document, "state of a pull")
    if document is None:
        return State()
    listings, configs = {}, {}
    try:
        for kept in document.listings:
            key = kept.name, kept.requested
            listings[key] = Listing(kept.name, kept.commit, kept.files)
            if kept.config:
                configs[key] = kept.config
    except ValueError as error:
        raise TrimixError(f"{path}: is no state of a pull ({error})") from None
    return State(document.profile, listings, configs)


def write_state(
    path: Path, profile: str, listings: Listings, configs: Configurations, agenda: Agenda
) -> None:
    """Keep what a pull goes by: its profile, commits and files; and the folders that it fills."""
    kept = [
        _Kept(listing.name, key[1], listing.commit, listing.files, configs.get(key))
        for key, listing in listings.items()
    ]
    folders = tuple(sorted({step.folder for step in agenda.steps}))
    write_json(asdict(_Document(profile, folders, tuple(kept))), path)


def installed_commits(root: Path) -> dict[Key, str]:
    """(repository, revision as asked for) -> commit that a trio here has; so trios share models."""
    commits: dict[Key, str] = {}
    for name in pulled_names(root):
        with suppress(TrimixError, KeyError, TypeError):
            manifest = read_manifest(root / TRIOS / name / MANIFEST)
            have = {m.repository: m.revision for m in manifest.models} if manifest else {}
            for source in manifest.requested.values() if manifest else ():
                for table in (source["checkpoint"], source["gguf"], source["lora"]):
                    if table and table["name"] in have:
                        commits[table["name"], table["revision"]] = have[table["name"]]
    return commits


def copy_spec(spec: TrioSpec, dst: Path) -> None:
    """Keep a user's TOML in the store, so that the trio's name suffices from now on.

    Files that it names relative to itself are named in full there.
    """
    if spec.path is None or spec.path in bundled_files() or spec.path == dst:
        return
    document = edit_toml(spec.path)
    document["name"] = spec.name
    folder = spec.path.absolute().parent
    models: Any = document["models"]
    for role, value in models.items():
        if isinstance(value, str):
            models[role] = str(folder / value)
        elif role not in spec.sources:
            for key in ("path", "lora"):
                if key in value:
                    value[key] = str(folder / value[key])
    write_toml(document, dst)
