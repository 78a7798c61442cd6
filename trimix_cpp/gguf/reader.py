"""From a path to a header that llama.cpp may be given: parsed, and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..errors import ModelFileError
from ..showing import one_line
from .checks import MalformedError, UnsupportedError, check_adapter, check_header
from .header import Header
from .parser import broken_file, parse_file


def read_header(path: str | Path) -> Header:
    """Read and check the header of the GGUF file at `path`: a model, or a tokenizer alone.

    Raises:
        ModelFileError: no such file, a folder, not GGUF, truncated, any bound is broken, or a
            model of an architecture that is not run.
    """
    header = parse_file(Path(path))
    # The tensors of all parts count, so the parts come first.
    return _checked(_with_parts(header), check_header)


def read_adapter_header(path: str | Path) -> Header:
    """As `read_header`, for a LoRA adapter."""
    return _checked(parse_file(Path(path)), check_adapter)


def _checked(header: Header, check: Callable[[Header], None]) -> Header:
    try:
        check(header)
    except MalformedError as problem:
        raise broken_file(header.path, str(problem)) from None
    except UnsupportedError as problem:
        raise ModelFileError(f"{header.path}: {one_line(str(problem))}") from None
    return header


def read_tables(path: str | Path) -> Header:
    """As `read_header`, for GGUF files that hold no model, such as importance matrices.

    Bounds are checked, what the values mean is not; `architecture` may be missing.
    """
    return parse_file(Path(path))


def _with_parts(header: Header) -> Header:
    """The header of a model in one file, or with the tensors of its other files too.

    llama.cpp opens the other files by itself, so they are checked here as well.
    """
    count = header.metadata.get("split.count", 0)
    if not isinstance(count, int) or count < 2:
        return header
    first = f"-00001-of-{count:05}.gguf"
    if not header.path.name.endswith(first):
        raise ModelFileError(f"{header.path}: name the first part of a split model, *{first}")
    tensors, stem = list(header.tensors), header.path.name[: -len(first)]
    for number in range(2, count + 1):
        part = parse_file(header.path.with_name(f"{stem}-{number:05}-of-{count:05}.gguf"))
        if part.metadata.get("split.no") != number - 1:
            raise ModelFileError(f"{part.path}: is not part {number} of the split model")
        tensors += part.tensors
    return replace(header, tensors=tuple(tensors))
