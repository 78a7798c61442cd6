"""lm-evaluation-harness on a trio: its numbers are ours (the extra `lm-eval`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trimix_cpp.decoding import Decoder, Text, Trio
from trimix_cpp.errors import TrimixError
from trimix_cpp.evaluate.answering import Answerer, Plan
from trimix_cpp.evaluate.catalogue import DataFolders
from trimix_cpp.evaluate.exported import chrf, mean, results, write_tasks
from trimix_cpp.evaluate.journal import Journal
from trimix_cpp.evaluate.prompts import Prompter
from trimix_cpp.evaluate.results import score_of
from trimix_cpp.evaluate.scoring import Fusion
from trimix_cpp.evaluate.tasks import Item
from trimix_cpp.fusion import LogProbs, Weights
from trimix_cpp.prompts import ChatTemplate, language
from trimix_cpp.quant import Options
from trimix_cpp.store import TrioSpec

from ..conftest import ROLES
from ..support.tiny import CHATML
from .datasets import write_milic, write_sib

WEIGHTS = Weights(0.3, 0.9)
PAIRS = [
    ("سالام دۇنيا", " ياخشى"), ("سالام دۇنيا", " يامان"), ("سالام دۇنيا", " A"), ("", "hello"),
    ("the", " end"), ("སྐད་ཡིག ", "བོད"),
]  # fmt: skip


def request(*arguments: Any) -> SimpleNamespace:
    return SimpleNamespace(args=arguments)


@pytest.fixture
def model(tiny_spec: TrioSpec) -> Iterator[Any]:
    pytest.importorskip("lm_eval")
    from trimix_cpp.evaluate.harness import TrimixLM

    floats = dict.fromkeys(ROLES, "f32")
    options = Options(n_ctx=256, n_threads=1, n_parallel=4, n_outputs=32, type_k=floats,
                      type_v=floats, flash_attn=False)  # fmt: skip
    with Trio(tiny_spec, ROLES, options) as trio:
        yield TrimixLM(trio, WEIGHTS)


def plain(trio: Trio, context: list[int], rest: list[int]) -> tuple[float, bool]:
    observer = LogProbs(WEIGHTS, len(context) - 1)
    text = Text([*context, *rest], WEIGHTS, max_tokens=0, observers=(observer,))
    with Decoder(trio, keep=False) as decoder:
        list(decoder.run([text]))
    return sum(observer.values), all(observer.greedy)


@pytest.mark.slow
def test_likelihoods(model: Any) -> None:
    """As the harness has them: spaces at the end of a context belong to what follows."""
    found = model.loglikelihood([request(*pair) for pair in PAIRS], disable_tqdm=True)
    for (context, rest), (value, greedy) in zip(PAIRS, found, strict=True):
        before = model.tok_encode(context.rstrip()) if context else [model.prefix_token_id]
        whole = model.tok_encode(context + rest)
        own = whole[len(before) :] if context else whole
        expected, likeliest = plain(model.trio, before, own)
        assert value == pytest.approx(expected, abs=1e-3)
        assert greedy == likeliest


@pytest.mark.slow
def test_a_context_that_is_too_long_is_cut_at_the_front(model: Any) -> None:
    ids = model.tok_encode("سۇ تاغ " * 60)
    assert len(ids) > model.max_length
    ((value, _),) = model._likelihoods([(ids[:-2], ids[-2:])])
    expected, _ = plain(model.trio, ids[-model.max_length : -2], ids[-2:])
    assert value == pytest.approx(expected, abs=0.5)  # one token more stands before


@pytest.mark.slow
def test_greedy_continuations_are_told(model: Any) -> None:
    (text,) = model.generate_until([request("سالام", {"until": [], "max_gen_toks": 3})])
    trio = model.trio
    prompt = model.tok_encode("سالام")
    own = Text(prompt, WEIGHTS, max_tokens=3)
    with Decoder(trio, keep=False) as decoder:
        list(decoder.run([own]))
    assert text == own.text
    found = model._likelihoods([(prompt, own.generated), (prompt, [*own.generated[:-1], 5])])
    assert found[0][1] is True
    assert found[1][1] is (own.generated[-1] == 5)


@pytest.mark.slow
def test_rolling_windows(model: Any) -> None:
    texts = ["كىتاب " * 30, "x"]
    found = model.loglikelihood_rolling([request(text) for text in texts])
    whole = model.tok_encode(texts[0], add_special_tokens=False)
    assert len(whole) > model.max_length
    first = plain(model.trio, [model.prefix_token_id], whole[:255])[0]
    assert found[0] < first
    short = model.tok_encode("x", add_special_tokens=False)
    assert found[1] == pytest.approx(plain(model.trio, [model.prefix_token_id], short)[0], abs=1e-3)


@pytest.mark.slow
def test_generation(model: Any) -> None:
    asked = [("سالام", {"until": ["ا", ""], "max_gen_toks": 9}), ("the", {"max_gen_toks": 4}),
             ("the", {"max_gen_toks": 4, "do_sample": True, "temperature": 0.9})]  # fmt: skip
    found = model.generate_until([request(*one) for one in asked])
    assert found == model.generate_until([request(*one) for one in asked])
    assert "ا" not in found[0]
    with pytest.raises(TrimixError, match="wants 500 tokens, but the context has 256"):
        model.generate_until([request("x", {"max_gen_toks": 500})])


@pytest.mark.slow
def test_chats(model: Any) -> None:
    with pytest.raises(TrimixError, match="no chat template"):
        model.apply_chat_template([{"role": "user", "content": "x"}])
    with ChatTemplate(CHATML) as template:
        model.template = template
        text = model.apply_chat_template([{"role": "user", "content": "سالام"}])
    assert text == "<|im_start|>user\nسالام<|im_end|>\n<|im_start|>assistant\n"
    names = [model.trio.text_of(token) for token in model.tok_encode(text)]
    assert names.count("<|im_start|>") == 2
    assert model.chat_template(True) == CHATML


@pytest.mark.slow
def test_exported_tasks_score_as_ours(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same prompts, choices and metrics, through the harness's own loop."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    from trimix_cpp.evaluate.harness import run_harness

    data = write_milic(tmp_path / "milic", ("ug",), n=5)
    write_sib(data / "sib200")
    wanted = ["response_selection", "sib200", "math", "translation.eng-uig", "title_generation"]
    sources = DataFolders([data], language("uig")).wanted(wanted)
    for source in sources:
        object.__setattr__(source, "task", _short(source.task))
    names = write_tasks(tmp_path / "tasks", sources, "uig", shots=0)
    found = run_harness(model, names, include=[tmp_path / "tasks"])
    with Journal(tmp_path / "j") as journal:
        own = Answerer(model.trio, journal, list, Prompter(model.trio), "likelihood")
        for name, source in zip(names, sources, strict=True):
            (answers,) = own.run(source.task, source.items(), [], [Plan(Fusion(WEIGHTS))])
            score = score_of(source.task, source.items(), answers)
            key = "acc,none" if source.task.closed else f"{source.task.metric},none"
            scale = 1 if source.task.metric == "chrF++" else 100
            assert found[name][key] * scale == pytest.approx(score, abs=1e-6)


def _short(task: Any) -> Any:
    from dataclasses import replace

    return replace(task, max_tokens=min(task.max_tokens, 6))


def test_metrics_of_exported_tasks() -> None:
    doc = {"id": "1", "gold": "كىتاب", "kind": "text", "metric": "ROUGE-L"}
    assert results(doc, ["كىتاب\nx"]) == {"ROUGE-L": [1.0]}
    assert mean([[1.0], [0.0]]) == 0.5
    own = results(doc | {"metric": "chrF++"}, ["كىتاب"])["chrF++"]
    assert chrf([own, own]) == pytest.approx(100)


def test_exported_files(tmp_path: Path) -> None:
    data = write_milic(tmp_path / "milic", ("ug",), n=3)
    sources = DataFolders([data], language("uig")).wanted(["math", "text_classification"])
    folder = tmp_path / "tasks"
    names = write_tasks(folder, sources, "uig", limit=2)
    assert names == ["trimix_uig_math", "trimix_uig_text_classification"]
    lines = (folder / "trimix_uig_text_classification.jsonl").read_text().splitlines()
    assert len(lines) == 2
    doc = json.loads(lines[0])
    assert doc["prompt"].endswith("Answer:")
    assert doc["prompt"].count("\n\n") == 9
    assert doc["choices"][doc["right"]] == doc["gold"]
    with pytest.raises(TrimixError, match="is not an empty folder"):
        write_tasks(folder, sources, "uig")
    assert isinstance(sources[0].items()[0], Item)
