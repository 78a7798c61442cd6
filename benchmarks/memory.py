"""What a memory and a glossary do for `translate`, on the bundled trio.

    python benchmarks/memory.py DATA            DATA holds en-ug/train.tsv.gz and en-ug/dev.tsv.gz

Memory: lines of the first half of the development split (every other pair) after five fixed pairs
of the train split, after none, and after the five of the train split that are most similar: chrF++,
and segments a second of CPU against those with fixed exemplars, search included.

Terms: a glossary of frequent words that the train split translates alike, and lines of the same
half that hold some: the share of terms that the translations have, without the glossary, with the
terms as further exemplars (as `translate` does), and as lines before the text in one question.

Search: milliseconds a text in memories of 10,000 and 100,000 pairs. Times are of the CPU
of this process, one thread: other work on the machine counts little.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import sacrebleu

from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.documents.segments import Pair, Segment
from trimix_cpp.prompts import translation_prompt
from trimix_cpp.prompts.languages import language
from trimix_cpp.store.trios import find_trio
from trimix_cpp.translate.capacity import Machine
from trimix_cpp.translate.engine import Translator
from trimix_cpp.translate.glossary import Glossary
from trimix_cpp.translate.memory import Memory
from trimix_cpp.translate.recipe import NO_HINTS, Hints, Recipe
from trimix_cpp.translate.terms import used
from trimix_cpp.translate.units import Unit

ROLES = ("large", "cpt", "base")
ENG, UIG = language("eng"), language("uig")
Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Inline(Recipe):
    """Terms as lines before the text, in one question."""

    def prompt(self, text: str, n_shots: int, hints: Hints = NO_HINTS) -> str:
        lines = [
            f"{self.source.name}: {term.text}\n{self.target.name}: {term.translations[0]}\n"
            for term in hints.terms
        ]
        shots = self.exemplars(hints)
        kept = shots[len(shots) - n_shots :]
        return translation_prompt(text, self.source, self.target, kept, "".join(lines))

    def exemplars(self, hints: Hints = NO_HINTS) -> tuple[tuple[str, str], ...]:
        return super().exemplars(replace(hints, terms=()))


def read(path: Path) -> Pairs:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row["en"], row["ug"]) for row in rows]


def memory_of(pairs: Pairs) -> Memory:
    memory = Memory()
    memory.add(Pair(Segment(i, text, ""), answer) for i, (text, answer) in enumerate(pairs))
    return memory


def translated(
    recipe: Recipe, units: list[Unit], args: argparse.Namespace
) -> tuple[list[str], float]:
    """The translations of the units, and the seconds of CPU that they took."""
    spec = find_trio("demo")
    machine = Machine(spec, ROLES, Options(n_threads=1))
    n_ctx = machine.context_length(recipe, units)
    options = Options(n_ctx=n_ctx, n_parallel=args.parallel + 1, n_threads=1)
    options = replace(options, flash_attn=machine.flash_attn(n_ctx, args.parallel + 1))
    with Trio(spec, ROLES, options) as trio:
        translator = Translator(trio, recipe)
        began = time.process_time()
        order = sorted(units, key=lambda unit: unit.hints.shots)
        found = {unit: outcome.text or "" for unit, outcome in translator.run(order)}
        return [found[unit] for unit in units], time.process_time() - began


def chrf(answers: list[str], references: list[str]) -> float:
    return round(sacrebleu.corpus_chrf(answers, [references], word_order=2).score, 2)


def show(**values: object) -> None:
    print(json.dumps(values, ensure_ascii=False), flush=True)


def memories(train: Pairs, lines: Pairs, recipe: Recipe, args: argparse.Namespace) -> None:
    memory, texts = memory_of(train), [text for text, _ in lines]
    references = [answer for _, answer in lines]
    fixed = tuple(random.Random(3).sample([pair for pair in train if len(pair[0]) < 60], 5))
    usual = 0.0
    for name in ("fixed", "none", "memory"):
        began = time.process_time()
        own = {
            text: Hints(memory.similar(text)) if name == "memory" else NO_HINTS for text in texts
        }
        units = [Unit(text, hints=own[text]) for text in texts]
        searched = time.process_time() - began
        task = replace(recipe, shots=fixed if name == "fixed" else (), varied=name == "memory")
        answers, seconds = translated(task, units, args)
        speed = len(texts) / (seconds + searched)
        usual = usual or speed
        show(exemplars=name, lines=len(texts), chrf=chrf(answers, references),
             speed_against_fixed=round(speed / usual, 2))  # fmt: skip


def glossary_of(train: Pairs) -> Glossary:
    """Strings of one or two words that stand in many others, which translate them alike."""
    sides: dict[str, Counter[str]] = {}
    for text, answer in train:
        if len(text.split()) <= 2 and text.replace(" ", "").isalpha() and len(text) > 3:
            sides.setdefault(text.lower(), Counter())[answer] += 1
    common = [(term, found.most_common(1)[0][0]) for term, found in sides.items()]
    wide = Glossary(common, ENG)
    seen, right = Counter[str](), Counter[str]()
    for text, answer in train[::4]:
        for term in wide.found(text):
            if term.text != text.lower():
                seen[term.text] += 1
                right[term.text] += used(term.translations[0], answer, UIG)
    kept = [
        pair for pair in common if seen[pair[0]] >= 10 and right[pair[0]] >= 0.6 * seen[pair[0]]
    ]
    return Glossary(kept, ENG)


def terms(train: Pairs, dev: Pairs, recipe: Recipe, args: argparse.Namespace) -> None:
    glossary = glossary_of(train)
    known = [(text, answer, found) for text, answer in dev if (found := glossary.found(text))]
    known = [each for each in known if each[2][0].text != each[0].lower()]
    known = random.Random(1).sample(known, min(args.lines, len(known)))
    references = [answer for _, answer, _ in known]
    inline = Inline(**{name: getattr(recipe, name) for name in recipe.__dataclass_fields__})
    usual = tuple(random.Random(3).sample([pair for pair in train if len(pair[0]) < 60], 5))
    for shots in ((), usual):
        for name, task in (("without", recipe), ("exemplars", recipe), ("lines", inline)):
            units = [Unit(text, hints=Hints(terms=found) if name != "without" else NO_HINTS)
                     for text, _, found in known]  # fmt: skip
            answers, _ = translated(replace(task, shots=shots), units, args)
            hits = [used(term.translations[0], answer, UIG)
                    for answer, (_, _, found) in zip(answers, known, strict=True)
                    for term in found]  # fmt: skip
            show(glossary=name, exemplars=len(shots), terms=len(glossary), lines=len(known),
                 share_used=round(sum(hits) / len(hits), 3),
                 chrf=chrf(answers, references))  # fmt: skip


def search(train: Pairs, dev: Pairs) -> None:
    more = [(f"{a} {i}", b) for i in range(2) for a, b in train]
    for size in (10_000, 100_000):
        began = time.process_time()
        memory = memory_of(more[:size])
        memory.similar("x")
        made = time.process_time() - began
        began = time.process_time()
        for text, _ in dev[:200]:
            memory.similar(text)
        each = (time.process_time() - began) / 200
        show(pairs=size, made_seconds=round(made, 2), search_ms=round(1000 * each, 2))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--lines", type=int, default=300)
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--only", choices=("memory", "terms", "search"))
    args = parser.parse_args()
    train, dev = (read(args.data / "en-ug" / f"{split}.tsv.gz") for split in ("train", "dev"))
    half = dev[::2]
    recipe = Recipe(ENG, UIG, find_trio("demo").weights, max_tokens=100, retry=False)
    if args.only in (None, "search"):
        search(train, half)
    if args.only in (None, "memory"):
        memories(train, random.Random(1).sample(half, min(args.lines, len(half))), recipe, args)
    if args.only in (None, "terms"):
        terms(train, half, recipe, args)


if __name__ == "__main__":
    main()
