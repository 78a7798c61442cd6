"""How the models run: sizes, threads, layers on the GPU, types of the KV caches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ..errors import UsageError
from ..fusion import ROLES
from .limits import LIMITS, check_limits, shown, whole_number
from .rpc import parse_rpc

if TYPE_CHECKING:
    from ..quant import Options
    from ..store import TrioSpec

T = TypeVar("T")


@dataclass(frozen=True)
class RunFlags:
    """How a trio runs, as `quant.Options` has it, in the spellings that people use.

    Attributes:
        n_ctx, n_batch, n_ubatch, n_threads, mlock, exact, exact_vocabulary: as there.
        n_gpu_layers: "all", a number, "large=20,cpt=all", or role -> layers.
        flash_attn: None leaves it to llama.cpp.
        n_prefill: as in `quant.Options`.
        rpc: RPC servers that take the layers, "host:port,…", "large=host:port,…", or role -> them;
            for processes alone that may die (see `commands.supervised`).
        type_k, type_v: a type, "large=q8_0,cpt=f16", or role -> type; None takes the trio's own.
    """

    n_ctx: int | None = None
    n_batch: int = 512
    n_ubatch: int = 512
    n_threads: int = 0
    n_gpu_layers: int | str | Mapping[str, int] = "all"
    flash_attn: bool | None = None
    type_k: str | Mapping[str, str] | None = None
    type_v: str | Mapping[str, str] | None = None
    mlock: bool = False
    exact: bool = False
    exact_vocabulary: bool = False
    n_prefill: int | None = None
    rpc: str | Mapping[str, str] | None = None

    def options(self, spec: TrioSpec, *, n_parallel: int = 1, n_outputs: int = 1) -> Options:
        """How `spec` runs; its own types of KV caches hold where none are given.

        Raises:
            UsageError: a value means nothing, or is out of its bounds.
        """
        from ..quant import Options

        sizes = {name: getattr(self, name) for name in ("n_ctx", "n_batch", "n_ubatch")}
        check_limits({**sizes, "n_threads": self.n_threads, "n_parallel": n_parallel})
        return Options(
            **sizes,
            n_parallel=n_parallel,
            n_outputs=n_outputs,
            n_threads=self.n_threads,
            n_gpu_layers=_by_role(self.n_gpu_layers, _layers, "-ngl"),
            flash_attn=self.flash_attn,
            type_k={**spec.type_k, **_by_role(self.type_k, _cache_type, "-ctk")},
            type_v={**spec.type_v, **_by_role(self.type_v, _cache_type, "-ctv")},
            exact=self.exact,
            exact_vocabulary=self.exact_vocabulary,
            mlock=self.mlock,
            n_prefill=self.n_prefill,
            rpc=parse_rpc(self.rpc),
        )


def _by_role(value: object, convert: Callable[[str, str], T], flag: str) -> dict[str, T]:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        if unknown := [role for role in value if role not in ROLES]:
            raise UsageError(f"{flag}: {shown(unknown[0])} is none of {', '.join(ROLES)}")
        return {role: convert(str(own), flag) for role, own in value.items()}
    return per_role(str(value), convert, flag)


def per_role(text: str, convert: Callable[[str, str], T], flag: str) -> dict[str, T]:
    """`"all"` or `"large=20,cpt=all"` -> role -> value; roles left out keep the default.

    Raises:
        UsageError: a role that is none, or what `convert` raises.
    """
    if "=" not in text:
        return dict.fromkeys(ROLES, convert(text, flag))
    values = {}
    for part in text.split(","):
        role, equals, value = part.partition("=")
        if role not in ROLES or not equals:
            raise UsageError(
                f"{flag}: {shown(part)} is not ROLE=VALUE with a role of {', '.join(ROLES)}"
            )
        values[role] = convert(value, flag)
    return values


def _layers(text: str, flag: str) -> int:
    if text in ("all", "-1"):
        return -1
    most = LIMITS["n_gpu_layers"][1]
    if (number := whole_number(text, 0, most)) is None:
        raise UsageError(f"{flag}: {shown(text)} is neither 'all' nor a number from 0 to {most}")
    return number


def _cache_type(text: str, flag: str) -> str:
    from ..gguf import KV_TYPES

    if text not in KV_TYPES:
        raise UsageError(f"{flag}: unknown type {shown(text)}; known are {', '.join(KV_TYPES)}")
    return text
