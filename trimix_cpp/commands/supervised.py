"""Commands with --rpc run in a child: llama.cpp aborts the process where a server is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..errors import TrimixError
from ..showing import notice

if TYPE_CHECKING:
    from ..processes import Ended

# Commands with a journal.
_GO_ON = ("translate", "eval")
# Seconds to find out which server is lost.
_LOOK = 2.0

_is_child = False


def supervised(ctx: click.Context, _param: click.Parameter, said: str | None) -> str | None:
    """The callback of --rpc: run the whole command in a child, and end as that does."""
    if said is None or ctx.resilient_parsing:
        return said
    from ..runtime import parse_rpc

    by_role = parse_rpc(said)
    if not _is_child:
        servers = dict.fromkeys(server for own in by_role.values() for server in own)
        ctx.exit(_run(ctx.find_root().obj, [*servers], ctx.info_name in _GO_ON))
    return said


def _run(arguments: Sequence[str], servers: Sequence[str], goes_on: bool) -> int:
    """The exit code of the command, whose death is a line."""
    from ..processes import run_attached

    # A backtrace would be a debugger's.
    ended = run_attached(__name__, arguments, {"GGML_NO_BACKTRACE": "1"})
    if ended.code in (0, 1, 2, 3, 130):
        return ended.code
    again = "the same command goes on, what was finished is kept" if goes_on else "run it again"
    notice(death(ended, servers, again))
    return 1


def death(ended: Ended, servers: Sequence[str], again: str) -> str:
    """What to say of a process that died, by the last words of llama.cpp; `again`: what to do."""
    if "RPC handshake failed" in ended.words:
        return (
            f"{_named(servers)} speaks another version of the protocol: both sides need the same "
            "version of llama.cpp"
        )
    if "RPC server" in ended.words or "Failed to connect" in ended.words:
        lost = [server for server in servers if not _answers(server)]
        return f"{_named(lost or servers)} went away; when it is back, {again}"
    said = ended.words.strip().rpartition("\n")[2].rpartition(": ")[2]
    how = f"signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"
    return f"llama.cpp ended the process ({said or how}); {again}"


def _named(servers: Sequence[str]) -> str:
    return f"the RPC server at {' or '.join(servers)}"


def _answers(server: str) -> bool:
    from ..llama import ask_server, parse_server, resolve_server

    try:
        ask_server(resolve_server(parse_server(server)), _LOOK)
    except TrimixError:
        return False
    return True


def main() -> None:
    """The child."""
    global _is_child
    from ..__main__ import leave_on_interrupt, run
    from ..processes import attach

    _is_child = True
    leave_on_interrupt()
    attach()
    run()
