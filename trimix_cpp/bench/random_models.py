"""GGUF models of random weights at the shapes of real ones: for timings, where the words are noise.

Quantized blocks are random bytes with small scales, in the types that llama.cpp gives a file of
that name, so a model of 7 billion parameters takes seconds and little memory to write. Logits stay
within a few tens. The vocabulary has the real one's sizes and padding; text becomes a token a byte.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from numpy.typing import NDArray

from ..alignment import BYTE_LETTERS
from ..errors import TrimixError, UsageError
from ..files import check_destination, read_json, replacing, write_json
from ..gguf import ModelShape, shape_of_config
from ..quant import RoleProfile, planned_type
from ..showing import size_text


class Shape(NamedTuple):
    """The sizes of a model; `n_real` tokens mean something, the others are padding.

    `family` is GGUF's name of the architecture; `head_dim` 0 is the width divided by the heads.
    """

    n_embd: int
    n_ff: int
    n_layer: int
    n_head: int
    n_head_kv: int
    n_vocab: int
    n_real: int
    tied: bool
    family: str = "qwen2"
    head_dim: int = 0

    def model(self) -> ModelShape:
        """As memory and llama.cpp's choice of types have it."""
        config = {
            "architectures": [f"{self.family.capitalize()}ForCausalLM"],
            "head_dim": self.head_dim or self.n_embd // self.n_head,
            "hidden_size": self.n_embd,
            "intermediate_size": self.n_ff,
            "num_hidden_layers": self.n_layer,
            "num_attention_heads": self.n_head,
            "num_key_value_heads": self.n_head_kv,
            "vocab_size": self.n_vocab,
            "tie_word_embeddings": self.tied,
        }
        return shape_of_config(config, "random", n_merges=1)


SHAPES = {
    "qwen2.5-0.5b": Shape(896, 4864, 24, 14, 2, 151936, 151665, tied=True),
    "qwen2.5-1.5b": Shape(1536, 8960, 28, 12, 2, 151936, 151665, tied=True),
    "qwen2.5-3b": Shape(2048, 11008, 36, 16, 2, 151936, 151665, tied=True),
    "qwen2.5-7b": Shape(3584, 18944, 28, 28, 4, 152064, 151665, tied=False),
    "qwen2.5-14b": Shape(5120, 13824, 48, 40, 8, 152064, 151665, tied=False),
    "qwen3-0.6b": Shape(1024, 3072, 28, 16, 8, 151936, 151669, True, "qwen3", 128),
    "qwen3-1.7b": Shape(2048, 6144, 28, 16, 8, 151936, 151669, True, "qwen3", 128),
    "qwen3-4b": Shape(2560, 9728, 36, 32, 8, 151936, 151669, True, "qwen3", 128),
    "qwen3-8b": Shape(4096, 12288, 36, 32, 8, 151936, 151669, False, "qwen3", 128),
    "qwen3-14b": Shape(5120, 17408, 40, 40, 8, 151936, 151669, False, "qwen3", 128),
    "gemma2-2b": Shape(2304, 9216, 26, 8, 4, 256000, 256000, True, "gemma2", 256),
    "gemma2-9b": Shape(3584, 14336, 42, 16, 8, 256000, 256000, True, "gemma2", 256),
    "gemma3-1b": Shape(1152, 6912, 26, 4, 1, 262144, 262144, True, "gemma3", 256),
    "gemma3-4b": Shape(2560, 10240, 34, 8, 4, 262144, 262144, True, "gemma3", 256),
    "gemma3-12b": Shape(3840, 15360, 48, 16, 8, 262144, 262144, True, "gemma3", 256),
    # For trying things out.
    "tiny-a": Shape(256, 512, 2, 4, 2, 4000, 3900, tied=True),
    "tiny-b": Shape(512, 1024, 2, 4, 2, 4096, 3900, tied=False),
}
DEFAULT_TYPE = "Q4_K_M"
# Where a block's float16 scales stand (ggml-common.h), with values that make weights of about 0.02.
SCALES: dict[Type, tuple[tuple[int, float], ...]] = {
    Type.Q8_0: ((0, 2.7e-4),),
    Type.Q6_K: ((208, 1.5e-5),),
    Type.Q5_K: ((0, 3.5e-5), (2, 5.4e-4)),  # the second takes the mean off
    Type.Q4_K: ((0, 7e-5), (2, 5.2e-4)),
    Type.Q3_K: ((108, 4.7e-4),),
    Type.Q2_K: ((80, 2.4e-3), (82, 3.6e-3)),
    Type.Q5_1: ((0, 2e-3), (2, -0.031)),
    Type.Q5_0: ((0, 2e-3),),
    Type.Q4_0: ((0, 4e-3),),
    Type.IQ4_NL: ((0, 3e-4),),
    Type.IQ4_XS: ((0, 1.7e-5),),
}
# Tokens that the layers without full attention see.
_WINDOWS = {"gemma2": 4096, "gemma3": 1024}
_MANIFEST = "random-models.json"
# A pool of random weights is this long, and repeats; no matrix product is the faster for it.
_POOL = 1 << 23


def shapes_of_trio(name: str) -> dict[str, Shape]:
    """`"qwen2.5-1.5b+7b"` -> role -> Shape: base and cpt have the first, large the second.

    Raises:
        UsageError: no such shapes.
    """
    small, _, large = name.partition("+")
    if large not in SHAPES:
        large = f"{small.rpartition('-')[0]}-{large}"
    if small not in SHAPES or large not in SHAPES:
        known = ", ".join(SHAPES)
        raise UsageError(f"no shapes {name!r}: two of {known}, as in qwen2.5-1.5b+7b")
    return {"base": SHAPES[small], "cpt": SHAPES[small], "large": SHAPES[large]}


@contextmanager
def random_trio(
    name: str, types: Mapping[str, str], keep: Path | None = None
) -> Iterator[dict[str, Path]]:
    """Files by role, in a temporary folder that is removed in the end.

    Args:
        name: shapes, as `shapes_of_trio` takes them.
        types: role -> type of its file.
        keep: write them here instead and leave them; what is there already is taken if it has the
            same name and types.

    Raises:
        UsageError: no such shapes, or a type that cannot be random.
        TrimixError: the disk is too full.
    """
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="trimix-bench-") as folder:
            yield write_trio(Path(folder), name, types)
        return
    keep.mkdir(parents=True, exist_ok=True)
    wanted = {"shapes": name, "types": dict(types)}
    manifest, files = keep / _MANIFEST, _files(keep)
    ours = manifest.is_file()
    there = ours and all(path.is_file() for path in files.values())
    if not there or read_json(manifest) != wanted:
        for path in files.values():
            check_destination(path, force=ours, advice="name another folder with --keep")
        write_json({}, manifest)  # not finished, and ours
        files = write_trio(keep, name, types)
        write_json(wanted, manifest)
    yield files


def _files(folder: Path) -> dict[str, Path]:
    return {role: folder / f"{role}.gguf" for role in ("base", "cpt", "large")}


def write_trio(folder: Path, name: str, types: Mapping[str, str] | None = None) -> dict[str, Path]:
    """Write the three models; role -> file. Roles left out of `types` are of `DEFAULT_TYPE`.

    Raises:
        UsageError: no such shapes, or a type that cannot be random.
        TrimixError: the disk is too full.
    """
    types, shapes = types or {}, shapes_of_trio(name)
    kinds = {role: types.get(role, DEFAULT_TYPE) for role in shapes}
    needed = sum(model_bytes(shape, kinds[role]) for role, shape in shapes.items())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise TrimixError(
            f"{folder}: models of {name} need {size_text(needed)} and {size_text(free)} are free; "
            "choose another folder, by --keep or by TMPDIR"
        )
    files = _files(folder)
    for seed, (role, shape) in enumerate(shapes.items()):
        with replacing(files[role]) as path:
            write_model(path, shape, seed, kinds[role])
    return files


def model_bytes(shape: Shape, file_type: str = DEFAULT_TYPE) -> int:
    """Bytes of a file, near enough: tensors and vocabulary."""
    tensors = sum(
        rows * (columns * 4 if kind is None else row_bytes(columns, kind))
        for _, rows, columns, kind in tensors_of(shape, file_type)
    )
    return tensors + 24 * shape.n_vocab


def write_model(path: Path, shape: Shape, seed: int = 0, file_type: str = DEFAULT_TYPE) -> Path:
    """A random model; the same seed gives the same file.

    Raises:
        UsageError: a type that cannot be random.
    """
    rng = np.random.default_rng(seed)
    pool = rng.integers(0, 256, _POOL, np.uint8)
    floats = rng.normal(0, 0.02, _POOL // 8).astype(np.float32)
    tensors = list(tensors_of(shape, file_type))
    writer = gguf.GGUFWriter(path, shape.family)
    _add_metadata(writer, shape)
    for name, rows, columns, kind in tensors:
        if kind is None:
            writer.add_tensor_info(name, [columns], np.dtype(np.float32), columns * 4)
        else:
            size = row_bytes(columns, kind)
            writer.add_tensor_info(name, [rows, size], np.dtype(np.uint8), rows * size, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, rows, columns, kind in tensors:
        if kind is None:
            value = 0.0 if name.endswith("bias") else 1.0
            writer.write_tensor_data(np.full(columns, value, np.float32))
        else:
            writer.write_tensor_data(_matrix(pool, floats, rng, rows, columns, kind))
    writer.close()
    return path


def tensors_of(
    shape: Shape, file_type: str = DEFAULT_TYPE
) -> Iterator[tuple[str, int, int, Type | None]]:
    """(name, rows, columns, type) of every tensor; no type is a vector of float32.

    Raises:
        UsageError: a type that cannot be random.
    """
    model, choice = shape.model(), RoleProfile(file_type)
    for name, tensor in model.tensors.items():
        if len(tensor.shape) == 1:
            yield name, 1, tensor.shape[0], None
            continue
        kind = Type[planned_type(model, name, tensor, choice) or "F32"]
        if kind not in SCALES and kind not in (Type.F32, Type.F16, Type.BF16):
            known = ", ".join(entry.name for entry in SCALES)
            raise UsageError(
                f"{file_type}: no random weights of type {kind.name}; there are {known}"
            )
        yield name, tensor.shape[1], tensor.shape[0], kind


def row_bytes(columns: int, kind: Type) -> int:
    """Bytes of a row of `columns` values."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    return int(columns // block * size)


def _matrix(
    pool: NDArray[np.uint8],
    floats: NDArray[np.float32],
    rng: np.random.Generator,
    rows: int,
    columns: int,
    kind: Type,
) -> NDArray[np.uint8]:
    """The tensor's bytes, uint8 [rows, bytes of a row]."""
    size = row_bytes(columns, kind)
    if kind not in SCALES:
        values = np.roll(floats, int(rng.integers(len(floats))))
        half = {Type.F32: values, Type.F16: values.astype(np.float16)}.get(kind)
        # bfloat16 is the upper half of a float32.
        raw = values.view(np.uint16)[1::2] if half is None else half
        return np.resize(np.ascontiguousarray(raw).view(np.uint8), (rows, size))
    data = np.resize(np.roll(pool, int(rng.integers(len(pool)))), rows * size)
    blocks = data.reshape(-1, gguf.GGML_QUANT_SIZES[kind][1])
    for at, scale in SCALES[kind]:
        blocks[:, at : at + 2] = np.array([scale], np.float16).view(np.uint8)
    return data.reshape(rows, size)


def _add_metadata(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_context_length(32768)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head_kv)
    writer.add_layer_norm_rms_eps(1e-6)
    if shape.head_dim:
        writer.add_key_length(shape.head_dim)
        writer.add_value_length(shape.head_dim)
    if shape.family in _WINDOWS:
        writer.add_sliding_window(_WINDOWS[shape.family])
    writer.add_rope_freq_base(1e6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    normal, unused = int(gguf.TokenType.NORMAL), int(gguf.TokenType.UNUSED)
    padding = range(shape.n_real, shape.n_vocab)
    letters = {byte: letter for letter, byte in BYTE_LETTERS.items()}
    known = [*(chr(letters.get(byte, byte)) for byte in range(256)), "th"]
    words = known + [f"t{index}" for index in range(len(known), shape.n_real)]
    writer.add_token_list([*words, *(f"[PAD{index}]" for index in padding)])
    writer.add_token_types([normal] * shape.n_real + [unused] * len(padding))
    writer.add_token_merges(["t h"])
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)
