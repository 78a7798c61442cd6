"""`trimix-cpp demo`: the bundled trio at work, beside its parts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError

if TYPE_CHECKING:
    from ..trio import Trio

# English strings as software has them.
SENTENCES = (
    "Open the file",
    "Could not save the document.",
    "Select a folder to search in",
    "The password is too short",
    "Show hidden files",
    "Check your network connection and try again.",
)
METHODS = (("large alone", (1.0, 0.0)), ("cpt alone", (0.0, 1.0)), ("TriMix", None))
MAX_TOKENS = 64


@click.command("demo", short_help="The bundled trio at work, beside its parts.")
@click.argument("sentences", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="JSON lines: one a translation.")
@click.option("-t", "--threads", type=click.IntRange(0), default=0, help="0: physical cores.")
@click.option("--exact", is_flag=True, help="The same numbers whatever the size of a batch.")
def command(sentences: tuple[str, ...], as_json: bool, threads: int, exact: bool) -> None:
    """Translate English to Uyghur by large alone, cpt alone, and the three models fused.

    SENTENCES are your own English strings; without any, six are given. The bundled models are
    toys trained on software strings: they show the method, not what real models can do.
    """
    from ..fusion import Weights
    from ..store import find_trio
    from ..trio import Options, Trio

    for sentence in sentences:
        if not sentence.strip():
            raise UsageError("a sentence is empty")
    spec = find_trio("demo")
    roles = {role for _, pair in METHODS for role in _weights(pair, spec.weights).roles}
    options = Options(n_ctx=0, n_threads=threads, exact=exact)
    with Trio(spec, roles, options) as trio:
        if not as_json:
            click.echo(f"Three models, fused at every token: TriMix with {spec.weights}.\n")
        totals = {name: [0, 0.0] for name, _ in METHODS}
        for sentence in sentences or SENTENCES:
            if not as_json:
                click.echo(f"English      {sentence}")
            for name, pair in METHODS:
                weights = _weights(pair, Weights(spec.weights.alpha, spec.weights.beta))
                row = translate(trio, weights, sentence)
                totals[name][0] += row["tokens"]
                totals[name][1] += row["seconds"]
                if as_json:
                    click.echo(json.dumps({"method": name, **row}, ensure_ascii=False))
                else:
                    click.echo(f"{name:<12} {row['text']}")
            if not as_json:
                click.echo()
    if not as_json:
        click.echo("Tokens a second, prompts included: " + _speeds(totals))


def _weights(pair: tuple[float, float] | None, preset: Any) -> Any:
    from ..fusion import Weights

    return preset if pair is None else Weights(*pair)


def _speeds(totals: dict[str, list[Any]]) -> str:
    return ", ".join(f"{name} {tokens / seconds:.0f}" for name, (tokens, seconds) in totals.items())


def translate(trio: Trio, weights: Any, sentence: str) -> dict[str, Any]:
    """One translation through the chat template, greedy; text, tokens, stop, weights, seconds."""
    import time

    from ..decoding import Decoder, Sequence
    from ..prompts import ChatTemplate

    template = ChatTemplate(
        trio.chat_template or "", trio.special_text("bos"), trio.special_text("eos")
    )
    prompt = template.render([{"role": "user", "content": sentence}])
    began = time.perf_counter()
    decoder = Decoder(trio)
    sequence = Sequence(
        trio.tokenize(prompt, parse_special=True),
        weights,
        control="large",
        max_tokens=MAX_TOKENS,
        stops=trio.spec.stops,
    )
    for _ in decoder.run([sequence]):
        pass
    return {
        "english": sentence,
        "text": sequence.text.strip(),
        "tokens": len(sequence.generated),
        "stop": sequence.stop,
        "weights": {"alpha": weights.alpha, "beta": weights.beta},
        "seconds": round(time.perf_counter() - began, 3),
    }
