"""Fixtures of the converter's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .qwen2_checkpoints import TEXTS, write_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., tuple[Path, dict[str, np.ndarray]]]:
    """A function of `write_checkpoint`'s options that returns (folder, tensors)."""

    def make(name: str = "checkpoint", **options: Any) -> tuple[Path, dict[str, np.ndarray]]:
        folder = tmp_path / name
        return folder, write_checkpoint(folder, **options)

    return make


@pytest.fixture
def texts() -> list[str]:
    """Real text: English, Uyghur, Tibetan, Kazakh, Mongolian, code, digits, emoji, white space."""
    return TEXTS
