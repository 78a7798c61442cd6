"""`trimix-cpp serve`: a trio for other programs, over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..errors import TrimixError, UsageError
from ..files import read_text
from ..runtime import DecodingFlags
from .options import Real, bounded, decoding_options, whole

# What the extra `serve` brings.
_PACKAGES = ("starlette", "uvicorn", "anyio", "h11", "multipart", "prometheus_client")


@click.command("serve", short_help="Serve a trio over HTTP.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Where to listen; another address than this machine's own needs a key.",
)
@click.option(
    "--port", type=whole(0, 65535), default=8080, show_default=True, help="0 takes a free one."
)
@click.option(
    "n_parallel",
    "-np",
    "--parallel",
    type=bounded("n_parallel"),
    default=4,
    show_default=True,
    help="Texts at once; each needs a context.",
)
@click.option(
    "n_waiting",
    "--queue",
    type=whole(0, 10000),
    default=64,
    show_default=True,
    help="Requests that may wait for them; more are refused.",
)
@click.option(
    "--grace",
    type=Real(0, 3600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="What running requests get at the end.",
)
@click.option(
    "ping",
    "--sse-ping-interval",
    type=Real(0.01, 3600),
    default=15.0,
    show_default=True,
    metavar="SECONDS",
    help="Silence after which a stream says that it is alive.",
)
@click.option(
    "keys",
    "--api-key",
    multiple=True,
    metavar="KEY",
    help="Requests need this key; may be repeated. Other users of this machine can see "
    "it: --api-key-file is safer.",
)
@click.option(
    "key_file",
    "--api-key-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Keys, one a line.",
)
@click.option("no_key", "--no-api-key", is_flag=True, help="Whoever can reach --host may ask.")
@click.option(
    "origins",
    "--cors",
    multiple=True,
    metavar="ORIGIN",
    help="Pages of this origin, such as https://example.org, may ask; * is all.",
)
@click.option(
    "names",
    "--allow-host",
    multiple=True,
    metavar="NAME",
    help="Requests may be addressed to this name too, as behind a proxy.",
)
@click.option(
    "shots",
    "--shots",
    multiple=True,
    metavar="FROM-TO=FILE",
    help="Exemplars of translations, as translate's --shots, such as eng-uig=pairs.tsv.",
)
@decoding_options(control="large")
def command(
    decoding: DecodingFlags, key_file: Path | None, shots: Sequence[str], **flags: Any
) -> None:
    """Serve a trio to programs that speak OpenAI's or LibreTranslate's protocol.

    At http://127.0.0.1:8080 are /v1/chat/completions, /v1/completions, /translate and more, and a
    page for people; docs/serve.md tells all. The other options are what requests get that say
    nothing else; control tokens are large's in chats and fused elsewhere unless --control says.
    """
    try:
        from ..serve import ServeFlags, serve
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        raise TrimixError(
            f"serve needs further packages ({error.name} is missing): "
            "pip install 'trimix-cpp[serve]'"
        ) from None
    keys = (*flags.pop("keys"), *_keys(key_file))
    said = click.get_current_context().get_parameter_source("control")
    control = None if said is ParameterSource.DEFAULT else decoding.sampling.control
    exemplars = dict(map(_exemplars, shots))
    serve(decoding, ServeFlags(**flags, keys=keys, control=control, exemplars=exemplars))


def _exemplars(said: str) -> tuple[tuple[str, str], tuple[tuple[str, str], ...]]:
    """The languages and exemplars of one --shots; raises UsageError where it means nothing."""
    from ..api import languages
    from ..translate import MAX_SHOTS, read_shots

    pair, equals, name = said.partition("=")
    source, dash, target = pair.partition("-")
    if not (equals and dash and name):
        raise UsageError(f"--shots {said}: is not FROM-TO=FILE, such as eng-uig=pairs.tsv")
    found = languages(source, target)
    shots = read_shots(read_text(Path(name)), name)[:MAX_SHOTS]
    return (found[0].code, found[1].code), tuple(shots)


def _keys(path: Path | None) -> list[str]:
    """The keys in a file; raises UsageError where it has none."""
    if path is None:
        return []
    keys = [line.strip() for line in read_text(path).split("\n") if line.strip()]
    if not keys:
        raise UsageError(f"{path}: there is no key in it")
    return keys
