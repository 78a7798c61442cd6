"""`trimix-cpp tune`: its contract, its files, and everything that can be wrong with its input."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimix_cpp.commands import main
from trimix_cpp.decoding import Decoder, Text, Trio
from trimix_cpp.errors import TrimixError
from trimix_cpp.fusion import LogProbs, Weights
from trimix_cpp.showing.plots import HeatMap, check_plot, draw_heat_maps
from trimix_cpp.store.spec import load_spec
from trimix_cpp.store.trios import find_trio

from ..conftest import QUICK as QUICK_OPTIONS
from ..support.cli import trimix
from ..support.tiny import write_tiny_model
from .test_cli import assert_one_line

PROMPT = "Please translate the following English text into Uyghur.\nEnglish: {}\nUyghur: "
PAIRS = {"Open": "ئاچ", "Save the file": "ھۆججەتنى ساقلا", "Close": "ياپ", "Print": "بېسىش"}
TEXT = "\n\n".join(PROMPT.format(english) for english in PAIRS)
QUICK = ("--trio", "demo", "-t", "1", "-c", "256")


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"TRIMIX_HOME": str(tmp_path / "home")}


@pytest.fixture
def jsonl(tmp_path: Path) -> Path:
    rows = [{"prompt": PROMPT.format(en), "reference": ug} for en, ug in PAIRS.items()]
    path = tmp_path / "task.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def tune(*arguments: str | Path, stdin: bytes | str = b"", **env: str) -> Any:
    done = trimix("tune", *map(str, arguments), *QUICK, "--json", stdin=stdin, env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_json_as_the_contract_says(jsonl: Path) -> None:
    report = tune(jsonl, "--divergence")
    assert set(report["best"]) == {"alpha", "beta", "ppl"}
    values = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
    assert [(c["alpha"], c["beta"]) for c in report["grid"]] == [
        (alpha, beta) for alpha in values for beta in values
    ]
    assert all({"alpha", "beta", "nll", "ppl"} <= set(cell) for cell in report["grid"])
    least = min(report["grid"], key=lambda cell: cell["nll"])
    assert report["best"] == {key: least[key] for key in ("alpha", "beta", "ppl")}
    assert report["n_prompts"] == len(PAIRS)
    assert set(report["per_input"]) == {"ppl", "ent"}
    assert set(report["per_input"]["ppl"]["alpha"]) == {"mean", "deviation"}
    assert set(report["divergence"]) == {"large", "cpt"}


def test_three_ways_to_give_the_same_prompts(jsonl: Path, tmp_path: Path) -> None:
    paragraphs = tmp_path / "task.txt"
    paragraphs.write_text(TEXT, encoding="utf-8")
    expected = tune(jsonl)
    assert tune(paragraphs, "--paragraphs") == expected
    assert tune("-", "--paragraphs", stdin="\ufeff" + TEXT) == expected
    assert tune("-", "--jsonl", stdin=jsonl.read_bytes()) == expected


def test_a_prefix_stands_before_every_prompt(tmp_path: Path) -> None:
    shots = PROMPT.format("Help") + "ياردەم"
    (tmp_path / "shots.txt").write_text(shots + "\n", encoding="utf-8")
    apart = tune("-", "--paragraphs", "--prefix", tmp_path / "shots.txt", stdin=TEXT)
    rows = [{"prompt": f"{shots}\n\n{PROMPT.format(english)}"} for english in PAIRS]
    written_out = tune("-", "--jsonl", stdin="\n".join(map(json.dumps, rows)))
    assert apart == written_out
    assert apart["n_tokens"] > tune("-", "--paragraphs", stdin=TEXT)["n_tokens"]


def test_the_table_marks_the_best(jsonl: Path) -> None:
    done = trimix("tune", str(jsonl), *QUICK, "--alphas", "0.1,1", "--betas", "0.9, 0.3,0.9")
    assert done.returncode == 0
    assert done.stdout.startswith("4 prompts, ")
    lines = done.stdout.splitlines()
    table = [line for line in lines if line.startswith(("alpha 0.1 ", "alpha 1 "))]
    assert len(table) == 2
    assert sum(line.count("*") for line in table) == 1
    report = tune(jsonl, "--alphas", "0.1,1", "--betas", "0.9,0.3")
    marked = next(line for line in table if "*" in line)
    assert float(marked.split()[1]) == report["best"]["alpha"]
    assert f"beta {report['best']['beta']:g}" in done.stdout


def test_a_sample_by_seed() -> None:
    prompts = "\n".join(f"Open the file {i}" for i in range(12))
    one, two, other = (tune("-", "--samples", "5", "--seed", seed, stdin=prompts) for seed in "001")
    assert one == two != other
    assert one["n_prompts"] == 5


def test_criteria_and_averages(jsonl: Path) -> None:
    ppl, continuous, ent = (tune(jsonl, "--criterion", name) for name in ("ppl", "ppl-opt", "ent"))
    assert continuous["best"]["ppl"] <= ppl["best"]["ppl"]
    for key in ("nll", "entropy"):
        one, two = ([cell[key] for cell in report["grid"]] for report in (continuous, ppl))
        np.testing.assert_allclose(one, two, rtol=1e-4)
    least = min(ent["grid"], key=lambda cell: cell["entropy"])
    assert {key: least[key] for key in ("alpha", "beta", "ppl")} == ent["best"]
    tokens = tune(jsonl, "--average", "tokens")
    assert tokens["average"] == "tokens"
    assert tokens["best"]["ppl"] != ppl["best"]["ppl"]


def test_the_upper_bound(jsonl: Path) -> None:
    arguments = (jsonl, "--upper-bound", "-n", "12", "--alphas", "0.9", "--betas", "0.3,1")
    report = tune(*arguments)
    scores = [cell["score"] for cell in report["grid"]]
    bound = report["upper_bound"]
    assert bound["score"] == max(scores)
    assert bound["metric"] == "chrf"
    assert (bound["alpha"], bound["beta"]) == (0.9, [0.3, 1][scores.index(max(scores))])
    accuracy = tune(*arguments, "--metric", "accuracy")
    assert {cell["score"] for cell in accuracy["grid"]} <= {0, 25, 50, 75, 100}


def test_saved_for_a_trio_by_name(jsonl: Path, home: dict[str, str]) -> None:
    report = tune(jsonl, "--save", "translation.eng-uig", **home)
    best = {key: report["best"][key] for key in ("alpha", "beta")}
    path = Path(report["saved"]["path"])
    assert path.is_relative_to(home["TRIMIX_HOME"])
    for models in (("--trio", "demo"), ("--lang", "ug")):
        done = trimix(
            "generate", *models, "--weights", "preset", "--task", "translation.eng-uig",
            "-p", "a", "-n", "1", "-t", "1", "--json", env=home,
        )  # fmt: skip
        assert json.loads(done.stdout)["weights"] == best
    arguments = ("generate", "--trio", "demo", "-p", "a", "-n", "1", "-t", "1", "--json")
    plain = trimix(*arguments, env=home)
    assert json.loads(plain.stdout)["weights"] == find_trio("demo").weights.as_json()


def test_saved_in_the_users_own_file(
    jsonl: Path, tmp_path: Path, home: dict[str, str], demo_files: dict[str, Path]
) -> None:
    own = tmp_path / "mine.toml"
    models = "\n".join(f'{role} = "{path.as_posix()}"' for role, path in demo_files.items())
    own.write_text(f"# mine\n[models]  # three\n{models}\n", encoding="utf-8")
    done = trimix(
        "tune", str(jsonl), "--trio", str(own), "-t", "1", "-c", "256", "--save", "a task", env=home
    )
    assert done.returncode == 0, done.stderr
    assert f"Saved in {own}: --weights preset --task 'a task'" in done.stdout
    assert own.read_text(encoding="utf-8").startswith("# mine\n[models]  # three\n")
    assert set(load_spec(own).presets) == {"a task"}
    assert not list((Path(home["TRIMIX_HOME"]) / "presets").glob("*.toml"))


def test_a_result_is_shown_even_if_it_cannot_be_kept(jsonl: Path, tmp_path: Path) -> None:
    (tmp_path / "home").write_bytes(b"a file where a folder should be")
    home = {"TRIMIX_HOME": str(tmp_path / "home")}
    arguments = (*QUICK, "--samples", "4", "--save", "task")
    done = trimix("tune", str(jsonl), *arguments, "--json", env=home)
    assert done.returncode == 1
    assert "saved" not in json.loads(done.stdout)
    assert done.stderr.count("\n") == 1
    assert str(tmp_path / "home") in done.stderr


def test_three_times_the_same_model_is_told(demo_files: dict[str, Path]) -> None:
    same = str(demo_files["cpt"])
    models = ("--large", same, "--cpt", same, "--base", same)
    done = trimix("tune", "-", *models, "-t", "1", "--samples", "1", stdin="Open the file")
    assert done.returncode == 0
    assert "every pair fits the prompts alike" in done.stderr
    assert re.search(r"^PPL +alpha 0\.1, beta 0\.1;", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "start"), [("map.png", b"\x89PNG"), ("map.svg", b"<?xml"), ("map.PDF", b"%PDF")]
)
def test_a_plot(tmp_path: Path, name: str, start: bytes) -> None:
    pytest.importorskip("matplotlib")
    values = np.array([[1.0, 20.0], [300.0, 4000.0], [5.0, 6.0]])
    panel = HeatMap("a", (0.1, 0.5, 1.0), (0.3, 0.9), values, (0, 0), str, log=True)
    flat = HeatMap("b", (0.1,), (0.3,), np.zeros((1, 1)), (0, 0), str)
    draw_heat_maps(tmp_path / name, [panel, flat])
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes().startswith(start)


def test_a_plot_replaces_plots_alone(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    panel = HeatMap("b", (0.1,), (0.3,), np.zeros((1, 1)), (0, 0), str)
    for name in ("a.png", "a.svg", "a.pdf", "a.eps"):
        path = tmp_path / name
        draw_heat_maps(path, [panel])
        draw_heat_maps(path, [panel])
        path.write_bytes(b"a photograph")
        with pytest.raises(TrimixError, match="exists already: it is no plot"):
            check_plot(path)
    with pytest.raises(TrimixError, match="is not a folder"):
        check_plot(tmp_path / "none" / "a.png")


def test_the_plot_of_the_grid(jsonl: Path, tmp_path: Path) -> None:
    """Every pair's perplexity stands in its cell: alpha to the right, beta upwards."""
    pytest.importorskip("matplotlib")
    arguments = ("--plot", tmp_path / "map.svg", "--alphas", "0.1,1", "--betas", "0.5,0.9")
    report = tune(jsonl, *arguments)
    drawn = (tmp_path / "map.svg").read_text(encoding="utf-8")
    labels = re.findall(r"<!-- (.*?) -->", drawn)
    assert {"alpha (large)", "beta (cpt)", "perplexity of the prompts"} <= set(labels)
    shown = [float(label) for label in labels if re.fullmatch(r"[\d.]+", label)][-4:]
    # matplotlib writes the cells row by row from the bottom: beta is the row.
    cells = sorted(report["grid"], key=lambda cell: (cell["beta"], cell["alpha"]))
    assert shown == pytest.approx([cell["ppl"] for cell in cells], rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--alphas", "0.1,x"], ("--alphas", "0.1,x")),
        (["--alphas", ""], ("--alphas",)),
        (["--betas", "nan"], ("--betas", "finite")),
        (["--betas", "0.1,inf"], ("--betas", "finite")),
        (["--samples", "0"], ("--samples",)),
        (["--save", " "], ("no name for a task",)),
        (["--average", "words"], ("--average",)),
        (["--criterion", "best"], ("--criterion", "ppl-opt")),
        (["--plot", "map.xyz"], ("--plot", ".png")),
        (["--paragraphs", "--jsonl"], ("--paragraphs",)),
        (["-n", "256", "--jsonl", "--upper-bound"], ("-n 256", "-c")),
    ],
)
def test_wrong_usage_is_exit_2(
    arguments: list[str],
    words: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "task").write_text('{"prompt": "Open the file", "reference": "a"}')
    if "--samples" not in arguments:
        arguments = [*arguments, "--samples", "1"]
    assert_refused([str(tmp_path / "task"), *arguments], 2, words, capsys)


def assert_refused(
    arguments: list[str], code: int, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """As `assert_one_line`, without a process of its own."""
    assert main(["tune", *arguments, *QUICK]) == code
    out, err = capsys.readouterr()
    assert_one_line(subprocess.CompletedProcess([], code, out, err), code, *words)


@pytest.mark.parametrize(
    ("data", "arguments", "words"),
    [
        (b"", [], ("no prompt",)),
        (b" \n\n", ["--paragraphs"], ("no prompt",)),
        (b"good\n\xff\xfe", [], ("line 2", "UTF-8")),
        (b'{"prompt": "a b"}\n{"text": "b"}', ["--jsonl"], ("line 2", "prompt")),
        (b"Open the file\n", ["--upper-bound"], ("line 1", "reference", "--jsonl")),
        (b'{"prompt": "Open the file"}', ["--jsonl", "--upper-bound"], ("line 1", "reference")),
    ],
)
def test_bad_input_is_one_line(
    data: bytes,
    arguments: list[str],
    words: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "task.txt").write_bytes(data)
    assert_refused([str(tmp_path / "task.txt"), *arguments], 1, ("task.txt", *words), capsys)


def test_standard_input_is_named() -> None:
    assert_one_line(trimix("tune", "-", *QUICK, stdin=b"a\n\xff"), 1, "standard input", "line 2")
    twice = trimix("tune", "-", *QUICK, "--prefix", "-", stdin="a b")
    assert_one_line(twice, 2, "FILE", "--prefix", "standard input")


@pytest.mark.parametrize(
    ("package", "arguments", "words"),
    [
        ("matplotlib", ["--plot", "map.png"], ("matplotlib", "pip install", "[plot]")),
        ("sacrebleu", ["--upper-bound"], ("sacrebleu", "pip install", "--metric accuracy")),
    ],
)
def test_what_is_not_installed_is_told_before_the_work(
    package: str,
    arguments: list[str],
    words: tuple[str, ...],
    jsonl: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(
        "trimix_cpp.decoding.trio.Trio.__init__", lambda *_: pytest.fail("models loaded")
    )
    assert_refused([str(jsonl), *arguments], 1, words, capsys)


def test_missing_files_and_models(jsonl: Path, demo_files: dict[str, Path]) -> None:
    assert_one_line(trimix("tune", "none.txt", *QUICK), 1, "none.txt", "No such file")
    two = ("--large", str(demo_files["large"]), "--cpt", str(demo_files["cpt"]))
    done = trimix("tune", str(jsonl), *two, "--samples", "4")
    assert_one_line(done, 1, "base", "--base")
    three = (*two, "--base", str(demo_files["base"]))
    assert_one_line(trimix("tune", str(jsonl), *three, "--save", "x"), 2, "--save", "--trio")
    assert_one_line(trimix("tune", str(jsonl)), 2, "--lang", "--trio")


def test_fewer_prompts_than_asked_for_are_told() -> None:
    done = trimix("tune", "-", *QUICK, stdin="Open the file\nSave it")
    assert done.returncode == 0
    assert "2 prompts instead of 50" in done.stderr
    assert done.stdout.startswith("2 prompts")


def test_prompts_of_one_token() -> None:
    some = trimix("tune", "-", *QUICK, "--samples", "2", stdin="a\nOpen the file")
    assert some.returncode == 0
    assert "1 prompt of one token" in some.stderr
    assert some.stdout.startswith("1 prompt,")
    done = trimix("tune", "-", *QUICK, "--samples", "1", stdin="a")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no prompt has a token to predict" in done.stderr


def test_a_prompt_longer_than_the_context_loses_its_beginning() -> None:
    shots = "".join(f"English: {i}\nUyghur: ئاچ\n\n" for i in range(200))
    end = "English: Open\nUyghur: "
    rows = [json.dumps({"prompt": shots + end}), json.dumps({"prompt": end})]
    done = trimix("tune", "-", *QUICK, "--jsonl", "--samples", "2", "--json", stdin="\n".join(rows))
    assert done.returncode == 0
    assert "1 prompt of more than 255 tokens" in done.stderr
    report = json.loads(done.stdout)
    assert 200 < report["n_tokens"] < 255 + 20


def test_models_that_may_not_be_fused(tmp_path: Path) -> None:
    files = {
        role: write_tiny_model(tmp_path / f"{role}.gguf", merges=merges)
        for role, merges in (("large", ("t h",)), ("cpt", ("t h",)), ("base", ("h e",)))
    }
    models = [part for role, path in files.items() for part in (f"--{role}", str(path))]
    assert_one_line(trimix("tune", "-", *models, "--samples", "1", stdin="the hat"), 3)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are not sent like this on Windows")
def test_an_interrupt_saves_nothing(jsonl: Path, home: dict[str, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "trimix_cpp", "tune", str(jsonl), *QUICK, "--upper-bound",
         "-n", "200", "--save", "task"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **home},
    )  # fmt: skip
    assert process.stderr is not None
    assert b"4 prompts instead of 50" in process.stderr.readline()  # the models are loaded
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode == 130
    assert stdout == b""
    assert stderr.endswith(b"trimix-cpp: interrupted\n")
    assert not list(Path(home["TRIMIX_HOME"]).glob("**/*.toml"))


def test_answers_choose_by_what_they_cost_after_their_prompts(jsonl: Path) -> None:
    report = tune(jsonl, "--criterion", "ppl-answers", "--alphas", "0.3,1", "--betas", "0.9,0.5")
    cells = {(cell["alpha"], cell["beta"]): cell["nll"] for cell in report["grid"]}
    with Trio(find_trio("demo"), ("large", "cpt", "base"), QUICK_OPTIONS) as trio:
        for pair in ((0.3, 0.9), (1.0, 0.5)):
            means = []
            for english, uyghur in PAIRS.items():
                prompt, answer = trio.tokenize(PROMPT.format(english)), trio.tokenize(uyghur)
                seen = LogProbs(Weights(*pair), len(prompt) - 1)
                text = Text([*prompt, *answer], Weights(*pair), max_tokens=0, observers=(seen,))
                with Decoder(trio) as decoder:
                    assert list(decoder.run([text])) == [text]
                assert len(seen.values) == len(answer)
                means.append(-np.mean(seen.values))
            # Batches of other sizes round otherwise.
            assert cells[pair] == pytest.approx(np.mean(means), abs=0.02)
    plain = tune(jsonl, "--alphas", "0.3,1", "--betas", "0.9,0.5")
    entropies = [[cell["entropy"] for cell in each["grid"]] for each in (report, plain)]
    assert entropies[0] == pytest.approx(entropies[1], abs=0.02)


def test_answers_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("Open\n", encoding="utf-8")
    done = trimix("tune", str(path), *QUICK, "--criterion", "ppl-answers")
    assert_one_line(done, 1, "line 1", "ppl-answers needs")
