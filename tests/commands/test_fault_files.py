"""Model files that used to take the process down end every command in one line."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from trimix_cpp.commands import main

from ..support.raw_gguf import BOOL, MODELS, STRING, RawFile, one
from ..support.tiny import write_tiny_model


def of(architecture: str, like: str = "llama") -> RawFile:
    """A model that says it is of another architecture, with the keys of that."""
    model = MODELS[like]
    keys = {k.replace(f"{like}.", f"{architecture}."): v for k, v in model.keys.items()}
    return RawFile({**keys, "general.architecture": one(STRING, architecture)}, model.tensors)


FILES = {
    "bert": of("bert").with_keys({"bert.attention.causal": one(BOOL, False)}),
    "nomic-bert": of("nomic-bert"),
    "eurobert": of("eurobert"),
    "gemma-embedding": of("gemma-embedding", "gemma3"),
    "t5": of("t5"),
    "t5encoder": of("t5encoder"),
    "llada": of("llada", "qwen2"),
    "dream": of("dream", "qwen2"),
    "smallthinker-no-experts": of("smallthinker", "qwen2"),
    "olmo2-no-heads": MODELS["olmo2"].with_keys({"olmo2.attention.head_count": None}),
}


def one_line_error(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    code = main(arguments)
    err = capfd.readouterr().err
    assert code == 1
    assert err.count("\n") == 1
    assert err.startswith("trimix-cpp: ")
    return err


@pytest.mark.parametrize("name", FILES)
def test_no_command_dies_of_the_file(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = str(FILES[name].write(tmp_path / "bad.gguf"))
    text = tmp_path / "text.txt"
    text.write_text("Open the file. " * 50)
    good = str(write_tiny_model(tmp_path / "good.gguf"))
    for models in ([bad, bad, bad], [good, bad, good]):
        roles = [
            x for pair in zip(("--large", "--cpt", "--base"), models, strict=True) for x in pair
        ]
        for command in (["generate", "-p", "Open", "-n", "2"], ["check"], ["tune", str(text)]):
            assert "bad.gguf" in one_line_error([*command, *roles], capfd)
    for arguments in (
        ["quantize", bad, str(tmp_path / "q.gguf"), "Q8_0"],
        ["imatrix", bad, str(text), "-o", str(tmp_path / "i.gguf"), "-c", "16"],
    ):
        assert "bad.gguf" in one_line_error(arguments, capfd)
    assert {path.name for path in tmp_path.iterdir()} == {"bad.gguf", "good.gguf", "text.txt"}


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ raise_exception('a\x1b]0;OWNED\x07\x1b[2Jc') }}", r"a\x1b]0;OWNED\x07\x1b[2Jc"),
        ("{{ '\\ud800' }}", "half a character"),
        ("{% for i in range(100000) %}{% for j in range(20000) %}{% endfor %}{% endfor %}x",
         "takes more than"),
    ],
)  # fmt: skip
def test_a_template_that_fails_costs_its_message(
    template: str,
    why: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trimix_cpp.prompts.templates.MAX_SECONDS", 1.0)
    path = str(write_tiny_model(tmp_path / "m.gguf", chat_template=template))
    assert gguf.GGUFReader(path).fields["tokenizer.chat_template"].contents() == template
    (tmp_path / "said").write_text("hello\n")
    with open(tmp_path / "said", encoding="utf-8") as said:
        monkeypatch.setattr("sys.stdin", said)
        code = main(["chat", "--large", path, "--cpt", path, "--base", path, "-n", "2"])
    out, err = capfd.readouterr()
    assert code == 1
    assert why in err
    assert "Traceback" not in err
    assert "\x1b" not in out + err
