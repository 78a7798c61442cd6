"""Which RPC servers take the layers of which roles."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import UsageError
from ..fusion import ROLES
from .limits import shown

_FLAG = "--rpc"


def parse_rpc(value: str | Mapping[str, str] | None) -> dict[str, tuple[str, ...]]:
    """`"host:port,…"`, for all roles, or `"large=host:port,…,cpt=…"` -> role -> `host:port`.

    A role that is not named stays where it is.

    Raises:
        UsageError: no address, a role that is none, a server twice, or too many.
    """
    if value is None:
        return {}
    from ..llama import MOST_SERVERS

    said = value if isinstance(value, Mapping) else _by_role(value)
    found = {role: _servers(text) for role, text in said.items()}
    if unknown := [role for role in found if role not in ROLES]:
        raise UsageError(f"{_FLAG}: {shown(unknown[0])} is none of {', '.join(ROLES)}")
    if len({server for servers in found.values() for server in servers}) > MOST_SERVERS:
        raise UsageError(f"{_FLAG}: llama.cpp takes {MOST_SERVERS} servers")
    return found


def _by_role(text: str) -> dict[str, str]:
    """Role -> its servers; a part without a role goes on with the servers of the one before."""
    if "=" not in text:
        return dict.fromkeys(ROLES, text)
    found, role = dict[str, str](), ""
    for part in text.split(","):
        name, equals, rest = part.rpartition("=")
        if equals:
            role = name
        elif not role:
            raise UsageError(f"{_FLAG}: {shown(part)} is for no role: name one, or none at all")
        if equals and role in found:
            raise UsageError(f"{_FLAG}: {shown(role)} is named twice")
        found[role] = f"{found[role]},{rest}" if role in found else rest
    return found


def _servers(text: str) -> tuple[str, ...]:
    from ..llama import MOST_SERVERS, parse_server

    parts = text.split(",", MOST_SERVERS)
    if len(parts) > MOST_SERVERS:
        raise UsageError(f"{_FLAG}: llama.cpp takes {MOST_SERVERS} servers")
    try:
        servers = [str(parse_server(part)) for part in parts]
    except UsageError as error:
        raise UsageError(f"{_FLAG}: {error}") from None
    if twice := [server for server in servers if servers.count(server) > 1]:
        raise UsageError(f"{_FLAG}: {twice[0]} is named twice")
    return tuple(servers)
