"""Adapters on a model: which are taken, what they compute, and that the weights are there once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.errors import ModelFileError
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.gguf.lora import read_adapter
from trimix_cpp.gguf.reader import read_header
from trimix_cpp.llama.context import Context
from trimix_cpp.llama.model import Model
from trimix_cpp.store.spec import load_spec

from ..conftest import QUICK
from ..support.cli import trimix
from ..support.quantized import quantize
from ..support.tiny import finish, write_lora, write_tiny_model

ROOT = Path(__file__).parents[2]
UYGHUR = "ھۆججەتنى ئاچ"
Q = "blk.0.attn_q.weight"
GOOD = {f"{Q}.lora_a": (2, 64), f"{Q}.lora_b": (64, 2)}


def adapter(path: Path, tensors: dict[str, tuple[int, ...]], **changes: Any) -> Path:
    """An adapter with tensors of these shapes (as NumPy has them) and metadata."""
    values = {"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 4.0}
    values |= {key.replace("__", "."): value for key, value in changes.items() if key != "family"}
    writer = gguf.GGUFWriter(path, changes.get("family", "qwen2"))
    for key, value in values.items():
        if isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, list):
            writer.add_array(key, value)
        else:
            writer.add_string(key, value)
    rng = np.random.default_rng(0)
    for name, shape in tensors.items():
        writer.add_tensor(name, rng.standard_normal(shape).astype(np.float32))
    return finish(writer, path)


def pair(name: str, a: tuple[int, ...], b: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {f"{name}.lora_a": a, f"{name}.lora_b": b}


BAD: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, Any], str]] = {
    "a model": (GOOD, {"general__type": "model"}, "is a model, not a LoRA adapter"),
    "another kind": (GOOD, {"adapter__type": "ia\n3"}, "of the type 'ia 3', not a LoRA"),
    "another family": (
        GOOD,
        {"family": "llama"},
        "made for a llama model, and base.gguf is a qwen2",
    ),
    "no number": (GOOD, {"adapter__lora__alpha": float("nan")}, "its alpha is no finite number"),
    "activated": (GOOD, {"adapter__alora__invocation_tokens": [1]}, "is an activated LoRA"),
    "nothing": ({}, {}, "holds no matrices"),
    "norms alone": ({"blk.0.attn_norm.weight": (64,)}, {}, "holds no matrices"),
    "more than a LoRA": ({**GOOD, Q: (64, 64)}, {}, f"{Q} is no part of a LoRA"),
    "half": ({f"{Q}.lora_a": (2, 64)}, {}, f"half of {Q} is missing"),
    "no such layer": (
        pair("blk.9.attn_q.weight", (2, 64), (64, 2)),
        {},
        "is no matrix of base.gguf",
    ),
    "a vector": (pair("blk.0.attn_norm.weight", (2, 64), (1, 2)), {}, "is no matrix of base.gguf"),
    "width": (pair(Q, (2, 128), (64, 2)), {}, "[128, 2] and [2, 64]"),
    "height": (pair(Q, (2, 64), (128, 2)), {}, "another base model?"),
    "ranks": (pair(Q, (3, 64), (64, 2)), {}, "another base model?"),
    "turned": (pair(Q, (64, 2), (2, 64)), {}, "another base model?"),
    "stacked": (pair(Q, (2, 2, 64), (2, 64, 2)), {}, "another base model?"),
    "tied": (pair("token_embd.weight", (263, 2), (64, 2)), {}, "also uses as its output head"),
}


@pytest.mark.parametrize(("tensors", "changes", "message"), BAD.values(), ids=BAD.keys())
def test_what_does_not_fit_is_refused(
    tiny_files: dict[str, Path],
    tmp_path: Path,
    tensors: dict[str, tuple[int, ...]],
    changes: dict[str, Any],
    message: str,
) -> None:
    path = adapter(tmp_path / "lora.gguf", tensors, **changes)
    with pytest.raises(ModelFileError) as caught, Model(tiny_files["base"]) as model:
        Context(model, n_ctx=256, lora=(path, 1.0))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_fits_is_taken(tiny_files: dict[str, Path], tmp_path: Path) -> None:
    """Norms, which llama.cpp leaves out, do no harm beside matrices."""
    path = adapter(tmp_path / "lora.gguf", {**GOOD, "blk.0.attn_norm.weight": (64,)})
    assert len(read_adapter(path, read_header(tiny_files["base"])).tensors) == 3
    with Model(tiny_files["base"]) as model:
        Context(model, n_ctx=256, lora=(path, 1.0)).close()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_no_adapter_takes_the_process_down(seed: int) -> None:
    lived, taken, refused = child("fuzz", str(seed)).split()
    assert lived == "lived"
    assert min(int(taken), int(refused)) > 50


@pytest.mark.parametrize(
    ("kind", "case"),
    [("F16", "chunks"), ("Q8_0", "chunks"), ("Q8_0", "together"), ("Q8_0", "rewind")],
)
def test_exact_mode_is_bit_for_bit_with_an_adapter(kind: str, case: str) -> None:
    assert child("exact", kind, case) == "equal"


def child(*arguments: str) -> str:
    """What `lora_runs.py` prints: exact mode and aborts are matters of a whole process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.llama.lora_runs", *arguments],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_exact_mode_wants_a_quantized_adapter_for_several_sequences(
    demo_files: dict[str, Path], tmp_path: Path
) -> None:
    lora = write_lora(tmp_path / "lora.gguf", n_embd=256)
    code = (
        "from trimix_cpp.llama import Context, Model; from trimix_cpp.errors import TrimixError\n"
        f"model = Model({str(demo_files['base'])!r}, exact=True)\n"
        f"lora = ({str(lora)!r}, 1.0)\n"
        "Context(model, n_ctx=256, n_seq_max=2).close(); Context(model, n_ctx=256, lora=lora)\n"
        "try: Context(model, n_ctx=256, n_seq_max=2, lora=lora)\n"
        "except TrimixError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == (
        f"{lora}: --exact with several sequences at once needs quantized weights "
        "(Q8_0 or smaller)\n"
    )


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A random model whose rows divide into K-quants' blocks, in several types."""
    folder = tmp_path_factory.mktemp("wide")
    sizes = {"n_embd": 256, "n_ff": 512, "n_head": 4, "scale": 0.05}
    files = {"F32": write_tiny_model(folder / "F32.gguf", **sizes)}  # type: ignore[arg-type]
    for kind in ("Q8_0", "Q4_K"):
        files[kind] = quantize(files["F32"], folder / f"{kind}.gguf", kind).path
    return files


def effect(path: Path, lora: Path) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a Uyghur text without and with an adapter, shape [2 n, n_vocab] in one batch."""
    rows = []
    with Model(path) as model:
        tokens = np.array(model.tokenize(UYGHUR), np.int32)
        at = np.arange(len(tokens), dtype=np.int32)
        for on in (None, (lora, 1.0)):
            with Context(model, n_ctx=256, n_outputs_max=64, n_threads=1, lora=on) as context:
                context.decode(tokens, at, at * 0, at >= 0)
                rows.append(context.logits().copy())
    return rows[0], rows[1]


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_K"])
@pytest.mark.parametrize("lora_kind", ["F32", "F16", "Q8_0"])
def test_an_adapter_does_the_same_to_quantized_weights(
    wide: dict[str, Path], tmp_path: Path, kind: str, lora_kind: str
) -> None:
    """It changes the logits of the quantized model as it changes those of its float32 weights."""
    from .lora_runs import write

    quant = gguf.GGMLQuantizationType[lora_kind]
    lora = write(
        tmp_path / "lora.gguf",
        {f"blk.{i}.{n}.weight.lora_{p}": ((32, 256) if p == "a" else (256, 32), quant)
         for i in range(2) for n in ("attn_q", "attn_v", "attn_output") for p in "ab"},
        64.0,
    )  # fmt: skip
    unpacked = dequantized(wide[kind], tmp_path / "float.gguf")
    quantized, reference = effect(wide[kind], lora), effect(unpacked, lora)
    size = np.abs(reference[1] - reference[0]).max()
    assert size > 0.5
    for ours, theirs in zip(quantized, reference, strict=True):
        assert np.abs(ours - theirs).max() < 0.15 * size


def dequantized(source: Path, target: Path) -> Path:
    """The same weights in F32, with the vocabulary of the tiny models."""
    write_tiny_model(target, n_embd=256, n_ff=512, n_head=4)
    weights = {
        t.name: gguf.quants.dequantize(t.data, t.tensor_type)
        for t in gguf.GGUFReader(source).tensors
    }
    reader = gguf.GGUFReader(target, "r+")
    for tensor in reader.tensors:
        tensor.data[:] = weights[tensor.name]
    reader.data.flush()
    return target


def test_a_trio_file_with_an_adapter_is_one_model_with_two_contexts(
    demo_files: dict[str, Path], tmp_path: Path
) -> None:
    base = tmp_path / "base.gguf"
    base.write_bytes(demo_files["base"].read_bytes())
    write_lora(tmp_path / "cpt-lora.gguf", n_embd=256)
    text = '[models]\nbase = "base.gguf"\ncpt = { lora = "cpt-lora.gguf", scale = 0.5 }\n'
    (tmp_path / "mine.toml").write_text(text)
    spec = load_spec(tmp_path / "mine.toml")
    with Trio(spec, ("cpt", "base"), QUICK) as trio:
        one, two = (trio._contexts[role] for role in ("cpt", "base"))
        assert one.model is two.model
        assert one.handle != two.handle
        together = generate(trio, Weights(0, 0.5))
        base_alone = generate(trio, Weights(0, 0))
    # What is shared changes nothing: two models give the same text.
    text = text.replace("{ lora", '{ path = "other.gguf", lora')
    (tmp_path / "other.gguf").write_bytes(base.read_bytes())
    (tmp_path / "mine.toml").write_text(text)
    with Trio(load_spec(tmp_path / "mine.toml"), ("cpt", "base"), QUICK) as trio:
        assert trio._contexts["cpt"].model is not trio._contexts["base"].model
        assert generate(trio, Weights(0, 0.5)) == together
        assert generate(trio, Weights(0, 0)) == base_alone != together


def generate(trio: Trio, weights: Weights) -> list[int]:
    (done,) = Decoder(trio).run([Text(trio.tokenize(UYGHUR), weights, max_tokens=12)])
    return list(done.tokens)


def test_an_adapter_that_does_not_fit_leaves_the_trio_as_it_was(
    demo_files: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "base.gguf").write_bytes(demo_files["base"].read_bytes())
    write_lora(tmp_path / "lora.gguf", n_embd=64)
    (tmp_path / "t.toml").write_text('[models]\nbase = "base.gguf"\ncpt = { lora = "lora.gguf" }\n')
    with Trio(load_spec(tmp_path / "t.toml"), ("base",), Options(n_ctx=256, n_threads=1)) as trio:
        before = generate(trio, Weights(0, 0))
        with pytest.raises(ModelFileError, match="another base model"):
            trio.require(("cpt",))
        assert trio.roles == ("base",)
        assert generate(trio, Weights(0, 0)) == before


def test_the_weights_of_base_and_cpt_are_in_memory_once() -> None:
    """The benchmark at small scale: 47 million weights, each role in use, peaks of processes."""
    script = ROOT / "benchmarks" / "lora_memory.py"
    done = subprocess.run(
        [sys.executable, str(script), "--shapes", "tiny", "--rank", "8", "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    peaks = json.loads(done.stdout)
    weights = peaks["file base"]
    alone, lora, two = (
        peaks[name]
        for name in ("base alone", "base and cpt as a LoRA", "base and cpt as two models")
    )
    assert two - alone > 0.9 * weights
    assert lora - alone < 0.5 * weights
    assert two - lora > 0.6 * weights


def test_check_reads_the_adapter(demo_files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "base.gguf").write_bytes(demo_files["base"].read_bytes())
    trio = tmp_path / "mine.toml"
    trio.write_text('[models]\nbase = "base.gguf"\ncpt = { lora = "lora.gguf" }\n')
    for width, code in ((256, 0), (64, 1)):
        write_lora(tmp_path / "lora.gguf", n_embd=width)
        done = trimix("check", "--trio", str(trio))
        assert done.returncode == code
        assert ("another base model?" in done.stderr) is (code == 1)
