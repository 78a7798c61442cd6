"""`trimix-cpp generate`: one completion of one prompt."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..runtime import DecodingFlags
from .options import decoding_options, read_text

if TYPE_CHECKING:
    from ..decoding import Decoder, Sequence


@click.command("generate", short_help="Complete one prompt.")
@click.option("-p", "--prompt", metavar="TEXT", help="The prompt.")
@click.option(
    "-f", "--file", type=click.Path(path_type=Path), help="The prompt's file; - is stdin."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of the text.")
@decoding_options(control="fused")
def command(prompt: str | None, file: Path | None, as_json: bool, decoding: DecodingFlags) -> None:
    """Complete a prompt from -p, from a file, or from standard input.

    The prompt goes to the models as it is, without a chat template; names of control tokens in it
    are read as these tokens. The text appears as it comes, in whole characters. With --json: text,
    tokens, weights {alpha, beta}, stop (end, stop, length or context), prompt_tokens, timings.
    """
    if prompt is not None and file is not None:
        raise UsageError("give the prompt by -p or by -f, not both")
    if prompt is None and file is None and sys.stdin.isatty():
        raise UsageError("give a prompt: -p TEXT, -f FILE, or standard input")
    settings = decoding.resolve()
    text = read_text(file) if prompt is None else argument_text(prompt)
    from ..decoding import Decoder, Trio

    began = time.perf_counter()
    with Trio(settings.spec, settings.weighting.roles, settings.options) as trio:
        loaded = time.perf_counter() - began
        decoder = Decoder(trio, settings.speculator)
        tokens = trio.tokenize(text, add_special=True, parse_special=True)
        sequence = settings.sequence(tokens)
        decoder.add(sequence)
        for piece in decoder.stream(sequence):
            if not as_json:
                click.echo(piece, nl=False)
                sys.stdout.flush()
        if as_json:
            report = result(sequence, decoder, loaded)
            click.echo(json.dumps(report, ensure_ascii=False, indent=2))
        else:
            click.echo()


def argument_text(text: str) -> str:
    """A text from the command line as UTF-8, whatever locale Python read the arguments in.

    Raises:
        UsageError: its bytes are not UTF-8.
    """
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeError:
        raise UsageError("the prompt is not UTF-8; give it by -f from a UTF-8 file") from None


def result(sequence: Sequence, decoder: Decoder, load_seconds: float) -> dict[str, Any]:
    """The JSON document of one completion; seconds, and tokens a second."""
    timings = decoder.timings
    return {
        "text": sequence.text,
        "tokens": len(sequence.generated),
        "weights": sequence.weights.as_json(),
        "stop": sequence.stop,
        "prompt_tokens": sequence.n_prompt,
        "seed": sequence.sampler.seed,
        "timings": {
            "load_seconds": round(load_seconds, 6),
            "prompt_seconds": round(timings.prompt_seconds, 6),
            "generation_seconds": round(timings.generation_seconds, 6),
            "tokens_per_second": round(timings.speed, 3),
        },
    }
