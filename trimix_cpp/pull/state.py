"""What an unfinished pull keeps, in `trios/<name>/pull.json`, and what others left in the store."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import TrimixError
from ..store import TrioSpec, read_json, read_manifest, write_json
from .hub import Listing, RemoteFile
from .plan import Key, Plan

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


def read_state(path: Path) -> State:
    """What is kept at `path`; raises TrimixError where that is broken."""
    data = read_json(path)
    if data is None:
        return State()
    try:
        listings, configs = {}, {}
        for entry in data["listings"]:
            key = entry["name"], entry["requested"]
            files = tuple(RemoteFile(**file) for file in entry["files"])
            listings[key] = Listing(entry["name"], entry["commit"], files)
            if entry["config"]:
                configs[key] = entry["config"]
        return State(data["profile"], listings, configs)
    except (KeyError, TypeError) as error:
        raise TrimixError(f"{path}: is broken ({error}); remove it and pull again") from None


def write_state(
    path: Path, profile: str, listings: Listings, configs: Configurations, plan: Plan
) -> None:
    """Keep what a pull goes by: its profile, commits and files; and the folders that it fills."""
    write_json(
        {
            "profile": profile,
            "folders": sorted({step.folder for step in plan.steps}),
            "listings": [
                {"requested": key[1], "config": configs.get(key), **asdict(listing)}
                for key, listing in listings.items()
            ],
        },
        path,
    )


def installed_commits(root: Path) -> dict[Key, str]:
    """(repository, revision as asked for) -> commit that a trio here has; so trios share models."""
    commits: dict[Key, str] = {}
    for path in sorted((root / "trios").glob("*/manifest.json")):
        with suppress(TrimixError, KeyError, TypeError):
            manifest = read_manifest(path)
            have = {m.repository: m.revision for m in manifest.models} if manifest else {}
            for source in manifest.requested.values() if manifest else ():
                for table in (source["checkpoint"], source["gguf"], source["lora"]):
                    if table and table["name"] in have:
                        commits[table["name"], table["revision"]] = have[table["name"]]
    return commits


def remove_leftovers(root: Path) -> None:
    """Temporary files of processes that were killed; nobody else writes while we hold the lock."""
    for parent in ("models", "downloads", "trios"):
        for file in (root / parent).rglob(".*.tmp"):
            with suppress(OSError):  # a child that still writes may keep it, on Windows
                file.unlink()


def copy_spec(spec: TrioSpec, dst: Path) -> None:
    """Keep a user's TOML in the store, so that the trio's name suffices from now on.

    Files that it names relative to itself are named in full there.
    """
    import tomlkit

    from ..files import replacing
    from ..store import bundled_files

    if spec.path is None or spec.path in bundled_files() or spec.path == dst:
        return
    document = tomlkit.parse(spec.path.read_text(encoding="utf-8"))
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
    with replacing(dst) as temporary:
        temporary.write_text(tomlkit.dumps(document), encoding="utf-8")
