"""Merges checkpoint folders into a new one, a piece of a tensor at a time."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..convert.checkpoint import StoredTensor, read_json
from ..errors import TrimixError, UsageError
from ..files import new_folder, real_path, write_json
from ..showing import Progress, size_text
from .methods import METHODS, linear, merge_deltas
from .precision import DTYPES, ROUND, Floats, encode
from .sources import Source, Together, open_together
from .trimming import find_trim

# Numbers of a piece: a dozen float32 arrays of this length are what a merge holds at a time.
PIECE = 1 << 20
SHARD_BYTES = 5_000_000_000
# What a folder has beside its weights and is copied from the first checkpoint.
_COPIED = (
    "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
    "chat_template.jinja",
)  # fmt: skip


@dataclass(frozen=True)
class Merged:
    """What a merge wrote: the folder, its tensors, their bytes, and what the user should know."""

    path: Path
    tensors: int
    nbytes: int
    notices: tuple[str, ...]


@dataclass(frozen=True)
class _Plan:
    """How every tensor is merged."""

    method: str
    models: Sequence[Source]
    normalize: bool
    scale: float


def merge(
    models: Sequence[Source],
    out: Path,
    *,
    base: Path | None = None,
    method: str = "ties",
    normalize: bool | None = None,
    scale: float = 1.0,
    dtype: str | None = None,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> Merged:
    """Merge `models` into the new checkpoint folder `out`, which appears whole or not at all.

    Args:
        models: what is merged, with weights and densities.
        out: the folder to make.
        base: what the models were trained from; for "linear" there is none.
        method: one of `METHODS`.
        normalize: weights count as shares of their sum; None: the method's usual way.
        scale: of the mixed deltas (lambda).
        dtype: of the result, and of the arithmetic: one of `DTYPES`; None: that of the base's
            tensors, or of the first model's.
        shard_bytes: most bytes of a file of weights; a single tensor may be larger.
        progress: is told (bytes written, bytes in all).

    Memory does not grow with the tensors: they pass in pieces of `PIECE` numbers.

    Raises:
        UsageError: options that do not go together.
        TrimixError: a checkpoint is malformed.
        TrimixError: the checkpoints are not of one shape, or hold NaN or infinity.
        OSError: the system refused.
    """
    if method not in METHODS:
        raise UsageError(f"unknown method {method!r}: choose one of {', '.join(METHODS)}")
    normalize = METHODS[method] if normalize is None else normalize
    _check(models, base, method, normalize, scale, dtype)
    if os.path.lexists(out):
        raise TrimixError(f"{out} exists already: name a new folder")
    if not real_path(out).parent.is_dir():
        raise TrimixError(f"{out.parent} is not a folder: create it first")
    folders = [*([base] if base else []), *(model.folder for model in models)]
    together = open_together(folders)
    plan = _Plan(method, models, normalize, scale)
    dtypes = {name: dtype or _own_type(parts[0]) for name, parts in together.tensors.items()}
    sizes = {
        name: math.prod(parts[0].shape) * (4 if dtypes[name] == "F32" else 2)
        for name, parts in together.tensors.items()
    }
    total = sum(sizes.values())
    _check_space(real_path(out).parent, total)
    with new_folder(out) as folder:
        _write_weights(folder, together, plan, dtypes, sizes, shard_bytes, progress)
        _write_rest(folder, together.folder, next(iter(dtypes.values())))
    return Merged(out, len(sizes), total, together.notices)


def _check(
    models: Sequence[Source],
    base: Path | None,
    method: str,
    normalize: bool,
    scale: float,
    dtype: str | None,
) -> None:
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"unknown type {dtype!r}: choose one of {', '.join(DTYPES)}")
    if not math.isfinite(scale):
        raise UsageError(f"lambda is {scale}, but must be finite")
    if method == "linear":
        if base:
            raise UsageError("linear is a mean of the models alone: leave the base out")
        if len(models) < 2:
            raise UsageError("linear needs at least two models")
        if scale != 1:
            raise UsageError("linear has no lambda")
        if normalize and not sum(model.weight for model in models):
            raise UsageError("the weights of a mean must not add up to 0")
    elif base is None or not models:
        raise UsageError(f"{method} adds to a base what models have learned: name both")
    if method != "ties" and any(model.density != 1 for model in models):
        raise UsageError(f"{method} takes every change: density belongs to ties")


def _own_type(tensor: StoredTensor) -> str:
    return tensor.dtype if tensor.dtype in DTYPES else "F32"


def _check_space(folder: Path, need: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < need:
        raise TrimixError(
            f"not enough disk space in {folder}: {size_text(need)} needed, {size_text(free)} free"
        )


def merged_pieces(
    name: str, parts: Sequence[StoredTensor], plan: _Plan, dtype: str
) -> Iterator[Floats]:
    """The merged tensor `name` in pieces, as float32 numbers that `dtype` represents.

    Raises:
        TrimixError: a number is NaN or infinite, before or after.
        TrimixError: a file ended early.
    """
    pieces = _mean(parts, plan, dtype) if plan.method == "linear" else _changed(parts, plan, dtype)
    for piece in pieces:
        if not np.isfinite(piece).all():
            raise TrimixError(f"{name}: its numbers are beyond {dtype} once they are merged")
        yield piece


def _mean(parts: Sequence[StoredTensor], plan: _Plan, dtype: str) -> Iterator[Floats]:
    weights = [model.weight for model in plan.models]
    for pieces in zip(*(_numbers(part, dtype) for part in parts), strict=True):
        yield ROUND[dtype](linear(pieces, weights, normalize=plan.normalize))


def _changed(parts: Sequence[StoredTensor], plan: _Plan, dtype: str) -> Iterator[Floats]:
    base, *others = parts
    deltas = [partial(_deltas, base, other, dtype) for other in others]
    kept = [max(1, int(model.density * math.prod(base.shape))) for model in plan.models]
    trims = [
        find_trim(own, k) if k < math.prod(base.shape) else None
        for own, k in zip(deltas, kept, strict=True)
    ]
    for before, *changes in zip(_numbers(base, dtype), *(own() for own in deltas), strict=True):
        yield merge_deltas(
            plan.method,
            before,
            [trim(own) if trim else own for trim, own in zip(trims, changes, strict=True)],
            [model.weight for model in plan.models],
            normalize=plan.normalize,
            scale=plan.scale,
            round=ROUND[dtype],
        )


def _deltas(base: StoredTensor, other: StoredTensor, dtype: str) -> Iterator[Floats]:
    for before, after in zip(_numbers(base, dtype), _numbers(other, dtype), strict=True):
        yield ROUND[dtype](after - before)


def _numbers(part: StoredTensor, dtype: str) -> Iterator[Floats]:
    for piece in part.chunks(elements=PIECE):
        values = ROUND[dtype](piece.astype(np.float32, copy=False))
        if not np.isfinite(values).all():
            raise TrimixError(
                f"{part.path}: {part.name} holds numbers that are not finite, or beyond {dtype}"
            )
        yield values


def _write_weights(
    folder: Path,
    together: Together,
    plan: _Plan,
    dtypes: Mapping[str, str],
    sizes: Mapping[str, int],
    shard_bytes: int,
    progress: Progress | None,
) -> None:
    total, done = sum(sizes.values()), 0
    shards = split(sizes, shard_bytes)
    names = ["model.safetensors"]
    if len(shards) > 1:
        names = [
            f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)
        ]
        index = {
            "metadata": {"total_size": total},
            "weight_map": {
                name: file for file, shard in zip(names, shards, strict=True) for name in shard
            },
        }
        write_json(index, folder / "model.safetensors.index.json")
    for file_name, shard in zip(names, shards, strict=True):
        with open(folder / file_name, "wb") as file:
            shapes = {name: together.tensors[name][0].shape for name in shard}
            file.write(_header(shapes, dtypes, sizes))
            for name in shard:
                for piece in merged_pieces(name, together.tensors[name], plan, dtypes[name]):
                    data = encode(piece, dtypes[name])
                    file.write(data)
                    done += len(data)
                    if progress:
                        progress(done, total)


def split(sizes: Mapping[str, int], most: int) -> list[list[str]]:
    """Names in their order, in groups of at most `most` bytes, or of one that is larger."""
    groups: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if groups[-1] and filled + size > most:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += size
    return groups


def _header(
    shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, str], sizes: Mapping[str, int]
) -> bytes:
    """The beginning of a safetensors file, up to the tensors' bytes."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes.items():
        entries[name] = {
            "dtype": dtypes[name],
            "shape": list(shape),
            "data_offsets": [at, at + sizes[name]],
        }
        at += sizes[name]
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _write_rest(folder: Path, first: Path, dtype: str) -> None:
    """Configuration and tokenizer of the first checkpoint, with the result's type."""
    config = read_json(first / "config.json")
    key = "dtype" if "dtype" in config else "torch_dtype"
    config[key] = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}[dtype]
    write_json(config, folder / "config.json")
    for name in _COPIED:
        if (first / name).is_file():
            shutil.copyfile(first / name, folder / name)
