"""A GGUF file with a tokenizer and no weights, from the small files of a checkpoint."""

from __future__ import annotations

from pathlib import Path

from gguf import GGUFType

from . import OUTTYPES, architecture_of
from .checkpoint import Checkpoint, read_config
from .writer import new_writer, write_file


def convert_vocabulary(src: Path, dst: Path, *, pre: str | None = None) -> Path:
    """Write the tokenizer of the checkpoint in `src` to `dst`; its weights need not be there.

    Args:
        src: a folder with config.json and the tokenizer's files.
        dst: the file to write; it appears whole or not at all.
        pre: llama.cpp's name of the pre-tokenizer, where it is not recognised.

    Raises:
        TrimixError: the files are missing, malformed, or of a family that is not converted.
        OSError: the system refused to write.
    """
    model = architecture_of(Checkpoint(src, read_config(src), {}))
    writer = new_writer(model.name, [])
    writer.add_type(GGUFType.MODEL)
    model.write_hyperparameters(writer)
    writer.add_file_type(OUTTYPES["f16"][0])
    model.write_more(writer)
    model.vocabulary(pre).write(writer)
    write_file(dst, writer, [], None)
    return dst
