"""The simulation of a cluster: a few seconds of it, in which computers die."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "cluster_simulation.py"


@pytest.mark.slow
def test_three_computers_that_die_every_few_seconds_finish_what_they_were_asked(
    tmp_path: Path,
) -> None:
    pytest.importorskip("distributed")
    figures = tmp_path / "figures.json"
    command = [
        sys.executable, str(SCRIPT), "--workers", "3", "--places", "4", "--least", "120",
        "--rate", "100", "--idle", "1", "--hours", "0.004", "--away", "4", "--json", str(figures),
    ]  # fmt: skip
    subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, timeout=300)
    (found,) = json.loads(figures.read_text())
    assert found["workers"] == 3
    assert found["segments"] == 120
    assert found["deaths"] > 0
    assert 0 < found["of_ideal"] <= 1
    assert found["scheduler_ms"] > 0
