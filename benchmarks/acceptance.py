"""How many drafts are right, and how often drafting changes the text: on the bundled trio.

    python benchmarks/acceptance.py dev.tsv.gz --texts ug.txt.gz
    python benchmarks/acceptance.py dev.tsv.gz --exact            must say 100 % everywhere

The TSV file has the columns id, en, ug, source (tools/demo_trio/README.md); its English strings are
asked for as the paper does, its answers end where they end. Each line of --texts is continued from
its first half for --predict tokens, whatever ends come. Without --exact a batch of drafts rounds
differently from single tokens, so that a near tie may flip: the share of equal outputs tells how
often. "per round" is the tokens of a round of --depth drafts.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.draft_guesses import Offset
from trimix_cpp.decoding.speculation import Speculator
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.prompts.languages import language
from trimix_cpp.prompts.paper import translation_prompt
from trimix_cpp.store.trios import find_trio

PAIRS = ((0.1, 0.9), (0.3, 0.9), (0.3, 0.7), (0.7, 0.5), (0.9, 0.3))


class Unlearned(Speculator):
    """Drafts without what fusion adds on average."""

    def offset(self, name: str) -> Offset:
        return Offset()


@dataclass(frozen=True)
class Case:
    """Prompts of one kind, and how they are continued."""

    name: str
    prompts: list[list[int]]
    to_the_end: bool
    stops: tuple[str, ...]
    max_tokens: int


def strings(path: Path, n: int) -> list[str]:
    """Prompts for `n` English strings, spread over the file."""
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    step = max(len(rows) // n, 1)
    english, uyghur = language("eng"), language("uig")
    return [translation_prompt(row[1], english, uyghur) for row in rows[::step][:n]]


def lines(path: Path, n: int) -> Iterator[str]:
    """The first halves of `n` long lines."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        long = (line.strip() for line in file if len(line) > 200)
        for line in itertools.islice(long, n):
            yield line[:100]


def continued(trio: Trio, case: Case, weights: Weights, speculator: Speculator | None) -> list[Any]:
    """The tokens of every prompt's continuation."""
    decoder, found = Decoder(trio, speculator, keep=False), []
    for prompt in case.prompts:
        text = Text(
            prompt,
            weights,
            stops=case.stops,
            max_tokens=case.max_tokens,
            ignore_ends=not case.to_the_end,
        )
        for _ in decoder.stream(text):
            pass
        found.append(text.generated)
    return found


def measure(trio: Trio, case: Case, depth: int) -> Iterator[dict[str, Any]]:
    """A row a pair of weights and drafter."""
    for pair in PAIRS:
        weights = Weights(*pair)
        plain = continued(trio, case, weights, None)
        for kind, name in ((Unlearned, "cpt without offset"), (Speculator, "cpt")):
            speculator = kind(depth, looks_up=False)
            drafted = continued(trio, case, weights, speculator)
            equal = sum(a == b for a, b in zip(plain, drafted, strict=True))
            yield {
                "text": case.name,
                "alpha": pair[0],
                "beta": pair[1],
                "drafter": name,
                "acceptance": speculator.accepted / max(speculator.compared, 1),
                "per_round": sum(len(d) - 1 for d in drafted) / max(speculator.rounds, 1),
                "equal": equal / len(plain),
                "outputs": len(plain),
                "tokens": sum(map(len, plain)),
            }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("pairs", type=Path, help="gzipped TSV of the development split")
    parser.add_argument("--texts", type=Path, help="also continue the long lines of this file")
    parser.add_argument("--prompts", type=int, default=200, help="prompts of each kind at most")
    parser.add_argument("--predict", type=int, default=100, help="tokens of a continuation")
    parser.add_argument("--depth", type=int, default=3, help="drafts of a round")
    parser.add_argument("--threads", type=int, default=0, help="0: the physical cores")
    parser.add_argument("--exact", action="store_true", help="the engine's exact mode")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    flags = parser.parse_args()
    options = Options(
        n_ctx=512, n_threads=flags.threads, n_outputs=flags.depth + 1, exact=flags.exact
    )
    rows = []
    print("| text | alpha, beta | drafter | acceptance | per round | equal outputs |")
    print("|---|---|---|---:|---:|---:|")
    with Trio(find_trio("demo"), ("large", "cpt", "base"), options) as trio:
        asked = list(map(trio.tokenize, strings(flags.pairs, flags.prompts)))
        cases = [Case("strings", asked, True, trio.spec.stops, flags.predict)]
        if flags.texts:
            long = list(map(trio.tokenize, lines(flags.texts, max(flags.prompts // 4, 1))))
            cases.append(Case("running text", long, False, (), flags.predict))
        for case in cases:
            for row in measure(trio, case, flags.depth):
                rows.append(row)
                print(
                    f"| {row['text']} | {row['alpha']}, {row['beta']} | {row['drafter']} | "
                    f"{row['acceptance']:.3f} | {row['per_round']:.2f} | {row['equal']:.1%} of "
                    f"{row['outputs']} ({row['tokens']:,} tokens) |",
                    flush=True,
                )
    if flags.json:
        flags.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
