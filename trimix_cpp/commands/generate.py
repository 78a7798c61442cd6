"""`trimix-cpp generate`: one completion of one prompt."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..runtime import DecodingFlags
from ..showing import show_json
from .options import decoding_options, read_text

if TYPE_CHECKING:
    from ..api import Completion


@click.command("generate", short_help="Complete one prompt.")
@click.option("-p", "--prompt", metavar="TEXT", help="The prompt.")
@click.option(
    "-f", "--file", type=click.Path(path_type=Path), help="The prompt's file; - is stdin."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of the text.")
@decoding_options(control="fused", over_bytes=True)
def command(prompt: str | None, file: Path | None, as_json: bool, decoding: DecodingFlags) -> None:
    """Complete a prompt from -p, from a file, or from standard input.

    The prompt goes to the models as it is, without a chat template; names of control tokens in it
    are read as these tokens. One line break at the end of a file or of standard input is no part of
    it, since editors write one, and CR LF is a line break. The text appears as it comes, in whole
    characters. With --json: text, tokens, token_ids, weights {alpha, beta}, stop (end, stop, length
    or context), prompt_tokens, seed, timings.
    """
    if prompt is not None and file is not None:
        raise UsageError("give the prompt by -p or by -f, not both")
    if prompt is None and file is None and sys.stdin.isatty():
        raise UsageError("give a prompt: -p TEXT, -f FILE, or standard input")
    text = prompt_in(read_text(file)) if prompt is None else argument_text(prompt)
    from ..api import TriMix

    with TriMix(decoding) as trio:
        stream = trio.stream(text)
        for piece in stream:
            if not as_json:
                # Not click.echo: that takes colours out of what goes to a pipe.
                print(piece, end="", flush=True)
        if as_json:
            show_json(document(stream.result, trio.load_seconds))
        else:
            print()


def prompt_in(text: str) -> str:
    """The prompt that a file's text is: line ends of Windows are line breaks, the last is none."""
    return text.replace("\r\n", "\n").removesuffix("\n")


def argument_text(text: str) -> str:
    """A text from the command line as UTF-8, whatever locale Python read the arguments in.

    Raises:
        UsageError: its bytes are not UTF-8.
    """
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeError:
        raise UsageError("the prompt is not UTF-8; give it by -f from a UTF-8 file") from None


def document(result: Completion, load_seconds: float) -> dict[str, Any]:
    """The JSON document of one completion; seconds, and tokens a second."""
    return {
        "text": result.text,
        "tokens": len(result.token_ids),
        "token_ids": [*result.token_ids],
        "weights": result.weights.as_json(),
        "stop": result.stop,
        "prompt_tokens": result.prompt_tokens,
        "seed": result.seed,
        "timings": {"load_seconds": round(load_seconds, 6), **result.timings},
    }
