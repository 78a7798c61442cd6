"""Quantization through llama.cpp: its types, its refusals, and what would have aborted it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import llama_cpp.llama_cpp as lib
import numpy as np
import pytest
from click.testing import CliRunner

from trimix_cpp.commands.quantize import command
from trimix_cpp.convert import convert
from trimix_cpp.errors import ModelFileError, TrimixError, UsageError
from trimix_cpp.gguf.imatrix import Entry, ImatrixError, ImportanceMatrix, write_imatrix
from trimix_cpp.gguf.reader import read_header
from trimix_cpp.gguf.types import NEED_IMATRIX, TYPES
from trimix_cpp.llama.model import Model
from trimix_cpp.llama.quantize import QuantizeError, Request, quantize_file
from trimix_cpp.showing import size_text

from ..support.quantized import quantize

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]


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


@pytest.mark.slow
@pytest.mark.parametrize("name", TYPES)
def test_every_type(source: Path, tmp_path: Path, name: str) -> None:
    dst = tmp_path / "out.gguf"
    if name in NEED_IMATRIX:
        with pytest.raises(TrimixError, match="needs an importance matrix"):
            quantize(source, dst, name)
        # llama.cpp agrees that it does.
        with pytest.raises(QuantizeError, match="imatrix"):
            quantize_file(Request(source, dst, TYPES[name], threads=1))
        assert files(tmp_path) == {"source.gguf"}
        return
    done = quantize(source, dst, name.lower())
    assert done.nbytes == dst.stat().st_size
    with Model(dst) as model:
        assert model.n_vocab == 640


def test_a_mixture(source: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    dst = quantize(source, tmp_path / "m.gguf", "Q4_K_M", progress=lambda *s: steps.append(s)).path
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
    quantize(source, dst, "q4_0", output_tensor_type="q8_0", token_embedding_type="bf16")
    assert kinds(dst)["output.weight"] == "Q8_0"
    assert kinds(dst)["token_embd.weight"] == "BF16"
    assert kinds(dst)["blk.1.ffn_up.weight"] == "Q4_0"


def test_rows_that_do_not_divide_fall_back(narrow: Path, tmp_path: Path) -> None:
    dst = quantize(narrow, tmp_path / "m.gguf", "Q4_K_M").path
    assert set(kinds(dst).values()) <= {"Q5_0", "Q8_0", "F32", "Q5_1"}


def test_copy_changes_nothing(source: Path, tmp_path: Path) -> None:
    dst = quantize(source, tmp_path / "m.gguf", "COPY").path
    assert kinds(dst) == kinds(source)
    assert read_header(dst).metadata["general.file_type"] == TYPES["F16"]


def test_what_would_abort_is_refused_before(narrow: Path, tmp_path: Path) -> None:
    for options in ({"token_embedding_type": "q4_k"}, {"token_embedding_type": "IQ4_XS"}):
        with pytest.raises(TrimixError, match=r"have 64 values, but .* needs a multiple of 256"):
            quantize(narrow, tmp_path / "m.gguf", "Q8_0", **options)


def test_types_that_need_an_importance_matrix_for_single_tensors(
    source: Path, tmp_path: Path
) -> None:
    for options in (
        {"token_embedding_type": "iq2_xxs"},
        {"tensors": [("attn_v", "iq2_s")]},
    ):
        with pytest.raises(TrimixError, match="needs an importance matrix with an entry"):
            quantize(source, tmp_path / "m.gguf", "Q4_0", **options)
    assert files(tmp_path) == {"source.gguf"}


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
        with pytest.raises(TrimixError, match=message):
            quantize(source, dst, name)
    with pytest.raises(TrimixError, match="is the source itself"):
        quantize(source, source, "Q8_0", force=True)
    assert files(tmp_path) == before


def test_a_quantized_source_is_refused(source: Path, tmp_path: Path) -> None:
    small = quantize(source, tmp_path / "small.gguf", "Q8_0").path
    with pytest.raises(QuantizeError, match="F32, F16 or BF16"):
        quantize(small, tmp_path / "out.gguf", "Q4_0")
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
    before, after = (size_text(path.stat().st_size) for path in (source, dst))
    assert result.stdout == f"{dst}: Q8_0, {before} -> {after}\n"
    assert isinstance(CliRunner().invoke(command, arguments).exception, TrimixError)
    assert CliRunner().invoke(command, [*arguments, "--force"]).exit_code == 0
    assert CliRunner().invoke(command, [*arguments[:3], "-t", "0"]).exit_code == 2


def matrix_for(model: Path, path: Path, *, leave_out: str = "no tensor") -> Path:
    """A made-up importance matrix for every weight matrix of the layers, in a file."""
    rng = np.random.default_rng(0)
    entries = {
        t.name: Entry(
            rng.random((1, t.shape[0]), np.float32) * 512 + 1, np.asarray([512], np.float32)
        )
        for t in read_header(model).tensors
        if t.name.startswith("blk.") and len(t.shape) == 2 and leave_out not in t.name
    }
    write_imatrix(path, ImportanceMatrix(entries, ("ئۇيغۇرچە.txt",), 1, 512))
    return path


@pytest.mark.parametrize("name", ["IQ2_XXS", "Q2_K_S"])
def test_an_importance_matrix_allows_fewer_bits(source: Path, tmp_path: Path, name: str) -> None:
    matrix = matrix_for(source, tmp_path / "i.gguf")
    done = quantize(source, tmp_path / "m.gguf", name, imatrix=matrix)
    assert done.uncovered == ()
    assert done.nbytes < quantize(source, tmp_path / "n.gguf", "Q4_0").nbytes
    metadata = read_header(done.path).metadata
    noted = {key: value for key, value in metadata.items() if key.startswith("quantize.imatrix.")}
    assert noted == {
        "quantize.imatrix.file": "i.gguf",
        "quantize.imatrix.dataset": "ئۇيغۇرچە.txt",
        "quantize.imatrix.entries_count": 14,
        "quantize.imatrix.chunks_count": 1,
    }
    with Model(done.path) as model:
        assert model.n_vocab == 640


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NEED_IMATRIX))
def test_every_type_with_an_importance_matrix(source: Path, tmp_path: Path, name: str) -> None:
    matrix = matrix_for(source, tmp_path / "i.gguf")
    dst = quantize(source, tmp_path / "m.gguf", name, imatrix=matrix).path
    with Model(dst) as model:
        assert model.n_vocab == 640


def test_an_importance_matrix_changes_the_rounding(source: Path, tmp_path: Path) -> None:
    matrix = matrix_for(source, tmp_path / "i.gguf")
    plain = quantize(source, tmp_path / "a.gguf", "Q4_K_S").path
    weighted = quantize(source, tmp_path / "b.gguf", "Q4_K_S", imatrix=matrix).path
    tensors = [read_header(path).tensors for path in (plain, weighted)]
    assert [t.nbytes for t in tensors[0]] == [t.nbytes for t in tensors[1]]
    assert plain.read_bytes()[-4096:] != weighted.read_bytes()[-4096:]


def test_an_importance_matrix_must_fit_the_model(
    source: Path, narrow: Path, tmp_path: Path
) -> None:
    dst = tmp_path / "m.gguf"
    foreign = matrix_for(narrow, tmp_path / "foreign.gguf")
    with pytest.raises(TrimixError, match="64 values and the model 256"):
        quantize(source, dst, "Q4_0", imatrix=foreign)
    partial = matrix_for(source, tmp_path / "partial.gguf", leave_out="ffn_up")
    with pytest.raises(TrimixError, match=r"no entry for blk\.0\.ffn_up\.weight, and IQ2_XS needs"):
        quantize(source, dst, "IQ2_XS", imatrix=partial)
    done = quantize(source, dst, "Q4_0", imatrix=partial)
    assert done.uncovered == ("blk.0.ffn_up.weight", "blk.1.ffn_up.weight")
    # A type of their own makes up for the missing entries.
    quantize(source, tmp_path / "n.gguf", "IQ2_XS", imatrix=partial, tensors=[("ffn_up", "q4_k")])
    none = matrix_for(source, tmp_path / "none.gguf", leave_out="weight")
    with pytest.raises(ImatrixError, match="holds no importance matrix"):
        quantize(source, dst, "Q4_0", imatrix=none)
    with pytest.raises(ImatrixError, match="no importance matrix"):
        quantize(source, dst, "Q4_0", imatrix=source)


def test_types_by_pattern(source: Path, tmp_path: Path) -> None:
    tensors = [(r"blk\.0\.ATTN_V", "q8_0"), ("attn_", "q6_k"), ("token_embd", "q5_k")]
    done = quantize(source, tmp_path / "m.gguf", "Q4_K_S", tensors=tensors)
    found = kinds(done.path)
    assert found["blk.0.attn_v.weight"] == "Q8_0"
    assert found["blk.1.attn_v.weight"] == found["blk.0.attn_output.weight"] == "Q6_K"
    assert found["blk.1.ffn_up.weight"] == "Q4_K"
    assert found["token_embd.weight"] == "Q5_K"
    assert found["blk.0.attn_norm.weight"] == "F32"


def test_patterns_that_do_nothing_are_refused(source: Path, tmp_path: Path) -> None:
    for name, tensors, message in (
        ("Q4_0", [("attn_v", "q8_0"), ("expert", "q8_0")], "no matrix's name contains 'expert'"),
        ("Q4_0", [("_norm", "q8_0")], "no matrix's name contains '_norm'"),
        ("F16", [("attn_v", "q8_0")], "F16 is not quantized"),
        ("COPY", [("attn_v", "q8_0")], "COPY leaves every tensor"),
        ("Q4_0", [("(", "q8_0")], "no regular expression"),
        ("Q4_0", [("attn_v", "q9")], "unknown tensor type 'q9'"),
    ):
        with pytest.raises(TrimixError, match=message):
            quantize(source, tmp_path / "m.gguf", name, tensors=tensors)
    # Python knows this expression and C++ does not: its own process says so.
    with pytest.raises(QuantizeError):
        quantize(source, tmp_path / "m.gguf", "Q4_0", tensors=[("(?<=attn)_v", "q8_0")])
    assert files(tmp_path) == {"source.gguf"}


@pytest.mark.slow
@pytest.mark.skipif("TRIMIX_LLAMA_CPP_BIN" not in os.environ, reason="needs llama.cpp's tools")
@pytest.mark.parametrize(
    ("name", "options", "choices"),
    [
        ("IQ2_XXS", [], {}),
        ("Q4_K_M", ["--tensor-type", "attn_V=q6_k"], {"tensors": [("attn_V", "q6_k")]}),
        ("IQ3_XXS", ["--output-tensor-type", "q5_k"], {"output_tensor_type": "q5_k"}),
    ],
)
def test_the_file_is_llama_quantizes(
    source: Path,
    tmp_path: Path,
    name: str,
    options: list[str],
    choices: dict[str, Any],
) -> None:
    matrix = matrix_for(source, tmp_path / "i.gguf")
    ours = quantize(source, tmp_path / "ours.gguf", name, imatrix=matrix, **choices)
    tool = Path(os.environ["TRIMIX_LLAMA_CPP_BIN"]) / "llama-quantize"
    theirs = tmp_path / "theirs.gguf"
    command = [tool, "--imatrix", "i.gguf", *options, source, theirs, name, "1"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    assert ours.path.read_bytes() == theirs.read_bytes()


def test_command_with_choices(source: Path, tmp_path: Path) -> None:
    matrix = matrix_for(source, tmp_path / "i.gguf", leave_out="blk.1.ffn_up")
    dst = tmp_path / "m.gguf"
    arguments = [str(source), str(dst), "q4_0", "-t", "1", "--imatrix", str(matrix)]
    result = CliRunner().invoke(command, [*arguments, "--tensor-type", "attn_v=q8_0"])
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(
        "trimix-cpp: the importance matrix has no entry for 1 tensor, the first "
    )
    assert kinds(dst)["blk.0.attn_v.weight"] == "Q8_0"
    wrong = CliRunner().invoke(command, [*arguments, "--tensor-type", "attn_v"])
    assert isinstance(wrong.exception, TrimixError)
    for usage in (
        [str(source)],
        ["--trio", "demo"],
        [str(source), "--profile", "x", "--trio", "y"],
    ):
        assert isinstance(CliRunner().invoke(command, usage).exception, UsageError)
    listed = CliRunner().invoke(command, ["--list-profiles"]).stdout.splitlines()
    assert [line.split()[0] for line in listed][:2] == ["reference", "paper-int8"]
