"""lm-evaluation-harness's `local-completions` works as it is: its numbers are ours."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ..support.serving import Server
from .exact_trio import ExactTrio

PAIRS = [("Open the", " file"), ("Save", " the folder"), ("ھۆججەت", " ئاچ"), ("a b", " c")]
TASK = """task: trimix_local
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{right}}}}"
doc_to_choice: "{{{{choices}}}}"
metric_list:
  - metric: acc
"""


@pytest.fixture
def model(server: Server) -> Any:
    pytest.importorskip("lm_eval")
    pytest.importorskip("tenacity")
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    return LocalCompletionsAPI(base_url=f"{server.url}/v1/completions", model="trio")


@pytest.mark.slow
def test_likelihoods_and_texts(model: Any, trio: ExactTrio) -> None:
    asked = [SimpleNamespace(args=pair) for pair in PAIRS]
    found = model.loglikelihood(asked, disable_tqdm=True)
    for (context, rest), (value, greedy) in zip(PAIRS, found, strict=True):
        score = trio.score(context, rest)
        assert value == pytest.approx(sum(score["logprobs"]), abs=1e-6)
        assert greedy is score["greedy"]
    ways = {"until": ["\n"], "max_gen_toks": 8}
    texts = model.generate_until(
        [SimpleNamespace(args=(context, ways)) for context, _ in PAIRS], disable_tqdm=True
    )
    expected = [trio.generate(context, stops="\n", max_tokens=8) for context, _ in PAIRS]
    assert texts == expected


@pytest.mark.slow
def test_a_local_task(
    model: Any, trio: ExactTrio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    documents = [
        {"prompt": context, "choices": [rest, " qqq"], "right": 0} for context, rest in PAIRS
    ]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(each) + "\n" for each in documents), encoding="utf-8")
    (tmp_path / "task.yaml").write_text(TASK.format(data=data), encoding="utf-8")
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    found = simple_evaluate(model=model, tasks=["trimix_local"], task_manager=manager)
    assert found is not None

    def likelihood(context: str, rest: str) -> float:
        return sum(trio.score(context, rest)["logprobs"])

    rights = [likelihood(c, rest) > likelihood(c, " qqq") for c, rest in PAIRS]
    accuracy = found["results"]["trimix_local"]["acc,none"]
    assert accuracy == pytest.approx(sum(rights) / len(rights))
