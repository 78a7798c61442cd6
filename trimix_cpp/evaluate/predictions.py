"""Answers as files, {id: text}, as the paper's authors store them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..errors import TrimixError
from ..files import read_json, write_json


def check_predictions(folder: Path) -> None:
    """Find out before long work whether predictions may be written into `folder`.

    Raises:
        TrimixError: it is a file, its own folder is missing, or a JSON file in the way is no
            prediction.
    """
    if folder.exists() and not folder.is_dir():
        raise TrimixError(f"{folder}: is a file; name a folder for the predictions")
    if not folder.absolute().parent.is_dir():
        raise TrimixError(f"{folder.parent}: there is no such folder")
    for path in sorted(folder.glob("*/*.json")):
        found = read_json(path)
        if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
            raise TrimixError(f"{path}: holds no predictions; name another folder")


def write_predictions(folder: Path, answers: Mapping[tuple[str, str], Mapping[str, str]]) -> None:
    """Write `<method>/<task>.json` for each (task, method); raises OSError."""
    for (task, method), texts in answers.items():
        place = folder / method
        place.mkdir(parents=True, exist_ok=True)
        write_json(dict(texts), place / f"{task}.json")
