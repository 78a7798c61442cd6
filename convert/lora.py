"""A PEFT LoRA adapter to GGUF, as llama.cpp's `convert_lora_to_gguf.py` writes it.

Only the adapter's own matrices are written; the base tells the architecture, the shapes, and how
rows of q and k are ordered. See `docs/lora.md`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_VERSION, MODEL_ARCH_NAMES, GGUFType, Keys

from trimix_cpp.errors import TrimixError
from trimix_cpp.files import check_destination
from trimix_cpp.gguf import Header, read_header
from trimix_cpp.showing import Progress

from . import ARCHITECTURES, OUTTYPES, Converted, architecture_of
from .architecture import Architecture
from .checkpoint import Checkpoint, Config, StoredTensor, read_config, read_safetensors
from .peft_config import MERGE, PeftConfig, read_peft_config
from .tensors import Array, GeneratedTensor, OutputTensor, Transform
from .writer import new_writer, plan, write_authorship, write_file

WEIGHTS = "adapter_model.safetensors"
EMBEDDING, HEAD = "model.embed_tokens", "lm_head"
_PART = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_(A|B|embedding_A|embedding_B)(\.weight)?")


@dataclass(frozen=True)
class Pair:
    """One module's matrices: a [rank, in] and b [out, rank]."""

    a: StoredTensor
    b: StoredTensor

    @property
    def rank(self) -> int:
        """Columns of b."""
        return self.b.shape[-1]


def convert_lora(
    src: str | Path,
    dst: str | Path,
    base: str | Path | None = None,
    outtype: str = "f32",
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> Converted:
    """Convert the PEFT adapter in folder `src` to the GGUF adapter `dst`.

    Args:
        src: a folder with adapter_config.json and adapter_model.safetensors.
        dst: the file to write; it appears whole or not at all.
        base: the base model: a folder with its config.json (weights are not needed), or its GGUF
            file. None takes the folder that adapter_config.json names.
        outtype: f32, f16, bf16 or q8_0.
        force: overwrite `dst`.
        progress: called with (bytes written, bytes in all).

    Raises:
        TrimixError: anything wrong with adapter, base, destination or disk, in one line.
        ModelFileError: `base` is a file, but no sound GGUF.
    """
    src, dst = Path(src), Path(dst)
    if outtype not in OUTTYPES:
        raise TrimixError(f"unknown type {outtype!r}: choose one of {', '.join(OUTTYPES)}")
    if not src.is_dir():
        what = "is a file" if src.exists() else "does not exist"
        raise TrimixError(f"{src} {what}: name the folder of a PEFT adapter")
    config = read_peft_config(src)
    base = _base_path(config, base)
    model, present = _open_base(base)
    _check_destination(dst, src, base, force=force)
    pairs = _read_pairs(src, model)
    shapes = {**model.shapes(), **model.optional_shapes()}
    for module, pair in pairs.items():
        _check_pair(module, pair, model, shapes.get(f"{module}.weight", ()))
        name = model.gguf_name(f"{module}.weight")
        if name is None or (present is not None and name not in present):
            raise TrimixError(f"{src} changes {module}, which {base} lacks: another base?")
    alpha, tensors = _output(pairs, model, config)
    planned = plan(tensors, outtype)
    writer = new_writer(model.name, planned)
    writer.add_type(GGUFType.ADAPTER)
    writer.add_string(Keys.Adapter.TYPE, "lora")
    write_authorship(writer, src)
    writer.add_float32(Keys.Adapter.LORA_ALPHA, alpha)
    writer.add_quantization_version(GGML_QUANT_VERSION)
    write_file(dst, writer, planned, progress)
    return Converted(dst, model.name, len(planned), dst.stat().st_size)


def _base_path(config: PeftConfig, base: str | Path | None) -> Path:
    if base is not None:
        return Path(base)
    if config.base is not None and Path(config.base).is_dir():
        return Path(config.base)
    named = f"was trained on {config.base!r}" if config.base else "does not name its base"
    raise TrimixError(
        f"{config.path.parent} {named}: name that model's folder or GGUF file with --base"
    )


def _open_base(base: Path) -> tuple[Architecture, set[str] | None]:
    """The base as an architecture; and the names of its tensors, if it is a GGUF file."""
    if base.is_dir():
        return architecture_of(Checkpoint(base, read_config(base), {})), None
    header = read_header(base)
    model = architecture_of(Checkpoint(base, _config_of(header), {}))
    return model, {tensor.name for tensor in header.tensors}


def _config_of(header: Header) -> Config:
    """What a `config.json` would say of the sizes of a GGUF model."""
    families = reversed(ARCHITECTURES.items())  # the plainest class of an architecture comes first
    names = {MODEL_ARCH_NAMES[family.arch]: name for name, family in families}
    if header.architecture not in names:
        raise TrimixError(
            f"{header.path} holds a {header.architecture} model, which is not supported "
            f"(supported: {', '.join(sorted(names))})"
        )
    tensors = {tensor.name: tensor.shape for tensor in header.tensors}
    keys = {
        "num_hidden_layers": "block_count",
        "hidden_size": "embedding_length",
        "intermediate_size": "feed_forward_length",
        "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv",
        "head_dim": "attention.key_length",
    }
    values = {
        key: header.metadata.get(f"{header.architecture}.{name}") for key, name in keys.items()
    }
    return Config(
        header.path,
        {
            **values,
            "architectures": [names[header.architecture]],
            "vocab_size": tensors.get("token_embd.weight", (0, 0))[-1],
            "tie_word_embeddings": "output.weight" not in tensors,
        },
    )


def _check_destination(dst: Path, src: Path, base: Path, *, force: bool) -> None:
    check_destination(dst, force=force)
    if not dst.exists():
        return
    inside = dst.suffix != ".gguf" and dst.parent.samefile(src)
    if inside or (base.is_file() and dst.samefile(base)):
        raise TrimixError(f"{dst} is a part of the source: choose another destination")


def _read_pairs(src: Path, model: Architecture) -> dict[str, Pair]:
    """Module -> its pair, in the order of the file."""
    path = src / WEIGHTS
    if not path.exists() and (src / "adapter_model.bin").exists():
        raise TrimixError(
            f"{src} holds only a pickle file (adapter_model.bin), which is never loaded because it "
            "can run code: save the adapter as safetensors (PEFT: save_pretrained)"
        )
    parts: dict[str, tuple[str, str]] = {}
    tensors = read_safetensors(path)
    for name in tensors:
        if name.endswith(".base_layer.weight"):  # PEFT's copy of an embedding that it adapts
            continue
        part = _PART.fullmatch(name)
        if part is None:
            raise TrimixError(
                f"{path}: {name!r} is no LoRA matrix, and a GGUF adapter has nothing else: {MERGE}"
            )
        parts[name] = f"{part[1]}.weight", part[2][-1]
    names = model.text_names(weight for weight, _ in parts.values())
    halves: dict[str, dict[str, StoredTensor]] = {}
    for name, (weight, letter) in parts.items():
        module = names[weight]
        if module is not None:
            halves.setdefault(module.removesuffix(".weight"), {})[letter] = tensors[name]
    for module, pair in halves.items():
        if len(pair) < 2:
            raise TrimixError(f"{path} holds only one of the two matrices of {module!r}")
    if not halves:
        raise TrimixError(f"{path} holds no LoRA matrices")
    return {module: Pair(pair["A"], pair["B"]) for module, pair in halves.items()}


def _check_pair(module: str, pair: Pair, model: Architecture, shape: tuple[int, ...]) -> None:
    path, where = pair.a.path, model.config.path
    if len(shape) != 2:
        raise TrimixError(f"{path}: {module!r} is no matrix of a {model.name} model")
    if module in (EMBEDDING, HEAD) and model.config.get("tie_word_embeddings"):
        raise TrimixError(
            f"{path}: changes {module}, and {where} has one matrix for the embedding and the "
            f"output head, which llama.cpp's adapters cannot change: {MERGE}"
        )
    rows, columns = reversed(shape) if module == EMBEDDING else shape
    if [pair.a.shape, pair.b.shape] != [(pair.rank, columns), (rows, pair.rank)] or not pair.rank:
        raise TrimixError(
            f"{path}: {module} has the shapes {list(pair.a.shape)} and {list(pair.b.shape)}, which "
            f"do not make up the {list(shape)} of {where}: another base?"
        )


def _output(
    pairs: Mapping[str, Pair], model: Architecture, config: PeftConfig
) -> tuple[float, list[OutputTensor]]:
    """The adapter's alpha, and its tensors.

    Modules may have alphas of their own. Where they do, the adapter gets `lora_alpha`, and each
    b is multiplied by what is left over.
    """
    alphas = {module: config.alpha_for(module, pair.rank) for module, pair in pairs.items()}
    common = set(alphas.values())
    alpha = common.pop() if len(common) == 1 else config.alpha
    tensors = []
    for module, pair in pairs.items():
        name = model.gguf_name(f"{module}.weight")
        # llama.cpp looks rows of an embedding's a up by token, so it is stored transposed.
        a = GeneratedTensor(_whole(pair.a).T) if module == EMBEDDING else pair.a
        order = model.transform(f"{module}.weight")
        steps = [order] if order and module != EMBEDDING else []
        if alphas[module] != alpha:
            steps.append(_scaled(alphas[module] / alpha))
        tensors.append(OutputTensor(f"{name}.lora_a", a))
        tensors.append(OutputTensor(f"{name}.lora_b", pair.b, _chained(steps)))
    return alpha, tensors


def _whole(tensor: StoredTensor) -> Array:
    return np.concatenate(list(tensor.chunks()))


def _scaled(factor: float) -> Transform:
    def apply(rows: Array) -> Array:
        scaled: Array = rows.astype(np.float32, copy=False) * np.float32(factor)
        return scaled

    return Transform(apply)


def _chained(steps: list[Transform]) -> Transform | None:
    if not steps:
        return None

    def apply(rows: Array) -> Array:
        return reduce(lambda piece, step: step.apply(piece), steps, rows)

    return Transform(apply, max(step.rows for step in steps))
