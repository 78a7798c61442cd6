"""How much memory models need, from their sizes alone, and how much there is.

Weights are pages of a mapped file, which the system drops and reads again as it likes: too little
memory makes them slow. All the rest is the process's own, and too little kills it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import TrimixError
from ..fusion import DRAFT, PRECEDENCE
from ..gguf import KV_TYPES, Header, ModelShape, shape_of_header
from ..showing import size_text
from .machine import free_memory
from .options import Options
from .profiles import Profile
from .sizes import planned_bytes, repacked_bytes

# llama.cpp rounds a context up (llama-context.cpp).
_CELLS = 256
# Python, NumPy, llama.cpp and what a fused row takes, measured.
_PROGRAM = 60 << 20
# What llama.cpp's tables and ours take for a token, and for a rule of a BPE tokenizer, measured.
_PER_TOKEN, _PER_MERGE = 260, 250


@dataclass(frozen=True)
class Hardware:
    """What llama.cpp does with weights here.

    Attributes:
        repacked_types: `ggml_type`s whose weights it copies into another order.
        gpu: it can put layers on a GPU.
    """

    repacked_types: frozenset[int] = frozenset()
    gpu: bool = False


@dataclass(frozen=True)
class Estimate:
    """Bytes that one role needs.

    Attributes:
        weights: read from the mapped file; 0 where another role has the same file.
        repacked: weights that llama.cpp copies into the order that its kernels want.
        cache: the KV cache at its full length, which is taken at once.
        compute: buffers of the graph.
        logits: rows of logits.
        vocabulary: tables of the tokenizer.
    """

    weights: int
    repacked: int
    cache: int
    compute: int
    logits: int
    vocabulary: int

    @property
    def private(self) -> int:
        """What cannot be dropped and read again."""
        return self.repacked + self.cache + self.compute + self.logits + self.vocabulary

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.private


@dataclass(frozen=True)
class TrioEstimate:
    """Estimates by role, and bytes of the program itself."""

    roles: Mapping[str, Estimate]
    program: int = _PROGRAM

    @property
    def private(self) -> int:
        """What cannot be dropped and read again."""
        return self.program + sum(role.private for role in self.roles.values())

    @property
    def weights(self) -> int:
        """What is read from mapped files."""
        return sum(role.weights for role in self.roles.values())

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.private

    def as_json(self) -> dict[str, object]:
        """Bytes, by role and in all."""
        fields = ("weights", "repacked", "cache", "compute", "logits", "vocabulary", "total")
        return {
            "roles": {
                role: {name: getattr(estimate, name) for name in fields}
                for role, estimate in self.roles.items()
            },
            "program": self.program,
            "private": self.private,
            "weights": self.weights,
            "total": self.total,
        }


def estimate(
    models: Mapping[str, ModelShape | Header],
    options: Options,
    *,
    hardware: Hardware | None = None,
    profile: Profile | None = None,
    adapters: Mapping[str, int] | None = None,
    loaded: bool = False,
) -> TrioEstimate:
    """What a trio needs of the main memory.

    Args:
        models: role -> its model, as a header or as a shape; roles of one file share its weights.
        options: how it runs; `n_ctx` must say so.
        hardware: what llama.cpp does with weights on this machine.
        profile: the models as they will be once they are quantized so.
        adapters: role -> bytes of its LoRA.
        loaded: the models are loaded already: only their contexts are still to be made.

    Raises:
        ValueError: `options` leave the context's length open.
    """
    if not options.n_ctx:
        raise ValueError("the length of the context must be said")
    n_ctx, n_parallel, hardware = options.n_ctx, options.n_parallel, hardware or Hardware()
    defaults = (profile.type_k, profile.type_v) if profile else ("f16", "f16")
    shapes = {
        role: shape_of_header(model) if isinstance(model, Header) else model
        for role, model in models.items()
    }
    roles: dict[str, Estimate] = {}
    seen: set[object] = set()
    # A file that roles share is quantized for the first of PRECEDENCE, and counts there.
    for role in sorted(shapes, key=(*PRECEDENCE, DRAFT).index):
        shape = shapes[role]
        file = shape.name, options.servers(role)
        shared = file in seen
        seen.add(file)
        choice = profile.roles[role] if profile else None
        here = not options.is_offloaded(role, hardware.gpu)
        size = planned_bytes(shape, choice) if choice else shape.nbytes
        fresh = here and not shared
        copied = repacked_bytes(shape, choice, hardware.repacked_types) if fresh else 0
        rows = max(n_parallel, options.n_outputs)
        cells = n_ctx * n_parallel
        roles[role] = Estimate(
            weights=size - copied if fresh else 0,
            repacked=(0 if loaded else copied) + (adapters or {}).get(role, 0),
            cache=_cache(shape, cells, *options.cache_types(role, defaults)) if here else 0,
            compute=_compute(shape, cells, min(options.n_ubatch, n_ctx), rows) if here else 0,
            logits=4 * rows * shape.n_vocab,
            vocabulary=0
            if shared or loaded
            else _PER_TOKEN * shape.n_vocab + _PER_MERGE * shape.n_merges,
        )
    return TrioEstimate({role: roles[role] for role in shapes}, 0 if loaded else _PROGRAM)


def describe(needed: TrioEstimate) -> str:
    """In a line: what it is in all, and what of."""
    weights = ", ".join(
        f"{role} {size_text(one.weights + one.repacked)}" for role, one in needed.roles.items()
    )
    cache = sum(role.cache for role in needed.roles.values())
    rest = needed.total - cache - sum(r.weights + r.repacked for r in needed.roles.values())
    caches, others = size_text(cache), size_text(rest)
    return f"{size_text(needed.total)}: weights {weights}; KV caches {caches}; the rest {others}"


def cache_bytes(header: Header, cells: int, type_k: str, type_v: str) -> int:
    """Bytes of a KV cache of `cells` tokens, all layers at full length (as llama.cpp allots it).

    0 where the header does not tell the sizes, as with caches that are no KV caches.
    """
    return _cache(shape_of_header(header), cells, type_k, type_v)


def _cache(shape: ModelShape, cells: int, type_k: str, type_v: str) -> int:
    heads = _padded(cells) * sum(shape.kv_heads)
    keys = KV_TYPES[type_k].nbytes(heads * shape.key_length)
    return keys + KV_TYPES[type_v].nbytes(heads * shape.value_length)


def _compute(shape: ModelShape, cells: int, tokens: int, rows: int) -> int:
    """Bytes of the graph's buffers, found by measuring (tests/quant/test_memory.py holds it so).

    Of each token of a micro-batch: three rows of the feed-forward network and four of the residual
    stream at its widest point, or the attention's queries, keys and values; the mask of half
    floats, twice where some layers have a window; the rows that are multiplied, converted to the
    weights' type. Rows of logits reuse that memory.
    """
    heads = max(shape.kv_heads, default=0)
    attention = 3 * shape.n_head * shape.key_length + 2 * heads * shape.value_length
    widest = max(3 * shape.n_ff, attention) + 4 * shape.n_embd
    masks = (2 if shape.windowed else 1) * 2 * tokens * _padded(cells)
    converted = 2 * tokens * max(shape.n_ff, shape.n_embd)
    return masks + converted + max(4 * tokens * widest, 4 * rows * shape.n_vocab)


def _padded(cells: int) -> int:
    return -(-cells // _CELLS) * _CELLS


def check_cache_fits(header: Header, cells: int, type_k: str, type_v: str) -> None:
    """Raises TrimixError where the cache is larger than the memory that is free.

    llama.cpp writes zeros all over it at once: the system would kill the process.
    """
    needed, free = cache_bytes(header, cells, type_k, type_v), free_memory()
    if needed > free:
        raise TrimixError(
            f"{header.path.name}: a context of {cells} tokens needs {size_text(needed)} for its KV "
            f"cache and {size_text(free)} are free; a smaller -c, or -ctk and -ctv q8_0, needs less"
        )


def check_fits(needed: TrioEstimate, *, free: int | None = None) -> str:
    """What to tell about a trio that is about to be loaded; empty where it fits.

    Args:
        needed: what it needs.
        free: bytes; what the system calls available if not given.

    Raises:
        TrimixError: the system would kill the process. Weights that do not fit are no such reason:
            they are read again from the file, which is slow.
    """
    free = free_memory() if free is None else free
    if needed.private > free:
        largest = max(needed.roles, key=lambda role: needed.roles[role].private)
        cache = sum(role.cache for role in needed.roles.values())
        raise TrimixError(
            f"the models need {size_text(needed.private)} besides what is read from their files "
            f"({size_text(cache)} for KV caches; most for {largest}) and {size_text(free)} are "
            "free; a smaller -c, fewer sequences at once, or -ctk and -ctv q8_0 need less"
        )
    if needed.total > free:
        return (
            f"the models need {size_text(needed.total)} and {size_text(free)} are free: weights "
            "will be read from the disk again and again, which is slow; "
            "a profile of fewer bits needs less"
        )
    return ""
