"""Hugging Face checkpoints to GGUF, as llama.cpp's own converter writes it.

One module an architecture (`qwen2`, `qwen3`, `llama`, `gemma2`, `gemma3`), over shared parts:
`checkpoint` reads, `architecture` and `gemma` hold what all or some have in common, `tokenizer`,
`vocab`, `spm` and `pretokenizer` read the tokenizer, `tensors` says what happens to values on the
way, `writer` writes. See `docs/convert.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trimix_cpp.errors import TrimixError
from trimix_cpp.files import check_destination
from trimix_cpp.showing import Progress

from .architecture import Architecture
from .checkpoint import Checkpoint, open_checkpoint
from .gemma2 import Gemma2
from .gemma3 import Gemma3
from .llama import Llama
from .qwen2 import Qwen2
from .qwen3 import Qwen3
from .writer import OUTTYPES, write_gguf

__all__ = ["ARCHITECTURES", "OUTTYPES", "Converted", "convert"]

ARCHITECTURES: dict[str, type[Architecture]] = {
    "Qwen2ForCausalLM": Qwen2,
    "Qwen3ForCausalLM": Qwen3,
    "LlamaForCausalLM": Llama,
    "Gemma2ForCausalLM": Gemma2,
    "Gemma3ForCausalLM": Gemma3,
    "Gemma3ForConditionalGeneration": Gemma3,
}


@dataclass(frozen=True)
class Converted:
    """What a conversion wrote: the file, GGUF's architecture name, tensors, and bytes on disk."""

    path: Path
    architecture: str
    tensors: int
    nbytes: int


def convert(
    src: str | Path,
    dst: str | Path,
    outtype: str = "f16",
    *,
    pre: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Converted:
    """Convert the checkpoint in folder `src` to the GGUF file `dst`.

    Args:
        src: a Hugging Face folder with config.json, tokenizer.json and safetensors.
        dst: the file to write; it appears whole or not at all.
        outtype: f32, f16, bf16 or q8_0; vectors, norms and biases are F32 in any case.
        pre: llama.cpp's name of the pre-tokenizer, where it is not recognised.
        force: overwrite `dst`.
        progress: called with (bytes written, bytes in all).

    Raises:
        TrimixError: anything wrong with source, destination or disk, in one line.
    """
    src, dst = Path(src), Path(dst)
    if outtype not in OUTTYPES:
        raise TrimixError(f"unknown type {outtype!r}: choose one of {', '.join(OUTTYPES)}")
    model = architecture_of(open_checkpoint(src))
    check_destination(dst, force=force)
    if dst.suffix != ".gguf" and dst.exists() and dst.parent.samefile(src):
        raise TrimixError(f"{dst} is a part of the source: choose another destination")
    written = write_gguf(dst, model, outtype, pre, progress)
    return Converted(dst, model.name, len(written), dst.stat().st_size)


def architecture_of(checkpoint: Checkpoint) -> Architecture:
    """The family that `config.json` names, on this checkpoint.

    Raises:
        TrimixError: it is not among `ARCHITECTURES`, or its configuration is malformed.
    """
    family = ARCHITECTURES.get(checkpoint.architecture)
    if family is None:
        raise TrimixError(
            f"{checkpoint.folder} holds a {checkpoint.architecture}; converted here are "
            f"{', '.join(sorted(ARCHITECTURES))}; others are for llama.cpp's convert_hf_to_gguf.py"
        )
    return family(checkpoint)
