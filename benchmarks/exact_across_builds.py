"""Whether exact mode holds across two builds of llama.cpp: the same texts, greedily, by both.

    python benchmarks/exact_across_builds.py BUILD1/bin/python BUILD2/bin/python [--trio NAME]
        [--lines FILE] [--most 200] [-o result.json]

Each interpreter has TriMix-cpp and a llama-cpp-python of its own, one built for AVX2 and one for
AVX-512, say. Both translate the same lines in exact mode, one thread each, one after the other. It
tells the features of both and how many texts differ; exit code 1 if any does. The same interpreter
twice is the control: nothing may differ.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

LINES = Path(__file__).parents[1] / "docs" / "examples" / "notes.txt"


def journal_of(python: str, lines: Path, folder: Path, trio: str, pair: list[str]) -> Path:
    """The journal of a translation by the build that belongs to an interpreter."""
    output = folder / "out.txt"
    command = [
        python, "-m", "trimix_cpp", "translate", str(lines), "-o", str(output), "--trio", trio,
        *pair, "--exact", "-t", "1", "--shard", "1/1", "-q",
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return folder / "out.txt.1-of-1.journal"


def read(journal: Path) -> tuple[dict[str, Any], dict[str, str | None]]:
    """What made it, and the texts by key: those of one input and equal settings are equal."""
    head, *lines = [json.loads(line) for line in journal.read_text("utf-8").split("\n")[:-1]]
    return head, {line["key"]: line["text"] for line in lines}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pythons", nargs=2, metavar="PYTHON")
    parser.add_argument("--trio", default="demo")
    parser.add_argument("--lines", type=Path, default=LINES)
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--from", dest="source", default="eng")
    parser.add_argument("--to", dest="target", default="uig")
    parser.add_argument("-o", type=Path)
    wanted = parser.parse_args()
    kept = wanted.lines.read_text("utf-8").split("\n")[: wanted.most]
    pair = ["--from", wanted.source, "--to", wanted.target]
    found = []
    for python in wanted.pythons:
        with TemporaryDirectory() as name:
            lines = Path(name, "in.txt")
            lines.write_text("\n".join(kept), "utf-8")
            found.append(read(journal_of(python, lines, Path(name), wanted.trio, pair)))
    (one, first), (other, second) = found
    if one["settings"] != other["settings"]:
        sys.exit("the builds are of different versions: their settings differ, so do their keys")
    differing = sum(first[key] != second.get(key) for key in first)
    result = {
        "texts": len(first),
        "differing": differing,
        "builds": [head["machine"] for head in (one, other)],
    }
    print(json.dumps(result, indent=2))
    if wanted.o:
        wanted.o.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
