"""Random models: llama.cpp's own mix of types, tame logits, real sizes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from trimix_cpp.bench import random_models
from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.errors import TrimixError, UsageError
from trimix_cpp.fusion.choosers import PplChooser
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.gguf.reader import read_header
from trimix_cpp.llama.context import Context
from trimix_cpp.llama.model import Model
from trimix_cpp.store.spec import RoleSpec, TrioSpec

from ..conftest import ROLES
from ..support.quantized import quantize
from ..support.tiny import write_tiny_model


@pytest.mark.parametrize("n_layer", [2, 28])
def test_types_are_those_of_llama_cpp(n_layer: int, tmp_path: Path) -> None:
    source = write_tiny_model(tmp_path / "f32.gguf", n_layer=n_layer, n_embd=256, n_ff=512)
    quantize(source, tmp_path / "q.gguf", "Q4_K_M")
    theirs = {t.name: t.type for t in read_header(tmp_path / "q.gguf").tensors}
    shape = random_models.Shape(256, 512, n_layer, 2, 2, 300, 290, tied=True)
    ours = {name: 0 if kind is None else kind for name, *_, kind in random_models.tensors_of(shape)}
    assert ours == theirs


def test_the_sizes_of_real_files() -> None:
    """Parameters and bytes of published Q4_K_M files, within a hundredth."""
    for name, params, size in (
        ("qwen2.5-1.5b", 1.54e9, 0.986e9),
        ("qwen2.5-7b", 7.62e9, 4.68e9),
        ("qwen3-4b", 4.02e9, 2.5e9),
        ("qwen3-14b", 14.8e9, 9.0e9),
        ("gemma2-9b", 9.24e9, 5.76e9),
        ("gemma3-12b", 11.8e9, 7.3e9),
    ):
        tensors = list(random_models.tensors_of(random_models.SHAPES[name]))
        n_bytes = sum(
            rows * (columns * 4 if kind is None else random_models.row_bytes(columns, kind))
            for _, rows, columns, kind in tensors
        )
        assert sum(rows * columns for _, rows, columns, _ in tensors) == pytest.approx(params, 0.01)
        assert n_bytes == pytest.approx(size, rel=0.01)


def spread(path: Path) -> float:
    """The standard deviation of a model's logits, all of them finite."""
    with Model(path) as model, Context(model, n_ctx=64, n_outputs_max=64, n_threads=1) as context:
        tokens = np.arange(64, dtype=np.int32) * 50
        context.decode(tokens, np.arange(64, dtype=np.int32), tokens * 0, tokens >= 0)
        assert np.isfinite(context.logits()).all()
        return float(context.logits().std())


@pytest.mark.parametrize("family", ["qwen3", "gemma2", "gemma3"])
def test_other_families_run(family: str, tmp_path: Path) -> None:
    shape = random_models.Shape(256, 512, 2, 4, 2, 4000, 3900, True, family, 128)
    path = random_models.write_model(tmp_path / "m.gguf", shape)
    assert 0.1 < spread(path) < 100


def test_a_random_trio_runs(tmp_path: Path) -> None:
    files = random_models.write_trio(tmp_path, "tiny-a+tiny-b")
    for path in files.values():
        with (
            Model(path) as model,
            Context(model, n_ctx=64, n_outputs_max=64, n_threads=1) as context,
        ):
            tokens = np.arange(64, dtype=np.int32) * 50
            context.decode(tokens, np.arange(64, dtype=np.int32), tokens * 0, tokens >= 0)
            logits = context.logits()
            assert np.isfinite(logits).all()
            assert 0.1 < logits.std() < 10
    spec = TrioSpec("random", {role: RoleSpec(path) for role, path in files.items()})
    with Trio(spec, ROLES, Options(n_ctx=64, n_threads=1, n_outputs=16)) as trio:
        assert trio.n_tokens == 3900
        prompt = trio.tokenize("the ཀ")
        text = Text(prompt, Weights(1, 0), chooser=PplChooser(), max_tokens=3)
        (done,) = Decoder(trio).run([text])
        assert len(done.tokens) == len(prompt) + 3


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    shape = random_models.SHAPES["tiny-a"]
    files = [
        random_models.write_model(tmp_path / str(i), shape, seed)
        for i, seed in enumerate((1, 1, 2))
    ]
    first, same, other = (path.read_bytes() for path in files)
    assert first == same != other


def test_names_of_trios() -> None:
    shapes = random_models.shapes_of_trio("qwen2.5-1.5b+7b")
    assert [shapes[role].n_embd for role in ("base", "cpt", "large")] == [1536, 1536, 3584]
    with pytest.raises(UsageError, match="7b"):
        random_models.shapes_of_trio("qwen2.5-1.5b+8b")


@pytest.mark.parametrize("kind", ["F16", "Q8_0", "Q5_K_M", "Q3_K_S", "Q2_K", "Q4_0", "IQ4_XS"])
def test_every_type_gives_tame_logits(kind: str, tmp_path: Path) -> None:
    path = random_models.write_model(
        tmp_path / "m.gguf", random_models.SHAPES["tiny-a"], file_type=kind
    )
    sizes = random_models.model_bytes(random_models.SHAPES["tiny-a"], kind)
    assert path.stat().st_size == pytest.approx(sizes, rel=0.1)
    assert 0.1 < spread(path) < 10


def test_types_that_cannot_be_random_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="IQ2_XXS"):
        random_models.write_trio(tmp_path, "tiny-a+tiny-b", {"large": "IQ2_XXS"})
    assert not list(tmp_path.iterdir())


def test_kept_models_are_taken_again_only_where_they_are_the_same(tmp_path: Path) -> None:
    def written(types: dict[str, str], keep: Path | None) -> dict[str, tuple[int, int]]:
        with random_models.random_trio("tiny-a+tiny-b", types, keep) as files:
            return {r: (p.stat().st_mtime_ns, p.stat().st_size) for r, p in files.items()}

    first = written({"cpt": "Q8_0"}, tmp_path / "kept")
    assert written({"cpt": "Q8_0"}, tmp_path / "kept") == first
    other = written({"cpt": "Q4_0"}, tmp_path / "kept")
    assert other["cpt"][1] < first["cpt"][1]
    with random_models.random_trio("tiny-a+tiny-b", {}) as files:
        folder = files["large"].parent
    assert not folder.exists()


def test_a_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(TrimixError, match="are free"):
        random_models.write_trio(tmp_path, "tiny-a+tiny-b")
    assert not list(tmp_path.iterdir())


def test_files_of_others_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "large.gguf").write_text("mine")
    with (
        pytest.raises(TrimixError, match=r"large\.gguf exists already: name another folder"),
        random_models.random_trio("tiny-a+tiny-b", {}, tmp_path),
    ):
        pass
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("large.gguf", "mine")]
