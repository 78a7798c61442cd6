"""`eval` from the command line: results, files, what is refused, and killed runs that go on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..evaluate.datasets import write_belebele, write_milic, write_pairs, write_sib
from ..support.cli import trimix
from .test_cli import assert_one_line


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_milic(tmp_path_factory.mktemp("data"), ("ug", "bo"), n=4)
    write_sib(folder / "sib200")
    write_belebele(folder)
    write_pairs(folder)
    return folder


@pytest.fixture(scope="module")
def models(tiny_files: dict[str, Path]) -> list[str]:
    named = [word for role, path in tiny_files.items() for word in (f"--{role}", str(path))]
    return [*named, "-t", "1", "-c", "1024"]


def test_list(data: Path) -> None:
    done = trimix("eval", "--list", "--lang", "bo", "--data", str(data))
    assert done.returncode == 0
    lines = {line.split()[1]: line for line in done.stdout.splitlines()}
    assert lines["belebele"].split()[:6] == ["bod", "belebele", "5", "accuracy", "MC", "5"]
    assert lines["math"].split()[3:6] == ["accuracy", "ENG-G", "4"]
    plain = trimix("eval", "--list", "--json")
    found = json.loads(plain.stdout)
    assert {row["language"] for row in found} == {"bod", "uig", "kaz", "mvf"}
    assert all(row["items"] is None for row in found)
    everything = json.loads(trimix("eval", "--list", "--json", "--data", str(data)).stdout)
    here = {(row["language"], row["task"]) for row in everything if row["items"]}
    assert ("uig", "sib200") in here
    assert ("bod", "belebele") in here


def test_a_table(data: Path, models: list[str], tmp_path: Path) -> None:
    names = ["response_selection", "text_classification"]
    arguments = ["--lang", "uig", "--data", str(data), "--tasks", ",".join(names), *models]
    arguments += [
        "--methods",
        "large,cpt,trimix,trimix-ppl,trimix-ent-input",
        "--weights",
        "0.3,0.9",
    ]
    arguments += ["--score", "likelihood", "--journal", str(tmp_path / "j")]
    page, folder = tmp_path / "table.md", tmp_path / "answers"
    more = ["--markdown", str(page), "--predictions", str(folder), "--json"]
    done = trimix("eval", *arguments, *more)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["language"] == "uig"
    assert found["models"]["large"]["parameters"] > 10_000
    cells = {(r["task"], r["method"]): r for r in found["results"]}
    assert len(cells) == 15
    assert cells["response_selection", "trimix"]["weights"] == {"alpha": 0.3, "beta": 0.9}
    for name in names:
        answers = json.loads((folder / "large" / f"{name}.json").read_text())
        assert list(answers) == [f"{name}{'_passage' * (name[0] == 't')}-ug-{i}" for i in range(4)]
    assert set(answers.values()) <= {"Art", "Law", "Sports"}
    shown = trimix("eval", *arguments)
    assert "TriMix (0.3, 0.9)" in shown.stdout
    assert page.read_text().count("| TriMix (PPL) |") == 4
    again = trimix("eval", *arguments, *more)
    assert again.stdout == done.stdout


def test_upper_bound_and_its_picture(data: Path, models: list[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "grid.png"
    done = trimix(
        "eval", "--lang", "uig", "--data", str(data), "--tasks", "reading_comprehension", *models,
        "--methods", "upper-bound,trimix-ppl", "--score", "likelihood", "--shots", "0", "--limit",
        "3", "--plot", str(picture), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    scores = found["grid"]["scores"]["reading_comprehension"]
    best = max(max(row) for row in scores)
    by_method = {r["method"]: r for r in found["results"] if r["task"] != "average"}
    assert by_method["upper-bound"]["score"] == pytest.approx(best)
    chosen = by_method["trimix-ppl"]
    at = [found["grid"][f"{name}s"].index(chosen["weights"][name]) for name in ("alpha", "beta")]
    assert chosen["score"] == pytest.approx(scores[at[0]][at[1]])
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_merged_model_and_earlier_documents(
    data: Path, models: list[str], tiny_files: dict[str, Path], tmp_path: Path
) -> None:
    common = ["--data", str(data), "--tasks", "response_selection", *models, "--json"]
    first = trimix("eval", "--lang", "bod", *common, "--methods", "cpt,large")
    (tmp_path / "bod.json").write_text(first.stdout)
    page = tmp_path / "both.md"
    merged = ["--merged", str(tiny_files["cpt"]), "--methods", "merged,cpt,large"]
    done = trimix("eval", "--lang", "uig", *common, *merged, "--with", str(tmp_path / "bod.json"),
                  "--markdown", str(page))  # fmt: skip
    assert done.returncode == 0, done.stderr
    scores = {r["method"]: r["score"] for r in json.loads(done.stdout)["results"]}
    assert scores["merged"] == scores["cpt"]  # the same file
    assert "| method | MC | bod | uig | average |" in page.read_text()


BAD: dict[str, tuple[list[str], int, str]] = {
    "no language": (["--tasks", "math"], 2, "name the language of the tasks: --lang CODE"),
    "no data": (["--lang", "uig", "--no-data"], 2, "--data FOLDER says where"),
    "no folder": (["--lang", "uig", "--data", "/none/x"], 2, "does not exist"),
    "unknown task": (["--lang", "uig", "--tasks", "maths"], 2, "did you mean math"),
    "unknown language": (["--lang", "xx"], 2, "unknown language 'xx'"),
    "lacking": (["--lang", "uig", "--tasks", "belebele"], 2, "has no Uyghur (uig); it has acm_"),
    "not here": (["--lang", "kk", "--tasks", "math"], 1, "no math/kk/test.json, which math needs"),
    "nothing here": (["--lang", "ta"], 1, "no data of a task in Tamil"),
    "unknown method": (["--lang", "uig", "--methods", "x"], 2, "unknown method 'x'"),
    "weights": (["--lang", "uig", "--weights", "1"], 2, "--weights: weights are two numbers"),
    "plot": (["--lang", "uig", "--plot", "x.png"], 2, "--plot draws the scores of all pairs"),
    "document": (["--lang", "uig", "--with", "{data}/math/ug/test.json"], 1, "is no document of"),
    "page": (["--lang", "uig", "--markdown", "{data}/math/ug/test.json"], 1, "no table of an eval"),
    "answers": (["--lang", "uig", "--predictions", "{data}/math"], 1, "holds no predictions"),
    "journal": (
        ["--lang", "uig", "--tasks", "math", "--journal", "{data}/math/ug/test.json"],
        1,
        "is no journal of an evaluation",
    ),
}


@pytest.mark.parametrize(("arguments", "code", "words"), BAD.values(), ids=BAD.keys())
def test_what_is_refused(
    data: Path, models: list[str], arguments: list[str], code: int, words: str
) -> None:
    given = [word.replace("{data}", str(data)) for word in arguments]
    if "--no-data" in given:
        given.remove("--no-data")
    elif "--data" not in given:
        given += ["--data", str(data)]
    assert_one_line(trimix("eval", *given, *models), code, words)


def test_a_role_that_is_missing(data: Path, tiny_files: dict[str, Path]) -> None:
    arguments = ["--lang", "uig", "--data", str(data), "--large", str(tiny_files["large"])]
    done = trimix("eval", *arguments, "--methods", "proxy")
    assert_one_line(done, 2, "the method proxy needs cpt, base: give --cpt FILE")


@pytest.mark.parametrize("kills", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_killed_at_any_point_it_goes_on(
    data: Path, models: list[str], tmp_path: Path, kills: int
) -> None:
    """The same table, byte for byte, in exact mode."""

    def arguments(name: str) -> list[str]:
        return [
            "eval", "--lang", "uig", "--data", str(data), *models, "--exact", "--limit", "3",
            "--tasks", "response_selection,text_classification", "--shots", "1", "--samples", "3",
            "--methods", "large,cpt,proxy,trimix-ppl,trimix-ppl-answers,trimix-ppl-input",
            "--journal", str(tmp_path / f"{name}.jsonl"),
            "--markdown", str(tmp_path / f"{name}.md"),
        ]  # fmt: skip

    whole = trimix(*arguments("whole"))
    assert whole.returncode == 0, whole.stderr
    n_lines = (tmp_path / "whole.jsonl").read_bytes().count(b"\n")
    journal = tmp_path / "killed.jsonl"
    for lines in sorted(random.Random(kills).choices(range(1, n_lines - 2), k=kills)):
        command = [sys.executable, "-m", "trimix_cpp", *arguments("killed")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            while process.poll() is None:
                if journal.exists() and journal.read_bytes().count(b"\n") >= lines:
                    os.kill(process.pid, signal.SIGKILL)
                    break
                time.sleep(0.005)
    assert not (tmp_path / "killed.md").exists()
    done = trimix(*arguments("killed"))
    assert done.stdout == whole.stdout
    assert (tmp_path / "killed.md").read_bytes() == (tmp_path / "whole.md").read_bytes()
    assert sorted(journal.read_bytes().split(b"\n")) == sorted(
        (tmp_path / "whole.jsonl").read_bytes().split(b"\n")
    )
