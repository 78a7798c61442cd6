"""The JSON document of a run, and those of earlier runs beside it: one table of many languages."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from ..errors import TrimixError
from ..files import as_type, read_json
from ..fusion import Grid
from ..gguf import read_header
from ..store import TrioSpec, fingerprint
from .methods import METHODS
from .results import by_task, details, overview, records
from .run import Outcome

_FORMAT = "trimix-cpp eval 1"
# What a result has beside an average.
_OF_TASKS = {"column", "metric", "n_lost", "n_cut", "weights"}


class _Record(TypedDict):
    """What a table needs of a record."""

    language: str
    task: str
    method: str
    label: str
    single: bool
    n_items: int
    score: float
    low: float
    high: float


class _Result(_Record, total=False):
    column: Literal["MC", "ENG-G", "LRL-G"]
    metric: str
    p: float
    cased: float
    n_lost: int
    n_cut: int
    weights: dict[str, float]


class _Model(TypedDict):
    parameters: float


class _Grid(TypedDict):
    alphas: list[float]
    betas: list[float]
    scores: dict[str, list[list[float]]]


class _Needed(TypedDict):
    format: Literal["trimix-cpp eval 1"]
    language: str
    models: dict[str, _Model]
    results: list[_Result]


class _Document(_Needed, total=False):
    grid: _Grid


def document(
    outcome: Outcome,
    spec: TrioSpec,
    roles: Iterable[str],
    language: str,
    settings: dict[str, Any],
    grid: Grid,
) -> dict[str, Any]:
    """What a run found out.

    Args:
        outcome: of the run.
        spec: the trio.
        roles: those that were used.
        language: ISO 639-3.
        settings: what else decided it, JSON values.
        grid: the pairs of the upper bound.
    """
    made: dict[str, Any] = {
        "format": _FORMAT,
        "language": language,
        "trio": spec.name,
        "models": {role: _model(spec, role) for role in roles},
        "settings": settings,
        "results": records(outcome.results, language),
    }
    if outcome.grids:
        made["grid"] = {
            "alphas": list(grid.alphas),
            "betas": list(grid.betas),
            "scores": {task: values.round(4).tolist() for task, values in outcome.grids.items()},
        }
    return made


def _model(spec: TrioSpec, role: str) -> dict[str, Any]:
    own = spec.roles[role]
    header = read_header(own.path)
    return {
        "file": own.path.name,
        "sha256": fingerprint(own),
        "parameters": sum(math.prod(tensor.shape) for tensor in header.tensors),
    }


def read_document(path: Path) -> dict[str, Any]:
    """The document of an earlier run (`--json`).

    Raises:
        TrimixError: it is none.
    """
    found = read_json(path)
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise TrimixError(f"{path}: is no document of `trimix-cpp eval --json`")
    try:
        as_type(found, _Document)
        for record in found["results"]:
            if record["method"] not in METHODS:
                raise ValueError(f"there is no method {record['method']!r}")
            if record["task"] != "average" and not record.keys() >= _OF_TASKS:
                raise ValueError(f"a result of {record['task']!r} is not whole")
        if grid := found.get("grid"):
            shape = (len(grid["alphas"]), len(grid["betas"]))
            if any(np.array(own).shape != shape for own in grid["scores"].values()):
                raise ValueError("a grid has another shape than its pairs")
    except ValueError as error:
        raise TrimixError(
            f"{path}: was changed by hand, or is of another version ({error})"
        ) from None
    return found


def tables(documents: Sequence[dict[str, Any]], *, detailed: bool = True) -> list[Any]:
    """The overview of all documents, then a table of each one's tasks, then its details."""
    found = joined(documents)
    languages = list(dict.fromkeys(record["language"] for record in found))
    shown = [overview(found), *(by_task(found, language) for language in languages)]
    if detailed:
        shown += [details(found, language) for language in languages]
    return shown


def joined(documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records of all documents; of two of one task, method and language the last.

    An average is only that of its own document, so where a language has several it goes.
    """
    found = {
        (record["language"], record["task"], record["method"]): record
        for own in documents
        for record in own["results"]
    }
    several = Counter(own["language"] for own in documents)
    return [
        record
        for record in found.values()
        if record["task"] != "average" or several[record["language"]] == 1
    ]


def markdown(documents: Sequence[dict[str, Any]]) -> str:
    """The tables as a page, without anything that differs between two runs of the same."""
    parts = [table.markdown() for table in tables(documents)]
    return f"<!-- {_FORMAT} -->\n\n" + "\n\n".join(parts) + "\n"


def is_ours(path: Path) -> bool:
    """Whether a page was made by `markdown`, and may be replaced."""
    with open(path, "rb") as file:
        return file.read(64).startswith(f"<!-- {_FORMAT} -->".encode())


def average_grid(documents: Sequence[dict[str, Any]]) -> tuple[Grid, Any] | None:
    """The mean score of each pair over all tasks that have one, [n_alpha, n_beta] (Figure 4)."""
    grids = [own["grid"] for own in documents if "grid" in own]
    if not grids:
        return None
    first = grids[0]
    alike = [g for g in grids if (g["alphas"], g["betas"]) == (first["alphas"], first["betas"])]
    scores = [values for own in alike for values in own["scores"].values()]
    grid = Grid(tuple(first["alphas"]), tuple(first["betas"]))
    return grid, np.mean(np.array(scores), axis=0)


def sizes(documents: Sequence[dict[str, Any]]) -> list[tuple[float, float, float]]:
    """(cpt's parameters, large's, mean score of TriMix by PPL) of each pair of sizes (Figure 3).

    Scores are averaged over the languages.
    """
    found: dict[tuple[float, float], list[float]] = {}
    for own in documents:
        models = own["models"]
        if not {"cpt", "large"} <= models.keys():
            continue
        pair = tuple(float(models[role]["parameters"]) for role in ("cpt", "large"))
        for record in own["results"]:
            if record["task"] == "average" and record["method"] == "trimix-ppl":
                found.setdefault((pair[0], pair[1]), []).append(record["score"])
    return sorted((*pair, float(np.mean(values))) for pair, values in found.items())
