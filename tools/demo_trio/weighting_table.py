"""Compare the ways to choose alpha and beta on the demo trio: the table of docs/weighting.md.

    python tools/demo_trio/weighting_table.py DATA/en-ug/dev.tsv.gz
    python tools/demo_trio/weighting_table.py DATA/en-ug/dev.tsv.gz --shots 5

Half of the split is every other pair. Weights for the task are chosen on the 1st half: PPL and ENT
by a sample of its prompts, without answers; the upper bound by chrF++ of every pair of the grid on
some of its lines. "Per input" means that every prompt chooses its own, on both halves. Exemplars
(`--shots`) are drawn from the 1st half and left out of everything else.

For each method it prints the pair (mean and deviation, where prompts choose), bits per byte of the
Uyghur side (its tokens' -log2 P, given the prompt, over its UTF-8 bytes), and chrF++ of greedy
translations (sacrebleu; it prints the signature).
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from evaluate import LONGEST, PLACES, read_pairs
from numpy.typing import NDArray
from sacrebleu.metrics import CHRF

from trimix_cpp.decoding.answers import generate
from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.prefixes import common_beginning
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Trio
from trimix_cpp.fusion.arrays import Row, Rows
from trimix_cpp.fusion.choosers import EntChooser, PplChooser, PplOptChooser
from trimix_cpp.fusion.grid import DEFAULT_GRID
from trimix_cpp.fusion.observers import Choosing
from trimix_cpp.fusion.rows import log_softmax
from trimix_cpp.fusion.weights import Plausibility, Weights, method_weights
from trimix_cpp.prompts.languages import language
from trimix_cpp.prompts.paper import translation_prompt
from trimix_cpp.quant.options import Options
from trimix_cpp.store.spec import DEFAULT_WEIGHTS
from trimix_cpp.store.trios import find_trio
from trimix_cpp.tuning.samples import score_prompts

SAMPLES = 50  # prompts that a task's pair is chosen by, as in the paper
Pair = tuple[str, str]


@dataclass
class Method:
    """A way to choose the weights, and what it reaches line by line.

    Attributes:
        weights: the same for every line, or None where a prompt chooses.
        chooser: makes what chooses them.
        mask: contrastive decoding's.
        chosen: the weights of each line, once it is translated.
        answers: the translations.
        bits: of the references.
    """

    name: str
    weights: Weights | None = None
    chooser: Choosing | None = None
    mask: Plausibility | None = None
    chosen: list[Weights] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    bits: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class Task:
    """The lines to translate: prompts as ids, references as ids and as text."""

    prompts: list[list[int]]
    targets: list[list[int]]
    references: list[str]

    @property
    def halves(self) -> tuple[list[int], list[int]]:
        """The lines of the 1st and of the 2nd half."""
        lines = list(range(len(self.prompts)))
        return lines[::2], lines[1::2]


def make_task(trio: Trio, pairs: Sequence[Pair], shots: int) -> Task:
    """Every pair in the paper's prompt, after `shots` exemplars that are the same for all."""
    drawn = sorted(random.Random(0).sample(range(0, len(pairs), 2), shots))
    exemplars = [pairs[i] for i in drawn]
    rest = [pair for i, pair in enumerate(pairs) if i not in drawn]
    source, target = language("eng"), language("uig")
    prompts = [translation_prompt(english, source, target, exemplars) for english, _ in rest]
    return Task(
        [trio.tokenize(prompt) for prompt in prompts],
        [trio.tokenize(uyghur) for _, uyghur in rest],
        [uyghur for _, uyghur in rest],
    )


def fixed_methods() -> list[Method]:
    """Those that choose nothing."""
    proxy, _ = method_weights("proxy", DEFAULT_WEIGHTS)
    contrast, mask = method_weights("contrastive", DEFAULT_WEIGHTS)
    return [
        Method("base", Weights(0, 0)),
        Method("cpt", Weights(0, 1)),
        Method("large", Weights(1, 0)),
        Method("Proxy Tuning", proxy),
        Method("contrastive decoding", contrast, mask=mask),
        Method("0.1, 0.9 (without a preset)", DEFAULT_WEIGHTS),
        Method("preset", find_trio("demo").weights),
    ]


def choosing_methods(trio: Trio, task: Task) -> list[Method]:
    """PPL and ENT: one pair for the task, by a sample of the 1st half; and a pair a prompt."""
    first, _ = task.halves
    sample = sorted(random.Random(0).sample(first, min(SAMPLES, len(first))))
    began = time.perf_counter()
    scores = score_prompts(trio, [task.prompts[i] for i in sample], DEFAULT_GRID, fine=True)
    tell(f"scored {len(sample)} prompts in {time.perf_counter() - began:.1f} s")
    means = {role: float(values.mean()) for role, values in scores.divergence.items()}
    tell(f"KL to base, first token: {means}")
    return [
        Method("PPL, task", scores.best("ppl")[0]),
        Method("PPL, continuous, task", scores.best("ppl-opt")[0]),
        Method("ENT, task", scores.best("ent")[0]),
        Method("PPL, per input", chooser=PplChooser),
        Method("PPL, continuous, per input", chooser=PplOptChooser),
        Method("ENT, per input", chooser=EntChooser),
    ]


def translate(
    trio: Trio, task: Task, jobs: Sequence[tuple[Method, int]]
) -> Iterator[tuple[Method, int, Text]]:
    """Greedy translations, as they are done."""
    texts = (
        Text(
            task.prompts[line],
            method.weights or DEFAULT_WEIGHTS,
            max_tokens=LONGEST,
            stops=("\n",),
            chooser=method.chooser(0) if method.chooser else None,
            plausibility=method.mask,
            tag=(method, line),
        )
        for method, line in jobs
    )
    # What chooses by the prompt shall see all of it.
    choosing = any(method.chooser for method, _ in jobs)
    beginning = [] if choosing else common_beginning(task.prompts)
    for done, text in enumerate(generate(Decoder(trio), texts, beginning), 1):
        yield *text.tag, text
        if done % 500 == 0:
            tell(f"{done} of {len(jobs)} translations")


def measure_answers(trio: Trio, task: Task, methods: Sequence[Method]) -> None:
    """Translate every line by every method; methods with the same weights share the answers."""
    lines = range(len(task.prompts))
    different: dict[tuple[object, ...], Method] = {}
    for method in methods:
        method.answers = [""] * len(lines)
        method.chosen = [method.weights or DEFAULT_WEIGHTS] * len(lines)
        different.setdefault((method.weights, method.chooser, method.mask), method)
    for choosing in (False, True):
        own = [method for method in different.values() if bool(method.chooser) == choosing]
        jobs = [(method, line) for line in lines for method in own]
        for method, line, text in translate(trio, task, jobs):
            method.answers[line] = text.text.strip()
            method.chosen[line] = text.weights
    for method in methods:
        first = different[(method.weights, method.chooser, method.mask)]
        method.answers, method.chosen = first.answers, first.chosen


def upper_bound(trio: Trio, task: Task, n_lines: int) -> Method:
    """The pair of the grid with the best chrF++ on `n_lines` of the 1st half."""
    first = task.halves[0][:n_lines]
    pairs = [DEFAULT_GRID.weights(i, j) for i, j in np.ndindex(DEFAULT_GRID.shape)]
    methods = [Method(str(weights), weights, answers=[""] * len(task.prompts)) for weights in pairs]
    jobs = [(method, line) for line in first for method in methods]
    for method, line, text in translate(trio, task, jobs):
        method.answers[line] = text.text.strip()
    values = [chrf(task, method, first) for method in methods]
    best = DEFAULT_GRID.best(-np.array(values).reshape(DEFAULT_GRID.shape))
    return Method("upper bound", DEFAULT_GRID.weights(*best))


class Bits:
    """An `Observer` that sums -log2 P of a prompt's tokens after position `start`, by method."""

    roles = ("large", "cpt", "base")

    def __init__(self, methods: Sequence[tuple[Weights, Plausibility | None]], start: int) -> None:
        self.methods, self.start = methods, start
        self.bits = np.zeros(len(methods))

    def first(self, n_prompt: int) -> int:
        """Where the prompt proper ends."""
        return self.start

    def add(self, at: int, rows: Mapping[str, Rows], targets: NDArray[np.int32]) -> None:
        """Score a chunk."""
        for i, target in enumerate(targets.tolist()):
            row = {role: own[i] for role, own in rows.items()}
            self.bits += [surprise(row, target, *method) for method in self.methods]

    def end(self, last: Mapping[str, Row]) -> None:
        """Nothing follows."""


def surprise(
    rows: Mapping[str, Row], target: int, weights: Weights, mask: Plausibility | None
) -> float:
    """-log2 P(target) of the fused distribution; infinite where the mask forbids it."""
    parts = [rows[role] * np.float32(c) for role, c in weights.coefficients.items()]
    fused = np.sum(parts, axis=0)
    if mask:
        judge = rows[mask.role]
        fused = np.where(judge < judge.max() + np.log(mask.threshold), -np.inf, fused)
    return float(-log_softmax(fused)[target] / np.log(2))


def measure_bits(trio: Trio, task: Task, methods: Sequence[Method]) -> None:
    """Bits of every reference under every method, all in one evaluation of it."""
    bits = np.zeros((len(task.prompts), len(methods)))
    decoder = Decoder(trio)
    for line, (prompt, target) in enumerate(zip(task.prompts, task.targets, strict=True)):
        watch = Bits([(m.chosen[line], m.mask) for m in methods], len(prompt) - 1)
        text = Text(prompt + target, Weights(0, 1), max_tokens=0, observers=(watch,))
        for done in decoder.run([text]):
            done.raise_error()
        bits[line] = watch.bits
        if (line + 1) % 200 == 0:
            tell(f"bits of {line + 1} of {len(task.prompts)} lines")
    for method, own in zip(methods, bits.T, strict=True):
        method.bits = own


def chrf(task: Task, method: Method, lines: Sequence[int]) -> float:
    """chrF++ of the translations of these lines."""
    answers = [method.answers[line] for line in lines]
    references = [[task.references[line] for line in lines]]
    return float(CHRF(word_order=2).corpus_score(answers, references).score)


def bits_per_byte(task: Task, method: Method, lines: Sequence[int]) -> float:
    """Of the references of these lines."""
    size = sum(len(task.references[line].encode()) for line in lines)
    return float(method.bits[list(lines)].sum() / size)


def shown_weights(method: Method) -> str:
    """The pair, or mean and deviation over the lines."""
    if method.weights:
        return f"{method.weights.alpha:.3g}, {method.weights.beta:.3g}"
    pairs = np.array([(weights.alpha, weights.beta) for weights in method.chosen])
    (a, b), (da, db) = pairs.mean(axis=0), pairs.std(axis=0)
    return f"{a:.2f} ± {da:.2f}, {b:.2f} ± {db:.2f}"


def table(task: Task, methods: Sequence[Method]) -> str:
    """A Markdown table: a line a method; bits per byte and chrF++ of each half and of all."""
    first, second = task.halves
    parts = {"1st half": first, "2nd half": second, "all": sorted(first + second)}
    heads = [f"{measure}, {name}" for name in parts for measure in ("bits per byte", "chrF++")]
    rows = [f"| | alpha, beta | {' | '.join(heads)} |", "|---|---|" + "---:|" * len(heads)]
    for method in methods:
        cells = [
            cell
            for lines in parts.values()
            for cell in (
                f"{bits_per_byte(task, method, lines):.4f}",
                f"{chrf(task, method, lines):.2f}",
            )
        ]
        rows.append(f"| {method.name} | {shown_weights(method)} | {' | '.join(cells)} |")
    return "\n".join(rows)


def tell(text: str) -> None:
    """A line of progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("pairs", type=Path, help="en-ug/dev.tsv.gz")
    parser.add_argument("--lines", type=int, help="only the first N pairs (default: all)")
    parser.add_argument("--grid-lines", type=int, default=250, help="for chrF++ of the grid")
    parser.add_argument("--shots", type=int, default=0, help="exemplars in a prompt")
    parser.add_argument("--threads", type=int, default=0, help="0: the physical cores")
    parser.add_argument("--exact", action="store_true", help="the engine's exact mode")
    return parser.parse_args()


def main() -> None:
    """Choose, translate, score; then the table."""
    args = arguments()
    pairs = read_pairs(args.pairs)[: args.lines]
    options = Options(
        n_ctx=512,
        # Long prompts that share nothing crowd the cache that all places have in common.
        n_parallel=PLACES if not args.shots else PLACES // 4,
        n_outputs=64,
        n_threads=args.threads,
        exact=args.exact,
    )
    with Trio(find_trio("demo"), ("large", "cpt", "base"), options) as trio:
        task = make_task(trio, pairs, args.shots)
        tell(f"{len(common_beginning(task.prompts))} tokens are common to all prompts")
        methods = [
            *fixed_methods(),
            *choosing_methods(trio, task),
            upper_bound(trio, task, args.grid_lines),
        ]
        measure_answers(trio, task, methods)
        measure_bits(trio, task, methods)
    print(table(task, methods))
    print(f"\n{len(task.prompts)} pairs, {args.shots} exemplars; chrF++ is", end=" ")
    metric = CHRF(word_order=2)
    metric.corpus_score(["a"], [["a"]])
    print(metric.get_signature())


if __name__ == "__main__":
    main()
