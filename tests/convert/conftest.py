"""Fixtures of the converter's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .families import write_family
from .qwen2_checkpoints import TEXTS, write_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., tuple[Path, dict[str, np.ndarray]]]:
    """A function of a folder's name and options that returns (folder, tensors).

    `family` (llama2, llama3, gemma3) chooses `write_family`'s options; without it they are those of
    `write_checkpoint`, and the family is Qwen2.
    """

    def make(name: str = "checkpoint", **options: Any) -> tuple[Path, dict[str, np.ndarray]]:
        folder = tmp_path / name
        write = write_family if "family" in options else write_checkpoint
        return folder, write(folder, **options)

    return make


@pytest.fixture
def texts() -> list[str]:
    """Real text: English, Uyghur, Tibetan, Kazakh, Mongolian, code, digits, emoji, white space."""
    return TEXTS
