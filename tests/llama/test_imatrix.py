"""Importance matrices: the files, and what is collected, against independent sums and llama.cpp."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from trimix_cpp.commands.imatrix import command
from trimix_cpp.errors import ModelFileError, TrimixError, UsageError
from trimix_cpp.gguf.imatrix import (
    Entry,
    ImatrixError,
    ImportanceMatrix,
    read_imatrix,
    write_imatrix,
)
from trimix_cpp.gguf.reader import read_header
from trimix_cpp.llama.imatrix import collect
from trimix_cpp.llama.model import Model

from ..support.examples import examples
from ..support.tiny import write_tiny_model

TEXT = "ھەممە ئادەم زاتىدىنلا ئەركىن، ئىززەت-ھۆرمەت ۋە ھوقۇقتا باپباراۋەر بولۇپ تۇغۇلغان. " * 20
TIBETAN = "འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ་སྐྱེས་ཙམ་ཉིད་ནས་ཆེ་མཐོངས་དང༌། " * 20


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("imatrix") / "m.gguf", scale=0.1)


def run(path: Path, text: str = TEXT, **options: Any) -> ImportanceMatrix:
    with Model(path) as model:
        return collect(model, text, "text.txt", chunk_size=64, n_threads=1, **options)


def test_every_matrix_of_the_layers_is_seen(model_file: Path) -> None:
    steps: list[tuple[int, int]] = []
    matrix = run(model_file, max_chunks=3, progress=lambda *step: steps.append(step))
    shapes = {t.name: t.shape for t in read_header(model_file).tensors}
    wanted = {n for n, shape in shapes.items() if n.startswith("blk.") and len(shape) == 2}
    assert set(matrix.entries) == wanted
    assert (matrix.n_chunks, matrix.chunk_size, matrix.datasets) == (3, 64, ("text.txt",))
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    for name, entry in matrix.entries.items():
        assert entry.sums.shape == (1, shapes[name][0])
        assert entry.counts.tolist() == [3 * 64]
        assert (entry.sums > 0).all()


def test_the_first_layers_inputs_are_the_normed_embeddings(model_file: Path) -> None:
    """Layer 0's attention is given RMSNorm(embedding), whose weights are all 1 here."""
    matrix = run(model_file, max_chunks=2)
    reader = gguf.GGUFReader(model_file)
    embedding = next(t.data for t in reader.tensors if t.name == "token_embd.weight")
    with Model(model_file) as model:
        tokens = model.tokenize(TEXT, add_special=True)[:128]
    rows = embedding[tokens].astype(np.float64)
    normed = rows / np.sqrt(np.square(rows).mean(axis=1, keepdims=True) + 1e-6)
    expected = np.square(normed).sum(axis=0)
    for part in "qkv":
        found = matrix.entries[f"blk.0.attn_{part}.weight"].sums[0]
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_chunks_add_up(model_file: Path) -> None:
    text = "abcdefg " * 16  # a token a letter, and 64 letters a chunk
    whole, first, second = (run(model_file, part) for part in (text, text[:64], text[64:]))
    assert (whole.n_chunks, first.n_chunks, second.n_chunks) == (2, 1, 1)
    for name, entry in whole.entries.items():
        parts = first.entries[name].sums + second.entries[name].sums
        np.testing.assert_allclose(entry.sums, parts, rtol=1e-4)


def test_too_little_text_and_other_refusals(model_file: Path) -> None:
    with pytest.raises(ImatrixError, match=r"has \d+ tokens, and a chunk is 64"):
        run(model_file, "ئا")
    with Model(model_file) as model, pytest.raises(ImatrixError, match="at least 16 tokens"):
        collect(model, TEXT, "t", chunk_size=8)


def test_an_error_in_the_callback_reaches_the_caller(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr("trimix_cpp.llama.imatrix._Collector._add", fail)
    with pytest.raises(MemoryError, match="no more"):
        run(model_file)


@pytest.mark.parametrize("delay", [0.05, 0.051, 0.1, 0.15])
def test_ctrl_c_ends_it(model_file: Path, delay: float) -> None:
    timer = threading.Timer(delay, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        run(model_file, TEXT * 100)
    timer.join()


def test_chunks_that_do_not_fit_are_refused(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimix_cpp.llama.imatrix.free_memory", lambda: 1000)
    with pytest.raises(ImatrixError, match="chunks of 64 tokens need"):
        run(model_file)


def test_a_model_that_is_not_finite_is_told(tmp_path: Path) -> None:
    broken = write_tiny_model(tmp_path / "m.gguf", scale=1e30)
    with pytest.raises(ImatrixError, match="not finite"):
        run(broken)


floats = st.floats(0, 2.0**60, width=32)
entries = st.integers(1, 5).flatmap(
    lambda columns: st.lists(
        st.tuples(st.lists(floats, min_size=columns, max_size=columns), st.integers(0, 1 << 20)),
        min_size=1,
        max_size=3,
    )
)


def as_entry(rows: list[tuple[list[float], int]]) -> Entry:
    return Entry(
        np.asarray([row for row, _ in rows], np.float32),
        np.asarray([count for _, count in rows], np.float32),
    )


@settings(max_examples=examples(50))
@given(st.dictionaries(st.sampled_from(["a.weight", "blk.0.x", "ئا"]), entries, min_size=1))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, found: dict[str, list[tuple[list[float], int]]]
) -> None:
    path = tmp_path_factory.mktemp("i") / "i.gguf"
    matrix = ImportanceMatrix(
        {name: as_entry(rows) for name, rows in found.items()}, ("བོད་ཡིག.txt", "b"), 7, 512
    )
    write_imatrix(path, matrix)
    again = read_imatrix(path)
    assert (again.datasets, again.n_chunks, again.chunk_size) == (matrix.datasets, 7, 512)
    assert set(again.entries) == set(matrix.entries)
    for name, entry in matrix.entries.items():
        np.testing.assert_array_equal(again.entries[name].sums, entry.sums)
        np.testing.assert_array_equal(again.entries[name].counts, entry.counts)
        means = again.entries[name].means().reshape(entry.sums.shape)
        for row, count, mean in zip(entry.sums, entry.counts, means, strict=True):
            np.testing.assert_array_equal(mean, row / count if count else np.ones_like(row))


def old_format(names: dict[str, list[float]], calls: int, tail: bytes) -> bytes:
    data = struct.pack("<i", len(names))
    for name, values in names.items():
        data += struct.pack("<i", len(name)) + name.encode()
        data += struct.pack(f"<ii{len(values)}f", calls, len(values), *values)
    return data + tail


def test_the_old_format(tmp_path: Path) -> None:
    path = tmp_path / "i.dat"
    tail = struct.pack("<ii", 9, 4) + b"text"
    path.write_bytes(old_format({"a": [4, 8], "b": [2]}, 4, tail))
    matrix = read_imatrix(path)
    assert (matrix.datasets, matrix.n_chunks) == (("text",), 9)
    assert matrix.entries["a"].means().tolist() == [1, 2]
    path.write_bytes(old_format({"a": [4, 8]}, 0, b""))
    assert read_imatrix(path).entries["a"].means().tolist() == [4, 8]


def test_every_cut_of_a_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "i.dat"
    whole = old_format({"a": [4, 8], "b": [2]}, 4, b"")
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ImatrixError):
            read_imatrix(path)
    made = tmp_path / "i.gguf"
    write_imatrix(made, ImportanceMatrix({"a": as_entry([([1.0] * 8, 3)])}, ("t",), 1, 16))
    whole = made.read_bytes()
    for size in range(0, len(whole) - 28, 7):  # the last 28 bytes are padding
        path.write_bytes(whole[:size])
        with pytest.raises((ImatrixError, ModelFileError)):
            read_imatrix(path)


@settings(max_examples=examples(100))
@given(st.binary(max_size=200))
def test_any_bytes_are_an_error_or_a_matrix(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("i") / "i.dat"
    path.write_bytes(data)
    with suppress(TrimixError):
        assert read_imatrix(path).entries


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    path = tmp_path / "i.dat"
    path.write_bytes(old_format({"a": [4, float("nan")]}, 4, b""))
    with pytest.raises(ImatrixError, match="'a' is not finite"):
        read_imatrix(path)
    with pytest.raises(ImatrixError, match="No such file"):
        read_imatrix(tmp_path / "none")


def test_command(model_file: Path, tmp_path: Path) -> None:
    text, out = tmp_path / "text.txt", tmp_path / "i.gguf"
    text.write_text(TIBETAN, encoding="utf-8")
    arguments = [str(model_file), str(text), "-o", str(out), "-c", "64", "-t", "1"]
    result = CliRunner().invoke(command, [*arguments, "--chunks", "2"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{out}: 14 tensors, 2 chunks of 64 tokens\n"
    assert read_imatrix(out).datasets == ("text.txt",)
    assert isinstance(CliRunner().invoke(command, arguments).exception, TrimixError)
    onto_text = [*arguments[:3], str(text), "--force"]
    assert isinstance(CliRunner().invoke(command, onto_text).exception, UsageError)
    text.write_bytes(b"\xff\xfe")
    wrong = CliRunner().invoke(command, [*arguments, "--force"]).exception
    assert "is not UTF-8" in str(wrong)


@pytest.mark.slow
@pytest.mark.skipif("TRIMIX_LLAMA_CPP_BIN" not in os.environ, reason="needs llama.cpp's tools")
@pytest.mark.parametrize("form", ["gguf", "dat"])
def test_the_file_is_llama_imatrix(model_file: Path, tmp_path: Path, form: str) -> None:
    """The same bytes but for the sums, which llama-imatrix adds up in single precision."""
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    tool = Path(os.environ["TRIMIX_LLAMA_CPP_BIN"]) / "llama-imatrix"
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    options = ["-c", "64", "-b", "64", "--no-ppl", "-t", "1", "--output-format", form]
    files = ["-m", model_file, "-f", "text.txt", "-o", theirs]
    subprocess.run([tool, *files, *options], check=True, capture_output=True, cwd=tmp_path)
    mine = run(model_file)
    write_imatrix(ours, mine)
    their = read_imatrix(theirs)
    assert (mine.n_chunks, mine.datasets) == (their.n_chunks, their.datasets)
    assert set(mine.entries) == set(their.entries)
    for name, entry in mine.entries.items():
        np.testing.assert_allclose(entry.means(), their.entries[name].means(), rtol=1e-3)
    if form == "gguf":
        start = gguf.GGUFReader(ours).data_offset
        assert ours.read_bytes()[:start] == theirs.read_bytes()[:start]
        assert ours.stat().st_size == theirs.stat().st_size
