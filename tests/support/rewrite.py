"""Copies of a GGUF model with its vocabulary rewritten: padded, permuted, expanded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

from .tiny import finish

TOKENS, TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
SCORES = "tokenizer.ggml.scores"


def rewrite(
    source: Path, target: Path, ids: list[int], extra: list[tuple[str, gguf.TokenType]]
) -> Path:
    """Write `source` with token `ids[i]` at id i, and `extra` tokens with random rows after them.

    Weights keep their types and bytes: rows of the embedding move, nothing is quantized anew.
    """
    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, architecture)
    where = {old: new for new, old in enumerate(ids)}
    for name, item in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            _copy_field(writer, name, item, ids, extra, where)
    rng = np.random.default_rng(0)
    for tensor in reader.tensors:
        data = tensor.data
        if tensor.name in ("token_embd.weight", "output.weight"):
            # Rows of real tokens, so that a wrong column would win and be seen.
            more = data[rng.integers(0, len(data), len(extra))]
            data = np.concatenate([data[ids], more])
        writer.add_tensor(tensor.name, data, raw_dtype=tensor.tensor_type)
    return finish(writer, target)


def _copy_field(
    writer: gguf.GGUFWriter,
    name: str,
    item: Any,
    ids: list[int],
    extra: list[tuple[str, gguf.TokenType]],
    where: dict[int, int],
) -> None:
    value, kind = item.contents(), item.types[0]
    if name == TOKENS:
        value = [value[i] for i in ids] + [text for text, _ in extra]
    elif name == TYPES:
        value = [value[i] for i in ids] + [int(token_type) for _, token_type in extra]
    elif name == SCORES:
        value = [value[i] for i in ids] + [0.0] * len(extra)
    elif name.startswith("tokenizer.ggml.") and name.endswith("_token_id"):
        value = where[value]
    elif name.endswith(".vocab_size"):
        value = len(ids) + len(extra)
    sub_type = item.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
    writer.add_key_value(name, value, kind, sub_type=sub_type)


def n_vocab(path: Path) -> int:
    """How many tokens the file's vocabulary has."""
    return len(gguf.GGUFReader(path).fields[TOKENS].data)


def padded(source: Path, target: Path, count: int) -> Path:
    """With `count` columns of padding, as Qwen2.5 7B has them beside 1.5B."""
    n = n_vocab(source)
    pads = [(f"[PAD{i}]", gguf.TokenType.UNUSED) for i in range(n, n + count)]
    return rewrite(source, target, list(range(n)), pads)


def permuted(source: Path, target: Path, seed: int = 0) -> Path:
    """With the same tokens under other ids."""
    ids = np.random.default_rng(seed).permutation(n_vocab(source)).tolist()
    return rewrite(source, target, ids, [])


def expanded(source: Path, target: Path, texts: list[str]) -> Path:
    """With real tokens that the source lacks."""
    extra = [(text, gguf.TokenType.NORMAL) for text in texts]
    return rewrite(source, target, list(range(n_vocab(source))), extra)
