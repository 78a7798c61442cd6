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
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import TrimixError, UsageError
from ..files import is_toml_path, read_toml, real_path, sha256
from ..fusion import PRECEDENCE
from ..gguf import TYPES, read_header
from ..quant import Options, Profile, RoleProfile, load_profile
from ..showing import Bars
from ..store import RoleSpec, TrioSpec, load_spec
from .evaluator import Variant

SOURCE, AS_IS = "source", "as-is"


@dataclass(frozen=True)
class Side:
    """One side.

    Attributes:
        name: what the user called it.
        variants: role -> its files and caches.
        types: role -> the type of its file, for the reader.
    """

    name: str
    variants: Mapping[str, Variant]
    types: Mapping[str, str]

    @property
    def type_k(self) -> dict[str, str]:
        """Role -> type of the keys' cache."""
        return {role: variant.type_k for role, variant in self.variants.items()}

    @property
    def type_v(self) -> dict[str, str]:
        """Role -> type of the values' cache."""
        return {role: variant.type_v for role, variant in self.variants.items()}

    @property
    def files(self) -> dict[Path, int]:
        """File -> bytes on the disk, each once."""
        files = (variant.files for variant in self.variants.values())
        paths = [path for one in files for path in (one.path, one.lora) if path]
        return {path: path.stat().st_size for path in paths}

    def spec(self, spec: TrioSpec) -> TrioSpec:
        """The trio `spec` with the files of this side, ready to be loaded."""
        roles = {role: variant.files for role, variant in self.variants.items()}
        return TrioSpec(
            spec.name, roles, weights=spec.weights, type_k=self.type_k, type_v=self.type_v
        )

    def identity(self, roles: Iterable[str], cache: Path) -> list[list[Any]]:
        """What decides about its logits, for keys of caches: hashes, not names."""

        def hashed(path: Path | None) -> str | None:
            return sha256(path, cache / "sha256.json") if path else None

        found = []
        for role in sorted(roles):
            own = self.variants[role]
            model, lora = hashed(own.files.path), hashed(own.files.lora)
            scale = own.files.lora_scale
            found.append([role, model, lora, scale, own.type_k, own.type_v, own.n_ubatch])
        return found


class Workshop:
    """Makes the files of sides, in the folder `models` of the cache.

    Args:
        spec: the trio.
        roles: the roles that are looked at.
        cache: the folder; it is made.
        bar: shows the progress of a file.
        exact: the sides are evaluated in exact mode, where every cache is `EXACT_CACHE`.

    Raises:
        TrimixError: a role has no file.
    """

    def __init__(
        self,
        spec: TrioSpec,
        roles: Iterable[str],
        cache: Path,
        bar: Bars,
        *,
        exact: bool = False,
    ) -> None:
        self.spec, self.cache, self.bar, self.exact = spec, cache, bar, exact
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
        files, types = {}, {}
        for role in self.roles:
            own = self.spec.roles[role]
            choice = profile.choice([r for r, s in self.spec.roles.items() if s.path == own.path])
            files[role] = replace(own, path=self._quantized(own.path, choice))
            types[role] = choice.type
        caches = (dict.fromkeys(files, kind) for kind in (profile.type_k, profile.type_v))
        return self._side(profile.name, files, types, *caches)

    def _own(self, name: str) -> Side:
        files = {role: self.spec.roles[role] for role in self.roles}
        if name == AS_IS:
            return self._side(name, files, None, self.spec.type_k, self.spec.type_v)
        return self._side(
            name, {role: replace(own, path=self._source(own.path)) for role, own in files.items()}
        )

    def _trio(self, name: str) -> Side:
        other = load_spec(Path(name))
        if lacking := [role for role in self.roles if role not in other.roles]:
            raise TrimixError(f"{name}: has no {lacking[0]}, which {self.spec.name} has")
        files = {role: other.roles[role] for role in self.roles}
        return self._side(other.name, files, None, other.type_k, other.type_v)

    def _side(
        self,
        name: str,
        files: Mapping[str, RoleSpec],
        types: Mapping[str, str] | None = None,
        type_k: Mapping[str, str] = MappingProxyType({}),
        type_v: Mapping[str, str] = MappingProxyType({}),
    ) -> Side:
        """A side with these files; types are the files' own where none are given."""
        options = Options(type_k=type_k, type_v=type_v, exact=self.exact)
        variants = {
            role: Variant(role, replace(own, path=real_path(own.path)), *options.cache_types(role))
            for role, own in files.items()
        }
        own_types = {role: read_header(own.path).type_name for role, own in files.items()}
        return Side(name, variants, types or own_types)

    def _source(self, path: Path) -> Path:
        """The file itself, or what its weights stand for in F32."""
        from trimix_cpp.convert.expand import expand

        if not read_header(path).is_quantized:
            return real_path(path)
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
