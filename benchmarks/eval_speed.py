"""Items a second of `eval`, and of a loop that generates one answer after the other.

    python benchmarks/eval_speed.py DATA [--items 40] [--models FOLDER --answer 12]

DATA holds `en-ug/` (pairs) and `sib200/`. The bundled trio answers, or the one in FOLDER (see
`random_models.py`), in one thread; seconds are those of the processor, so other work on the machine
does not count. Each of the methods is answered by both; the loop is what `generate` does: one
place, nothing kept between prompts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from trimix_cpp.decoding import Decoder, Text, Trio
from trimix_cpp.evaluate import DataFolders, Journal, Method, Source
from trimix_cpp.evaluate.methods import parse_methods
from trimix_cpp.evaluate.prompts import Prompter
from trimix_cpp.evaluate.run import Evaluation, Settings
from trimix_cpp.fusion import TRIO_ROLES, Weights
from trimix_cpp.prompts import language
from trimix_cpp.quant import Options
from trimix_cpp.store import RoleSpec, TrioSpec, find_trio

NAMES = ("trimix", "large", "cpt", "proxy")


def main() -> None:
    """Print a row for each task and number of methods."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--answer", type=int, help="most tokens of an answer")
    arguments = parser.parse_args()
    spec = find_trio("demo")
    if arguments.models:
        files = {role: RoleSpec(arguments.models / f"{role}.gguf") for role in TRIO_ROLES}
        spec = TrioSpec("models", files)
    folders = DataFolders([arguments.data], language("uig"), split="dev")
    print("task           methods  loop, items/s  eval, items/s  ratio")
    for source in folders.wanted(["pairs.eng-uig", "sib200"]):
        most = min(arguments.answer or source.task.max_tokens, source.task.max_tokens)
        source = replace(source, task=replace(source.task, max_tokens=most))
        for count in (1, len(NAMES)):
            methods = parse_methods(NAMES[:count], spec, Weights(0.3, 0.7), merged=False)
            slow = loop(spec, source, methods, arguments.items)
            fast = evaluation(spec, source, methods, arguments.items)
            numbers = f"{slow:>14.2f} {fast:>14.2f} {fast / slow:>6.1f}"
            print(f"{source.task.name:<14} {count:>7} {numbers}", flush=True)


def options(places: int) -> Options:
    """One thread, and rows for whoever looks at prompts."""
    flash = None if places == 1 else False  # as `eval` decides for many places and a small trio
    return Options(n_ctx=2048, n_threads=1, n_parallel=places, n_outputs=64, flash_attn=flash)


def loop(spec: TrioSpec, source: Source, methods: list[Method], limit: int) -> float:
    """Items a second, one text at a time."""
    with Trio(spec, TRIO_ROLES, options(1)) as trio:
        prompter = Prompter(trio)
        shots = source.exemplars()
        began = time.process_time()
        for item in source.items(limit):
            prompt = prompter.fit(item, shots, source.task.max_tokens)
            assert prompt is not None
            for method in methods:
                assert method.weights is not None
                text = Text(list(prompt.tokens), method.weights, stops=("\n",),
                            max_tokens=source.task.max_tokens)  # fmt: skip
                with Decoder(trio, keep=False) as decoder:
                    for _ in decoder.run([text]):
                        pass
        return limit / (time.process_time() - began)


def evaluation(spec: TrioSpec, source: Source, methods: list[Method], limit: int) -> float:
    """Items a second of `eval`."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Journal(Path(folder) / "journal") as journal,
        Trio(spec, TRIO_ROLES, options(min(limit + 1, 16))) as trio,
    ):
        own = Evaluation(trio, journal, Settings(limit=limit), lambda _: nullcontext())
        began = time.process_time()
        own.run([source], methods)
        return limit / (time.process_time() - began)


if __name__ == "__main__":
    main()
