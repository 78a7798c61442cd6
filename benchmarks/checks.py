"""How often each check of `translate --check` flags what people translated.

    python benchmarks/checks.py DATA [--language ug kk mn bo] [--show CHECK] [--limit N]

DATA is a folder with en-XX/train.tsv.gz and dev.tsv.gz, tables with a header `id en XX source`. A
check that flags good translations often is switched off by its users; so the share should be low,
and what is flagged should be faulty. `--show` prints what a check flags.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from trimix_cpp.prompts import language
from trimix_cpp.showing import Table
from trimix_cpp.translate.context import Context
from trimix_cpp.translate.faults import CHECKS, faults


def pairs(folder: Path) -> Iterator[tuple[str, str]]:
    """English and its translation, of both splits."""
    for split in ("train", "dev"):
        with gzip.open(folder / f"{split}.tsv.gz", "rt", encoding="utf-8", newline="") as file:
            rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            next(rows)
            for row in rows:
                yield row[1], row[2]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--language", nargs="+", default=["ug", "kk", "mn", "bo"])
    parser.add_argument("--show", metavar="CHECK", choices=[*CHECKS, "any"])
    parser.add_argument("--limit", type=int, metavar="N", help="pairs of each language")
    args = parser.parse_args()
    columns: list[Counter[str]] = []
    for code in args.language:
        counts: Counter[str] = Counter()
        context = Context(source=language("eng"), target=language(code))
        for i, (source, translation) in enumerate(pairs(args.data / f"en-{code}")):
            if i == args.limit:
                break
            found = {fault.check: fault.reason for fault in faults(source, translation, context)}
            counts.update({**dict.fromkeys(found, 1), "pairs": 1, "any": bool(found)})
            if args.show in found:
                print(f"{found[args.show]}\n  {source}\n  {translation}")
        columns.append(counts)
    rows = [["pairs", *(f"{counts['pairs']:,}" for counts in columns)]]
    for name in [*CHECKS, "any"]:
        if any(counts[name] for counts in columns):
            shares = (f"{100 * counts[name] / counts['pairs']:.2f} %" for counts in columns)
            rows.append([name, *shares])
    print(Table(("check", *args.language), rows).markdown())


if __name__ == "__main__":
    main()
