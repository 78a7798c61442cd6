"""`--bytes`: models whose tokenizers differ, from the command line and from Python."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

import trimix_cpp
from trimix_cpp.commands import main
from trimix_cpp.errors import UsageError

from ..support.different import write_different

Out = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_different(tmp_path_factory.mktemp("different"))


@pytest.fixture(scope="module")
def models(files: dict[str, Path]) -> list[str]:
    return [part for role, path in files.items() for part in (f"--{role}", str(path))]


def test_check_says_what_may_be_done_and_what_it_costs(models: list[str], capsys: Out) -> None:
    assert main(["check", *models]) == 3
    said = capsys.readouterr().out
    assert "over bytes they may be fused" in said
    assert main(["check", "--json", *models]) == 3
    found = json.loads(capsys.readouterr().out)["bytes"]
    assert found["possible"]
    assert set(found["tokens"]) == {"large", "cpt", "base"}
    assert all(0 < n <= found["n_bytes"] + 1 for n in found["tokens"].values())
    assert main(["check", "--json", "--trio", "demo"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] is None


def test_never_silently(models: list[str], capsys: Out) -> None:
    assert main(["generate", *models, "-p", "the", "-n", "4"]) == 3
    assert "--bytes" in capsys.readouterr().err


def test_generate(models: list[str], capsys: Out) -> None:
    arguments = ["generate", *models, "--bytes", "-t", "1", "-n", "12", "--json"]
    assert main([*arguments, "-p", "the ئۇ"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tokens"] == 12 or found["stop"] == "end"
    raw = bytes(token for token in found["token_ids"] if token < 256)
    assert raw.decode("utf-8", "ignore") == found["text"]
    assert main([*arguments, "-p", "the ئۇ", "--weights", "ent"]) == 0
    assert main([*arguments, "-p", ""]) == 1
    assert "the prompt is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [["--exact"], ["--repeat-penalty", "1.1"], ["--draft", "3"], ["--beam", "0"], ["--beam", "65"]],
)
def test_what_does_not_go_with_it(models: list[str], options: list[str], capsys: Out) -> None:
    assert main(["generate", *models, "--bytes", "-p", "the", *options]) == 2
    assert options[0] in capsys.readouterr().err


def test_chat(models: list[str], capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = io.TextIOWrapper(io.BytesIO("ياخشىمۇسىز؟\nthe <s> again\n".encode()))
    monkeypatch.setattr("sys.stdin", lines)
    assert main(["chat", *models, "--bytes", "-t", "1", "-n", "12", "--json"]) == 0
    replies = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [reply["stop"] for reply in replies if reply["stop"] in ("length", "end")]
    assert len(replies) == 2


def test_translate(models: list[str], tmp_path: Path, capsys: Out) -> None:
    source, target = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("the thing\nand the other\n", encoding="utf-8")
    arguments = ["translate", str(source), "-o", str(target), "--from", "eng", "--to", "uig"]
    assert main([*arguments, *models, "--bytes", "-t", "1", "-n", "10", "--no-retry"]) == 0
    assert target.read_text(encoding="utf-8").count("\n") == 2


def test_python(files: dict[str, Path]) -> None:
    with trimix_cpp.load(**files, bytes=True, beam=2, n_threads=1) as trio:
        done = trio.generate("the thing", max_tokens=8, temperature=1.0, seed=1)
        assert len(done.token_ids) <= 8
        assert trio.n_tokens == 257
        with pytest.raises(UsageError, match="bytes"):
            trio.score("the", " thing")
        with pytest.raises(UsageError, match="bytes"):
            trio.logits("the thing")
