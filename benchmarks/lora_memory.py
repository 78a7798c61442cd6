"""Memory of a base and its cpt: as two models, and as one model with a LoRA adapter on it.

    python benchmarks/lora_memory.py                        Qwen2.5 0.5B's shapes, Q8_0, rank 16
    python benchmarks/lora_memory.py --shapes 1.5b --rank 64 --json

Random weights are written to a temporary folder. Every line is measured in a process of its own
that loads the roles as a trio does and evaluates a prompt with them: its largest resident memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np

Q8_0 = gguf.GGMLQuantizationType.Q8_0
# embedding, feed-forward, layers, heads, KV heads, tokens
SHAPES = {
    "0.5b": (896, 4864, 24, 14, 2, 151936),
    "1.5b": (1536, 8960, 28, 12, 2, 151936),
    "tiny": (512, 2048, 8, 8, 2, 32000),
}
CASES = {
    "base alone": ("base",),
    "base and cpt as a LoRA": ("base", "lora"),
    "base and cpt as two models": ("base", "cpt"),
}


def random_q8_0(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Blocks of 32 random bytes and one small scale, shape [rows, bytes of a row]."""
    blocks = rng.integers(0, 256, (rows, columns // 32, 34), np.uint8)
    blocks[..., :2] = np.array([0.0005], np.float16).view(np.uint8)
    return blocks.reshape(rows, -1)


def matrices(shapes: tuple[int, ...]) -> dict[str, tuple[int, int]]:
    """A layer's matrices: name -> (rows, columns)."""
    width, inner, _, heads, kv_heads, _ = shapes
    keys = width // heads * kv_heads
    return {
        "attn_q": (width, width), "attn_k": (keys, width), "attn_v": (keys, width),
        "attn_output": (width, width), "ffn_gate": (inner, width), "ffn_up": (inner, width),
        "ffn_down": (width, inner),
    }  # fmt: skip


def write_model(path: Path, shapes: tuple[int, ...], seed: int) -> None:
    """A random Qwen2 model of the shapes, Q8_0, embeddings tied."""
    width, inner, layers, heads, kv_heads, n_tokens = shapes
    rng, writer = np.random.default_rng(seed), gguf.GGUFWriter(path, "qwen2")
    writer.add_context_length(2048)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([f"t{index}" for index in range(n_tokens)])
    writer.add_token_types([int(gguf.TokenType.NORMAL)] * n_tokens)
    writer.add_token_merges(["t 1"])  # llama.cpp wants one
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_tensor("token_embd.weight", random_q8_0(rng, n_tokens, width), raw_dtype=Q8_0)
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    for layer in range(layers):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(width, np.float32))
        for name, (rows, columns) in matrices(shapes).items():
            data = random_q8_0(rng, rows, columns)
            writer.add_tensor(f"blk.{layer}.{name}.weight", data, raw_dtype=Q8_0)
            if name in ("attn_q", "attn_k", "attn_v"):
                writer.add_tensor(f"blk.{layer}.{name}.bias", np.zeros(rows, np.float32))
    finish(writer)


def write_adapter(path: Path, shapes: tuple[int, ...], rank: int) -> None:
    """A random F16 adapter on every matrix of every layer."""
    rng, writer = np.random.default_rng(0), gguf.GGUFWriter(path, "qwen2")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    for layer in range(shapes[2]):
        for name, (rows, columns) in matrices(shapes).items():
            for part, size in (("a", (rank, columns)), ("b", (rows, rank))):
                data = (rng.standard_normal(size, np.float32) * 0.01).astype(np.float16)
                writer.add_tensor(f"blk.{layer}.{name}.weight.lora_{part}", data)
    finish(writer)


def finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def measure(folder: Path, roles: tuple[str, ...]) -> int:
    """Load the roles, evaluate 64 tokens with each, and return this process's peak in bytes."""
    from trimix_cpp.decoding.decoder import Decoder
    from trimix_cpp.decoding.text import Text
    from trimix_cpp.decoding.trio import Options, Trio
    from trimix_cpp.fusion.weights import Weights
    from trimix_cpp.store.spec import RoleSpec, TrioSpec

    base, adapter = folder / "base.gguf", folder / "lora.gguf"
    files = {"base": RoleSpec(base)}
    if len(roles) > 1:
        lora = roles[1] == "lora"
        files["cpt"] = RoleSpec(base, adapter) if lora else RoleSpec(folder / "cpt.gguf")
    weights = Weights(0, 0.5) if "cpt" in files else Weights(0, 0)
    spec = TrioSpec("memory", files)
    with Trio(spec, weights.roles, Options(n_ctx=256, n_threads=1)) as trio:
        for done in Decoder(trio).run([Text(list(range(64)), weights, max_tokens=2)]):
            done.raise_error()
    return peak()


def peak() -> int:
    """The largest resident memory of this process so far, in bytes."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def run(shapes: tuple[int, ...], rank: int) -> dict[str, int]:
    """Peaks by case, and the files' sizes, in bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed, role in enumerate(("base", "cpt")):
            write_model(folder / f"{role}.gguf", shapes, seed)
        write_adapter(folder / "lora.gguf", shapes, rank)
        peaks = {}
        for case, roles in CASES.items():
            command = [sys.executable, __file__, "--measure", name, *roles]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            peaks[case] = int(done.stdout)
        sizes = {f"file {r}": (folder / f"{r}.gguf").stat().st_size for r in ("base", "lora")}
        return peaks | sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", choices=SHAPES, default="0.5b")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.measure:
        folder, *roles = flags.measure
        print(measure(Path(folder), tuple(roles)))
        return
    result = run(SHAPES[flags.shapes], flags.rank)
    if flags.json:
        print(json.dumps(result, indent=2))
        return
    print(f"Qwen2 {flags.shapes}, Q8_0, adapter of rank {flags.rank} in F16")
    for name, size in result.items():
        print(f"{name:28} {size / 1e6:9,.1f} MB")


if __name__ == "__main__":
    main()
