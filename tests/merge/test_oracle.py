"""Against mergekit, whose merge the paper used: the same bits.

mergekit is LGPL and pins its dependencies, so it runs in a Python of its own, which TRIMIX_MERGEKIT
names (`make test-slow` sets one up); nothing of it is imported here.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimix_cpp.merge import Source, merge

from .checkpoints import family, read, save

PYTHON = os.environ.get("TRIMIX_MERGEKIT", "")
CASES: dict[str, tuple[str, list[Source], dict[str, Any]]] = {
    "the paper's": ("ties", [Source(Path(), 0.2), Source(Path(), 0.8, 0.2)], {}),
    "three models": (
        "ties",
        [Source(Path(), 0.3, 0.7), Source(Path(), 1.0, 0.31), Source(Path(), 0.5, 0.5)],
        {"scale": 0.7},
    ),
    "not normalized": (
        "ties",
        [Source(Path(), 0.4, 0.9), Source(Path(), 0.6)],
        {"normalize": False},
    ),
    "task arithmetic": ("task-arithmetic", [Source(Path(), 0.3), Source(Path(), 0.9)], {}),
    "linear": ("linear", [Source(Path(), 0.25), Source(Path(), 0.5), Source(Path(), 2.0)], {}),
}


def mergekit(out: Path, method: str, base: Path, sources: list[Source], options: dict[str, Any],
             dtype: str) -> None:  # fmt: skip
    """Merge with mergekit; JSON is YAML."""
    if not PYTHON:
        pytest.skip("TRIMIX_MERGEKIT names no Python with mergekit")
    linear = method == "linear"
    models = [
        {
            "model": str(source.folder),
            "parameters": {"weight": source.weight}
            | ({"density": source.density} if method == "ties" else {}),
        }
        for source in sources
    ]
    parameters = {"lambda": options.get("scale", 1.0)} if not linear else {}
    if "normalize" in options:
        parameters["normalize"] = options["normalize"]
    recipe = {
        "merge_method": method.replace("-", "_"), "models": models, "dtype": dtype,
        "parameters": parameters,
    }  # fmt: skip
    if not linear:
        recipe["base_model"] = str(base)
    file = out.with_suffix(".yaml")
    file.write_text(json.dumps(recipe))
    arguments = [PYTHON, "-m", "mergekit.scripts.run_yaml", str(file), str(out)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def without_equal_magnitudes(base: Path, models: list[Path], sources: list[Source]) -> None:
    """Give a trimmed model just k changes, all of one size: which ones stay is then certain."""
    before = read(base)
    for folder, source in zip(models, sources, strict=True):
        if source.density == 1:
            continue
        tensors = read(folder)
        for name, array in tensors.items():
            rng = np.random.default_rng(len(name))
            k = max(1, int(source.density * array.size))
            change = np.full(array.size, 0.0, np.float32)
            change[rng.permutation(array.size)[:k]] = 1
            change = change.reshape(array.shape) * rng.choice([-1.0, 1.0], array.shape)
            tensors[name] = (before[name] + change * np.float32(0.5)).astype(np.float32)
        save(folder, tensors, "bfloat16")


@pytest.mark.slow
@pytest.mark.parametrize(("method", "numbers", "options"), CASES.values(), ids=CASES.keys())
def test_same_bits_as_mergekit(
    tmp_path: Path, method: str, numbers: list[Source], options: dict[str, Any]
) -> None:
    base, models = family(tmp_path, models=len(numbers))
    sources = [
        Source(folder, number.weight, number.density)
        for folder, number in zip(models, numbers, strict=True)
    ]
    without_equal_magnitudes(base, models, sources)
    mergekit(tmp_path / "theirs", method, base, sources, options, "bfloat16")
    merge(sources, tmp_path / "ours", base=None if method == "linear" else base, method=method,
          **options)  # fmt: skip
    ours, theirs = read(tmp_path / "ours"), read(tmp_path / "theirs")
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@pytest.mark.slow
def test_only_ties_of_magnitude_differ(tmp_path: Path) -> None:
    """On random numbers: the same, but for changes whose magnitude is exactly the threshold's."""
    base, models = family(tmp_path)
    sources = [Source(models[0], 0.2), Source(models[1], 0.8, 0.2)]
    mergekit(tmp_path / "theirs", "ties", base, sources, {}, "bfloat16")
    merge(sources, tmp_path / "ours", base=base)
    before, changed = read(base), read(models[1])
    ours, theirs = read(tmp_path / "ours"), read(tmp_path / "theirs")
    for name, array in ours.items():
        change = np.abs(changed[name] - before[name]).ravel()
        threshold = np.sort(change)[::-1][max(1, int(0.2 * change.size)) - 1]
        differs = (array != theirs[name]).ravel()
        assert (np.abs(change[differs] - threshold) < 0.01 * threshold).all(), name
