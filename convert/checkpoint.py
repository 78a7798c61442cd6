"""A Hugging Face checkpoint: its configuration and its tensors, read only when asked for.

Weights come from safetensors files alone; pickle (`pytorch_model.bin`) can run code when loaded
and is never opened. The safetensors header is checked here against the file's real size before
anything is read, so a truncated download is found before a byte is written. The format is eight
bytes of header length, a JSON header, then the tensors' bytes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trimix_cpp import files
from trimix_cpp.errors import TrimixError
from trimix_cpp.showing import one_line

# safetensors' own limit; it keeps a hostile length field from being read into memory.
MAX_HEADER_BYTES = 100_000_000
# Rows are converted in pieces of about this many elements: memory stays flat for any tensor.
CHUNK_ELEMENTS = 4_000_000

# Counts and sizes of a model are far below; GGUF has 32 bits for them.
_MOST = 1 << 31
# A name that is longer, or not printable, is no tensor's.
_LONGEST_NAME = 256

# bfloat16 has no NumPy type: its 16 bits are the upper half of a float32.
DTYPES: dict[str, npt.DTypeLike] = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a safetensors file: where it lies, and what it is."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int

    def chunks(self, rows: int = 1, elements: int = CHUNK_ELEMENTS) -> Iterator[npt.NDArray[Any]]:
        """Yield the tensor in pieces [n, ...], n a multiple of `rows`, float16 or float32.

        A piece has at most `elements` numbers, or `rows` rows if they are more.

        float16 stays as it is; everything else becomes float32 (bfloat16 exactly).

        Raises:
            TrimixError: the file ended early, so it changed since its header was read.
        """
        kind = np.dtype(DTYPES[self.dtype])
        left, row = math.prod(self.shape), math.prod(self.shape[1:])
        block = max(1, rows * row)
        step = max(1, elements // block) * block
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            while left:
                data = np.fromfile(file, kind, min(step, left))
                if data.size < min(step, left):
                    raise TrimixError(f"{self.path} is truncated: download it again")
                left -= data.size
                yield _to_float(data, self.dtype).reshape(-1, *self.shape[1:])


def _to_float(data: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    if dtype == "BF16":
        return (data.astype("<u4") << 16).view("<f4")
    return data if dtype == "F16" else data.astype(np.float32, copy=False)


def shown(value: object) -> str:
    """A value of a file for a message: printable, and not endless."""
    text = ascii(value) if isinstance(value, str) else repr(value)
    return one_line(text if len(text) <= 80 else f"{text[:77]}...")


@dataclass(frozen=True)
class Config:
    """The values of a `config.json`, checked as they are asked for."""

    path: Path
    values: dict[str, Any]

    def get(self, key: str) -> Any:
        """The value of `key`, unchecked; None where it is absent or null."""
        return self.values.get(key)

    def integer(self, key: str, default: int | None = None) -> int:
        """The positive integer `key`, or `default` where it is absent."""
        value = self.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < _MOST:
            raise TrimixError(self._bad(key, value, "a positive integer"))
        return value

    def number(self, key: str, default: float) -> float:
        """The finite number `key`, or `default` where it is absent."""
        value = self.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TrimixError(self._bad(key, value, "a number"))
        if not abs(value) <= sys.float_info.max:
            raise TrimixError(self._bad(key, value, "finite"))
        return float(value)

    def merged(self, values: dict[str, Any]) -> Config:
        """The same with `values` on top."""
        return Config(self.path, {**self.values, **values})

    def _bad(self, key: str, value: object, wanted: str) -> str:
        if value is None:
            return f"{self.path} has no {key!r}: the folder is no complete checkpoint"
        return f"{self.path}: {key!r} is {shown(value)}, but must be {wanted}"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder: its configuration (flattened) and its tensors by name."""

    folder: Path
    config: Config
    tensors: dict[str, StoredTensor]

    @property
    def architecture(self) -> str:
        """The class name that `config.json` gives, e.g. Qwen2ForCausalLM."""
        name = class_of(self.config.values)
        if name is None:
            raise TrimixError(
                f"{self.config.path} names no architecture: it should hold a line like "
                '"architectures": ["Qwen2ForCausalLM"]'
            )
        return one_line(name)[:100]


# The classes without an output head, from which tied models may be saved as well.
_WITH_HEADS = {
    "Qwen2Model": "Qwen2ForCausalLM",
    "Qwen3Model": "Qwen3ForCausalLM",
    "LlamaModel": "LlamaForCausalLM",
    "Gemma2Model": "Gemma2ForCausalLM",
    "Gemma3TextModel": "Gemma3ForCausalLM",
    "Gemma3Model": "Gemma3ForConditionalGeneration",
}


def class_of(config: Mapping[str, Any]) -> str | None:
    """The class for language modelling that a `config.json` names; None where it names none."""
    names = config.get("architectures")
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        return None
    return _WITH_HEADS.get(names[0], names[0])


# quantization_config's names of how weights were quantized -> what people call it.
_METHODS = {
    "gptq": "GPTQ", "awq": "AWQ", "bitsandbytes": "bitsandbytes", "fp8": "FP8", "hqq": "HQQ",
    "compressed-tensors": "compressed-tensors", "mxfp4": "MXFP4", "aqlm": "AQLM", "eetq": "EETQ",
}  # fmt: skip


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint's configuration and the headers of its safetensors files.

    Raises:
        TrimixError: the folder, `config.json`, a shard or a tensor is missing or malformed.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise TrimixError(f"{folder} {what}: name the folder of a Hugging Face checkpoint")
    config = read_config(folder)
    if quantized := config.get("quantization_config"):
        method = quantized.get("quant_method") if isinstance(quantized, dict) else None
        known = f" ({_METHODS[str(method)]})" if str(method) in _METHODS else ""
        raise TrimixError(
            f"{folder} holds quantized weights{known}: convert the original checkpoint"
        )
    return Checkpoint(folder, config, _index(folder))


def read_config(folder: Path) -> Config:
    """Read a checkpoint's `config.json`, flattened.

    Raises:
        TrimixError: the file is missing or no JSON object.
    """
    path = folder / "config.json"
    config = read_json(path)
    if isinstance(config.get("text_config"), dict):  # multimodal models keep their text part here
        text = {key: v for key, v in config["text_config"].items() if v is not None}
        config = {**config, **text, "architectures": config.get("architectures")}
    return Config(path, config)


def read_json(path: Path, *, optional: bool = False) -> dict[str, Any]:
    """Read a JSON object; an `optional` file that is absent reads as empty.

    Raises:
        TrimixError: the file is missing, no JSON, or not an object.
    """
    if optional and not path.exists():
        return {}
    if not path.exists():
        raise TrimixError(f"{path} is missing: is this a Hugging Face checkpoint?")
    value = files.read_json(path)
    if not isinstance(value, dict):
        raise TrimixError(f"{path} must hold a JSON object, not a {type(value).__name__}")
    return value


def _index(folder: Path) -> dict[str, StoredTensor]:
    """All tensors of the folder: by file in name order, and by name within a file.

    This is the order in which llama.cpp's converter writes them.
    """
    index_file = folder / "model.safetensors.index.json"
    promised: dict[str, Any] = {}
    if index_file.exists():
        promised = read_json(index_file).get("weight_map") or {}
        if not isinstance(promised, dict) or not all(map(_plain_name, promised.values())):
            raise TrimixError(f"{index_file}: 'weight_map' must map tensors to file names")
        files = [folder / name for name in sorted(set(promised.values()))]
    else:
        files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise TrimixError(_no_weights(folder))
    tensors: dict[str, StoredTensor] = {}
    for file in files:
        tensors.update(read_safetensors(file))
    lost = sorted(promised.keys() - tensors.keys())
    if lost:
        raise TrimixError(
            f"{folder / promised[lost[0]]} lacks {lost[0]} and {len(lost) - 1} more tensors "
            "that the index promises: download it again"
        )
    return tensors


def _plain_name(name: object) -> bool:
    """Whether `name` names a file of the folder itself, so that an index cannot point outside."""
    if not isinstance(name, str) or not name.isprintable():  # NUL, halves of surrogates
        return False
    return name == Path(name).name and "\\" not in name


def _no_weights(folder: Path) -> str:
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pth"})
    if pickles:
        return (
            f"{folder} holds only pickle files ({pickles[0]}), which are never loaded because they "
            "can run code: save the model as safetensors (transformers: save_pretrained)"
        )
    return f"{folder} holds no model*.safetensors file"


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """Read and check the header of a safetensors file; tensors sorted by name.

    Raises:
        TrimixError: the file is missing, truncated or malformed, or holds a type that has no
            place in a language model's checkpoint.
    """
    files.check_regular(path)
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
                raise TrimixError(f"{path} is truncated or no safetensors file: download it again")
            text = files.decode_utf8(file.read(length), f"{path}: broken safetensors header")
    except FileNotFoundError:
        raise TrimixError(f"{path} is missing: download it") from None
    header = files.parse_json(text, f"{path}: broken safetensors header")
    if not isinstance(header, dict):
        raise TrimixError(f"{path}: broken safetensors header: no JSON object")
    header.pop("__metadata__", None)
    start = 8 + length
    _check_kind(path, header)
    return {
        name: _stored_tensor(path, name, entry, start, size)
        for name, entry in sorted(header.items())
    }


# Ends of the names of tensors that only quantized checkpoints have -> what made them.
_QUANTIZED = {
    ".SCB": "loaded in 8 bits (bitsandbytes)",
    ".quant_state.bitsandbytes__nf4": "loaded in 4 bits (bitsandbytes)",
    ".quant_state.bitsandbytes__fp4": "loaded in 4 bits (bitsandbytes)",
    ".qweight": "quantized (GPTQ or AWQ)",
    ".weight_packed": "quantized (compressed-tensors)",
    ".weight_scale": "quantized to 8 bits (fp8)",
    ".weight_scale_inv": "quantized to 8 bits (fp8)",
    "_blocks": "quantized to 4 bits (mxfp4)",
}


def _check_kind(path: Path, names: Iterable[str]) -> None:
    """Refuse a checkpoint that was saved quantized, whatever its config.json says."""
    for name in names:
        kind = next((kind for end, kind in _QUANTIZED.items() if name.endswith(end)), None)
        if kind:
            raise TrimixError(
                f"{path} was saved from a model that was {kind}: load it in 16 bits (torch_dtype "
                "bfloat16), merge what is to be merged, and save it again"
            )


def _stored_tensor(path: Path, name: str, entry: Any, start: int, size: int) -> StoredTensor:
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        sound = all(type(n) is int and n >= 0 for n in (begin, end, *shape))
    except (TypeError, KeyError, ValueError):
        sound = False
    if not name.isprintable() or len(name) > _LONGEST_NAME:
        raise TrimixError(f"{path}: {shown(name)} is no name of a tensor")
    if not sound or not isinstance(dtype, str):
        raise TrimixError(f"{path}: the header's entry for {name} is malformed")
    if dtype not in DTYPES:
        raise TrimixError(
            f"{path}: {name} has type {one_line(dtype)[:40]}, which is not supported "
            f"(supported: {', '.join(sorted(DTYPES))}): save the model in bfloat16 or float32"
        )
    if end - begin != math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize:
        raise TrimixError(f"{path}: {name} has {end - begin} bytes, which does not fit its shape")
    if start + end > size:
        raise TrimixError(f"{path} is truncated ({name} lies behind its end): download it again")
    return StoredTensor(name, dtype, shape, path, start + begin)
