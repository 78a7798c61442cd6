"""What becomes of GGUF files in a child process that really uses them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

CHILD = """
import sys
import numpy as np
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
except ImportError:
    pass
from trimix_cpp.errors import TrimixError
from trimix_cpp.llama import Context, Model

def use(path):
    for vocab_only in (True, False):
        with Model(path, vocab_only=vocab_only) as model:
            for special in (True, False):
                tokens = model.tokenize("the Open a\\x01<|im_end|> ", add_special=special)
            for token in range(model.n_vocab):
                model.piece(token)
            if not vocab_only:
                ids = np.array((tokens + [0] * 4)[:4], np.int32)
                with Context(model, n_ctx=256, n_outputs_max=4, n_threads=1) as context:
                    context.decode(ids, np.arange(4, dtype=np.int32), ids * 0, ids >= 0)
                    context.logits()

for path in sys.stdin.read().splitlines():
    print("begun", path, flush=True)
    try:
        use(path)
        print("fine", flush=True)
    except TrimixError as error:
        print("refused", repr(str(error)), flush=True)
"""


def fates(paths: Sequence[Path]) -> dict[Path, str]:
    """What became of each file in a child process: fine, refused, or how the child died."""
    fate: dict[Path, str] = {}
    left = list(paths)
    while left:
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            input="\n".join(map(str, left)),
            capture_output=True,
            text=True,
            timeout=600,
            # Else ggml's abort starts a debugger to print a backtrace.
            env={**os.environ, "GGML_NO_BACKTRACE": "1"},
        )
        lines = done.stdout.splitlines()
        said = [*lines[1::2], f"died ({done.returncode}): {done.stderr[-300:]}"]
        begun = (len(lines) + 1) // 2
        fate.update(zip(left[:begun], said, strict=False))
        left = left[begun:]
    return fate


def check_that_all_live(files: Iterator[bytes], folder: Path) -> dict[Path, str]:
    paths = []
    for number, data in enumerate(files):
        paths.append(folder / f"{number}.gguf")
        paths[-1].write_bytes(data)
    fate = fates(paths)
    dead = {path: how for path, how in fate.items() if how.startswith("died")}
    assert not dead
    assert not [how for how in fate.values() if r"\n" in how]
    return fate
