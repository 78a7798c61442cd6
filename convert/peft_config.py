"""A PEFT adapter's `adapter_config.json`: what it says about scale, and what GGUF cannot express.

llama.cpp adds `scale * alpha / rank * B A x` to a product `W x`, with one alpha for the adapter
(`llama_adapter_lora_weight::get_scale`). Whatever else PEFT's LoRA can do would be left out in
silence, so it is refused here. Source: `LoraConfig` in PEFT's `tuners/lora/config.py`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimix_cpp.errors import TrimixError

from .checkpoint import Config, read_json

MERGE = "merge the adapter into its base (PEFT: merge_and_unload) and convert the whole model"

# Settings that change what is computed in another way than by B A.
_UNSUPPORTED = (
    "use_dora",
    "lora_bias",
    "modules_to_save",
    "trainable_token_indices",
    "layer_replication",
    "alora_invocation_tokens",
    "target_parameters",
    "use_qalora",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
)
# Initialisations that take a part out of the base's own weights: on the published base the
# adapter would count that part twice.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


@dataclass(frozen=True)
class PeftConfig:
    """A LoRA's configuration, checked.

    Attributes:
        alpha: `lora_alpha`; a module matched by `alphas` has its own.
        alphas: `alpha_pattern`, a regular expression for the end of a module's name -> alpha.
        rank_stabilized: the scale is alpha / sqrt(rank) instead of alpha / rank.
        base: the base model's name on the Hub, or its folder.
    """

    path: Path
    alpha: float
    alphas: dict[str, float]
    rank_stabilized: bool
    base: str | None

    def alpha_for(self, module: str, rank: int) -> float:
        """The alpha that gives `module` its scale when it is divided by the rank."""
        try:
            own = (a for p, a in self.alphas.items() if re.match(rf"(.*\.)?({p})$", module))
            alpha = next(own, self.alpha)
        except re.error as error:
            raise TrimixError(f"{self.path}: 'alpha_pattern' is malformed: {error}") from None
        return alpha * math.sqrt(rank) if self.rank_stabilized else alpha


def read_peft_config(folder: Path) -> PeftConfig:
    """Read `adapter_config.json` in `folder`.

    Raises:
        TrimixError: it is missing or malformed, or the adapter is no LoRA that GGUF can hold.
    """
    path = folder / "adapter_config.json"
    if folder.is_dir() and not path.exists():
        raise TrimixError(f"{path} is missing: name the folder of a PEFT adapter")
    config = Config(path, read_json(path))
    kind = config.get("peft_type")
    if kind != "LORA":
        raise TrimixError(f"{path}: the adapter is of the type {kind!r}, not a LoRA: {MERGE}")
    used = [key for key in _UNSUPPORTED if config.get(key)]
    if config.get("bias") not in (None, "none"):
        used.append("bias")
    if used:
        raise TrimixError(f"{path}: a GGUF adapter cannot express {used[0]!r}: {MERGE}")
    init = config.get("init_lora_weights")
    if isinstance(init, str) and init.lower().startswith(_CHANGES_BASE):
        raise TrimixError(
            f"{path}: its initialisation ({init!r}) changed the base's weights too, so it does not "
            f"fit the published base: {MERGE}"
        )
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise TrimixError(f"{path}: 'alpha_pattern' is no JSON object")
    pattern = Config(path, patterns)
    base: Any = config.get("base_model_name_or_path")
    return PeftConfig(
        path,
        _alpha(config, "lora_alpha"),
        {key: _alpha(pattern, key) for key in patterns},
        bool(config.get("use_rslora")),
        base if isinstance(base, str) and base else None,
    )


def _alpha(config: Config, key: str) -> float:
    """A positive number: llama.cpp reads an alpha of 0 as "do not scale"."""
    value = config.number(key, 0.0)
    if not 0 < value < 3e38:
        raise TrimixError(f"{config.path}: {key!r} is {config.get(key)!r}, but must be positive")
    return value
