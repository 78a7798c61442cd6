"""The reader of tokenizer.model: what it reads, and that no bytes make it fail otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimix_cpp.convert import convert
from trimix_cpp.convert.sentencepiece_model import read_model
from trimix_cpp.errors import TrimixError

from .spm_tokenizers import model_file, pieces
from .test_convert import read

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]
SMALL = model_file("llama2")[:300]


@pytest.mark.parametrize("kind", ["llama2", "gemma3"])
def test_what_was_written_is_read(tmp_path: Path, kind: str) -> None:
    (tmp_path / "tokenizer.model").write_bytes(model_file(kind))
    model = read_model(tmp_path / "tokenizer.model")
    assert [(p.text, p.score, int(p.type)) for p in model.pieces] == list(pieces(kind))
    assert model.space_prefix == (kind == "llama2")


def test_sentencepiece_agrees(tmp_path: Path) -> None:
    """A model trained by sentencepiece itself, which writes many more fields."""
    sentencepiece = pytest.importorskip("sentencepiece")
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"word{i} བོད་{i} ئۇيغۇر{i * 7}" for i in range(300)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(tmp_path / "m"), vocab_size=400, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", minloglevel=2,
        user_defined_symbols=["<tool>"],
    )  # fmt: skip
    model = read_model(tmp_path / "m.model")
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "m.model"))
    assert len(model.pieces) == theirs.vocab_size()
    for i, piece in enumerate(model.pieces):
        assert (piece.text, piece.score) == (theirs.id_to_piece(i), theirs.get_score(i))
        flags = (theirs.is_unknown(i), theirs.is_control(i), theirs.is_byte(i))
        assert flags == (piece.type == 2, piece.type == 3, piece.type == 6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=80)
    | st.tuples(st.integers(0, 299), st.binary(max_size=6)).map(
        lambda at: SMALL[: at[0]] + at[1] + SMALL[at[0] + len(at[1]) :]
    )
)
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(data)
    try:
        model = read_model(path)
    except TrimixError as error:
        assert "\n" not in str(error)  # noqa: PT017 (most inputs must fail, some may pass)
    else:
        assert model.pieces


def test_kinds_that_llama_cpp_would_read_wrongly(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint(family="llama2", model_file=True)
    for data, message in (
        (model_file("llama2", model_type=1), "is no BPE model"),
        (model_file("llama2", charsmap=b"rules"), "normalizes text"),
        (model_file("llama2")[:-1], "is no SentencePiece model: the file is truncated"),
        (b"", "it holds no tokens"),
        (model_file("gemma3")[:4000], "is no SentencePiece model"),
    ):
        (src / "tokenizer.model").write_bytes(data)
        with pytest.raises(TrimixError, match=message):
            convert(src, tmp_path / "m.gguf", "f16")
    assert not (tmp_path / "m.gguf").exists()


def test_a_model_file_that_lacks_tokens_of_tokenizer_json(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint(family="llama2", model_file=True)
    data = json.loads((src / "tokenizer.json").read_text())
    data["model"]["vocab"]["strange"] = len(pieces("llama2"))
    (src / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(TrimixError, match=r"1 token that tokenizer[.]model lacks, such as 'st"):
        convert(src, tmp_path / "m.gguf", "f16")


def test_tokenizer_model_alone_is_enough(checkpoint: Make, tmp_path: Path) -> None:
    src, _ = checkpoint("m", family="gemma3", model_file=True)
    (src / "added_tokens.json").write_text('{"<extra>": 820}')  # as old versions saved them
    convert(src, tmp_path / "both.gguf", "f16")
    (src / "tokenizer.json").unlink()
    convert(src, tmp_path / "alone.gguf", "f16")
    both, alone = (read(tmp_path / f"{name}.gguf")[0] for name in ("both", "alone"))
    del both["tokenizer.ggml.add_sep_token"]  # the template between two texts is not known
    for keys in (both, alone):
        del keys["GGUF.kv_count"]
    assert both == alone
    assert alone["tokenizer.ggml.tokens"][820] == "<extra>"
