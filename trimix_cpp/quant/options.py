"""How models run: what llama.cpp is told, and what their memory depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from ..bytewise import Pruning

# The one type of cache in exact mode: flash attention treats an F16 one by the size of a batch.
EXACT_CACHE = "q8_0"
# What llama.cpp takes without an abort: GGML_MAX_N_THREADS, LLAMA_MAX_SEQ, 32-bit counts of
# tokens. The room below these is for its own sums.
BOUNDS: Mapping[str, tuple[int, int]] = {
    "n_ctx": (0, 1 << 24),
    "n_batch": (1, 1 << 16),
    "n_ubatch": (1, 1 << 16),
    "n_parallel": (1, 256),
    "n_outputs": (1, 1 << 16),
    "n_prefill": (1, 1 << 16),
    "n_threads": (0, 512),
    "n_gpu_layers": (-1, 1 << 16),
}


def check_bounds(name: str, value: object) -> None:
    """Raises UsageError where a number is out of its `BOUNDS`, or no whole number."""
    least, most = BOUNDS[name]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UsageError(f"{name} is a whole number from {least} to {most}")


@dataclass(frozen=True)
class Options:
    """How the models run; per role where llama.cpp users want it so.

    Attributes:
        n_ctx: tokens a sequence may have; 0 takes what the models were trained for, None the same
            but at most 4096.
        n_batch, n_ubatch: as llama.cpp's -b and -ub.
        n_parallel: sequences that run at once.
        n_outputs: logits rows that a role may give in a step, at least one a sequence; more than
            that speed up what looks at whole prompts, for n_tokens * 4 bytes each.
        n_prefill: most prompt tokens of a step in which another text generates; None for no bound.
        n_threads: CPU threads; 0 takes the physical cores.
        n_gpu_layers: role -> layers on the GPU, -1 for all; a role left out takes all.
        flash_attn: None leaves it to llama.cpp.
        type_k, type_v: role -> KV cache type, names of `KV_TYPES`; `cache_types` has the defaults.
        bytes: the roles are fused over bytes, and these tokenizations of a text are followed;
            None fuses over their tokens.
        exact: the size of a batch does not change the logits.
        exact_vocabulary: a role with tokens of its own says what it would say exactly; without it
            ways of saying it that hardly matter are left out.
        mlock: keep the weights in RAM.
        rpc: role -> RPC servers, `host:port`, that take its layers in a GPU's place.

    Raises:
        UsageError: a number is out of its `BOUNDS`, or servers are to be exact.
    """

    n_ctx: int | None = None
    n_batch: int = 512
    n_ubatch: int = 512
    n_parallel: int = 1
    n_outputs: int = 1
    n_prefill: int | None = None
    n_threads: int = 0
    n_gpu_layers: Mapping[str, int] = field(default_factory=dict)
    flash_attn: bool | None = None
    type_k: Mapping[str, str] = field(default_factory=dict)
    type_v: Mapping[str, str] = field(default_factory=dict)
    bytes: Pruning | None = None
    exact: bool = False
    exact_vocabulary: bool = False
    mlock: bool = False
    rpc: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in BOUNDS.keys() - {"n_gpu_layers"}:
            if (value := getattr(self, name)) is not None:
                check_bounds(name, value)
        for layers in self.n_gpu_layers.values():
            check_bounds("n_gpu_layers", layers)
        if self.exact and self.rpc:
            raise UsageError("--rpc does not go with --exact: that keeps all layers on this CPU")

    def cache_types(
        self, role: str, otherwise: tuple[str, str] = ("f16", "f16")
    ) -> tuple[str, str]:
        """The types of the role's keys and values, `EXACT_CACHE` in exact mode.

        `otherwise` where none are said.
        """
        if self.exact:
            return EXACT_CACHE, EXACT_CACHE
        return self.type_k.get(role, otherwise[0]), self.type_v.get(role, otherwise[1])

    def layers_on_gpu(self, role: str) -> int:
        """Layers of the role that go to a GPU if there is one; -1 for all, 0 in exact mode."""
        return 0 if self.exact else self.n_gpu_layers.get(role, -1)

    def servers(self, role: str) -> tuple[str, ...]:
        """The RPC servers that take layers of the role; none for most."""
        return self.rpc.get(role, ()) if self.layers_on_gpu(role) else ()

    def is_offloaded(self, role: str, gpu: bool) -> bool:
        """Whether layers of the role leave the CPU and its memory; `gpu`: there is one."""
        return bool(self.servers(role) or (gpu and self.layers_on_gpu(role)))
