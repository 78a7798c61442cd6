"""One trio in a process of its own: what it was estimated to need, and the most that it had.

    python -m tests.quant.memory_run N_CTX ROLE=FILE...

Linux alone. Prints {"estimate": bytes, "peak": bytes}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from trimix_cpp.decoding.trio import Feed, Trio
from trimix_cpp.gguf.reader import read_header
from trimix_cpp.llama.backend import hardware
from trimix_cpp.quant.memory import estimate
from trimix_cpp.quant.options import Options
from trimix_cpp.store.spec import spec_from_files


def peak() -> int:
    """The greatest resident size so far, in bytes (proc(5), VmHWM)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def main() -> None:
    n_ctx = int(sys.argv[1])
    files = {role: Path(path) for role, _, path in (text.partition("=") for text in sys.argv[2:])}
    with Trio(spec_from_files(files), files, Options(n_ctx=n_ctx, n_threads=1)) as trio:
        tokens = np.arange(min(512, n_ctx - 1), dtype=np.int32) % 250
        trio.decode({role: [Feed(0, tokens, 0, 1)] for role in trio.roles})
    headers = {role: read_header(path) for role, path in files.items()}
    needed = estimate(headers, Options(n_ctx=n_ctx), hardware=hardware())
    print(json.dumps({"estimate": needed.total, "peak": peak()}))


if __name__ == "__main__":
    main()
