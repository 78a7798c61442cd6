"""Peak memory of a conversion, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .families import LLAMA, write_tokenizer_of

# Linux keeps the peak of a process in VmHWM (proc(5)); ru_maxrss would be the parent's, if higher.
RUN = """
import sys
from pathlib import Path
from trimix_cpp.convert import convert
convert(sys.argv[1], sys.argv[2], sys.argv[3])
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024)
"""
ROWS, WIDTH = 100_000, 512


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A Llama with two matrices of 200 MB as float32, and a q of 64 heads; the largest's bytes."""
    folder = tmp_path_factory.mktemp("big")
    config = LLAMA | {
        "num_hidden_layers": 1, "hidden_size": WIDTH, "vocab_size": ROWS, "intermediate_size": 512,
        "num_attention_heads": 8, "num_key_value_heads": 8,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    layer = {
        "input_layernorm.weight": (WIDTH,), "post_attention_layernorm.weight": (WIDTH,),
        **{f"self_attn.{part}_proj.weight": (WIDTH, WIDTH) for part in "qkvo"},
        **{f"mlp.{part}_proj.weight": (WIDTH, WIDTH) for part in ("gate", "up", "down")},
    }  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {
        "lm_head.weight": (ROWS, WIDTH), "model.embed_tokens.weight": (ROWS, WIDTH),
        "model.norm.weight": (WIDTH,),
    }  # fmt: skip
    shapes |= {f"model.layers.0.{name}": shape for name, shape in layer.items()}
    header, at = {}, 0
    for name, shape in shapes.items():
        end = at + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + at)  # zeros that take no room on the disk
    write_tokenizer_of(folder, "llama3")
    return folder, ROWS * WIDTH * 4


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("outtype", ["f16", "q8_0"])
def test_memory_does_not_grow_with_the_tensors(
    big: tuple[Path, int], tmp_path: Path, outtype: str
) -> None:
    folder, largest = big
    arguments = [sys.executable, "-c", RUN, str(folder), str(tmp_path / "m.gguf"), outtype]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2 * largest + 300e6  # what is promised
    assert int(done.stdout) < largest  # pieces are far smaller: no tensor is ever whole in memory
