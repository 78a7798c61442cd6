"""`trimix-cpp rpc-serve`: this machine's GPU or CPU for models on another one."""

from __future__ import annotations

import click

from ..errors import TrimixError
from ..showing import notice
from .options import bounded, whole


@click.command("rpc-serve", short_help="Lend this machine to a model on another one.")
@click.option(
    "-H",
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Where to listen; whoever reaches another address than this machine's own can "
    "run code here.",
)
@click.option(
    "-p",
    "--port",
    type=whole(0, 65535),
    default=50052,
    show_default=True,
    help="0 takes a free one.",
)
@click.option(
    "n_threads",
    "-t",
    "--threads",
    type=bounded("n_threads"),
    default=0,
    help="CPU threads; 0: physical cores.",
)
@click.option(
    "keeps",
    "-c",
    "--cache",
    is_flag=True,
    help="Keep large weights on this disk, so that they are sent once.",
)
def command(host: str, port: int, n_threads: int, keeps: bool) -> None:
    """Run llama.cpp's RPC server: a command with --rpc on another machine puts layers here.

    It serves one client at a time, and both sides need the same version of llama.cpp. It knows no
    passwords and no encryption: stay with 127.0.0.1 and an SSH tunnel (docs/machines.md).
    """
    import ipaddress

    from ..llama import resolve_server, serve_devices, server_at
    from ..processes import Call, ChildDiedError
    from ..store import home

    server = resolve_server(server_at(host, port))
    if not ipaddress.ip_address(server.host).is_loopback:
        notice(
            f"{server.host}: no authentication, no encryption, and known holes: whoever reaches "
            "this port can run code here. In a trusted network only; else 127.0.0.1 and ssh -L"
        )
    cache = str(home() / "cache" / "rpc") if keeps else None
    with Call(serve_devices, server.host, server.port, n_threads, cache) as call:
        try:
            for told in call:
                names = ", ".join(told["devices"])
                notice(
                    f"the RPC server of llama-cpp-python {told['version']} listens on "
                    f"{told['address']}, with {names}"
                )
        except ChildDiedError as error:
            raise TrimixError(f"the RPC server ended: {error}; start it again") from None
