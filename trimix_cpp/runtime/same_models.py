"""The files of a trio on another machine than the one where it was named: found by their hashes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..errors import TrimixError, UsageError
from ..files import read_text
from ..showing import notice, size_text

if TYPE_CHECKING:
    from ..store import KnownTrio, RoleSpec, TrioSpec

_SHOWN = 12
# What a worker's limit of memory must leave beside the weights.
_BESIDE_WEIGHTS = 256 << 20


@dataclass(frozen=True)
class SentModels:
    """A trio that goes to other machines by its hashes; they have the files, or pull them.

    Attributes:
        spec: on the machine that sends it.
        hashes: of the files, by role.
        profile: with which it was pulled, a name or a path; None: it was not.
        toml: the file that names the trio's sources; "" where it has none.
    """

    spec: TrioSpec
    hashes: Mapping[str, str]
    profile: str | None
    toml: str

    @classmethod
    def of(cls, spec: TrioSpec, roles: Iterable[str]) -> SentModels:
        """Of this machine's trio, as far as it has the roles; raises OSError as `fingerprint`."""
        from ..store import fingerprint

        used = sorted(spec.roles.keys() & set(roles))
        hashes = {role: fingerprint(spec.roles[role]) for role in used}
        # Paths that do not depend on the current folder.
        files = {
            name: replace(role, path=role.path.absolute(), lora=role.lora and role.lora.absolute())
            for name, role in spec.roles.items()
        }
        entry = _entry(spec.name)
        profile = entry.manifest.profile.source if entry and entry.manifest else None
        toml = read_text(spec.path) if spec.path and spec.sources else ""
        return cls(replace(spec, roles=files), hashes, profile, toml)

    def here(self, memory: int) -> TrioSpec:
        """The trio with the files of the machine that asks, which may use `memory` bytes (0: all).

        A file is looked for under the same path, then in the trio that has the same name here; if
        that is not installed, it is pulled, with the other machine's profile.

        Raises:
            TrimixError: a role has no such file here, what stands in a pull's way, or weights that
                leave no room in memory.
            OSError: a file cannot be read.
        """
        roles = {role: self.spec.roles[role] for role in self.hashes}
        missing = [role for role in roles if not _is(roles[role], self.hashes[role])]
        own = self._own() if missing else {}
        for role in missing:
            if role not in own or not _is(own[role], self.hashes[role]):
                there = own.get(role) or roles[role]
                raise TrimixError(_no_such_file(role, there, self.hashes[role]))
            roles[role] = own[role]
        weights = sum(role.path.stat().st_size for role in roles.values())
        if 0 < memory < weights + _BESIDE_WEIGHTS:
            raise TrimixError(
                f"Dask pauses it at {size_text(memory)}, which leaves no room beside models of "
                f"{size_text(weights)}: give a job more memory, a worker --memory-limit 0"
            )
        return replace(self.spec, roles=roles)

    def _own(self) -> Mapping[str, RoleSpec]:
        """The roles of the trio that is called so here, pulled if need be; none if it cannot be."""
        from ..pull import pull
        from ..store import load_spec

        entry = _entry(self.spec.name)
        if entry and entry.installed and not entry.missing:
            return entry.spec.roles
        if entry and entry.spec.sources:
            pull(entry.spec, notice, profile_name=self.profile)
        elif self.toml:
            with TemporaryDirectory() as folder:
                file = Path(folder, "trio.toml")
                file.write_text(self.toml, encoding="utf-8")
                pull(load_spec(file), notice, profile_name=self.profile)
        entry = _entry(self.spec.name)
        return entry.spec.roles if entry else {}


def _entry(name: str) -> KnownTrio | None:
    from ..store import find_entry

    try:
        return find_entry(name)
    except UsageError:
        return None


def _is(role: RoleSpec, wanted: str) -> bool:
    from ..store import fingerprint

    files = [path for path in (role.path, role.lora) if path]
    return all(path.is_file() for path in files) and fingerprint(role) == wanted


def _no_such_file(role: str, there: RoleSpec, wanted: str) -> str:
    from ..store import fingerprint

    if not there.path.is_file():
        return f"it has no {there.path}, the model of {role}, and no pull brings it"
    return (
        f"its {role}, {there.path}, is another file than the client's (SHA-256 "
        f"{fingerprint(there)[:_SHOWN]}… there, {wanted[:_SHOWN]}… at the client)"
    )
