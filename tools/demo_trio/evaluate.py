"""Measure the demo trio from its GGUF files: the table of its model card.

    python tools/demo_trio/evaluate.py DATA/en-ug/dev.tsv.gz

For base, cpt, large, Proxy Tuning (alpha 1, beta 1) and TriMix it prints

* bits per byte of the Uyghur side, given the prompt (its tokens' -log2 P over its UTF-8 bytes);
* chrF++ of greedy translations (sacrebleu; it prints the signature).

TriMix's pair of weights is chosen among 36 on the first half of the split: bits per byte on all
of it, chrF++ of every pair on `--grid-lines` of its lines, of the best six on `--final-lines`.
The second half, where nothing was chosen, stands beside it. Half of a split is every other pair.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import numpy as np
from sacrebleu.metrics import CHRF

from trimix_cpp.decoding.answers import generate
from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Feed, Options, Trio
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.prompts.languages import language
from trimix_cpp.prompts.paper import translation_prompt
from trimix_cpp.store.spec import spec_from_files

GRID = [(a, b) for a, b in itertools.product((0.1, 0.3, 0.5, 0.7, 0.9, 1.0), repeat=2)]
METHODS = {"base": (0.0, 0.0), "cpt": (0.0, 1.0), "large": (1.0, 0.0), "Proxy Tuning": (1.0, 1.0)}
LONGEST = 100  # tokens of an answer; the longest reference has 85
PLACES = 32  # sequences stepped together
FINALISTS = 6

Pair = tuple[float, float]


@dataclass
class Scores:
    """What one pair of weights reaches, line by line: bits of the answers, and translations."""

    bits: np.ndarray
    answers: dict[int, str] = field(default_factory=dict)


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """(English, Uyghur) of a gzipped TSV file with the columns id, en, ug, source."""
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    return [(row[1], row[2]) for row in rows]


def prompt_for(english: str) -> str:
    """The paper's prompt, without exemplars."""
    return translation_prompt(english, language("eng"), language("uig"))


def prompts_and_answers(trio: Trio, pairs: Sequence[tuple[str, str]]) -> list[tuple[list, list]]:
    """Token ids of each prompt and of each answer, tokenized apart."""
    return [(trio.tokenize(prompt_for(en)), trio.tokenize(ug)) for en, ug in pairs]


def answer_rows(trio: Trio, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[list[int], dict]]:
    """For each pair the answer's ids and role -> logits of shape [answer's tokens, vocabulary]."""
    slot = trio.take()
    for head, tail in prompts_and_answers(trio, pairs):
        tokens = np.asarray(head + tail[:-1], np.int32)
        parts: dict[str, list[np.ndarray]] = {role: [] for role in trio.roles}
        start = 0
        while start < len(tokens):
            # A step takes at most n_batch tokens and gives at most one row a place.
            unasked = max(0, len(head) - 1 - start)
            part = tokens[start : start + min(trio.n_batch, unasked + trio.n_parallel)]
            wanted = max(0, len(part) - unasked)
            own = {role: trio.alignment.to_role(role, part) for role in trio.roles}
            feeds = {r: [Feed(slot, tokens, start, max(1, wanted))] for r, tokens in own.items()}
            for role, logits in trio.decode(feeds).items():
                parts[role].append(trio.alignment.rows(role, logits)[:wanted].copy())
            start += len(part)
        yield tail, {role: np.concatenate(rows) for role, rows in parts.items()}
        trio.empty(slot)
    trio.give(slot)


def bits_of(rows: dict[str, np.ndarray], tokens: list[int], pair: Pair) -> float:
    """-log2 P of the tokens under the fused distribution, summed."""
    coefficients = Weights(*pair).coefficients
    fused = sum(rows[role] * np.float32(c) for role, c in coefficients.items())
    assert isinstance(fused, np.ndarray)
    top = fused.max(axis=1)
    total = np.log(np.exp(fused - top[:, None]).sum(axis=1, dtype=np.float64)) + top
    return float((total - fused[np.arange(len(tokens)), tokens]).sum() / np.log(2))


def measure_bits(trio: Trio, pairs: Sequence[tuple[str, str]]) -> dict[Pair, Scores]:
    """Bits of every answer under every method and every pair of the grid."""
    wanted = dict.fromkeys([*METHODS.values(), *GRID])
    found = {pair: Scores(np.zeros(len(pairs))) for pair in wanted}
    for line, (tokens, rows) in enumerate(answer_rows(trio, pairs)):
        for pair, scores in found.items():
            scores.bits[line] = bits_of(rows, tokens, pair)
    return found


def translate(
    trio: Trio, pairs: Sequence[tuple[str, str]], jobs: list[tuple[Pair, int]]
) -> Iterator[tuple[Pair, int, str]]:
    """Greedy translation of line `i` under `pair` for each job, as it is done."""
    texts = (
        Text(
            trio.tokenize(prompt_for(pairs[line][0])),
            Weights(*pair),
            max_tokens=LONGEST,
            stops=("\n",),
            tag=(pair, line),
        )
        for pair, line in jobs
    )
    for done in generate(Decoder(trio), texts):
        yield *done.tag, done.text.strip()


class Measured:
    """Scores of a set of lines: bits per byte and chrF++."""

    def __init__(self, pairs: Sequence[tuple[str, str]], found: dict[Pair, Scores]) -> None:
        self.pairs, self.found = pairs, found
        self.metric = CHRF(word_order=2)
        self.bytes = np.array([len(uyghur.encode()) for _, uyghur in pairs])

    def bits_per_byte(self, pair: Pair, lines: Sequence[int]) -> float:
        """Of the answers on these lines."""
        at = list(lines)
        return float(self.found[pair].bits[at].sum() / self.bytes[at].sum())

    def chrf(self, pair: Pair, lines: Sequence[int]) -> float:
        """Of the translations on these lines; the metric gets no chance to tokenize the text."""
        answers = [self.found[pair].answers[line] for line in lines]
        references = [[self.pairs[line][1] for line in lines]]
        return float(self.metric.corpus_score(answers, references).score)


def measure_answers(trio: Trio, measured: Measured, wanted: dict[Pair, Sequence[int]]) -> None:
    """Translate the wanted lines that are not translated yet."""
    found = measured.found
    jobs = [
        (pair, line)
        for pair, lines in wanted.items()
        for line in lines
        if line not in found[pair].answers
    ]
    for done, (pair, line, text) in enumerate(translate(trio, measured.pairs, jobs), 1):
        found[pair].answers[line] = text
        if done % 200 == 0:
            print(f"{done} of {len(jobs)} translations", file=sys.stderr, flush=True)


def ranked(measured: Measured, pairs: Sequence[Pair], lines: Sequence[int]) -> list[Pair]:
    """Pairs by chrF++ on these lines, the best first."""
    return sorted(pairs, key=lambda pair: -measured.chrf(pair, lines))


def choose(
    trio: Trio, measured: Measured, half: Sequence[int], few: int, more: int
) -> dict[str, Pair]:
    """The best pairs of the grid on this half: by bits, by chrF++, and balanced.

    Balanced is the finalist with the fewest bits among those that translate no worse than large.
    """
    measure_answers(trio, measured, dict.fromkeys(GRID, half[:few]))
    finalists = ranked(measured, GRID, half[:few])[:FINALISTS]
    large = METHODS["large"]
    measure_answers(trio, measured, dict.fromkeys([large, *finalists], half[:more]))
    finalists = ranked(measured, finalists, half[:more])
    least = measured.chrf(large, half[:more])

    def cost(pair: Pair) -> float:
        return measured.bits_per_byte(pair, half)

    sound = [pair for pair in finalists if measured.chrf(pair, half[:more]) >= least]
    balanced = min(sound or finalists[:1], key=cost)
    return {"best bits": min(GRID, key=cost), "best chrF++": finalists[0], "balanced": balanced}


def report(measured: Measured, rows: dict[str, Pair], parts: dict[str, Sequence[int]]) -> str:
    """A Markdown table: a line a method; bits per byte and chrF++ for each part of the split."""
    head = "".join(f" bits per byte, {name} | chrF++, {name} |" for name in parts)
    table = [f"| | alpha, beta |{head}", "|---|---|" + "---:|---:|" * len(parts)]
    for name, pair in rows.items():
        cells = "".join(
            f" {measured.bits_per_byte(pair, lines):.4f} | {measured.chrf(pair, lines):.2f} |"
            for lines in parts.values()
        )
        table.append(f"| {name} | {pair[0]:g}, {pair[1]:g} |{cells}")
    return "\n".join(table)


def grid_table(measured: Measured, lines: Sequence[int]) -> str:
    """The whole grid on the lines where the pair is chosen."""
    cells = [
        f"{a:g}, {b:g}: {measured.bits_per_byte((a, b), lines):.4f}, "
        f"{measured.chrf((a, b), lines):.2f}"
        for a, b in GRID
    ]
    return "\n".join(cells)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("pairs", type=Path, help="en-ug/dev.tsv.gz")
    demo = Path(str(files("trimix_cpp") / "demo"))
    for role in ("base", "cpt", "large"):
        parser.add_argument(f"--{role}", type=Path, default=demo / f"{role}.gguf")
    parser.add_argument("--lines", type=int, help="only the first N pairs (default: all)")
    parser.add_argument("--grid-lines", type=int, default=250, help="for chrF++ of the grid")
    parser.add_argument("--final-lines", type=int, default=700, help="for chrF++ of the best six")
    parser.add_argument("--threads", type=int, default=0, help="0: the physical cores")
    parser.add_argument("--exact", action="store_true", help="the engine's exact mode")
    parser.add_argument("--json", type=Path, help="also write bits and translations here")
    return parser.parse_args()


def main() -> None:
    """Bits over the grid, chrF++ of the grid on some lines, then the table."""
    args = arguments()
    pairs = read_pairs(args.pairs)[: args.lines]
    first, second = range(0, len(pairs), 2), range(1, len(pairs), 2)
    parts: dict[str, Sequence[int]] = {"1st half": first, "2nd half": second}
    parts["all"] = range(len(pairs))
    spec = spec_from_files({r: getattr(args, r) for r in ("base", "cpt", "large")})
    options = Options(n_ctx=512, n_parallel=PLACES, n_threads=args.threads, exact=args.exact)
    with Trio(spec, ("large", "cpt", "base"), options) as trio:
        measured = Measured(pairs, measure_bits(trio, pairs))
        best = choose(trio, measured, first, args.grid_lines, args.final_lines)
        rows = {**METHODS, **{f"TriMix, {kind}": pair for kind, pair in best.items()}}
        measure_answers(trio, measured, dict.fromkeys(rows.values(), parts["all"]))
    print(report(measured, rows, parts))
    print(f"\n{len(pairs)} pairs; chrF++ is {measured.metric.get_signature()}")
    print(f"\nalpha, beta: bits per byte and chrF++ on {args.grid_lines} lines of the 1st half")
    print(grid_table(measured, first[: args.grid_lines]))
    if args.json:
        content = [
            {"weights": pair, "bits": scores.bits.tolist(), "answers": scores.answers}
            for pair, scores in measured.found.items()
        ]
        args.json.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
