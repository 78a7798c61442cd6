"""GGUF models of random weights at the shapes of real ones, in a folder: for the other benchmarks.

    python benchmarks/random_models.py qwen2.5-1.5b+7b FOLDER     base.gguf cpt.gguf large.gguf

`trimix-cpp bench --shapes` writes its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from trimix_cpp.bench.random_models import DEFAULT_TYPE, SHAPES, write_trio
from trimix_cpp.errors import TrimixError

__all__ = ["SHAPES", "write_trio"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shapes", help=f"two of {', '.join(SHAPES)}, as in qwen2.5-1.5b+7b")
    parser.add_argument("folder", type=Path)
    for role in ("large", "cpt", "base"):
        parser.add_argument(f"--{role}", default=DEFAULT_TYPE, metavar="TYPE")
    flags = parser.parse_args()
    flags.folder.mkdir(parents=True, exist_ok=True)
    types = {role: getattr(flags, role).upper() for role in ("large", "cpt", "base")}
    try:
        files = write_trio(flags.folder, flags.shapes, types)
    except TrimixError as error:
        parser.error(str(error))
    for role, path in files.items():
        print(f"{role:6} {path} {path.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
