"""What a merge of shards takes: seconds of CPU and memory, by the number of texts.

    python benchmarks/merge_shards.py [--texts 100000] [--shards 12]

The journals are written as a run writes them, for lines of 60 characters with translations as long;
no model is asked. The merge is a process of its own. Its memory is told without what Python and the
imports take, so that it can be reckoned up.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from trimix_cpp.documents import open_document
from trimix_cpp.fusion import Weights
from trimix_cpp.translate.journal_lines import Head, Keys, Maker, as_json, record_of, summed
from trimix_cpp.translate.shards import Shard
from trimix_cpp.translate.task import Task
from trimix_cpp.translate.units import Outcome, lay_out

MERGE = """
import resource, sys, time
from trimix_cpp.commands import main
call = ["translate", "in.txt", "-o", "out.txt", "--from", "eng", "--to", "uig", "--merge", "-q"]
code = main(call)
used = resource.getrusage(resource.RUSAGE_SELF)
print(code, used.ru_maxrss * 1024, used.ru_utime + used.ru_stime)
"""


def write(folder: Path, texts: int, shards: int) -> int:
    """The input and the journals of its shards; how many bytes the journals have."""
    lines = "".join(
        f"{i:08d} Cannot open the file in the folder, it is not there.\n" for i in range(texts)
    )
    (folder / "in.txt").write_text(lines, "utf-8")
    document = open_document(lines.encode(), "in.txt")
    output = folder / "out.txt"
    task = Task(document, output, None, lay_out(document.segments, cut=320, labels=False))
    settings = {"from": "eng", "to": "uig", "shots": None, "exact": True}
    keys, size = Keys(settings, 0), 0
    for shard in (Shard(number, shards) for number in range(1, shards + 1)):
        head = Head(0, settings, shard.share(task.ordered), Maker("none", (), "0"))
        records = [head.record()]
        for unit in shard.units(task.ordered):
            outcome = Outcome("ھۆججەتنى ئاچالمىدى " * 3 + unit.text[:8], (), 20, Weights(0.1, 0.9))
            records.append(record_of(keys.key(unit), 0, outcome))
        data = b"".join(summed(as_json(record)) + b"\n" for record in records)
        shard.journal(output).write_bytes(data)
        size += len(data)
    return size


def merged(texts: int, shards: int) -> tuple[int, float, int]:
    """(peak of memory, seconds of CPU, bytes of the journals) of a merge."""
    with TemporaryDirectory() as name:
        size = write(Path(name), texts, shards)
        done = subprocess.run(
            [sys.executable, "-c", MERGE], cwd=name, capture_output=True, text=True, check=True
        )
        code, peak, seconds = done.stdout.split()
        if code != "0":
            sys.exit(done.stderr)
        return int(peak), float(seconds), size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=12)
    wanted = parser.parse_args()
    idle, start, _ = merged(wanted.shards, wanted.shards)
    peak, seconds, size = merged(wanted.texts, wanted.shards)
    print(
        f"{wanted.texts:,} texts, {size / 2**20:.1f} MiB of journals: "
        f"{(peak - idle) / 2**20:.1f} MiB of memory besides {idle / 2**20:.1f} MiB of Python, "
        f"{(peak - idle) / wanted.texts:.0f} bytes a text, {seconds - start:.1f} s of CPU"
    )


if __name__ == "__main__":
    main()
