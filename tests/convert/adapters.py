"""Random PEFT adapters, made without torch or PEFT, and what they add to the weights."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from trimix_cpp.llama.context import Context
from trimix_cpp.llama.model import Model

from .qwen2_checkpoints import bfloat16, save_bfloat16

CONFIG = {
    "peft_type": "LORA", "r": 4, "lora_alpha": 6, "bias": "none", "use_dora": False,
    "base_model_name_or_path": "somebody/tiny", "init_lora_weights": True, "use_rslora": False,
    "rank_pattern": {}, "alpha_pattern": {}, "modules_to_save": None,
}  # fmt: skip
ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
LAYER = (*ATTENTION, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")


def matrices(weights: Mapping[str, np.ndarray], *ends: str) -> dict[str, tuple[int, ...]]:
    """Module -> shape, of the weights whose module's name ends in one of `ends`."""
    modules = {name.removesuffix(".weight"): array.shape for name, array in weights.items()}
    return {m: s for m, s in modules.items() if m.endswith(ends or LAYER) and len(s) == 2}


def write_adapter(
    folder: Path,
    modules: Mapping[str, tuple[int, ...]],
    *,
    dtype: str = "float32",
    rank: Callable[[str], int] = lambda module: 4,
    scale: float = 0.3,
    **config: Any,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Write a random adapter on `modules`; returns module -> (a [rank, in], b [out, rank])."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **config}))
    rng = np.random.default_rng(7)
    pairs, tensors = {}, {}
    for module, (rows, columns) in modules.items():
        embeds = module.endswith("embed_tokens")
        shape = (columns, rows) if embeds else (rows, columns)
        a, b = (
            (rng.standard_normal(s) * scale).astype(np.float32)
            for s in ((rank(module), shape[1]), (shape[0], rank(module)))
        )
        if dtype == "bfloat16":
            a, b = bfloat16(a), bfloat16(b)
        pairs[module] = (a, b)
        part = "embedding_{}" if embeds else "{}.weight"
        for letter, array in (("A", a), ("B", b)):
            tensors[f"base_model.model.{module}.lora_{part.format(letter)}"] = array
    if dtype == "bfloat16":
        save_bfloat16(tensors, folder / "adapter_model.safetensors")
    else:
        save_file(
            {n: t.astype(dtype) for n, t in tensors.items()}, folder / "adapter_model.safetensors"
        )
    return pairs


def added(
    pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], **config: Any
) -> dict[str, np.ndarray]:
    """Module -> what PEFT adds to its weight, float64, by the formula of its documentation."""
    values = {**CONFIG, **config}
    deltas = {}
    for module, (a, b) in pairs.items():
        own = [
            v for p, v in values["alpha_pattern"].items() if re.fullmatch(rf"(.*\.)?{p}", module)
        ]
        alpha, rank = (own or [values["lora_alpha"]])[0], len(a)
        scale = alpha / (math.sqrt(rank) if values["use_rslora"] else rank)
        delta = scale * b.astype(np.float64) @ a.astype(np.float64)
        deltas[module] = delta.T if module.endswith("embed_tokens") else delta
    return deltas


def logits(path: Path, ids: np.ndarray, lora: Path | None) -> np.ndarray:
    """Logits at every position, shape [n, n_vocab], with nothing rounded below float32."""
    n, on = len(ids), (lora, 1.0) if lora else None
    exact: dict[str, Any] = {"type_k": "f32", "type_v": "f32", "flash_attn": False, "n_threads": 1}
    at = np.arange(n, dtype=np.int32)
    with (
        Model(path) as model,
        Context(model, n_ctx=64, n_outputs_max=n, lora=on, **exact) as context,
    ):
        context.decode(ids.astype(np.int32), at, at * 0, at >= 0)
        return context.logits().copy()
