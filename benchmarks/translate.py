"""Segments a second of `translate`: with 1, 8 and 16 in flight, and against a loop without sharing.

    python benchmarks/translate.py                               the bundled trio
    python benchmarks/translate.py --shapes qwen2.5-0.5b+1.5b    and random models of these shapes
    python benchmarks/translate.py --models FOLDER               that random_models.py wrote before

A loop without sharing is what one writes first: a prompt after the other, exemplars and all. In
"shared, 1" the beginning of the prompts is evaluated once, and one segment is in flight.

Random models split text into bytes, so that two exemplars make a prompt as long as five do with
Qwen2.5's tokenizer (264 tokens on average over English-Uyghur software strings; 27 without
exemplars, about half of them shared, and answers of 21). Their texts are two letters: a prompt then
adds 11 tokens to the shared beginning. They never end an answer: each has --answer tokens. The
bundled trio translates software strings and ends its own answers.

Run it alone: two cores that share their time with something else tell nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import random_models

from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.prompts.languages import language
from trimix_cpp.store.spec import RoleSpec, TrioSpec
from trimix_cpp.store.trios import find_trio
from trimix_cpp.translate.capacity import Machine
from trimix_cpp.translate.engine import Translator
from trimix_cpp.translate.recipe import Recipe
from trimix_cpp.translate.units import Unit

ROLES = ("large", "cpt", "base")
SHOTS = (
    ("Close the tab", "بەتكۈچنى ياپ"),
    ("Save as", "باشقا ئاتتا ساقلا"),
    ("Cannot open the file", "ھۆججەتنى ئاچالمىدى"),
    ("New folder", "يېڭى قىسقۇچ"),
    ("Select all", "ھەممىنى تاللا"),
)
VERBS = ("Open", "Close", "Save", "Print", "Copy", "Move", "Delete", "Show", "Hide", "Search")
OBJECTS = ("file", "window", "folder", "page", "image", "table", "column", "row", "text", "tab")
TEXTS = [f"{verb} the {thing}" for verb, thing in itertools.product(VERBS, OBJECTS)]
SHORT = ["".join(pair) for pair in itertools.product("abcdefghij", "klmnopqrst")]
MODES = (("alone", 1), ("shared", 1), ("shared", 8), ("shared", 16))


def measure(
    spec: TrioSpec, shots: int, mode: str, flying: int, texts: list[str], args: argparse.Namespace
) -> dict[str, Any]:
    """Translate the texts; segments a second, models loaded and beginning evaluated before."""
    task = Recipe(
        language("eng"), language("uig"), Weights(0.3, 0.9),
        shots=SHOTS[:shots], max_tokens=args.answer, retry=False,
    )  # fmt: skip
    places = flying + 1 if mode == "shared" else 1
    options = Options(n_ctx=args.ctx, n_parallel=places, n_threads=args.threads, exact=args.exact)
    flash = Machine(spec, ROLES, options).flash_attn(args.ctx, places)
    options = replace(options, flash_attn=flash)
    with Trio(spec, ROLES, options) as trio:
        translator = Translator(trio, task)
        prompt = len(trio.tokenize(task.prompt(texts[0], shots)))
        began = time.perf_counter()
        tokens = sum(o.tokens for _, o in translator.run(Unit(text) for text in texts))
        seconds = time.perf_counter() - began
    return {
        "exemplars": shots,
        "prompt_tokens": prompt,
        "mode": mode,
        "in_flight": flying,
        "segments": len(texts),
        "segments_per_second": len(texts) / seconds,
        "tokens_per_second": tokens / seconds,
    }


def compare(
    name: str, spec: TrioSpec, shots: int, args: argparse.Namespace, every: list[str] = SHORT
) -> list[dict]:
    """Every mode without exemplars and with `shots`; prints a table as it goes."""
    print(f"\n{name}\n")
    print(
        "| exemplars | prompt, tokens | | in flight | segments/s | against 1 | against the loop |"
    )
    print("|---:|---:|---|---:|---:|---:|---:|")
    rows = []
    for count in (0, shots):
        speeds: dict[tuple[str, int], float] = {}
        for mode, flying in MODES:
            # As many rounds for each, so that the last, half empty one weighs the same.
            texts = every[: max(flying * args.rounds, args.least)]
            row = measure(spec, count, mode, flying, texts, args)
            speed = speeds[mode, flying] = row["segments_per_second"]
            row["against_one"] = speed / speeds.get(("shared", 1), speed)
            row["against_loop"] = speed / speeds["alone", 1]
            rows.append(row)
            label = "a loop" if mode == "alone" else "shared"
            one = "" if mode == "alone" else f"{row['against_one']:.2f}"
            print(
                f"| {count} | {row['prompt_tokens']} | {label} | {flying} | {speed:.2f} | {one} | "
                f"{row['against_loop']:.2f} |",
                flush=True,
            )
    return rows


def from_folder(folder: Path) -> TrioSpec:
    return TrioSpec(folder.name, {role: RoleSpec(folder / f"{role}.gguf") for role in ROLES})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--shapes", help="also random models, such as qwen2.5-0.5b+1.5b")
    parser.add_argument("--models", type=Path, help="also base.gguf, cpt.gguf, large.gguf in here")
    parser.add_argument("--rounds", type=int, default=4, help="segments for each one in flight")
    parser.add_argument("--least", type=int, default=6, help="segments at least")
    parser.add_argument("--answer", type=int, default=21, help="most tokens of an answer")
    parser.add_argument("--ctx", type=int, default=512, help="tokens a sequence may have")
    parser.add_argument("--threads", type=int, default=0, help="0: the physical cores")
    parser.add_argument("--exact", action="store_true", help="the engine's exact mode")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    found = {"the bundled trio": compare("the bundled trio", find_trio("demo"), 5, args, TEXTS)}
    if args.models:
        found[args.models.name] = compare(args.models.name, from_folder(args.models), 2, args)
    if args.shapes:
        with tempfile.TemporaryDirectory() as folder:
            random_models.write_trio(Path(folder), args.shapes)
            found[args.shapes] = compare(args.shapes, from_folder(Path(folder)), 2, args)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
