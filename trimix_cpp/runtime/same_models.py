"""The files of a trio on another machine than the one where it was named: found by their hashes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import TrimixError, UsageError

if TYPE_CHECKING:
    from ..store import KnownTrio, RoleSpec, TrioSpec

_SHOWN = 12


def pulled_profile(spec: TrioSpec) -> str | None:
    """The quantization profile with which a trio was pulled; None where it was not."""
    entry = _entry(spec)
    return entry.manifest.profile.name if entry and entry.manifest else None


def same_models(
    spec: TrioSpec, hashes: Mapping[str, str], profile: str | None, tell: Callable[[str], None]
) -> TrioSpec:
    """The trio `spec` of another machine with this one's files, whose hashes (by role) are these.

    A file is looked for under the same path, then in the trio that has the same name here; if that
    is not installed, it is pulled, with the other machine's profile.

    Raises:
        TrimixError: a role has no such file here; or what stands in a pull's way.
        OSError: a file cannot be read.
    """
    roles = {role: spec.roles[role] for role in hashes}
    missing = [role for role in roles if not _is(roles[role], hashes[role])]
    own = _own(spec, profile, tell) if missing else {}
    for role in missing:
        if role in own and _is(own[role], hashes[role]):
            roles[role] = own[role]
            continue
        there = own.get(role) or roles[role]
        raise TrimixError(_no_such_file(role, there, hashes[role]))
    return replace(spec, roles=roles)


def _own(
    spec: TrioSpec, profile: str | None, tell: Callable[[str], None]
) -> Mapping[str, RoleSpec]:
    """The roles of the trio that is called so here, pulled if need be; none if it is unknown."""
    from ..pull import pull

    entry = _entry(spec)
    if entry and entry.installed and not entry.missing:
        return entry.spec.roles
    if not spec.sources:
        return {}
    pull(entry.spec if entry else spec, tell, profile_name=profile)
    entry = _entry(spec)
    return entry.spec.roles if entry else {}


def _entry(spec: TrioSpec) -> KnownTrio | None:
    from ..store import find_entry

    try:
        return find_entry(spec.name)
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
