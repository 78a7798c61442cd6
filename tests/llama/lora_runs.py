"""Adapters in processes of their own, run by test_lora.py: `fuzz SEED`, or `exact KIND CASE`."""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np

from trimix_cpp.errors import ModelFileError
from trimix_cpp.gguf.reader import read_header
from trimix_cpp.llama.context import Context
from trimix_cpp.llama.model import Model
from trimix_cpp.store.spec import RoleSpec, TrioSpec
from trimix_cpp.store.trios import find_trio

from ..support.tiny import finish, write_tiny_model

Kind = gguf.GGMLQuantizationType
ROUNDS = 400


def write(path: Path, tensors: dict[str, tuple[tuple[int, ...], Kind]], alpha: float) -> Path:
    """A random adapter; shapes as NumPy has them."""
    rng, writer = np.random.default_rng(0), gguf.GGUFWriter(path, "qwen2")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, (shape, kind) in tensors.items():
        values = (rng.standard_normal(shape) * 0.05).astype(np.float32)
        try:
            data = gguf.quants.quantize(values, kind)
        except NotImplementedError:  # zeros are a number in every type
            block, size = gguf.GGML_QUANT_SIZES[kind]
            data = np.zeros((*shape[:-1], shape[-1] // block * size), np.uint8)
        writer.add_tensor(name, data, raw_dtype=kind)
    return finish(writer, path)


def fuzz(seed: int) -> None:
    """Any adapter is refused in one line, or computes; the process lives on either way."""
    chance, taken, refused = random.Random(seed), 0, 0
    folder = Path(tempfile.mkdtemp())
    models = []
    for name, tied in (("tied", True), ("untied", False)):
        path = write_tiny_model(folder / f"{name}.gguf", n_embd=256, n_ff=512, n_layer=1)
        models.append(path if tied else untied(path))
    kinds = [kind for kind in Kind if kind in gguf.GGML_QUANT_SIZES]
    loaded = [Model(path) for path in models]
    for _ in range(ROUNDS):
        model = chance.choice(loaded)
        tensors: dict[str, tuple[tuple[int, ...], Kind]] = {}
        matrices = [t for t in model.header.tensors if len(t.shape) == 2]
        some = matrices if chance.random() < 0.9 else list(model.header.tensors)
        for target in chance.sample(some, chance.randint(1, 2)):
            shapes = pair_of(target.name, target.shape, chance)
            for part, shape in zip("ab", shapes, strict=True):
                fitting = [k for k in kinds if shape[-1] % gguf.GGML_QUANT_SIZES[k][0] == 0]
                kind = chance.choice(fitting) if chance.random() < 0.5 else Kind.F32
                tensors[f"{target.name}.lora_{part}"] = (shape, kind)
        path = write(folder / "lora.gguf", tensors, chance.choice([0.0, 4.0, 1e30]))
        try:
            with Context(
                model, n_ctx=64, n_outputs_max=8, n_threads=1, lora=(path, 1.0)
            ) as context:
                at = np.arange(8, dtype=np.int32)
                context.decode(at, at, at * 0, at >= 0)
                taken += 1
        except ModelFileError:  # test_lora.py reads what these say
            refused += 1
    print("lived", taken, refused)


def untied(path: Path) -> Path:
    """A copy of a tied model with an output head of its own."""
    reader, target = gguf.GGUFReader(path), path.with_name("untied.gguf")
    writer = gguf.GGUFWriter(target, "qwen2")
    for name, item in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            kind = item.types[0]
            inner = item.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, item.contents(), kind, inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.array(tensor.data))
        if tensor.name == "token_embd.weight":
            writer.add_tensor("output.weight", np.array(tensor.data) * np.float32(0.5))
    return finish(writer, target)


def pair_of(
    name: str, shape: tuple[int, ...], chance: random.Random
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shapes of a pair as they should be, or put wrong in one place."""
    rank = chance.choice([1, 2, 32, 256])
    width, height = (*shape, 1)[:2]
    a, b = [rank, width], [height, rank]
    if name == "token_embd.weight":
        a, b = [height, rank], [width, rank]
    spoilt = chance.choice([a, b])
    match chance.randrange(16):
        case 0:
            spoilt[chance.randrange(2)] = chance.choice([1, 2, 256, 512, 263])
        case 1:
            spoilt.insert(0, chance.choice([1, 2, 3]))
        case 2:
            spoilt.reverse()
        case 3:
            a.insert(0, 2)
            b.insert(0, 2)
        case _:
            pass
    return tuple(a), tuple(b)


def exact(kind: Kind, case: str) -> None:
    """Exact mode with an adapter of this type: "equal" where every bit agrees."""
    from ..decoding import exact_runs
    from ..decoding.exact_runs import rewound, run

    whole = exact_runs.jobs
    # The adapter adds a few products to what test_decoding.py tries at length: short texts do.
    exact_runs.jobs = lambda trio: [job for job in whole(trio) if len(job.tokens) < 100]
    demo = find_trio("demo")
    base = demo.roles["base"].path
    matrices = {
        t.name: t.shape
        for t in read_header(base).tensors
        if len(t.shape) == 2 and t.name.startswith("blk.")
    }
    tensors: dict[str, tuple[tuple[int, ...], Kind]] = {}
    for name, (width, height) in matrices.items():
        tensors[f"{name}.lora_a"] = ((32, width), kind)
        tensors[f"{name}.lora_b"] = ((height, 32), kind)
    lora = write(Path(tempfile.mkdtemp()) / "lora.gguf", tensors, 32.0)
    roles = {"base": RoleSpec(base), "cpt": RoleSpec(base, lora), "large": demo.roles["large"]}
    spec = TrioSpec("exact", roles)
    alone = run(spec, 1, 1)
    if case == "chunks":
        others = [run(spec, 1, 1, n_batch=n) for n in (1, 7)]
    elif case == "together":
        others = [run(spec, 3, 1)]
    else:
        others = [rewound(spec, 1)]
    print("equal" if all(other == alone for other in others) else "different")


if __name__ == "__main__":
    if sys.argv[1] == "fuzz":
        fuzz(int(sys.argv[2]))
    else:
        exact(Kind[sys.argv[2]], sys.argv[3])
