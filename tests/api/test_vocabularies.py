"""What people use, with a cpt (and a base) that has tokens of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import trimix_cpp
from trimix_cpp.api import TriMix
from trimix_cpp.commands import main
from trimix_cpp.fusion import Grid
from trimix_cpp.tuning import score_prompts

from ..support.enlarged import write_enlarged_trio


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_enlarged_trio(tmp_path_factory.mktemp("both"), ("cpt", "base"))


@pytest.fixture(scope="module")
def trio(files: dict[str, Path]) -> Iterator[TriMix]:
    with trimix_cpp.load(**files, weights="0.4,0.5", n_ctx=512, n_threads=1) as trio:
        yield trio


def test_texts_and_chats(trio: TriMix) -> None:
    for weights in ("0.4,0.5", "ppl", "ent"):
        done = trio.generate("the ئۇيغۇر", weights=weights, max_tokens=4)
        assert len(done.token_ids) == 4
    chat = trio.chat(max_tokens=6)
    first, second = chat.send("བོད་སྐད"), chat.send("the then")
    assert first.stop == "length"
    assert len(second.token_ids) == 6


def test_scores_and_logits_are_those_of_the_loop(trio: TriMix) -> None:
    """The likelihood of what greedy decoding says is the product of the rows."""
    rows = trio.logits("the ئۇ")
    assert rows.shape == (len(trio.tokenize("the ئۇ")), trio.n_tokens)
    assert np.isfinite(rows).all()
    found = trio.score("the ", "ئۇ")
    at = len(trio.tokenize("the "))
    assert len(found.token_ids) == len(rows) - at
    assert np.isfinite(found.logprobs).all()


def test_tuning(trio: TriMix) -> None:
    prompts = [trio.tokenize(text) for text in ("the then ئۇيغۇر", "བོད་སྐད 12")]
    scores = score_prompts(trio.trio, prompts, Grid((0.3, 0.7), (0.5, 0.9)))
    assert np.isfinite(scores.nll).all()


def test_commands(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [part for role, path in files.items() for part in (f"--{role}", str(path))]
    named += ["-t", "1"]
    assert main(["check", *named[:-2]]) == 0
    assert "expanded" in capsys.readouterr().out
    source, target = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("the then\nthe 1234\n", encoding="utf-8")
    fixed = ["--weights", "0.4,0.5", *named]
    languages = ["--from", "eng", "--to", "uig"]
    assert main(["translate", str(source), "-o", str(target), *languages, "-n", "4", *fixed]) == 0
    assert target.read_text(encoding="utf-8").count("\n") == 2
    capsys.readouterr()
    options = ["-n", "3", "--json", "--draft", "2", "--exact-vocabulary"]
    assert main(["generate", "-p", "the", *options, *fixed]) == 0
    assert json.loads(capsys.readouterr().out)["tokens"] == 3


def test_bench(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    named = [part for role, path in files.items() for part in (f"--{role}", str(path))]
    sizes = [
        "-p",
        "8",
        "-n",
        "16",
        "-r",
        "1",
        "-d",
        "24",
        "--batches",
        "2",
        "--drafts",
        "2",
        "-t",
        "1",
    ]
    assert main(["bench", "--json", *sizes, "--weights", "0.4,0.5", *named]) == 0
    assert json.loads(capsys.readouterr().out)


def test_impact_says_that_it_does_not_measure_them(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [part for role, path in files.items() for part in (f"--{role}", str(path))]
    text = tmp_path / "text.txt"
    text.write_text("the then " * 40, encoding="utf-8")
    options = ["--profile", "as-is", "--text", str(text), "-c", "32", "--weights", "0.4,0.5"]
    assert main(["impact", *options, *named, "-t", "1", "--cache", str(tmp_path / "c")]) == 1
    assert "vocabulary of their own" in capsys.readouterr().err
