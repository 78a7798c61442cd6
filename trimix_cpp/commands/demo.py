"""`trimix-cpp demo`: the bundled trio at work, beside its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..showing import show, show_json
from .options import bounded

if TYPE_CHECKING:
    from ..chat import Conversation
    from ..fusion import Choosing, Weights

MAX_TOKENS = 64


@click.command("demo", short_help="The bundled trio at work, beside its parts.")
@click.argument("sentences", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="JSON lines: one a translation.")
@click.option("-t", "--threads", type=bounded("n_threads"), default=0, help="0: physical cores.")
@click.option("--exact", is_flag=True, help="The same numbers whatever the size of a batch.")
def command(sentences: tuple[str, ...], as_json: bool, threads: int, exact: bool) -> None:
    """Translate English to Uyghur by large alone, cpt alone, and the three models fused.

    All are shown the same five translations before. The fusion comes twice: with the weights that
    translated best in trials, and with those that the answers of these five choose, without any
    other reference.

    SENTENCES are your own English strings; without any, six are given. The bundled models are
    toys trained on software strings: they show the method, not what real models can do.
    """
    if not all(sentence.strip() for sentence in sentences):
        raise UsageError("a sentence is empty")
    from ..api import TriMix
    from ..fusion import ByAnswers, Weights
    from ..prompts import SENTENCES
    from ..runtime import DecodingFlags, ModelFlags, RunFlags, SamplingFlags

    flags = DecodingFlags(
        ModelFlags(trio="demo"),
        RunFlags(n_ctx=0, n_threads=threads, exact=exact),
        sampling=SamplingFlags(max_tokens=MAX_TOKENS, control="large"),
    )
    with TriMix(flags) as trio, trio.conversation(trio.settings) as conversation:
        methods: dict[str, tuple[Weights, Choosing | None]] = {
            "large alone": (Weights(1, 0), None),
            "cpt alone": (Weights(0, 1), None),
            "TriMix": (trio.weights, None),
            "by answers": (trio.weights, ByAnswers()),
        }
        rows = []
        for sentence in sentences or SENTENCES:
            if not as_json:
                show(f"English      {sentence}")
            for name, how in methods.items():
                rows.append({"method": name, **translate(conversation, *how, sentence)})
                _show(rows[-1], as_json)
            if not as_json:
                show("")
    if not as_json:
        chosen = rows[-1]["weights"]
        pair = f"alpha {chosen['alpha']:g}, beta {chosen['beta']:g}"
        show(f"TriMix: {trio.weights}; by answers: {pair}. Tokens a second: {_speeds(rows)}.")


def translate(
    conversation: Conversation, weights: Weights, chooser: Choosing | None, sentence: str
) -> dict[str, Any]:
    """One greedy reply to `sentence` after the exemplars; its seconds include the prompt."""
    from ..chat import Turn
    from ..prompts import EXEMPLARS

    conversation.clear()
    conversation.turns = [Turn(*exemplar) for exemplar in EXEMPLARS]
    conversation.set_weights(weights, chooser)
    text = "".join(conversation.send(sentence))
    stats = conversation.stats()
    return {
        "english": sentence,
        "text": text.strip(),
        "tokens": stats.reply_tokens,
        "stop": conversation.stop,
        "weights": conversation.weights.as_json(),
        "seconds": round(stats.reply_seconds, 3),
    }


def _show(row: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(row, indent=None)
    else:
        print(f"{row['method']:<12} {row['text']}", flush=True)


def _speeds(rows: list[dict[str, Any]]) -> str:
    """Tokens a second of each method, its prompts included."""
    speeds = []
    for name in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == name]
        seconds = sum(row["seconds"] for row in own)
        speeds.append(f"{name} {sum(row['tokens'] for row in own) / max(seconds, 1e-9):.0f}")
    return ", ".join(speeds)
