"""The paper's tasks in lm-evaluation-harness's form: a YAML and the prompts, for any of its models.

    trimix-cpp eval --lang uig --data milic-eval/ --write-tasks DIR
    lm-eval run --include_path DIR --tasks trimix_uig_math …

The prompts are those of `eval`, exemplars and all; so are the metrics, which the YAML files call
through `trimix_metrics.py` beside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import TrimixError
from ..files import write_text
from ..prompts.paper import few_shot
from .metrics import clean, score, statistics
from .tasks import Item, Kind, Metric, Source

_HEAD = "# Written by `trimix-cpp eval --write-tasks`.\n"
_METRICS = _HEAD + "from trimix_cpp.evaluate.exported import chrf, mean, results  # noqa: F401\n"


def write_tasks(
    folder: Path, sources: Sequence[Source], language: str, limit: int | None = None,
    shots: int | None = None,
) -> list[str]:  # fmt: skip
    """Write a task for each source into the new or empty `folder`; returns their names.

    Raises:
        TrimixError: there is something else in the folder.
        OSError: the system refused to write.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TrimixError(f"{folder}: is there already and is not an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for source in sources:
        name = f"trimix_{language}_{source.task.name.replace('.', '_').replace('-', '_')}"
        data = folder.absolute() / f"{name}.jsonl"
        exemplars = source.exemplars(shots)
        lines = [_line(source, item, exemplars) for item in source.items(limit)]
        write_text(data, "".join(lines))
        write_text(folder / f"{name}.yaml", _yaml(name, source, data))
        names.append(name)
    write_text(folder / "trimix_metrics.py", _METRICS)
    return names


def _line(source: Source, item: Item, shots: Sequence[Item]) -> str:
    prompt = few_shot([(s.question, s.gap + s.answer) for s in shots], item.question)
    record: dict[str, Any] = {"id": item.id, "prompt": prompt, "gold": item.gold}
    record |= {"kind": source.task.kind, "metric": source.task.metric}
    if source.task.closed:
        record |= {"choices": list(item.choices), "right": item.choices.index(item.gold)}
    return json.dumps(record, ensure_ascii=False) + "\n"


def _yaml(name: str, source: Source, data: Path) -> str:
    """JSON is YAML, but for the tags that name functions."""
    task = source.task
    settings: dict[str, Any] = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "num_fewshot": 0,
        "doc_to_text": "prompt",
        "metadata": {"version": 1},
    }
    if task.closed:
        gap = source.items(1)[0].gap
        settings |= {
            "output_type": "multiple_choice", "doc_to_choice": "choices", "doc_to_target": "right",
            "target_delimiter": gap, "metric_list": [{"metric": "acc"}],
        }  # fmt: skip
        more = ""
    else:
        settings |= {
            "output_type": "generate_until", "doc_to_target": "gold", "target_delimiter": "",
            "generation_kwargs": {"until": ["\n"], "max_gen_toks": task.max_tokens,
                                  "do_sample": False},
        }  # fmt: skip
        how = "chrf" if task.metric == "chrF++" else "mean"
        more = (
            "process_results: !function trimix_metrics.results\n"
            "metric_list:\n"
            f"  - metric: {task.metric}\n"
            f"    aggregation: !function trimix_metrics.{how}\n"
            "    higher_is_better: true\n"
        )
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
    return _HEAD + "\n".join(lines) + "\n" + more


def results(doc: Mapping[str, Any], answers: Sequence[str]) -> dict[str, list[float]]:
    """What an answer adds to the sums of its metric; called by the harness."""
    kind: Kind = doc["kind"]
    metric: Metric = doc["metric"]
    item = Item(str(doc["id"]), "", "", "", doc["gold"])
    return {metric: statistics([clean(answers[0])], [item], kind, metric)[0].tolist()}


def mean(items: Sequence[Sequence[float]]) -> float:
    """Accuracy or ROUGE-L, 0 to 1, as the harness shows shares."""
    return sum(own[0] for own in items) / len(items)


def chrf(items: Sequence[Sequence[float]]) -> float:
    """chrF++ of the corpus, 0 to 100."""
    import numpy as np

    return float(score(np.array(items).sum(axis=0), len(items), "chrF++"))
