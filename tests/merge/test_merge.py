"""Folders in, a folder out: the numbers, the files, what is refused, and what an error leaves."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimix_cpp.convert import convert
from trimix_cpp.convert.checkpoint import open_checkpoint
from trimix_cpp.errors import TrimixError, UsageError
from trimix_cpp.merge import Source, merge, parse_source
from trimix_cpp.merge import run as merging

from ..convert.qwen2_checkpoints import bfloat16
from ..convert.test_errors import edit
from ..support.cli import trimix
from .checkpoints import family, read, save

EMBEDDING = "model.embed_tokens.weight"


def paper(models: list[Path]) -> list[Source]:
    return [Source(models[0], 0.2, 1.0), Source(models[1], 0.8, 0.2)]


def expected_ties(base: np.ndarray, cpt: np.ndarray, instruct: np.ndarray) -> np.ndarray:
    """The paper's merge in float64, with a full sort."""
    base, cpt, instruct = (array.astype(np.float64) for array in (base, cpt, instruct))
    one, two = cpt - base, instruct - base
    k = max(1, int(0.2 * two.size))
    order = np.argsort(-np.abs(two.astype(np.float32)).ravel(), kind="stable")
    two.ravel()[order[k:]] = 0
    parts = np.stack([0.2 * one, 0.8 * two])
    agree = np.sign(parts) == np.where(parts.sum(0) >= 0, 1, -1)
    share = (agree * np.array([0.2, 0.8]).reshape(2, *[1] * base.ndim)).sum(0)
    return base + (parts * agree).sum(0) / np.where(share == 0, 1, share)


@pytest.mark.parametrize(("dtype", "close"), [("float32", 1e-5), ("bfloat16", 0.02)])
@pytest.mark.parametrize("piece", [1 << 20, 100])
def test_ties_on_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, close: float, piece: int
) -> None:
    monkeypatch.setattr(merging, "PIECE", piece)
    base, models = family(tmp_path, dtype=dtype)
    done = merge(paper(models), tmp_path / "out", base=base)
    before, (cpt, instruct), found = read(base), map(read, models), read(tmp_path / "out")
    assert found.keys() == before.keys()
    assert done.tensors == len(found)
    assert done.notices == ()
    for name, array in found.items():
        exact = expected_ties(before[name], cpt[name], instruct[name])
        # In bfloat16 the k-th and its neighbours may be one number; there another one may stay.
        off = np.abs(array - exact) > close * (1 + np.abs(exact))
        assert off.mean() <= (0 if dtype == "float32" else 0.02), name


def test_pieces_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, models = family(tmp_path)
    merge(paper(models), tmp_path / "whole", base=base)
    monkeypatch.setattr(merging, "PIECE", 77)
    merge(paper(models), tmp_path / "pieces", base=base, shard_bytes=20_000)
    whole, pieces = read(tmp_path / "whole"), read(tmp_path / "pieces")
    assert all((whole[name] == pieces[name]).all() for name in whole)
    shards = sorted((tmp_path / "pieces").glob("model-*.safetensors"))
    assert len(shards) > 2
    assert all(path.stat().st_size < 25_000 for path in shards[1:])  # the embedding is larger


def test_one_model_alone_comes_in_full(tmp_path: Path) -> None:
    """By TIES with normalized weights the result is the model, whatever its weight."""
    base, models = family(tmp_path, dtype="float32", models=1)
    merge([Source(models[0], 0.125)], tmp_path / "out", base=base)
    found, model = read(tmp_path / "out"), read(models[0])
    for name in found:
        np.testing.assert_allclose(found[name], model[name], atol=1e-6)


def test_linear_and_task_arithmetic_on_folders(tmp_path: Path) -> None:
    base, models = family(tmp_path, dtype="float32")
    sources = [Source(models[0], 1), Source(models[1], 3)]
    merge(sources, tmp_path / "mean", method="linear")
    merge(sources, tmp_path / "sum", method="task-arithmetic", base=base, scale=0.5)
    before, one, two = read(base), read(models[0]), read(models[1])
    for name, array in read(tmp_path / "mean").items():
        np.testing.assert_allclose(array, (one[name] + 3 * two[name]) / 4, atol=1e-6)
    for name, array in read(tmp_path / "sum").items():
        delta = (one[name] - before[name]) + 3 * (two[name] - before[name])
        np.testing.assert_allclose(array, before[name] + delta / 2, atol=1e-6)


def test_the_result_converts(tmp_path: Path) -> None:
    """The same GGUF as from a checkpoint that has the merged numbers."""
    base, models = family(tmp_path)
    out = tmp_path / "out"
    merge(paper(models), out, base=base)
    converted = convert(out, tmp_path / "a.gguf", "bf16")
    shutil.copytree(base, tmp_path / "copy" / "out")
    save(tmp_path / "copy" / "out", read(out), "bfloat16")
    convert(tmp_path / "copy" / "out", tmp_path / "b.gguf", "bf16")
    assert converted.tensors == len(open_checkpoint(base).tensors)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    assert json.loads((out / "config.json").read_text())["torch_dtype"] == "bfloat16"


def test_another_type(tmp_path: Path) -> None:
    base, models = family(tmp_path, dtype="float32")
    merge(paper(models), tmp_path / "out", base=base, dtype="BF16")
    found = open_checkpoint(tmp_path / "out")
    assert {tensor.dtype for tensor in found.tensors.values()} == {"BF16"}
    for array in read(tmp_path / "out").values():
        np.testing.assert_array_equal(array, bfloat16(array))


def test_padded_rows_and_tied_heads(tmp_path: Path) -> None:
    """An embedding with more padding is cut; a head that was saved though tied is left out."""
    base, models = family(tmp_path)
    wide = read(models[1])
    plain = tmp_path / "plain"
    merge(paper(models), plain, base=base)
    wide[EMBEDDING] = np.concatenate([wide[EMBEDDING], np.ones((20, 32), np.float32)])
    wide["lm_head.weight"] = wide[EMBEDDING]
    save(models[1], wide, "bfloat16")
    done = merge(paper(models), tmp_path / "out", base=base)
    assert len(done.notices) == 1
    assert "rows of its embeddings" in done.notices[0]
    found = read(tmp_path / "out")
    assert "lm_head.weight" not in found
    for name, array in read(plain).items():
        np.testing.assert_array_equal(found[name], array)


def drop(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tensors = read(folder)
        del tensors[name]
        save(folder, tensors, "bfloat16")

    return change


def add(name: str) -> Callable[[Path], None]:
    return lambda folder: save(folder, read(folder) | {name: np.ones(3, np.float32)}, "bfloat16")


def put(name: str, value: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tensors = read(folder)
        tensors[name].flat[3] = value
        save(folder, tensors, "bfloat16")

    return change


def narrow(folder: Path) -> None:
    tensors = read(folder)
    tensors[EMBEDDING] = tensors[EMBEDDING][:-1]
    save(folder, tensors, "bfloat16")


def rename_token(folder: Path) -> None:
    def change(value: dict[str, Any]) -> None:
        vocabulary = value["model"]["vocab"]
        text = next(t for t, i in vocabulary.items() if i == 300)
        vocabulary["بۆلەك"] = vocabulary.pop(text)

    edit(folder / "tokenizer.json", change)


def config(**values: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "config.json", lambda c: c.update(values))


NORM = "model.norm.weight"
BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (shutil.rmtree, "does not exist"),
    "lacks": (drop(NORM), f"model2 lacks {NORM}, which "),
    "has more": (add("model.more.weight"), "has model.more.weight, which "),
    "fewer rows": (narrow, "has shape [619, 32], but [620, 32] in "),
    "other heads": (config(num_attention_heads=8), "num_attention_heads is 8, but 4 in "),
    "other family": (config(architectures=["LlamaForCausalLM"]), "models of one family"),
    "NaN": (put(NORM, float("nan")), "model.norm.weight holds numbers that are not finite"),
    "infinity": (put(EMBEDDING, float("inf")), "embed_tokens.weight holds numbers that are not"),
    "other tokens": (rename_token, "token 300 is 'بۆلەك', but "),
    "tokenizer": (lambda f: edit(f / "tokenizer.json", lambda t: t.pop("model")), "is malformed"),
    "quantized": (config(quantization_config={"bits": 4}), "the original checkpoint"),
}


@pytest.mark.parametrize(("spoil", "message"), BAD.values(), ids=BAD.keys())
def test_bad_model(tmp_path: Path, spoil: Callable[[Path], Any], message: str) -> None:
    base, models = family(tmp_path)
    spoil(models[1])
    before = sorted(tmp_path.iterdir())
    with pytest.raises(TrimixError) as caught:
        merge(paper(models), tmp_path / "out", base=base)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_other_rope_is_told(tmp_path: Path) -> None:
    base, models = family(tmp_path)
    config(rope_theta=1e4)(models[0])
    done = merge(paper(models), tmp_path / "out", base=base)
    assert [text.split(": ")[1] for text in done.notices] == [
        f"rope_theta is 10000.0, and 1000000.0 in {base}"
    ]


def test_overflow_is_named(tmp_path: Path) -> None:
    base, models = family(tmp_path, dtype="float16")
    with pytest.raises(TrimixError, match="its numbers are beyond F16 once they are merged"):
        merge(paper(models), tmp_path / "out", base=base, scale=1e6)


@pytest.mark.parametrize("at", range(1, 40, 6))
def test_interrupted_anywhere_it_leaves_nothing(tmp_path: Path, at: int) -> None:
    base, models = family(tmp_path)
    before = sorted(tmp_path.iterdir())
    calls = 0

    def stop(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == at or done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(paper(models), tmp_path / "out", base=base, progress=stop)
    assert sorted(tmp_path.iterdir()) == before


def test_what_stands_there_stays(tmp_path: Path) -> None:
    base, models = family(tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(TrimixError, match="exists already"):
        merge(paper(models), tmp_path / "out", base=base)
    with pytest.raises(TrimixError, match="create it first"):
        merge(paper(models), tmp_path / "none" / "out", base=base)
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("cpt", Source(Path("cpt"))),
        ("cpt:density=1.0,weight=0.2", Source(Path("cpt"), 0.2, 1.0)),
        ("/a b/ug:weight=-1", Source(Path("/a b/ug"), -1.0)),
        (r"C:\models\cpt:density=0.5", Source(Path(r"C:\models\cpt"), 1.0, 0.5)),
        (r"C:\models\cpt", Source(Path(r"C:\models\cpt"))),
    ],
)
def test_sources_are_read(text: str, source: Source) -> None:
    assert parse_source(text) == source


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "name a folder"),
        ("cpt:weight=x", "weight is 'x', which is no number"),
        ("cpt:wieght=1", "give weight and density, each once, not 'wieght'"),
        ("cpt:weight=1,weight=2", "each once"),
        ("cpt:density=0", "above 0, at most 1"),
        ("cpt:density=1.5", "above 0, at most 1"),
        ("cpt:weight=nan", "must be finite"),
    ],
)
def test_bad_sources(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_source(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "ties"}, "name both"),
        ({"method": "linear", "base": True}, "leave the base out"),
        ({"method": "linear", "scale": 2.0}, "no lambda"),
        ({"method": "slerp"}, "choose one of ties, task-arithmetic, linear"),
        ({"method": "linear", "weights": (1, -1)}, "must not add up to 0"),
        ({"method": "task-arithmetic", "base": True, "density": 0.5}, "density belongs to ties"),
        ({"dtype": "F8"}, "unknown type 'F8'"),
        ({"base": True, "scale": float("inf")}, "lambda is inf"),
    ],
)
def test_options_that_do_not_go_together(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    weights = arguments.pop("weights", (1, 1))
    density = arguments.pop("density", 1)
    arguments["base"] = tmp_path if arguments.pop("base", False) else None
    models = [Source(tmp_path, weight, density) for weight in weights]
    with pytest.raises(UsageError, match=message):
        merge(models, tmp_path / "out", **arguments)


def test_the_command(tmp_path: Path) -> None:
    base, models = family(tmp_path)
    out = tmp_path / "بىرلەشتۈرۈلگەن"
    arguments = ["--base", str(base), "--model", f"{models[0]}:density=1.0,weight=0.2"]
    arguments += ["--model", f"{models[1]}:density=0.2,weight=0.8"]
    done = trimix("merge", str(out), *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{out}: 26 tensors, ")
    merge(paper(models), tmp_path / "same", base=base)
    name = "model.safetensors"
    assert (out / name).read_bytes() == (tmp_path / "same" / name).read_bytes()
    again = trimix("merge", str(out), *arguments)
    assert again.returncode == 1
    assert "exists already" in again.stderr


# Linux keeps the peak of a process in VmHWM (proc(5)).
RUN = """
import sys
from pathlib import Path
from trimix_cpp.merge import Source, merge
base, one, two, out = map(Path, sys.argv[1:])
merge([Source(one, 0.2, 1.0), Source(two, 0.8, 0.2)], out, base=base)
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_the_tensors(tmp_path: Path) -> None:
    rows, width = 60_000, 512
    base, models = family(tmp_path)
    largest = rows * width * 2
    for folder in (base, *models):
        edit(folder / "config.json", lambda c: c.update(vocab_size=rows, hidden_size=width))
        header = {
            EMBEDDING: {"dtype": "BF16", "shape": [rows, width], "data_offsets": [0, largest]}
        }
        text = json.dumps(header).encode()
        with open(folder / "model.safetensors", "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(8 + len(text) + largest)  # zeros that take no room on the disk
    arguments = [sys.executable, "-c", RUN, *map(str, (base, *models, tmp_path / "out"))]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 4 * largest  # what is promised, whatever Python itself takes
