"""No file takes the process down: models of every architecture, whole and damaged at random."""

from __future__ import annotations

import inspect
import os
import random
import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import gguf
import pytest

from trimix_cpp.gguf.families import FAMILIES

from ..support.fates import check_that_all_live
from ..support.raw_gguf import BOOL, F32, I32, MODELS, STRING, U16, U32, RawFile, many, one

FLIPPED = (0, 1, 2, 3, 0x7F, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)
NUMBERS = (
    0,
    1,
    2,
    3,
    5,
    7,
    8,
    15,
    16,
    17,
    32,
    48,
    63,
    64,
    65,
    96,
    128,
    511,
    2**16,
    2**31,
    2**32 - 1,
)
FLOATS = (0.0, -1.0, 1e-45, 3.5, 1e38, float("inf"), float("-inf"), float("nan"))


def test_every_architecture_runs(tmp_path: Path) -> None:
    assert {model.architecture for model in MODELS.values()} == set(FAMILIES)
    fate = check_that_all_live((model.data() for model in MODELS.values()), tmp_path)
    assert dict(zip(MODELS, fate.values(), strict=True)) == dict.fromkeys(MODELS, "fine")


def keys_of(architecture: str) -> list[str]:
    """Every key of the architecture that gguf, and so llama.cpp, has a name for."""
    groups = [group for _, group in inspect.getmembers(gguf.Keys, inspect.isclass)]
    names = {
        name.replace("{arch}", architecture)
        for group in groups
        for name in vars(group).values()
        if isinstance(name, str) and "{arch}" in name
    }
    return sorted(names)


def any_value(rng: random.Random) -> bytes:
    """A value of any type that a key may have."""
    kinds: list[tuple[int, tuple[Any, ...]]] = [
        (U32, NUMBERS),
        (U32, NUMBERS),
        (I32, (-1, -(2**31), 1)),
        (U16, (1, 2)),
        (F32, FLOATS),
        (BOOL, (False, True)),
        (STRING, ("", "yarn", "longrope", "none", "x")),
    ]
    kind, values = rng.choice(kinds)
    if rng.random() < 0.3 and kind != STRING:
        return many(kind, [rng.choice(values) for _ in range(rng.choice((0, 1, 2, 2, 2, 3, 600)))])
    return one(kind, rng.choice(values))


def with_odd_keys(model: RawFile, rng: random.Random) -> RawFile:
    """One to three of the architecture's keys put wrong, added or taken away."""
    names = keys_of(model.architecture)
    present = [name for name in names if name in model.keys]
    changes: dict[str, bytes | None] = {}
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice(present if rng.random() < 0.6 else names)
        changes[name] = None if rng.random() < 0.1 else any_value(rng)
    return model.with_keys(changes)


def with_odd_tensors(model: RawFile, rng: random.Random) -> RawFile:
    """A tensor of another shape or type, or one that is missing or too much."""
    name = rng.choice(list(model.tensors))
    shape, _, _ = model.tensors[name]
    choice = rng.randrange(4)
    if choice == 0:
        return replace(model, tensors={k: v for k, v in model.tensors.items() if k != name})
    if choice == 1:  # everywhere at once, so that the shapes agree with each other
        old, new = rng.choice((16, 32, 64, 96)), rng.choice((0, 1, 2, 15, 16, 32, 48, 64, 128))
        shapes = {k: tuple(new if n == old else n for n in v[0]) for k, v in model.tensors.items()}
        tensors = {k: (shapes[k], 0, zeros(shapes[k])) for k in shapes}
        return replace(model, tensors=tensors)
    if choice == 2:
        shape = tuple(rng.choice((1, 2, 16, 32, 64, 272)) for _ in range(rng.choice((1, 2, 3, 4))))
    if choice == 3:
        name = rng.choice(("output.bias", "rope_freqs.weight", "blk.0.attn_q.bias", "cls.weight",
                           "blk.1.ffn_gate_inp.weight", "blk.0.attn_q.scale", "output.weight",
                           "blk.0.rope_factors_long.weight", "blk.0.attn_qkv.weight",
                           "blk.0.attn_sinks.weight", "dense_2.weight"))  # fmt: skip
    kind = rng.choice((0, 0, 1, 8, 26, 30))
    block, size = {0: (1, 4), 1: (1, 2), 8: (32, 34), 26: (1, 4), 30: (1, 2)}[kind]
    count = 1
    for n in shape:
        count *= n
    return model.with_tensor(name, (shape, kind, bytes(count // block * size)))


def zeros(shape: tuple[int, ...]) -> bytes:
    count = 4
    for n in shape:
        count *= n
    return bytes(count)


def with_flipped_bytes(model: RawFile, rng: random.Random) -> bytes:
    """A few bytes, or one word, of the header changed."""
    data, end = bytearray(model.data()), len(model.header())
    # The vocabulary is most of the header, so two thirds of the damage go elsewhere.
    start = bytes(data).find(b"tokenizer.ggml.tokens")
    stop = bytes(data).find(b"token_embd.weight")
    ranges = ((8, start), (stop, end), (8, end))
    if rng.random() < 0.5:
        for _ in range(rng.choice((1, 1, 2, 4))):
            data[rng.randrange(*rng.choice(ranges))] ^= rng.randrange(1, 256)
    else:
        place = min(rng.randrange(*rng.choice(ranges)), end - 4)
        struct.pack_into("<I", data, place, rng.choice(FLIPPED))
    return bytes(data)


def damaged(seed: int) -> Iterator[bytes]:
    """Damaged files without an end, every architecture in turn."""
    rng = random.Random(seed)
    while True:
        for model in MODELS.values():
            yield with_flipped_bytes(model, rng)
            yield with_odd_keys(model, rng).data()
            yield with_odd_tensors(model, rng).data()


def test_no_damaged_header_ends_the_process(tmp_path: Path) -> None:
    fate = check_that_all_live(islice(damaged(seed=0), 150), tmp_path)
    assert len(fate) == 150


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(10))
def test_no_damaged_header_ends_the_process_at_length(tmp_path: Path, round_: int) -> None:
    """`pytest -m slow tests/gguf/test_damage.py`; TRIMIX_FUZZ_SEED=N for other files."""
    seed = int(os.environ.get("TRIMIX_FUZZ_SEED", "1"))
    files = islice(damaged(seed=seed * 1000 + round_), 48 * len(MODELS))
    fate = check_that_all_live(files, tmp_path)
    # Some of the damage must have got past the checks and into llama.cpp.
    assert sum(how == "fine" for how in fate.values()) > len(fate) // 20
