"""The sides of a comparison: which files and caches the roles of a trio have under a name.

A name is a profile, a profile's TOML, a type such as Q4_K_M for all roles, the TOML of a trio that
was quantized before, or one of two words: `source`, the trio's own files, those that are quantized
expanded to F32; `as-is`, the trio's own files as they are. What has to be made lies in the cache
under the hash of what it is made from, and is made once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import TrimixError, UsageError
from ..files import is_toml_path, read_toml, sha256
from ..fusion import PRECEDENCE
from ..gguf import TYPES, read_header
from ..quant import Profile, RoleProfile, load_profile
from ..showing import Bars
from ..store import RoleSpec, TrioSpec, load_spec
from .rows import Version

SOURCE, AS_IS = "source", "as-is"


@dataclass(frozen=True)
class Side:
    """One side.

    Attributes:
        name: what the user called it.
        versions: role -> its files and caches.
        types: role -> the type of its file, for the reader.
    """

    name: str
    versions: Mapping[str, Version]
    types: Mapping[str, str]

    @property
    def type_k(self) -> dict[str, str]:
        """Role -> type of the keys' cache."""
        return {role: version.type_k for role, version in self.versions.items()}

    @property
    def type_v(self) -> dict[str, str]:
        """Role -> type of the values' cache."""
        return {role: version.type_v for role, version in self.versions.items()}

    @property
    def files(self) -> dict[Path, int]:
        """File -> bytes on the disk, each once."""
        found = {}
        for version in self.versions.values():
            for path in (version.path, version.lora):
                if path:
                    found[path] = path.stat().st_size
        return found

    def spec(self, spec: TrioSpec) -> TrioSpec:
        """The trio `spec` with the files of this side, ready to be loaded."""
        roles = {
            role: RoleSpec(version.path, version.lora, version.lora_scale)
            for role, version in self.versions.items()
        }
        return TrioSpec(
            spec.name, roles, weights=spec.weights, type_k=self.type_k, type_v=self.type_v
        )

    def identity(self, roles: Iterable[str], cache: Path) -> list[list[Any]]:
        """What decides about its logits, for keys of caches: hashes, not names."""

        def hashed(path: Path | None) -> str | None:
            return sha256(path, cache / "sha256.json") if path else None

        found = []
        for role in sorted(roles):
            version = self.versions[role]
            found.append(
                [
                    role,
                    hashed(version.path),
                    hashed(version.lora),
                    version.lora_scale,
                    version.type_k,
                    version.type_v,
                    version.n_ubatch,
                ]
            )
        return found


class Workshop:
    """Makes the files of sides, in the folder `models` of the cache.

    Args:
        spec: the trio.
        roles: the roles that are looked at.
        cache: the folder; it is made.
        bar: shows the progress of a file.

    Raises:
        TrimixError: a role has no file.
    """

    def __init__(self, spec: TrioSpec, roles: Iterable[str], cache: Path, bar: Bars) -> None:
        self.spec, self.cache, self.bar = spec, cache, bar
        self.roles = tuple(roles)
        for role in self.roles:
            if role not in spec.roles:
                raise TrimixError(
                    f"{spec.name}: the weights use {role}, but no file is given for it; give "
                    f"--{role.replace('_', '-')} FILE or other weights"
                )
            read_header(spec.roles[role].path)
        try:
            (cache / "models").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrimixError(
                f"{cache}: {error.strerror or error}; --cache names another folder"
            ) from None

    def side(self, name: str) -> Side:
        """The side called `name`; its files are made if they are not there.

        Raises:
            UsageError: nothing has this name.
            TrimixError: a file is broken, or cannot be made.
        """
        if name in (SOURCE, AS_IS):
            return self._own(name)
        if _is_trio(name):
            return self._trio(name)
        if name.upper() in TYPES and name.upper() != "COPY":
            return self.profile(uniform(name))
        try:
            return self.profile(load_profile(name))
        except UsageError as error:
            raise UsageError(
                f"{error}; or a type such as Q4_K_M, {SOURCE}, {AS_IS}, or a TOML file"
            ) from None

    def profile(self, profile: Profile) -> Side:
        """The side of a profile; roles that share a file share what is made of it."""
        versions, types = {}, {}
        for role in self.roles:
            spec = self.spec.roles[role]
            sharing = [r for r, s in self.spec.roles.items() if s.path == spec.path]
            choice = profile.choice(sharing)
            path = self._quantized(spec.path, choice)
            made = RoleSpec(path, spec.lora, spec.lora_scale)
            versions[role] = Version.of(role, made, profile.type_k, profile.type_v)
            types[role] = choice.type
        return Side(profile.name, versions, types)

    def _own(self, name: str) -> Side:
        versions, types = {}, {}
        for role in self.roles:
            spec = self.spec.roles[role]
            path = self._source(spec.path) if name == SOURCE else spec.path
            kv = (self.spec.type_k, self.spec.type_v) if name == AS_IS else ({}, {})
            versions[role] = Version.of(
                role,
                RoleSpec(path, spec.lora, spec.lora_scale),
                kv[0].get(role, "f16"),
                kv[1].get(role, "f16"),
            )
            types[role] = read_header(path).type_name
        return Side(name, versions, types)

    def _trio(self, name: str) -> Side:
        other = load_spec(Path(name))
        versions, types = {}, {}
        for role in self.roles:
            if role not in other.roles:
                raise TrimixError(f"{name}: has no {role}, which {self.spec.name} has")
            versions[role] = Version.of(
                role,
                other.roles[role],
                other.type_k.get(role, "f16"),
                other.type_v.get(role, "f16"),
            )
            types[role] = read_header(other.roles[role].path).type_name
        return Side(other.name, versions, types)

    def _source(self, path: Path) -> Path:
        """The file itself, or what its weights stand for in F32."""
        from trimix_cpp.convert.expand import expand

        if not read_header(path).is_quantized:
            return path.resolve()
        made = self._made(path, "F32")
        if not made.exists():
            with self.bar(f"{path.stem} F32") as progress:
                expand(path, made, force=True, progress=progress)
        return made

    def _quantized(self, path: Path, choice: RoleProfile) -> Path:
        from trimix_cpp.convert.quantize import quantize

        source = self._source(path)
        if choice.plain and read_header(source).type_name == choice.type:
            return source
        made = self._made(path, choice.type, choice)
        if not made.exists():
            with self.bar(f"{path.stem} {choice.type}") as progress:
                quantize(source, made, choice, force=True, progress=progress)
        return made

    def _made(self, path: Path, kind: str, choice: RoleProfile | None = None) -> Path:
        """Where a file lies that is made from `path`: the same only if it would be the same."""
        from ..llama import version

        found = [
            sha256(path, self.cache / "sha256.json"),
            choice.as_json() if choice else kind,
            version() if choice else "",
        ]
        key = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]
        return self.cache / "models" / f"{path.stem}-{kind}-{key}.gguf"


def uniform(name: str, type_k: str = "f16", type_v: str = "f16") -> Profile:
    """A profile with one type for all roles."""
    kind = name.upper()
    roles = dict.fromkeys(PRECEDENCE, RoleProfile(kind))
    return Profile(kind, f"{kind} for every role", roles, type_k, type_v, 0.0)


def _is_trio(name: str) -> bool:
    """Whether a TOML file is a trio's, not a profile's."""
    if not is_toml_path(name):
        return False
    try:
        return "models" in read_toml(Path(name), "profile")
    except TrimixError:
        return False  # whoever reads it as a profile says what is wrong
