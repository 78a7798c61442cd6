"""Quantization through llama.cpp: its types, its refusals, and what would have aborted it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import gguf
import llama_cpp.llama_cpp as lib
import numpy as np
import pytest
from click.testing import CliRunner

from trimix_cpp.commands.quantize import command
from trimix_cpp.convert import ConvertError, convert
from trimix_cpp.convert.quantize import TENSOR_TYPES, TYPES, quantize
from trimix_cpp.errors import ModelFileError
from trimix_cpp.gguf_header import read_header
from trimix_cpp.llama import Model
from trimix_cpp.llama_quantize import QuantizeError, Request, quantize_file

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]

NEED_IMATRIX = {
    "IQ3_XS", "IQ3_XXS", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S", "Q2_K_S",
}  # fmt: skip


@pytest.fixture
def source(checkpoint: Make, tmp_path: Path) -> Path:
    """An F16 file with rows of 256, which all types accept."""
    folder, _ = checkpoint(width=256)
    return convert(folder, tmp_path / "source.gguf", "f16").path


@pytest.fixture
def narrow(checkpoint: Make, tmp_path: Path) -> Path:
    """An F16 file with rows of 64, which K-quants do not accept."""
    folder, _ = checkpoint("narrow", width=64)
    return convert(folder, tmp_path / "narrow.gguf", "f16").path


def kinds(path: Path) -> dict[str, str]:
    return {t.name: gguf.GGMLQuantizationType(t.type).name for t in read_header(path).tensors}


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def test_numbers_are_those_of_llama_cpp() -> None:
    for name, number in TYPES.items():
        if name not in {"COPY", "Q3_K", "Q4_K", "Q5_K"}:
            prefix = "LLAMA_FTYPE_ALL_" if name == "F32" else "LLAMA_FTYPE_MOSTLY_"
            assert getattr(lib, prefix + name) == number, name
    for alias in ("Q3_K", "Q4_K", "Q5_K"):
        assert TYPES[alias] == TYPES[f"{alias}_M"]
    for name, (number, block) in TENSOR_TYPES.items():
        kind = gguf.GGMLQuantizationType(number) if number < 41 else None
        assert kind is None or (kind.name, gguf.GGML_QUANT_SIZES[kind][0]) == (name, block)


@pytest.mark.slow
@pytest.mark.parametrize("name", TYPES)
def test_every_type(source: Path, tmp_path: Path, name: str) -> None:
    dst = tmp_path / "out.gguf"
    if name in NEED_IMATRIX:
        with pytest.raises(QuantizeError, match="imatrix"):
            quantize(source, dst, name, threads=1)
        assert files(tmp_path) == {"source.gguf"}
        return
    done = quantize(source, dst, name.lower(), threads=1)
    assert done.nbytes == dst.stat().st_size
    with Model(dst) as model:
        assert model.n_vocab == 640


def test_a_mixture(source: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    dst = quantize(
        source, tmp_path / "m.gguf", "Q4_K_M", threads=1, progress=lambda *s: steps.append(s)
    ).path
    found = kinds(dst)
    assert found["blk.0.attn_q.weight"] == "Q4_K"
    assert found["token_embd.weight"] == "Q6_K"  # tied: it is the output head as well
    assert found["blk.0.attn_q.bias"] == found["output_norm.weight"] == "F32"
    assert steps == [(i + 1, len(found)) for i in range(len(found))]
    metadata, before = read_header(dst).metadata, read_header(source).metadata
    assert metadata["general.file_type"] == TYPES["Q4_K_M"]
    tokens = "tokenizer.ggml.tokens"
    assert metadata.keys() == before.keys()
    assert metadata[tokens].raw == before[tokens].raw


def test_chosen_types_for_two_tensors(checkpoint: Make, tmp_path: Path) -> None:
    folder, _ = checkpoint(width=256, tied=False)
    source = convert(folder, tmp_path / "source.gguf", "f32").path
    dst = tmp_path / "m.gguf"
    quantize(source, dst, "q4_0", output_tensor_type="q8_0", token_embedding_type="bf16", threads=1)
    assert kinds(dst)["output.weight"] == "Q8_0"
    assert kinds(dst)["token_embd.weight"] == "BF16"
    assert kinds(dst)["blk.1.ffn_up.weight"] == "Q4_0"


def test_rows_that_do_not_divide_fall_back(narrow: Path, tmp_path: Path) -> None:
    dst = quantize(narrow, tmp_path / "m.gguf", "Q4_K_M", threads=1).path
    assert set(kinds(dst).values()) <= {"Q5_0", "Q8_0", "F32", "Q5_1"}


def test_copy_changes_nothing(source: Path, tmp_path: Path) -> None:
    dst = quantize(source, tmp_path / "m.gguf", "COPY").path
    assert kinds(dst) == kinds(source)
    assert read_header(dst).metadata["general.file_type"] == TYPES["F16"]


def test_what_would_abort_is_refused_before(narrow: Path, tmp_path: Path) -> None:
    for options in ({"token_embedding_type": "q4_k"}, {"token_embedding_type": "IQ4_XS"}):
        with pytest.raises(ConvertError, match=r"have 64 values, but .* needs a multiple of 256"):
            quantize(narrow, tmp_path / "m.gguf", "Q8_0", **options)
    # Types that need an importance matrix abort there too, and are not on offer.
    with pytest.raises(ConvertError, match="unknown tensor type 'iq2_xxs'"):
        quantize(narrow, tmp_path / "m.gguf", "Q8_0", token_embedding_type="iq2_xxs")


@pytest.mark.slow
def test_an_abort_in_c_is_an_error_like_any_other(narrow: Path, tmp_path: Path) -> None:
    request = Request(narrow, tmp_path / "m.gguf", TYPES["Q8_0"], token_embedding_type=12)
    with pytest.raises(QuantizeError, match="died while quantizing it"):
        quantize_file(request)


def test_bad_files_and_names(source: Path, tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"no GGUF")
    (tmp_path / "cut.gguf").write_bytes(source.read_bytes()[:-5000])
    out = tmp_path / "out.gguf"
    before = files(tmp_path)
    for src in (tmp_path / "none.gguf", tmp_path / "no.gguf", tmp_path / "cut.gguf", tmp_path):
        with pytest.raises(ModelFileError):
            quantize(src, out, "Q8_0")
    for dst, name, message in (
        (out, "Q9", "unknown type 'Q9'"),
        (tmp_path, "Q8_0", "is a folder"),
        (source, "Q8_0", "exists already"),
        (tmp_path / "none" / "out.gguf", "Q8_0", "is not a folder"),
    ):
        with pytest.raises(ConvertError, match=message):
            quantize(source, dst, name)
    with pytest.raises(ConvertError, match="is the source itself"):
        quantize(source, source, "Q8_0", force=True)
    assert files(tmp_path) == before


def test_a_quantized_source_is_refused(source: Path, tmp_path: Path) -> None:
    small = quantize(source, tmp_path / "small.gguf", "Q8_0", threads=1).path
    with pytest.raises(QuantizeError, match="F32, F16 or BF16"):
        quantize(small, tmp_path / "out.gguf", "Q4_0", threads=1)
    assert files(tmp_path) == {"source.gguf", "small.gguf"}


def test_an_interruption_leaves_nothing(source: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    (tmp_path / "out.gguf").write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        quantize(source, tmp_path / "out.gguf", "Q4_0", force=True, progress=interrupt)
    assert files(tmp_path) == {"source.gguf", "out.gguf"}
    assert (tmp_path / "out.gguf").read_bytes() == b"before"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_noticed(source: Path) -> None:
    request = Request(source, Path("/dev/full"), TYPES["Q8_0"], threads=1)
    try:
        quantize_file(request)
    except QuantizeError:
        return
    with pytest.raises(ModelFileError):  # llama.cpp did not notice: the header check does
        read_header("/dev/full")


def test_command(source: Path, tmp_path: Path) -> None:
    dst = tmp_path / "m.gguf"
    arguments = [str(source), str(dst), "q8_0", "-t", "1"]
    result = CliRunner().invoke(command, arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    before, after = source.stat().st_size / 1e6, dst.stat().st_size / 1e6
    assert result.stdout == f"{dst}: Q8_0, {before:,.1f} MB -> {after:,.1f} MB\n"
    assert isinstance(CliRunner().invoke(command, arguments).exception, ConvertError)
    assert CliRunner().invoke(command, [*arguments, "--force"]).exit_code == 0
    assert CliRunner().invoke(command, [*arguments[:3], "-t", "0"]).exit_code == 2
