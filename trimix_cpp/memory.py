"""How much memory a model's KV cache needs, from its header alone, and how much there is."""

from __future__ import annotations

from typing import NamedTuple

import psutil

from .errors import TrimixError
from .gguf_header import Header


class KVType(NamedTuple):
    """A type of KV cache: its `ggml_type`, and bytes a value."""

    ggml_type: int
    size: float


# What llama-cli takes (common/arg.cpp, `kv_cache_types`).
KV_TYPES = {
    "f32": KVType(0, 4),
    "f16": KVType(1, 2),
    "bf16": KVType(30, 2),
    "q8_0": KVType(8, 34 / 32),
    "q4_0": KVType(2, 18 / 32),
    "q4_1": KVType(3, 20 / 32),
    "iq4_nl": KVType(20, 18 / 32),
    "q5_0": KVType(6, 22 / 32),
    "q5_1": KVType(7, 24 / 32),
}


def cache_bytes(header: Header, cells: int, type_k: str, type_v: str) -> int:
    """Bytes of a KV cache of `cells` tokens, all layers at full length (as llama.cpp allots it).

    0 where the header does not tell the sizes, as with caches that are no KV caches.
    """

    def number(key: str, otherwise: int) -> int:
        value = header.metadata.get(f"{header.architecture}.{key}")
        return value if isinstance(value, int) else otherwise

    heads = max(number("attention.head_count", 0), 1)
    heads_kv = number("attention.head_count_kv", heads)
    head_size = number("embedding_length", 0) // heads
    size_k = number("attention.key_length", head_size) * KV_TYPES[type_k].size
    size_v = number("attention.value_length", head_size) * KV_TYPES[type_v].size
    return int(cells * number("block_count", 0) * heads_kv * (size_k + size_v))


def check_cache_fits(header: Header, cells: int, type_k: str, type_v: str) -> None:
    """Raises TrimixError where the cache is larger than the memory that is free.

    llama.cpp writes zeros all over it at once: the system would kill the process.
    """
    needed, free = cache_bytes(header, cells, type_k, type_v), psutil.virtual_memory().available
    if needed > free:
        raise TrimixError(
            f"{header.path.name}: a context of {cells} tokens needs {_gib(needed)} for its KV "
            f"cache and {_gib(free)} are free; a smaller -c, or -ctk and -ctv q8_0, needs less"
        )


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
