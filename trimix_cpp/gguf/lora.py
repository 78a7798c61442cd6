"""May this LoRA adapter sit on this model? Told from the two headers, before llama.cpp sees it.

llama.cpp compares two dimensions of a pair with the model's matrix (`llama-adapter.cpp`) and leaves
the rest to assertions of its graph (`build_lora_mm`, `build_inp_embd` in `llama-graph.cpp`), which
abort the process at the first token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from ..errors import ModelFileError
from ..showing import one_line
from .header import Header, TensorInfo
from .reader import read_adapter_header
from .types import I32, NVFP4

EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"
_SUFFIXES = {".lora_a": 0, ".lora_b": 1}


def read_adapter(path: str | Path, model: Header) -> Header:
    """The header of the LoRA adapter at `path`, which fits the model of the header `model`.

    Raises:
        ModelFileError: no such file, broken, no LoRA adapter, or made for another model.
    """
    adapter = read_adapter_header(path)
    _check_kind(adapter, model)
    targets = {tensor.name: tensor for tensor in model.tensors}
    pairs = _pairs(adapter)
    if EMBEDDING in pairs and OUTPUT not in targets:
        raise _unfit(
            adapter,
            f"changes the token embedding, which {model.path.name} also uses as its output head; "
            "llama.cpp can only do that for a head of its own: merge the adapter into the model",
        )
    for name, (a, b) in pairs.items():
        _check_pair(adapter, model, targets.get(name), a, b)
    return adapter


def _unfit(adapter: Header, what: str) -> ModelFileError:
    return ModelFileError(f"{adapter.path}: {what}")


def _shown(text: object) -> str:
    return one_line(str(text))[:80]


def _check_kind(adapter: Header, model: Header) -> None:
    metadata = adapter.metadata
    if metadata.get("general.type") != "adapter":
        raise _unfit(adapter, "is a model, not a LoRA adapter")
    kind = metadata.get("adapter.type")
    if kind != "lora":
        raise _unfit(adapter, f"is an adapter of the type {_shown(kind)!r}, not a LoRA")
    if adapter.architecture != model.architecture:
        raise _unfit(
            adapter,
            f"was made for a {_shown(adapter.architecture)} model, "
            f"and {model.path.name} is a {_shown(model.architecture)}",
        )
    if not math.isfinite(metadata.get("adapter.lora.alpha", 0.0)):
        raise _unfit(adapter, "its alpha is no finite number; convert the adapter again")
    if "adapter.alora.invocation_tokens" in metadata:
        raise _unfit(adapter, "is an activated LoRA, for some tokens only, which is not supported")


def _pairs(adapter: Header) -> Mapping[str, tuple[TensorInfo, TensorInfo]]:
    """Name of the model's matrix -> its (a, b)."""
    halves: dict[str, dict[int, TensorInfo]] = {}
    for tensor in adapter.tensors:
        name, half = tensor.name[:-7], _SUFFIXES.get(tensor.name[-7:])
        if half is not None:
            halves.setdefault(name, {})[half] = tensor
        elif not tensor.name.endswith("_norm.weight"):  # those llama.cpp leaves out
            raise _unfit(adapter, f"{_shown(tensor.name)} is no part of a LoRA")
    for name, pair in halves.items():
        if len(pair) < 2:
            raise _unfit(adapter, f"half of {_shown(name)} is missing; convert the adapter again")
    if not halves:
        raise _unfit(adapter, "holds no matrices; convert the adapter again")
    return {name: (pair[0], pair[1]) for name, pair in halves.items()}


def _check_pair(
    adapter: Header, model: Header, target: TensorInfo | None, a: TensorInfo, b: TensorInfo
) -> None:
    name = _shown(a.name[:-7])
    if target is None or len(target.shape) < 2:
        raise _unfit(
            adapter, f"changes {name}, which is no matrix of {model.path.name}: another base model?"
        )
    width, height, *rest = target.shape
    rank = b.shape[0]
    wanted = (
        [(rank, height), (rank, width)] if name == EMBEDDING else [(width, rank), (rank, height)]
    )
    if [a.shape, b.shape] != [(*shape, *rest) for shape in wanted]:
        raise _unfit(
            adapter,
            f"the shapes {list(a.shape)} and {list(b.shape)} for {name} do not make up its "
            f"{list(target.shape)} in {model.path.name}: another base model?",
        )
    if I32 in (a.type, b.type) or target.type == NVFP4:
        raise _unfit(adapter, f"llama.cpp cannot compute with its types for {name}")
