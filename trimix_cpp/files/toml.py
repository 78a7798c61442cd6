"""TOML files: one way to read them on every supported Python, and to change them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import TrimixError
from .destinations import check_regular
from .text import read_text, write_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

T = TypeVar("T")


def is_toml_path(name: str) -> bool:
    """Whether what the user says is a TOML file, and not one of the program's names."""
    path = Path(name)
    return path.suffix.lower() == ".toml" or path.parent != Path()


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The tables of the file `path`; `what` it is stands in the message where it is missing.

    Raises:
        TrimixError: no such file, or no TOML in UTF-8.
    """
    if not path.exists():
        raise TrimixError(f"{path}: no such {what} file")
    check_regular(path, piped=True)
    return _parsed(tomllib.loads, path, read_text(path))


def edit_toml(path: Path) -> TOMLDocument:
    """The file as a document that keeps comments and layout; its lines end in a line feed.

    Raises:
        TrimixError: as `read_toml`.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    check_regular(path)
    return _parsed(tomlkit.parse, path, read_text(path), TOMLKitError)


def write_toml(document: TOMLDocument, path: Path, newline: str = "\n") -> None:
    """Write the document, whole or not at all.

    Raises:
        TrimixError: what was written would not be read as the same values.
        OSError: the system refused to write.
    """
    import tomlkit

    text = tomlkit.dumps(document)
    # A layout that the writer gets wrong must not reach the file.
    if _parsed(tomllib.loads, path, text) != document.unwrap():
        raise TrimixError(f"{path}: cannot be changed without a fault; change it by hand")
    write_text(path, text.replace("\n", newline))


def _parsed(parse: Callable[[str], T], path: Path, text: str, *errors: type[Exception]) -> T:
    expected: tuple[type[Exception], ...] = (ValueError, *errors)
    try:
        return parse(text.replace("\r\n", "\n"))
    except RecursionError:
        raise TrimixError(f"{path}: is nested too deeply") from None
    except expected as error:  # a number of thousands of digits too
        why = " ".join(str(error).split())[:200]
        raise TrimixError(f"{path}: is not a readable TOML file ({why})") from None
