"""Measure the demo trio from its GGUF files: the figures of its model card.

    python tools/demo_trio/evaluate.py DATA [--json figures.json]

Every pair of the development split is translated after five exemplars that no model has seen;
eight sets of five take turns. Half of the split is every other pair. Everything is chosen on the
1st half: the best pair of the grid by chrF++, and what 50 of its prompts choose without
references: PPL by their perplexity, PPL-ANSWERS by that of their exemplars' answers, ENT by the
first token's entropy. "Per input" each prompt chooses its own.

Bits per byte: what the Uyghur side costs, given the prompt (-log2 P over its UTF-8 bytes). chrF++:
sacrebleu's, of greedy translations; p is its paired bootstrap against the best single model. The
ablations are those of the paper's Table 7; one of them needs `--large-base`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import numpy as np
from data import Pair, dev_pairs, held_out_pairs
from numpy.typing import NDArray
from sacrebleu.metrics import CHRF
from sacrebleu.significance import PairedTest

from trimix_cpp.decoding.answers import generate
from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Trio
from trimix_cpp.fusion.choosers import divergence, grid_entropies
from trimix_cpp.fusion.grid import DEFAULT_VALUES, Grid, GridScore
from trimix_cpp.fusion.weights import Plausibility, Weights, method_weights
from trimix_cpp.prompts.languages import language
from trimix_cpp.prompts.paper import translation_prompt
from trimix_cpp.quant.options import Options
from trimix_cpp.store.spec import spec_from_files

ROLES = ("large", "cpt", "base")
SETS, SAMPLES = 8, 50  # sets of exemplars; prompts that a task's pair is chosen by, as in the paper
LONGEST = 100  # tokens of an answer; the longest reference has 85
PLACES, FINALISTS = 24, 6
GRID = list(itertools.product(DEFAULT_VALUES, repeat=2))
SINGLES = {"base": (0.0, 0.0), "cpt": (0.0, 1.0), "large": (1.0, 0.0)}
# The single models stand beside the pairs in what is scored.
WIDE = Grid((0.0, *DEFAULT_VALUES), (0.0, *DEFAULT_VALUES))
CRITERIA = {"PPL": "prompt", "PPL-ANSWERS": "answers", "ENT": "entropy"}
ABLATIONS = {"no-task": "without the task", "no-language": "without the language",
             "no-scaling": "without the scale"}  # fmt: skip

Numbers = tuple[float, float]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A pair of the split, as tokens.

    Attributes:
        shown: which of the tokens of `beginning`, its exemplars, are answers.
    """

    beginning: list[int]
    shown: NDArray[np.bool_]
    prompt: list[int]
    reference: list[int]
    uyghur: str

    @property
    def size(self) -> int:
        """UTF-8 bytes of the reference."""
        return len(self.uyghur.encode())


def make_lines(trio: Trio, pairs: Sequence[Pair], pool: Sequence[Pair], shots: int) -> list[Line]:
    """The paper's prompts. An exemplar's answer is its text and the line break that ends it."""
    codes = language("eng"), language("uig")
    sets = [random.Random(number).sample(pool, shots) for number in range(SETS)]
    beginnings = []
    for exemplars in sets:
        text, shown = "", list[bool]()
        for exemplar in exemplars:
            for part, is_answer in (
                (translation_prompt(exemplar.english, *codes), False),
                (f"{exemplar.answer}\n", True),
                ("\n", False),
            ):
                text += part
                count = len(trio.tokenize(text)) - len(shown)
                shown += [is_answer] * count
        beginnings.append((trio.tokenize(text), np.array(shown[: len(trio.tokenize(text))], bool)))
    lines = []
    for number, pair in enumerate(pairs):
        exemplars, (beginning, shown) = (each[number // 2 % SETS] for each in (sets, beginnings))
        shots_text = [(each.english, each.answer) for each in exemplars]
        prompt = trio.tokenize(translation_prompt(pair.english, *codes, shots_text))
        assert prompt[: len(beginning)] == beginning
        lines.append(Line(beginning, shown, prompt, trio.tokenize(pair.answer), pair.answer))
    return lines


class Watcher:
    """An `Observer` that scores parts of a text on the grid, and looks at one of its positions.

    Args:
        parts: name -> which of the tokens count, each bool [n].
        looks_at: the position whose distribution is kept.
    """

    roles = ROLES

    def __init__(self, parts: Mapping[str, NDArray[np.bool_]], looks_at: int, start: int) -> None:
        self.parts, self.looks_at, self.start = parts, looks_at, start
        self.scores = {name: GridScore(WIDE) for name in parts}
        self.entropy: Doubles = np.empty(0)
        self.divergence: list[float] = []

    def first(self, n_prompt: int) -> int:
        """See `Observer`."""
        return self.start

    def add(self, at: int, rows: Mapping[str, np.ndarray], targets: np.ndarray) -> None:
        """See `Observer`."""
        for name, counted in self.parts.items():
            mine = np.flatnonzero(counted[at + 1 : at + 1 + len(targets)])
            if len(mine):
                own = {role: np.ascontiguousarray(rows[role][mine]) for role in ROLES}
                self.scores[name].add(own, targets[mine])
        if at <= self.looks_at < at + len(targets):
            last = {role: np.array(rows[role][self.looks_at - at]) for role in ROLES}
            self.entropy = grid_entropies(last, WIDE)
            self.divergence = [divergence(last[role], last["base"]) for role in ("large", "cpt")]

    def end(self, last: Mapping[str, np.ndarray]) -> Weights | None:
        """See `Observer`; the reference's last token predicts nothing that counts."""
        return None


@dataclass
class Scores:
    """What the models make of every line.

    Attributes:
        prompt, answers: nats a token of the prompt, and of its exemplars' answers, under the pairs
            of `WIDE`: [lines, 7, 7], as the next two.
        entropy: of the first generated token, in nats.
        bits: of the reference.
        divergence: KL(large || base) and KL(cpt || base) of the first token, in nats: [lines, 2].
    """

    prompt: Doubles
    answers: Doubles
    entropy: Doubles
    bits: Doubles
    divergence: Doubles


def watch(decoder: Decoder, tokens: Sequence[int], watcher: Watcher) -> Watcher:
    """Evaluate `tokens` under the eyes of `watcher`."""
    text = Text(list(tokens), Weights(0, 1), max_tokens=0, observers=(watcher,))
    for done in decoder.run([text]):
        done.raise_error()
    return watcher


def score(trio: Trio, lines: Sequence[Line]) -> Scores:
    """One evaluation of every set of exemplars, of every prompt after it, and of its reference."""
    found: dict[int, list[Doubles]] = {}
    for number, (beginning, own) in enumerate(by_beginning(lines)):
        with Decoder(trio) as decoder:
            shown = np.array(lines[own[0]].shown)
            ones = np.ones(len(beginning), bool)
            before = None
            if beginning:
                before = watch(decoder, beginning, Watcher({"all": ones, "shown": shown}, -1, 0))
                held = decoder.pin(beginning[:-1], ROLES)
            for i in own:
                prompt, reference = lines[i].prompt, lines[i].reference
                at = np.arange(len(prompt) + len(reference))
                parts = {"prompt": at < len(prompt), "reference": at >= len(prompt)}
                start = max(0, len(beginning) - 1)
                parts["prompt"][: start + 1] = False
                seen = watch(decoder, prompt + reference, Watcher(parts, len(prompt) - 1, start))
                of = seen.scores
                summed, count = of["prompt"].nll, of["prompt"].n_tokens
                answers = np.full(WIDE.shape, np.nan)
                if before:
                    summed = summed + before.scores["all"].nll
                    count += before.scores["all"].n_tokens
                    answers = before.scores["shown"].mean
                bits = of["reference"].nll / np.log(2)
                found[i] = [summed / count, answers, seen.entropy, bits, np.array(seen.divergence)]
            if beginning:
                decoder.unpin(held)
        tell(f"scored {number + 1} sets of prompts")
    columns = zip(*(found[i] for i in range(len(lines))), strict=True)
    return Scores(*(np.stack(column) for column in columns))


def by_beginning(lines: Sequence[Line]) -> Iterator[tuple[list[int], list[int]]]:
    """The beginnings, and the lines that have them."""
    found: dict[tuple[int, ...], list[int]] = {}
    for i, line in enumerate(lines):
        found.setdefault(tuple(line.beginning), []).append(i)
    for beginning, own in found.items():
        yield list(beginning), own


@dataclass
class Answers:
    """Translations as they are wanted, each made once.

    Attributes:
        known: (weights, line) -> text.
    """

    trio: Trio
    lines: Sequence[Line]
    known: dict[tuple[Weights, int], str] = field(default_factory=dict)

    def make(self, jobs: Iterable[tuple[Weights, int]], mask: Plausibility | None = None) -> None:
        """Translate what is not translated yet; with `mask`, of contrastive decoding."""
        wanted = [job for job in dict.fromkeys(jobs) if job not in self.known]
        for beginning, own in by_beginning(self.lines):
            mine = set(own)
            texts = (
                Text(
                    self.lines[i].prompt, weights, max_tokens=LONGEST, stops=("\n",),
                    plausibility=mask, tag=(weights, i),
                )
                for weights, i in wanted
                if i in mine
            )  # fmt: skip
            with Decoder(self.trio) as decoder:
                for text in generate(decoder, texts, beginning):
                    self.known[text.tag] = text.text.strip()  # type: ignore[index]
            tell(f"{sum(job in self.known for job in wanted)} of {len(wanted)} translations")

    def of(self, chosen: Sequence[Weights], at: Sequence[int]) -> list[str]:
        """Those of the lines `at`; `chosen` has the weights of every line."""
        return [self.known[chosen[i], i] for i in at]


def chrf(answers: Sequence[str], lines: Sequence[Line]) -> float:
    """chrF++, letters as they are."""
    references = [[line.uyghur for line in lines]]
    return float(CHRF(word_order=2).corpus_score(list(answers), references).score)


@dataclass
class Method:
    """A way to translate: the weights of every line."""

    name: str
    chosen: list[Weights]
    mask: Plausibility | None = None

    @property
    def shown(self) -> str:
        """The pair, or mean and deviation over the lines."""
        if len(different := set(self.chosen)) == 1:
            return ", ".join(f"{number:g}" for number in different.pop().numbers)
        pairs = np.array([(each.alpha, each.beta) for each in self.chosen])
        (a, b), (da, db) = pairs.mean(axis=0), pairs.std(axis=0)
        return f"{a:.2f} ± {da:.2f}, {b:.2f} ± {db:.2f}"


def choose(scores: Scores, first: Sequence[int], n_lines: int) -> list[Method]:
    """Each criterion, by a sample of the 1st half for the task, and per input."""
    sample = sorted(random.Random(0).sample(list(first), min(SAMPLES, len(first))))
    grid, methods = Grid(), list[Method]()
    for name, kind in CRITERIA.items():
        values = getattr(scores, kind)[:, 1:, 1:]  # without the single models
        if np.isnan(values).any():
            continue
        task = grid.weights(*grid.best(values[sample].mean(axis=0)))
        methods.append(Method(f"{name}, task", [task] * n_lines))
        methods.append(Method(f"{name}, per input", [grid.weights(*grid.best(v)) for v in values]))
    return methods


def best_pair(answers: Answers, first: Sequence[int], few: int) -> Weights:
    """The grid's best on the 1st half: all pairs on some lines of it, then the best six on all."""
    pairs = [Weights(*pair) for pair in GRID]
    for count, keep in ((min(few, len(first)), FINALISTS), (len(first), 1)):
        at = list(first[:count])
        answers.make((pair, i) for i in at for pair in pairs)
        values = {p: chrf([answers.known[p, i] for i in at], [answers.lines[i] for i in at])
                  for p in pairs}  # fmt: skip
        print(f"\nThe grid's pairs by chrF++ on {count} lines of the 1st half: " + "; ".join(
            f"{p.alpha:g}, {p.beta:g}: {v:.2f}"
            for p, v in sorted(values.items(), key=lambda item: -item[1])), flush=True)  # fmt: skip
        pairs = sorted(pairs, key=lambda p: -values[p])[:keep]
    return pairs[0]


def bits_per_byte(
    method: Method, scores: Scores, lines: Sequence[Line], at: Sequence[int]
) -> float:
    """Of the references on these lines; NaN for weights that were not scored."""
    total = 0.0
    for i in at:
        alpha, beta = method.chosen[i].alpha, method.chosen[i].beta
        is_known = alpha in WIDE.alphas and beta in WIDE.betas and method.chosen[i].gamma is None
        if not is_known or method.mask:
            return float("nan")
        total += scores.bits[i, WIDE.alphas.index(alpha), WIDE.betas.index(beta)]
    return total / sum(lines[i].size for i in at)


def report(
    methods: Sequence[Method], answers: Answers, scores: Scores, halves: Sequence[Sequence[int]]
) -> list[dict[str, object]]:
    """A row a method: bits per byte and chrF++ of both halves and of all, and p."""
    lines, everything = answers.lines, sorted(itertools.chain(*halves))
    parts = {"1st half": halves[0], "2nd half": halves[1], "all": everything}
    rows: list[dict[str, object]] = []
    for method in methods:
        row: dict[str, object] = {"method": method.name, "weights": method.shown}
        for name, at in parts.items():
            row[f"bits, {name}"] = bits_per_byte(method, scores, lines, at)
            own = answers.of(method.chosen, at)
            row[f"chrF++, {name}"] = chrf(own, [lines[i] for i in at])
        rows.append(row)
    by_name = {method.name: method for method in methods}
    single = max(SINGLES, key=lambda name: rows[list(by_name).index(name)]["chrF++, all"])
    others = [method for method in methods if method.name != single]
    systems = [(m.name, answers.of(m.chosen, everything)) for m in (by_name[single], *others)]
    test = PairedTest(
        systems, {"chrF2++": CHRF(word_order=2)}, [[lines[i].uyghur for i in everything]],
        test_type="bs", n_samples=1000,
    )  # fmt: skip
    _, *results = test()[1]["chrF2++"]
    p = {method.name: result.p_value for method, result in zip(others, results, strict=True)}
    for row in rows:
        row["p"] = p.get(str(row["method"]))
    return rows


def markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """The rows as a table."""
    heads = [name for name in rows[0] if name not in ("method", "weights", "p")]
    table = [f"| | alpha, beta, gamma | {' | '.join(heads)} | p |"]
    table.append("|---|---|" + "---:|" * (len(heads) + 1))
    for row in rows:
        cells = [f"{row[h]:.4f}" if "bits" in h else f"{row[h]:.2f}" for h in heads]
        p = "" if row["p"] is None else f"{row['p']:.3f}"
        shown = ["–" if cell == "nan" else cell for cell in cells]
        table.append(f"| {row['method']} | {row['weights']} | {' | '.join(shown)} | {p} |")
    return "\n".join(table)


def ablations(best: Weights, n_lines: int, roles: Container[str]) -> list[Method]:
    """The best pair without each of Eq. 1's vectors, as far as the models are there."""
    pairs = {name: method_weights(method, best)[0] for method, name in ABLATIONS.items()}
    return [
        Method(name, [pair] * n_lines)
        for name, pair in pairs.items()
        if all(role in roles for role in pair.roles)
    ]


def tell(text: str) -> None:
    """A line of progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder with en-ug/")
    demo = Path(str(files("trimix_cpp") / "demo"))
    for role in ROLES:
        parser.add_argument(f"--{role}", type=Path, default=demo / f"{role}.gguf")
    parser.add_argument("--large-base", type=Path, help="for one ablation")
    parser.add_argument("--shots", type=int, default=5, help="exemplars (default: 5)")
    parser.add_argument("--lines", type=int, help="only the first N pairs (default: all)")
    parser.add_argument("--grid-lines", type=int, default=100, help="for the grid's first round")
    parser.add_argument("--threads", type=int, default=0, help="0: the physical cores")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    return parser.parse_args()


def main() -> None:
    """Score, choose, translate; then the tables."""
    args = arguments()
    roles = {role: getattr(args, role) for role in ROLES}
    if args.large_base:
        roles["large_base"] = args.large_base
    options = Options(n_ctx=512, n_parallel=PLACES, n_outputs=64, n_threads=args.threads)
    with Trio(spec_from_files(roles), ROLES, options) as trio:
        pairs = dev_pairs(args.data)[: args.lines]
        lines = make_lines(trio, pairs, held_out_pairs(args.data), args.shots)
        n_lines, halves = len(lines), (range(0, len(lines), 2), range(1, len(lines), 2))
        scores, answers = score(trio, lines), Answers(trio, lines)
        best = best_pair(answers, halves[0], args.grid_lines)
        contrast, mask = method_weights("contrastive", best)
        methods = [
            *(Method(name, [Weights(*pair)] * n_lines) for name, pair in SINGLES.items()),
            Method("Proxy Tuning", [Weights(1.0, 1.0)] * n_lines),
            Method("contrastive decoding", [contrast] * n_lines, mask),
            Method("TriMix, best pair", [best] * n_lines),
            *choose(scores, halves[0], n_lines),
            *ablations(best, n_lines, roles),
        ]
        for method in methods:
            answers.make(((method.chosen[i], i) for i in range(n_lines)), method.mask)
        rows = report(methods, answers, scores, halves)
    print(f"\n{markdown(rows)}\n\n{n_lines} pairs, {args.shots} exemplars; KL to base of the first "
          f"token, in nats: large {scores.divergence[:, 0].mean():.3f}, "
          f"cpt {scores.divergence[:, 1].mean():.3f}")  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
