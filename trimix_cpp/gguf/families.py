"""The architectures that may be loaded, and what the graph of each takes for granted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Family:
    """What the graph of an architecture takes for granted.

    Attributes:
        whole_head_rotates: all values of a head are rotated.
        heads_fill_width: the heads together are as wide as the residual stream.
        always_windowed: some layers have a sliding window, whatever the file says.
        experts: whether its layers are mixtures of experts.
    """

    whole_head_rotates: bool = True
    heads_fill_width: bool = False
    always_windowed: bool = False
    experts: Literal["never", "sometimes", "always"] = "never"


# The architectures that may be loaded: decoders whose loading and whose graph have been read
# (src/models/ in llama.cpp), all layers alike. For each of them tests/gguf/ makes a model that
# llama.cpp runs, and damages it. All others are refused by name: many abort on good files
# (encoders, diffusion models), and none has a check that stands for it.
FAMILIES = {
    "llama": Family(experts="sometimes"),
    "mistral3": Family(experts="sometimes"),
    "granite": Family(experts="sometimes"),
    "smollm3": Family(),
    "apertus": Family(),
    "qwen2": Family(heads_fill_width=True),
    "qwen3": Family(),
    "qwen3moe": Family(experts="always"),
    "olmo2": Family(heads_fill_width=True),
    "gemma": Family(whole_head_rotates=False),
    "gemma2": Family(whole_head_rotates=False, always_windowed=True),
    "gemma3": Family(whole_head_rotates=False),
    "phi3": Family(whole_head_rotates=False, heads_fill_width=True),
    "command-r": Family(whole_head_rotates=False, heads_fill_width=True),
    "cohere2": Family(False, heads_fill_width=True, always_windowed=True),
}
