"""Tiny checkpoints that belong together: a base, and what training might have made of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from trimix_cpp.convert.checkpoint import open_checkpoint

from ..convert.qwen2_checkpoints import bfloat16, save_bfloat16, write_checkpoint


def read(folder: Path) -> dict[str, np.ndarray]:
    """Every tensor of a checkpoint, as float32."""
    tensors = open_checkpoint(folder).tensors
    return {
        name: np.concatenate(list(tensor.chunks())).astype(np.float32).reshape(tensor.shape)
        for name, tensor in tensors.items()
    }


def save(folder: Path, tensors: dict[str, np.ndarray], dtype: str) -> None:
    """Replace the weights of a checkpoint."""
    for old in folder.glob("model*"):
        old.unlink()
    if dtype == "bfloat16":
        rounded = {name: bfloat16(array) for name, array in tensors.items()}
        save_bfloat16(rounded, folder / "model.safetensors")
    else:
        arrays = {name: array.astype(dtype) for name, array in tensors.items()}
        save_file(arrays, folder / "model.safetensors")


def family(folder: Path, *, models: int = 2, dtype: str = "bfloat16") -> tuple[Path, list[Path]]:
    """A base, and `models` checkpoints that differ from it in all of their numbers."""
    base = folder / "base"
    before = write_checkpoint(base, dtype=dtype, rows=620, width=32)
    others = []
    for seed in range(1, models + 1):
        other = folder / f"model{seed}"
        shutil.copytree(base, other)
        rng = np.random.default_rng(seed)
        changed = {
            name: array + rng.standard_normal(array.shape, np.float32) * np.float32(0.05)
            for name, array in before.items()
        }
        save(other, changed, dtype)
        others.append(other)
    return base, others
