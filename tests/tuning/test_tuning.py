"""Scores of prompts in exact mode, where how a prompt is cut into batches changes no bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_tuning_in_exact_mode() -> None:
    """Exact mode is a switch of the whole process, so these tests have a process of their own."""
    tests = Path(__file__).with_name("tuning_in_exact_mode.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
