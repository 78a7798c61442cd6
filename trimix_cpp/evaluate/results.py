"""What came out, as records, and the tables that are made of records: pure.

A record is a JSON object: so tables are made alike of a run and of the documents of earlier runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..fusion import Weights
from ..showing import Table
from .methods import METHODS, Method
from .metrics import Doubles, score, statistics
from .resampling import interval, p_value, resampled
from .tasks import Item, Task

COLUMNS = ("MC", "ENG-G", "LRL-G")
# A difference that chance makes more seldom than this is marked.
LEVEL = 0.05


@dataclass(frozen=True)
class Answers:
    """The answers of a method to a task.

    Attributes:
        texts: of the items, in their order; empty where an item did not fit into the context.
        weights: of each item.
        n_lost: items that did not fit.
        n_cut: items that lost exemplars.
    """

    texts: Sequence[str]
    weights: Sequence[Weights]
    n_lost: int = 0
    n_cut: int = 0


@dataclass(frozen=True)
class Result:
    """A cell of the table: a method on a task.

    Attributes:
        task, method: which.
        score: from 0 to 100.
        samples: bootstrap scores, paired with those of other methods.
        cased: chrF++ with upper and lower case told apart.
    """

    task: Task
    method: Method
    n_items: int
    score: float
    samples: Doubles = field(repr=False)
    weights: Sequence[Weights]
    n_lost: int = 0
    n_cut: int = 0
    cased: float | None = None


def score_of(task: Task, items: Sequence[Item], answers: Answers) -> float:
    """The score of the answers to all items of a task, from 0 to 100."""
    counts = statistics(answers.texts, items, task.kind, task.metric)
    return float(score(counts.sum(axis=0), len(items), task.metric))


def result_of(task: Task, method: Method, items: Sequence[Item], answers: Answers) -> Result:
    """Score the answers of a method to all items of a task, with bootstrap samples."""
    counts = statistics(answers.texts, items, task.kind, task.metric)
    n = len(items)
    cased = None
    if task.metric == "chrF++":
        own = statistics(answers.texts, items, task.kind, task.metric, fold=False)
        cased = float(score(own.sum(axis=0), n, task.metric))
    return Result(
        task,
        method,
        n,
        float(score(counts.sum(axis=0), n, task.metric)),
        resampled(counts, task.metric),
        answers.weights,
        answers.n_lost,
        answers.n_cut,
        cased,
    )


def records(results: Sequence[Result], language: str) -> list[dict[str, Any]]:
    """A record for each result, and one for the average of each method over its tasks.

    Each is held against the best single model: of that task, of the average.
    """
    found = []
    for name in dict.fromkeys(result.task.name for result in results):
        own = [result for result in results if result.task.name == name]
        best = _best_single(own)
        for result in own:
            base = {"language": language, "task": name, "column": result.task.column}
            found.append(base | _record(result, best))
    averages = [_average([r for r in results if r.method == m]) for m in _methods(results)]
    best = _best_single(averages)
    for average in averages:
        found.append({"language": language, "task": "average"} | _record(average, best))
    return found


def _methods(results: Iterable[Result]) -> list[Method]:
    return list(dict.fromkeys(result.method for result in results))


def _average(own: Sequence[Result]) -> Result:
    """The mean over tasks, each with the same weight, as the paper's tables have it."""
    samples = np.mean([result.samples for result in own], axis=0)
    mean = float(np.mean([result.score for result in own]))
    n_items = sum(result.n_items for result in own)
    return Result(own[0].task, own[0].method, n_items, mean, samples, ())


def _best_single(results: Iterable[Result]) -> Result | None:
    singles = [result for result in results if result.method.single]
    return max(singles, key=lambda result: result.score, default=None)


def _record(result: Result, best: Result | None) -> dict[str, Any]:
    low, high = interval(result.samples)
    record: dict[str, Any] = {
        "method": result.method.name,
        "label": result.method.label,
        "single": result.method.single,
        "n_items": result.n_items,
        "score": round(result.score, 4),
        "low": round(low, 4),
        "high": round(high, 4),
    }
    if best and best.method != result.method:
        difference = result.score - best.score
        record["versus"] = best.method.name
        record["p"] = round(p_value(result.samples, best.samples, difference), 4)
    if result.weights:
        record["metric"] = result.task.metric
        record |= {"n_lost": result.n_lost, "n_cut": result.n_cut}
        record["weights"] = _weights(result.weights)
        if result.cased is not None:
            record["cased"] = round(result.cased, 4)
    return record


def _weights(weights: Sequence[Weights]) -> dict[str, Any]:
    """The weights, or their mean and deviation where each item has its own."""
    if len(set(weights)) == 1:
        return weights[0].as_json()
    pairs = np.array([(own.alpha, own.beta) for own in weights])
    (alpha, beta), (d_alpha, d_beta) = pairs.mean(axis=0).tolist(), pairs.std(axis=0).tolist()
    return {
        "alpha": round(alpha, 4), "beta": round(beta, 4),
        "alpha_deviation": round(d_alpha, 4), "beta_deviation": round(d_beta, 4),
    }  # fmt: skip


Records = Sequence[Mapping[str, Any]]


def overview(found: Records) -> Table:
    """Table 2: a row a method; means by kind of task, by language, and over all.

    The mean of a column is over its tasks in all languages, that of a language over its tasks, and
    the last over the languages; a method that lacks one of them has none. In brackets: relative to
    the best single model.
    """
    tasks = [record for record in found if record["task"] != "average"]
    languages = list(dict.fromkeys(record["language"] for record in tasks))
    columns = [name for name in COLUMNS if any(r["column"] == name for r in tasks)]
    groups = {**{name: ("column", name) for name in columns},
              **{name: ("language", name) for name in languages}}  # fmt: skip
    names = _names(tasks)
    means = {
        name: [_complete(tasks, name, key, value) for key, value in groups.values()]
        for name in names
    }
    last = {name: _mean(own[len(columns) :]) for name, own in means.items()}
    singles = [name for name in names if _one(tasks, name)["single"]]
    best = max((last[name] or 0.0 for name in singles), default=None)
    rows = []
    for name in names:
        average = last[name]
        more = ""
        if best and average is not None and name not in singles:
            more = f" ({100 * (average / best - 1):+.1f}%)"
        cells = [_shown(value) for value in means[name]]
        rows.append([_one(tasks, name)["label"], *cells, _shown(average) + more])
    return Table(["method", *columns, *languages, "average"], rows)


def _complete(found: Records, name: str, key: str, value: str) -> float | None:
    """The mean of a method's scores in a column or a language; None if it lacks one of them."""
    group = [record for record in found if record[key] == value]
    own = [record for record in group if record["method"] == name]
    wanted = {(record["language"], record["task"]) for record in group}
    return _mean([record["score"] for record in own] if len(own) == len(wanted) else [None])


def by_task(found: Records, language: str) -> Table:
    """Tables 15 to 18: a row a method, a column a task of one language.

    `*` differs from the best single model of that task.
    """
    own = [record for record in found if record["language"] == language]
    tasks = list(dict.fromkeys(record["task"] for record in own))
    cells = {(record["method"], record["task"]): record for record in own}
    rows = [
        [_one(own, name)["label"],
         *(_cell(cells[name, task]) if (name, task) in cells else "-" for task in tasks)]
        for name in _names(own)
    ]  # fmt: skip
    note = f"* differs from the best single model (paired bootstrap, p < {LEVEL:g})."
    return Table(["method", *tasks], rows, note=note)


def details(found: Records, language: str) -> Table:
    """Every result with its interval, its test and its weights."""
    rows = []
    for record in found:
        if record["language"] != language or record["task"] == "average":
            continue
        cased = record.get("cased")
        rows.append([
            record["task"], record["label"], record["metric"], str(record["n_items"]),
            f"{record['score']:.1f}", f"{record['low']:.1f} to {record['high']:.1f}",
            _shown(cased), _p(record), _pair(record["weights"]), _lost(record),
        ])  # fmt: skip
    head = ["task", "method", "metric", "items", "score", "95 %", "cased", "p", "alpha, beta", ""]
    return Table(head, rows)


def _names(found: Records) -> list[str]:
    present = {record["method"] for record in found}
    return [name for name in METHODS if name in present]


def _one(found: Records, name: str) -> Mapping[str, Any]:
    return next(record for record in found if record["method"] == name)


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean, None where a value is missing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _cell(record: Mapping[str, Any]) -> str:
    return f"{record['score']:.1f}" + ("*" if record.get("p", 1.0) < LEVEL else "")


def _p(record: Mapping[str, Any]) -> str:
    return f"{record['p']:.3f}" if "p" in record else "-"


def _pair(weights: Mapping[str, float]) -> str:
    parts = []
    for name in ("alpha", "beta"):
        deviation = weights.get(f"{name}_deviation")
        parts.append(f"{weights[name]:.4g}" + (f" ± {deviation:.2g}" if deviation else ""))
    return ", ".join(parts)


def _lost(record: Mapping[str, Any]) -> str:
    parts = []
    if record["n_cut"]:
        parts.append(f"{record['n_cut']} with fewer exemplars")
    if record["n_lost"]:
        parts.append(f"{record['n_lost']} too long")
    return ", ".join(parts)
