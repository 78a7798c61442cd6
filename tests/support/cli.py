"""The command line as a user has it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys


def trimix(
    *arguments: str,
    stdin: bytes | str = b"",
    env: dict[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run `trimix-cpp` with `arguments`; its output decoded as UTF-8."""
    done = subprocess.run(
        [sys.executable, "-m", "trimix_cpp", *arguments],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        env={**os.environ, **(env or {})},
        timeout=timeout,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
    )
