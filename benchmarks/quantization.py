"""Every table and picture of docs/measured/quantization.md.

    python benchmarks/quantization.py DATA/en-ug/dev.tsv.gz OUT [--trio demo] [--speed]

DATA is the folder that tools/demo_trio/README.md describes. OUT gets the texts, a Markdown file a
run, and the pictures; each command is printed before it runs. Stopped anywhere, the same command
goes on where it was: what is made and measured is kept in OUT/cache. Takes about a quarter of an
hour on two cores, most of it for the first of the runs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shlex
import subprocess
import sys
from pathlib import Path

from trimix_cpp.prompts.languages import language
from trimix_cpp.prompts.paper import translation_prompt

TYPES = "Q8_0,Q6_K,Q5_K_M,Q4_K_M,Q3_K_M,Q2_K"
PROFILES = "paper-int8,laptop-16gb,laptop-8gb,tiny-4gb"
WINDOWS = "12"
PROMPTS = 200


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """(English, Uyghur) of a gzipped TSV file with the columns id, en, ug, source."""
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    return [(row[1], row[2]) for row in rows]


def write_texts(pairs: list[tuple[str, str]], out: Path) -> None:
    """English and Uyghur lines, translations as the models see them, and prompts to answer."""
    prompts = [translation_prompt(en, language("eng"), language("uig")) for en, _ in pairs]
    texts = {
        "eng": "\n".join(en for en, _ in pairs),
        "uig": "\n".join(ug for _, ug in pairs),
        "translation": "\n".join(
            prompt + ug for prompt, (_, ug) in zip(prompts, pairs, strict=True)
        ),
    }
    for name, text in texts.items():
        (out / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
    examples = [
        {"prompt": prompt, "reference": ug}
        for prompt, (_, ug) in zip(prompts[:PROMPTS], pairs, strict=False)
    ]
    lines = (json.dumps(example, ensure_ascii=False) for example in examples)
    (out / "prompts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def runs(out: Path, trio: str, *, speed: bool) -> dict[str, list[str]]:
    """Name -> arguments of `trimix-cpp`."""
    texts = []
    for name in ("eng", "uig", "translation"):
        texts += ["--text", f"{name}={out / name}.txt"]
    shared = ["--trio", trio, *texts, "-c", "256", "--chunks", WINDOWS, "-t", "1"]
    shared += ["--cache", str(out / "cache")]
    table = [*shared, "--slices", "language", "--markdown"]
    whole = [*table, "--sweep", "--grid"]
    answers = ["--answers", str(out / "prompts.jsonl"), "-n", "100"]
    timed = ["--speed"] if speed else []
    uyghur = ["--trio", trio, "--text", f"uig={out / 'uig'}.txt", *shared[2 + len(texts) :]]
    paper = ["--weights", "0.1,0.9"]

    def impact(names: str, options: list[str], *more: str) -> list[str]:
        return ["impact", "--profiles", names, *options, *more]

    return {
        "types": impact(f"as-is,{TYPES}", whole, *answers, *timed, "--plot", f"{out}/types.png"),
        "sweep": impact("Q8_0,Q4_K_M,Q2_K", whole, "--plot", f"{out}/sweep.png"),
        "types-paper": impact(TYPES, table, *paper),
        "profiles": impact(PROFILES, table, *answers, *timed, "--plot", f"{out}/profiles.png"),
        "profiles-paper": impact(PROFILES, table, *paper),
        "plan": ["plan", "--ram", "165MiB", *uyghur],
        "plan-paper": ["plan", "--ram", "145MiB", *uyghur, *paper],
    }


def main() -> int:
    """Run everything; returns the first exit code that is not 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--trio", default="demo")
    parser.add_argument("--speed", action="store_true", help="on a quiet machine only")
    parser.add_argument("--only", help="one of the runs")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    write_texts(read_pairs(arguments.pairs), out)
    for name, command in runs(out, arguments.trio, speed=arguments.speed).items():
        if arguments.only not in (None, name):
            continue
        print(f"trimix-cpp {shlex.join(command)}", flush=True)
        with open(out / f"{name}.md", "w", encoding="utf-8") as file:
            done = subprocess.run([sys.executable, "-m", "trimix_cpp", *command], stdout=file)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
