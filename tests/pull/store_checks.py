"""The trio and the profile of the pull tests, and what they look at in the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trimix_cpp.store.manifest import Manifest, ModelRecord
from trimix_cpp.store.verification import verify

Puller = Callable[..., Manifest]

TRIO = """
name = "tiny"
languages = ["uig"]
weights = [0.5, 0.5]

[models]
base = { repo = "org/base" }
cpt = { repo = "org/cpt" }
large = { repo = "org/large" }

[presets]
"translation.eng-uig" = [0.3, 0.9]
"""
# A second file on the way for large alone; base and cpt are written at once.
PROFILE = """
description = "for tests"
[cache]
type_k = "q8_0"
[large]
type = "Q4_0"
[cpt]
type = "Q8_0"
[base]
type = "BF16"
"""


def model_of(manifest: Manifest, repository: str) -> ModelRecord:
    return next(m for m in manifest.models if m.repository == f"org/{repository}")


def files_of(folder: Path) -> set[str]:
    return {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()}


def kept_files(home: Path) -> list[str]:
    """Names of the models in the store."""
    return sorted(path.name for path in (home / "models").rglob("*.gguf"))


def assert_whole(home: Path, manifest: Manifest) -> None:
    """The store holds what the manifest says and nothing else."""
    assert {check.state for check in verify()} == {"ok"}
    names = [file.name for model in manifest.models for file in model.files]
    assert kept_files(home) == sorted(names)
    assert not [f for f in files_of(home) if f.endswith((".part", ".tmp", "pull.json"))]
    assert not files_of(home / "downloads")
