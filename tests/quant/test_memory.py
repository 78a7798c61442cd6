"""Estimates of memory: against llama.cpp's own figures, and against what a process really takes."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trimix_cpp.decoding.trio import Trio
from trimix_cpp.errors import TrimixError
from trimix_cpp.gguf.header import Array, Header
from trimix_cpp.gguf.reader import read_header
from trimix_cpp.gguf.shape import shape_of_config, shape_of_header
from trimix_cpp.gguf.types import FLOATS
from trimix_cpp.llama import hardware, supports_gpu
from trimix_cpp.llama.context import Context
from trimix_cpp.llama.model import Model
from trimix_cpp.quant.memory import (
    Hardware,
    TrioEstimate,
    cache_bytes,
    check_fits,
    describe,
    estimate,
)
from trimix_cpp.quant.options import Options
from trimix_cpp.quant.profiles import load_profile
from trimix_cpp.store.spec import TrioSpec

from ..support.sparse import write_sparse_model
from ..support.tiny import write_tiny_model

# Of a process; what an estimate may be off by, beside 32 MB.
BELOW, ABOVE = 0.95, 1.15
QWEN = {"n_embd": 1536, "n_ff": 8960, "n_layer": 2, "n_head": 12, "n_head_kv": 2, "tied": True}
LLAMA = {"n_embd": 2048, "n_ff": 5632, "n_layer": 2, "n_head": 32, "n_head_kv": 32}
GEMMA = {
    "n_embd": 1152, "n_ff": 6912, "n_layer": 7, "n_head": 4, "n_head_kv": 1, "head_size": 256,
    "tied": True, "window": 512,
}  # fmt: skip


class Log(logging.Handler):
    """llama.cpp's own figures: MiB by the name of the buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.mib: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if found := re.search(r"(KV|compute) buffer size = +([\d.]+) MiB", record.getMessage()):
            self.mib[found[1]] = self.mib.get(found[1], 0) + float(found[2])


def reported(path: Path, n_ctx: int, kind: str, n_parallel: int) -> dict[str, float]:
    log, logger = Log(), logging.getLogger("trimix_cpp.llama")
    level = logger.level
    logger.addHandler(log)
    logger.setLevel(logging.DEBUG)
    try:
        with (
            Model(path) as model,
            Context(
                model, n_ctx=n_ctx, n_seq_max=n_parallel, n_threads=1, type_k=kind, type_v=kind
            ),
        ):
            return log.mib
    finally:
        logger.removeHandler(log)
        logger.setLevel(level)


@pytest.mark.skipif(supports_gpu(), reason="on a GPU other buffers are made")
@pytest.mark.parametrize(
    ("family", "sizes"), [("qwen2", QWEN), ("llama", LLAMA), ("gemma3", GEMMA)]
)
@pytest.mark.parametrize(("n_ctx", "kind", "n_parallel"), [(4096, "f16", 1), (700, "q8_0", 3)])
def test_llama_cpp_allots_what_was_estimated(
    tmp_path: Path, family: str, sizes: dict[str, int], n_ctx: int, kind: str, n_parallel: int
) -> None:
    path = write_sparse_model(tmp_path / "m.gguf", family, **sizes)
    found = reported(path, n_ctx, kind, n_parallel)
    role = estimate(
        {"cpt": read_header(path)},
        Options(n_ctx=n_ctx, n_parallel=n_parallel, type_k={"cpt": kind}, type_v={"cpt": kind}),
    ).roles["cpt"]
    assert role.cache / 2**20 == pytest.approx(found["KV"], rel=0.01, abs=0.1)
    # The estimate includes what the CPU backend takes besides for converted rows.
    assert found["compute"] <= role.compute / 2**20 <= 1.2 * found["compute"] + 4


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("which", ["demo", "random"])
def test_a_process_takes_what_was_estimated(
    which: str, demo_files: dict[str, Path], tmp_path: Path
) -> None:
    if which == "demo":
        files, n_ctx = demo_files, 4096
    else:  # 268 MB of weights
        big = write_tiny_model(tmp_path / "m.gguf", n_embd=1024, n_ff=4096, n_layer=4, n_head=16)
        files, n_ctx = {"cpt": big}, 2048
    command = [sys.executable, "-m", "tests.quant.memory_run", str(n_ctx)]
    roles = [f"{role}={path}" for role, path in files.items()]
    done = subprocess.run(
        [*command, *roles], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert BELOW * found["peak"] <= found["estimate"] <= ABOVE * found["peak"] + (32 << 20)


def test_layers_with_other_numbers_of_heads(tmp_path: Path) -> None:
    header = read_header(write_tiny_model(tmp_path / "m.gguf", n_layer=3, n_head=4))
    whole = cache_bytes(header, 256, "f16", "f16")
    assert whole == 256 * 3 * 64 * 2 * 2
    heads = Array(5, 3, np.asarray([4, 1, 2], "<i4").tobytes())
    uneven = replace(header, metadata={**header.metadata, "qwen2.attention.head_count_kv": heads})
    assert cache_bytes(uneven, 256, "f16", "f16") == whole * 7 // 12


def test_cells_are_rounded_up(tiny_files: dict[str, Path]) -> None:
    header = read_header(tiny_files["cpt"])
    one, full = (cache_bytes(header, cells, "q8_0", "q8_0") for cells in (1, 256))
    assert one == full < cache_bytes(header, 257, "q8_0", "q8_0")


def headers(files: dict[str, Path]) -> dict[str, Header]:
    return {role: read_header(path) for role, path in files.items()}


def test_a_shared_file_counts_once(tiny_files: dict[str, Path]) -> None:
    found = headers(tiny_files)
    found["base"] = found["cpt"]
    needed = estimate(found, Options(n_ctx=512), adapters={"cpt": 1000})
    assert needed.roles["base"].weights == 0 < needed.roles["cpt"].weights
    assert needed.roles["base"].cache == needed.roles["cpt"].cache > 0
    assert needed.roles["cpt"].repacked == 1000
    assert needed.total == needed.program + sum(role.total for role in needed.roles.values())
    assert needed.as_json()["total"] == needed.total


def test_what_is_on_a_gpu_takes_no_memory_here(tiny_files: dict[str, Path]) -> None:
    role = estimate(
        headers(tiny_files),
        Options(n_ctx=512, n_gpu_layers={"cpt": 0, "base": 0}),
        hardware=Hardware(gpu=True),
    ).roles["large"]
    assert role.weights == role.cache == role.compute == 0 < role.logits


def test_repacked_weights_cannot_be_read_again(demo_files: dict[str, Path]) -> None:
    found = headers(demo_files)
    kinds = {tensor.type for header in found.values() for tensor in header.tensors}
    plain = estimate(found, Options(n_ctx=512))
    packed = estimate(found, Options(n_ctx=512), hardware=Hardware(frozenset(kinds) - FLOATS))
    assert packed.total == plain.total
    assert packed.private > plain.private
    embedding = next(t for t in found["cpt"].tensors if t.name == "token_embd.weight")
    assert packed.roles["cpt"].weights >= embedding.nbytes


def test_what_is_left_once_the_models_are_loaded(demo_files: dict[str, Path]) -> None:
    found = headers(demo_files)
    whole, rest = (estimate(found, Options(n_ctx=512), loaded=loaded) for loaded in (False, True))
    for role, one in rest.roles.items():
        assert one.private == one.cache + one.compute + one.logits
        assert one.weights == whole.roles[role].weights
    assert rest.program == 0


def test_repacked_weights_of_loaded_models_are_not_read_again(demo_files: dict[str, Path]) -> None:
    found = headers(demo_files)
    kinds = frozenset(tensor.type for header in found.values() for tensor in header.tensors)
    packing = Hardware(kinds - FLOATS)
    whole, rest = (
        estimate(found, Options(n_ctx=512), hardware=packing, loaded=loaded)
        for loaded in (False, True)
    )
    for role, one in rest.roles.items():
        assert one.weights == whole.roles[role].weights < found_bytes(found[role])
        assert one.repacked == 0 < whole.roles[role].repacked


def found_bytes(header: Header) -> int:
    return sum(tensor.nbytes for tensor in header.tensors)


def test_a_trio_is_not_said_to_be_read_again_for_weights_that_are_repacked(
    demo_spec: TrioSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[TrioEstimate] = []
    monkeypatch.setattr(
        "trimix_cpp.decoding.loading.check_fits", lambda needed: told.append(needed)
    )
    with Trio(demo_spec, ["cpt"], Options(n_ctx=256, n_threads=1)) as trio:
        header = read_header(trio.spec.roles["cpt"].path)
    expected = estimate({"cpt": header}, Options(n_ctx=256), hardware=hardware(), loaded=True)
    assert told[0].weights == expected.weights


@pytest.mark.parametrize("kinds", [{}, {"large": "f16"}, {"large": "f32"}])
def test_exact_mode_has_one_type_of_cache(
    tiny_files: dict[str, Path], kinds: dict[str, str]
) -> None:
    exact = Options(n_ctx=512, exact=True, type_k=kinds, type_v=kinds)
    q8_0 = dict.fromkeys(("large", "cpt", "base"), "q8_0")
    plain = Options(n_ctx=512, type_k=q8_0, type_v=q8_0)
    assert exact.cache_types("large") == ("q8_0", "q8_0")
    assert estimate(headers(tiny_files), exact) == estimate(headers(tiny_files), plain)
    on_cpu = estimate(headers(tiny_files), exact, hardware=Hardware(gpu=True))
    assert on_cpu == estimate(headers(tiny_files), exact)


def test_the_length_of_the_context_must_be_said(tiny_files: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="length of the context"):
        estimate(headers(tiny_files), Options())


def test_in_a_line(demo_files: dict[str, Path]) -> None:
    assert re.fullmatch(
        r"SIZE: weights large SIZE, cpt SIZE, base SIZE; KV caches SIZE; the rest SIZE".replace(
            "SIZE", r"\d+\.\d MiB"
        ),
        describe(estimate(headers(demo_files), Options(n_ctx=512))),
    )


def needing(private: int, weights: int, tiny: Header) -> TrioEstimate:
    role = estimate({"cpt": tiny}, Options(n_ctx=256)).roles["cpt"]
    role = type(role)(weights, 0, private, 0, 0, 0)
    return TrioEstimate({"cpt": role}, program=0)


def test_only_what_cannot_be_read_again_is_refused(tiny_files: dict[str, Path]) -> None:
    tiny = read_header(tiny_files["cpt"])
    assert check_fits(needing(50, 50, tiny), free=100) == ""
    assert "again and again" in check_fits(needing(50, 51, tiny), free=100)
    with pytest.raises(TrimixError, match=r"besides what is read from their files.*most for cpt"):
        check_fits(needing(101, 0, tiny), free=100)


CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "hidden_size": 1536,
    "num_hidden_layers": 2,
    "intermediate_size": 8960,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 263,
    "tie_word_embeddings": True,
}


def test_a_config_gives_the_estimate_of_the_file(tmp_path: Path) -> None:
    header = read_header(write_sparse_model(tmp_path / "m.gguf", **QWEN))
    made, planned = shape_of_header(header), shape_of_config(CONFIG, "m", n_merges=4)
    profile = load_profile("laptop-8gb")
    for role in ("large", "cpt", "base"):
        here, there = (
            estimate({role: shape}, Options(n_ctx=4096), profile=profile).roles[role]
            for shape in (made, planned)
        )
        assert here.weights == there.weights
        assert (here.cache, here.compute) == (there.cache, there.compute)


def test_gemma_and_bad_configs() -> None:
    text = {key: value for key, value in CONFIG.items() if key not in ("architectures",)}
    del text["tie_word_embeddings"]
    config = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": text}
    shape = shape_of_config(config, "g")
    assert shape.windowed
    assert "output.weight" not in shape.tensors
    with pytest.raises(TrimixError, match="does not tell 'hidden_size'"):
        shape_of_config({}, "x")


@pytest.mark.parametrize("value", [0, -1, True, "7", [7], {}, 1.5, 10**400, 2**31, float("nan")])
@pytest.mark.parametrize("key", [key for key, value in CONFIG.items() if type(value) is int])
def test_sizes_of_wrong_types_are_none(key: str, value: object) -> None:
    with pytest.raises(TrimixError, match=f"does not tell '{key}'"):
        shape_of_config({**CONFIG, key: value}, "x")


@pytest.mark.parametrize(
    "change",
    [
        {"architectures": 7}, {"architectures": [[]]}, {"architectures": {"0": "x"}},
        {"architectures": None, "model_type": 3},
        {"head_dim": None}, {"tie_word_embeddings": [0]},
    ],
)  # fmt: skip
def test_odd_values_beside_the_sizes_do_no_harm(change: dict[str, object]) -> None:
    assert shape_of_config({**CONFIG, **change}, "x").n_embd == 1536


def test_layers_have_a_bound() -> None:
    with pytest.raises(TrimixError, match="does not tell 'num_hidden_layers'"):
        shape_of_config({**CONFIG, "num_hidden_layers": 10**9}, "x")
