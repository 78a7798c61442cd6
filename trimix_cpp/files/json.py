"""JSON documents: read with every fault told in one line, checked against a type, written whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from ..errors import TrimixError
from .destinations import check_regular
from .text import read_text, write_text

T = TypeVar("T")


def parse_json(text: str, name: str) -> Any:
    """The document that `text` is; `name` is what the message calls it.

    Raises:
        TrimixError: it is none; the line is named.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise TrimixError(f"{name}: line {error.lineno} is not JSON ({error.msg})") from None
    except RecursionError:
        raise TrimixError(f"{name}: is nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise TrimixError(f"{name}: cannot be read as JSON ({error})") from None


def read_json(path: Path) -> Any:
    """The document in the file.

    Raises:
        TrimixError: it cannot be read, or is no JSON in UTF-8.
    """
    check_regular(path, piped=True)
    return parse_json(read_text(path), str(path))


def as_type(data: Any, kind: type[T]) -> T:
    """`data`, a document or a part of one, as a `kind`: a dataclass with every field's type right.

    Raises:
        ValueError: it is of another shape; the place is named. Or what the class itself refuses.
    """
    import msgspec

    try:
        return msgspec.convert(data, type=kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ValueError(str(error)) from None


def write_json(data: Any, path: Path, *, private: bool = False) -> None:
    """Write one document, whole or not at all, `private` as `replacing` has it; raises OSError."""
    text = json.dumps(data, ensure_ascii=False, indent=2)
    try:
        text.encode()
    except UnicodeEncodeError:  # a file's name that is not UTF-8: as escapes it comes back
        text = json.dumps(data, indent=2)
    write_text(path, text + "\n", private=private)
