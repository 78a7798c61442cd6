"""Tables out of scores: means, brackets, marks, and documents of several runs in one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trimix_cpp.errors import TrimixError, UsageError
from trimix_cpp.evaluate.documents import (
    average_grid,
    joined,
    markdown,
    read_document,
    sizes,
    tables,
)
from trimix_cpp.evaluate.methods import METHODS, parse_methods, roles_of
from trimix_cpp.evaluate.results import (
    Answers,
    by_task,
    details,
    overview,
    records,
    result_of,
    score_of,
)
from trimix_cpp.evaluate.tasks import Item, Task
from trimix_cpp.files import write_json
from trimix_cpp.fusion import Plausibility, Weights
from trimix_cpp.store import RoleSpec, TrioSpec

TASKS = {
    "reading": Task("reading", "option", "accuracy", "MC", 5, 2, "reading"),
    "math": Task("math", "number", "accuracy", "ENG-G", 5, 250, "math"),
    "translation": Task("translation", "text", "chrF++", "LRL-G", 5, 200, "translation"),
}


def cell(task: str, method: str, right: int, n: int = 200, weights: Weights | None = None):  # type: ignore[no-untyped-def]
    """A result with so many right answers of `n`."""
    kind = TASKS[task].kind
    gold = {"option": "A", "number": "7", "text": "سالام دۇنيا"}[kind]
    wrong = {"option": "B", "number": "8", "text": "xxx"}[kind]
    items = [Item(str(i), "?", "", gold, gold) for i in range(n)]
    texts = [gold if i < right else wrong for i in range(n)]
    answers = Answers(texts, [weights or Weights(1, 0)] * n, n_cut=3)
    return result_of(TASKS[task], METHODS[method], items, answers)


RESULTS = [
    cell("reading", "cpt", 100), cell("reading", "large", 120), cell("reading", "trimix-ppl", 160),
    cell("math", "cpt", 20), cell("math", "large", 60), cell("math", "trimix-ppl", 62),
]  # fmt: skip


def test_averages_and_brackets() -> None:
    table = overview(records(RESULTS, "uig"))
    assert list(table.head) == ["method", "MC", "ENG-G", "uig", "average"]
    assert [list(row) for row in table.rows] == [
        ["cpt", "50.0", "10.0", "30.0", "30.0"],
        ["large", "60.0", "30.0", "45.0", "45.0"],
        ["TriMix (PPL)", "80.0", "31.0", "55.5", "55.5 (+23.3%)"],
    ]


def test_only_what_chance_does_not_make_is_marked() -> None:
    table = by_task(records(RESULTS, "uig"), "uig")
    assert list(table.head) == ["method", "reading", "math", "average"]
    assert list(table.rows[0]) == ["cpt", "50.0*", "10.0*", "30.0*"]
    assert list(table.rows[1]) == ["large", "60.0", "30.0", "45.0"]
    assert list(table.rows[2]) == ["TriMix (PPL)", "80.0*", "31.0", "55.5*"]


def test_records_hold_the_best_single_model_of_their_task() -> None:
    found = records([cell("reading", "cpt", 130), *RESULTS[1:]], "uig")
    versus = {(r["task"], r["method"]): r.get("versus") for r in found}
    assert versus["reading", "trimix-ppl"] == "cpt"
    assert versus["math", "trimix-ppl"] == "large"
    assert versus["reading", "cpt"] is None
    reading = found[0]
    assert reading["low"] < reading["score"] < reading["high"]
    assert reading["n_cut"] == 3


def test_details() -> None:
    result = cell("translation", "large", 150)
    table = details(records([result], "uig"), "uig")
    row = dict(zip(table.head, table.rows[0], strict=True))
    assert row["metric"] == "chrF++"
    assert row["alpha, beta"] == "1, 0"
    assert row[""] == "3 with fewer exemplars"
    assert float(row["score"]) == pytest.approx(result.score, abs=0.05)


def test_weights_by_input_have_a_deviation() -> None:
    items = [Item(str(i), "?", "", "A", "A") for i in range(2)]
    answers = Answers(["A", "A"], [Weights(0.1, 0.9), Weights(0.3, 0.9)], n_lost=1)
    result = result_of(TASKS["reading"], METHODS["trimix-ppl-input"], items, answers)
    row = details(records([result], "uig"), "uig").rows[0]
    assert row[-2:] == ["0.2 ± 0.1, 0.9", "1 too long"]
    assert score_of(TASKS["reading"], items, answers) == 100


def document(language: str, results: list, **models: float) -> dict:  # type: ignore[type-arg]
    return {
        "format": "trimix-cpp eval 1", "language": language,
        "models": {role: {"parameters": n} for role, n in models.items()},
        "results": records(results, language),
    }  # fmt: skip


def test_documents_of_two_languages(tmp_path: Path) -> None:
    other = [cell("reading", "cpt", 60), cell("reading", "large", 40), cell("math", "large", 0),
             cell("math", "cpt", 0)]  # fmt: skip
    both = [document("uig", RESULTS), document("bod", other)]
    table = overview([record for own in both for record in own["results"]])
    assert list(table.head) == ["method", "MC", "ENG-G", "uig", "bod", "average"]
    # cpt: reading 50 and 30, math 10 and 0.
    assert list(table.rows[0]) == ["cpt", "40.0", "5.0", "30.0", "15.0", "22.5"]
    assert list(table.rows[2]) == ["TriMix (PPL)", "-", "-", "55.5", "-", "-"]
    assert len(tables(both)) == 5
    page = markdown(both)
    assert page.startswith("<!-- trimix-cpp eval 1 -->\n")
    assert page == markdown(both)
    path = tmp_path / "uig.json"
    write_json(both[0], path)
    assert read_document(path) == both[0]


def test_documents_of_one_language() -> None:
    """The tasks of two runs stand beside each other, the later one of the same task wins."""
    both = [document("uig", RESULTS), document("uig", [cell("math", "large", 100)])]
    found = joined(both)
    assert not any(record["task"] == "average" for record in found)
    assert len(found) == len(RESULTS)
    assert list(overview(found).rows[1]) == ["large", "60.0", "50.0", "55.0", "55.0"]


@pytest.mark.parametrize(
    "change",
    [
        {"format": "x"},
        {"results": {}},
        {"results": [{"task": "x"}]},
        {"models": []},
        {"language": 3},
        {"results": [records(RESULTS, "uig")[0] | {"score": "much"}]},
        {"results": [records(RESULTS, "uig")[0] | {"method": "other"}]},
        {"results": [records(RESULTS, "uig")[0] | {"task": "average", "weights": 3}]},
        {"grid": {"alphas": [1], "betas": [1], "scores": {"a": [[1, 2]]}}},
        {"models": {"large": {"parameters": "7B"}}},
    ],
)
def test_other_documents_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "x.json"
    write_json(document("uig", RESULTS) | change, path)
    with pytest.raises(TrimixError, match=r"x\.json: (is no document of|was changed by hand)"):
        read_document(path)


def test_sizes_and_grids() -> None:
    small, large = (
        document(language, RESULTS, cpt=1.5e9, large=7e9) for language in ("uig", "bod")
    )
    bigger = document("uig", [cell("reading", "trimix-ppl", 180)], cpt=3e9, large=14e9)
    assert sizes([small, large, bigger]) == [(1.5e9, 7e9, 55.5), (3e9, 14e9, 90.0)]
    grids = [
        {"grid": {"alphas": [0.1, 1], "betas": [0.5, 1],
                  "scores": {"a": [[1, 2], [3, 4]], "b": [[3, 2], [1, 0]]}}},
        {},
    ]  # fmt: skip
    found = average_grid(grids)
    assert found is not None
    np.testing.assert_array_equal(found[1], [[2, 2], [2, 2]])
    assert average_grid([{}]) is None


def spec(*roles: str) -> TrioSpec:
    return TrioSpec("t", {role: RoleSpec(Path(f"{role}.gguf")) for role in roles})


def test_methods_are_the_papers() -> None:
    assert METHODS["proxy"].weights == Weights(1, 1)
    assert METHODS["contrastive"].weights == Weights(0, 1.5)
    assert METHODS["contrastive"].plausibility == Plausibility("cpt", 0.1)
    usual = parse_methods(None, spec("large", "cpt", "base"), None, False)
    assert [method.name for method in usual] == [
        "base", "cpt", "contrastive", "large", "proxy", "trimix-ent", "trimix-ppl",
    ]  # fmt: skip
    alone = parse_methods(None, spec("large"), None, False)
    assert [method.name for method in alone] == ["large"]
    assert roles_of(alone) == ("large",)
    own = parse_methods(["trimix", "merged"], spec("large", "cpt"), Weights(0.1, 0.9), True)
    assert [method.label for method in own] == ["Model Merging", "TriMix (0.1, 0.9)"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["trimix-pll"], "unknown method 'trimix-pll'; there are trimix-ppl"),
        (["trimix"], "has the weights of --weights A,B: give them"),
        (["merged"], "needs --merged FILE"),
        (["proxy"], "the method proxy needs base: give --base FILE"),
        (["large", "contrastive"], "contrastive needs base"),
        ([""], "unknown method ''"),
    ],
)
def test_methods_that_cannot_be(names: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_methods(names, spec("large", "cpt"), None, False)
