"""Vocabularies as files, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trimix_cpp.alignment import report_for
from trimix_cpp.alignment.report import Report

from ..support.vocab_files import VocabFile

Write = Callable[[str, VocabFile], Path]
Compare = Callable[..., Report]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return lambda name, vocabulary: vocabulary.write(tmp_path / f"{name}.gguf")


@pytest.fixture
def compare(write: Write) -> Compare:
    """The report of role=VocabFile, ...."""
    return lambda **files: report_for({role: write(role, file) for role, file in files.items()})
