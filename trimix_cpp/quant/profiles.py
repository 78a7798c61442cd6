"""Profiles: named choices of quantization for the roles of a trio, read from TOML.

Those that come with the program lie in `quant_profiles/`; a user's own file is written alike
(docs/quantize.md).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import TrimixError, UsageError
from ..files import check_regular, is_toml_path, read_toml
from ..fusion import PRECEDENCE, ROLES
from ..gguf import KV_TYPES, file_type, tensor_type

_KEYS = {"description", "memory_gib", "cache", *ROLES}
_ROLE_KEYS = {"type", "output_tensor_type", "token_embedding_type", "tensors", "imatrix"}
_CACHE_KEYS = {"type_k", "type_v"}


@dataclass(frozen=True)
class RoleProfile:
    """How one role is quantized; names as in `gguf.types`.

    Attributes:
        type: the type of the file, as llama-quantize names it.
        output_tensor_type, token_embedding_type: types of these tensors; None leaves them to
            llama.cpp.
        tensors: (regular expression, tensor type) in the order of the file; the first that is found
            in a tensor's name counts.
        imatrix: an importance matrix for this role's model.
    """

    type: str
    output_tensor_type: str | None = None
    token_embedding_type: str | None = None
    tensors: tuple[tuple[str, str], ...] = ()
    imatrix: Path | None = None

    @classmethod
    def of(
        cls,
        kind: str,
        *,
        output_tensor_type: str | None = None,
        token_embedding_type: str | None = None,
        tensors: Iterable[tuple[str, str]] = (),
        imatrix: Path | None = None,
    ) -> RoleProfile:
        """The same from names as people write them, in any case.

        Raises:
            UsageError: a name means nothing, or a pattern is no regular expression.
        """
        return cls(
            file_type(kind),
            tensor_type(output_tensor_type) if output_tensor_type else None,
            tensor_type(token_embedding_type) if token_embedding_type else None,
            tuple((pattern_of(pattern), tensor_type(name)) for pattern, name in tensors),
            imatrix,
        )

    def as_json(self) -> dict[str, Any]:
        """What decides about the file's bytes, for manifests; an imatrix by its SHA-256.

        Raises:
            TrimixError: the importance matrix cannot be read.
        """
        return {
            "type": self.type,
            "output_tensor_type": self.output_tensor_type,
            "token_embedding_type": self.token_embedding_type,
            "tensors": [list(pair) for pair in self.tensors],
            "imatrix": self._imatrix_hash,
        }

    @cached_property
    def _imatrix_hash(self) -> str | None:
        if self.imatrix is None:
            return None
        check_regular(self.imatrix)
        try:
            return hashlib.sha256(self.imatrix.read_bytes()).hexdigest()
        except OSError as error:
            raise TrimixError(
                f"{self.imatrix}: the importance matrix cannot be read ({error.strerror or error})"
            ) from None

    @property
    def plain(self) -> bool:
        """It says nothing but the type."""
        return self == RoleProfile(self.type)

    def hash(self) -> str:
        """A key for caches: equal where the files made from one source are equal."""
        return _hash(self.as_json())


@dataclass(frozen=True)
class Profile:
    """A profile by name.

    Attributes:
        roles: a `RoleProfile` for every role.
        type_k, type_v: types of the KV cache, names of `KV_TYPES`, for every role.
        memory_gib: the memory of the machine that it is meant for; 0 for any.
    """

    name: str
    description: str
    roles: Mapping[str, RoleProfile]
    type_k: str
    type_v: str
    memory_gib: float

    def choice(self, roles: Iterable[str]) -> RoleProfile:
        """How a file that these roles share is quantized: for the one that bears it least."""
        return self.roles[min(roles, key=PRECEDENCE.index)]

    def as_json(self) -> dict[str, Any]:
        """What decides about files and caches; without name and description."""
        roles = {role: self.roles[role].as_json() for role in ROLES}
        return {"roles": roles, "type_k": self.type_k, "type_v": self.type_v}

    def hash(self) -> str:
        """A key for caches: equal where `as_json` is equal."""
        return _hash(self.as_json())


def profile_files() -> dict[str, Path]:
    """Name -> TOML file of the profiles that come with the program, those of most bits first."""
    folder = Path(str(resources.files("trimix_cpp.quant_profiles")))
    files = {file.stem: file for file in sorted(folder.glob("*.toml"))}
    return dict(sorted(files.items(), key=lambda item: -_load(item[1]).memory_gib))


def profile_names() -> list[str]:
    """The profiles that come with the program, those of most bits first."""
    return list(profile_files())


def load_profile(name_or_toml: str) -> Profile:
    """The profile called so, or the one in this TOML file.

    Raises:
        UsageError: no profile has this name.
        TrimixError: the file is missing or broken.
    """
    if is_toml_path(name_or_toml):
        return _load(Path(name_or_toml))
    files = profile_files()
    if name_or_toml not in files:
        raise UsageError(f"no profile is called {name_or_toml!r}; there are: {', '.join(files)}")
    return _load(files[name_or_toml])


def _load(path: Path) -> Profile:
    data = read_toml(path, "profile")
    try:
        return _profile(data, path)
    except (TypeError, ValueError, TrimixError) as error:
        raise TrimixError(f"{path}: not a profile: {error} (docs/quantize.md shows one)") from None


def _profile(data: dict[str, Any], path: Path) -> Profile:
    _check_keys(data, _KEYS, "")
    roles = {role: _role(data[role], role, path.parent) for role in ROLES if role in data}
    if missing := [role for role in ROLES[:3] if role not in roles]:
        raise ValueError(f"it has no [{missing[0]}] table")
    # The fourth role is of the same size as large, and its coefficient as small.
    roles.setdefault("large_base", roles["large"])
    cache = _table(data.get("cache", {}), "cache")
    _check_keys(cache, _CACHE_KEYS, "cache.")
    type_k, type_v = (_kv_type(cache.get(key, "f16")) for key in ("type_k", "type_v"))
    memory = data.get("memory_gib", 0)
    if isinstance(memory, bool) or not isinstance(memory, int | float) or not 0 <= memory < 1 << 20:
        raise ValueError(f"memory_gib is {memory!r}, not a number of GiB")
    description = _text(data.get("description", ""), "description")
    return Profile(path.stem, description, roles, type_k, type_v, float(memory))


def _role(value: Any, role: str, folder: Path) -> RoleProfile:
    table = _table(value, role)
    _check_keys(table, _ROLE_KEYS, f"{role}.")
    if "type" not in table:
        raise ValueError(f"[{role}] names no type")
    types = {
        key: _text(table[key], f"{role}.{key}")
        for key in ("output_tensor_type", "token_embedding_type")
        if key in table
    }
    tensors = [
        (pattern, _text(name, f"{role}.tensors"))
        for pattern, name in _table(table.get("tensors", {}), f"{role}.tensors").items()
    ]
    imatrix = folder / _text(table["imatrix"], f"{role}.imatrix") if "imatrix" in table else None
    kind = _text(table["type"], f"{role}.type")
    return RoleProfile.of(kind, **types, tensors=tensors, imatrix=imatrix)


def pattern_of(text: str) -> str:
    """`text` as llama-quantize takes a pattern: in lower case; raises UsageError for a bad one.

    llama.cpp compiles it as an ECMAScript expression, of which Python's are nearly a superset; a
    pattern that only C++ refuses is an error of llama.cpp's.
    """
    pattern = text.lower()
    try:
        re.compile(pattern)
    except re.error as error:
        raise UsageError(f"{text!r} is no regular expression ({error})") from None
    if not pattern or "\0" in pattern:
        raise UsageError("a tensor's pattern is empty or holds a NUL")
    return pattern


def _kv_type(name: Any) -> str:
    if not isinstance(name, str) or name.lower() not in KV_TYPES:
        raise ValueError(f"unknown KV cache type {name!r}; known are {', '.join(KV_TYPES)}")
    return name.lower()


def _table(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no table")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is no string")
    return value


def _check_keys(table: Mapping[str, Any], known: set[str], prefix: str) -> None:
    if unknown := sorted(set(table) - known):
        raise ValueError(f"unknown key {prefix + unknown[0]!r}")


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
