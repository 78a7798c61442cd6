"""One way to read a TOML file, on every supported Python."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..errors import TrimixError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The tables of the file `path`; `what` it is stands in the message where it is missing.

    Raises:
        TrimixError: no such file, or no TOML in UTF-8.
    """
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TrimixError(f"{path}: no such {what} file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TrimixError(f"{path}: is not a readable TOML file ({error})") from None
    return tables
