"""The converter beside llama.cpp's own: seconds and peak memory, on one random checkpoint.

    export TRIMIX_LLAMA_CPP=build/llama-cpp-python/vendor/llama.cpp     (make test-slow fetches it)
    python benchmarks/convert.py                          1.5b, q8_0 and f16
    python benchmarks/convert.py --shape 0.5b --outtype q8_0 --json

A checkpoint in BF16 with the shapes of a Qwen2.5 model is written to a temporary folder: two shards
of random weights, a byte-level tokenizer. Each converter runs as a process of its own, after the
files were read once, so that both find them in the system's cache. Time and the largest resident
memory are those that the system counts for the process, its start included; the memory is never
less than this program's own, some 60 MB, which a new process starts from. llama.cpp's converter
needs torch and transformers (extra `train`); without its sources only ours is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# hidden size, feed-forward size, layers, heads, KV heads, rows of the embedding, tied
SHAPES = {
    "tiny": (256, 512, 2, 4, 2, 4000, True),
    "0.5b": (896, 4864, 24, 14, 2, 151936, True),
    "1.5b": (1536, 8960, 28, 12, 2, 151936, True),
    "7b": (3584, 18944, 28, 28, 4, 152064, False),
}
REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
OURS = "import sys; from trimix_cpp.convert import convert; convert(*sys.argv[1:4])"
# Theirs knows published vocabularies only: it is told what this one's pre-tokenizer is.
THEIRS = """
import runpy, sys
folder, src, dst, outtype = sys.argv[1:5]
sys.path.insert(0, folder)
from conversion.base import TextModel
TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
sys.argv = [folder + "/convert_hf_to_gguf.py", src, "--outfile", dst, "--outtype", outtype]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Run(NamedTuple):
    """What one conversion took: seconds on the clock, processor seconds, and bytes."""

    seconds: float
    processor: float
    peak: int


def main() -> None:
    """Write the checkpoint, convert it both ways, print the table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="1.5b")
    parser.add_argument("--outtype", action="append", choices=["f32", "f16", "bf16", "q8_0"])
    parser.add_argument("--folder", type=Path, help="where the temporary files go")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sources = os.environ.get("TRIMIX_LLAMA_CPP")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        src = Path(folder) / "model"
        largest = write_checkpoint(src, options.shape)
        found = {}
        for outtype in options.outtype or ["q8_0", "f16"]:
            found[outtype] = compare(src, Path(folder), outtype, sources)
    if options.json:
        runs = {k: {n: run._asdict() for n, run in v.items()} for k, v in found.items()}
        print(json.dumps({"shape": options.shape, "largest_tensor": largest, "runs": runs}))
    else:
        print(table(options.shape, largest, found))


def compare(src: Path, folder: Path, outtype: str, sources: str | None) -> dict[str, Run]:
    """Convert with both; the files must be the same, byte for byte."""
    paths = {name: folder / f"{name}.gguf" for name in ("ours", "theirs")}
    for file in src.iterdir():
        warm(file)
    found = {"ours": run(OURS, str(src), str(paths["ours"]), outtype)}
    if sources:
        found["theirs"] = run(THEIRS, sources, str(src), str(paths["theirs"]), outtype)
        done = subprocess.run(["cmp", paths["ours"], paths["theirs"]], check=False)
        if done.returncode:
            raise SystemExit("the two files differ: the comparison says nothing")
    for path in paths.values():
        path.unlink(missing_ok=True)
    return found


def run(code: str, *arguments: str) -> Run:
    """Run Python code in a process of its own, and ask the system what it took."""
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert child.stderr is not None
    messages = child.stderr.read()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(messages.decode(errors="replace")[-2000:])
    unit = 1 if sys.platform == "darwin" else 1024
    seconds = time.perf_counter() - start
    return Run(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * unit)


def table(shape: str, largest: int, found: dict[str, dict[str, Run]]) -> str:
    """A Markdown table, with the ratios of theirs to ours."""
    lines = [
        f"shapes of Qwen2.5 {shape}, BF16; largest tensor {largest / 1e6:,.0f} MB",
        "",
        "| outtype | converter | seconds | processor seconds | peak memory, MB |",
        "|---|---|---:|---:|---:|",
    ]
    for outtype, runs in found.items():
        for name, r in runs.items():
            peak = f"{r.peak / 1e6:,.0f}"
            lines.append(f"| {outtype} | {name} | {r.seconds:.1f} | {r.processor:.1f} | {peak} |")
        if len(runs) == 2:
            ratios = [f"{b / a:.2f}" for a, b in zip(runs["ours"], runs["theirs"], strict=True)]
            lines.append(f"| {outtype} | theirs / ours | {' | '.join(ratios)} |")
    return "\n".join(lines)


def write_checkpoint(folder: Path, name: str) -> int:
    """Write a random checkpoint in two shards; returns the bytes of its largest tensor."""
    width, inner, layers, heads, kv, rows, tied = SHAPES[name]
    head = width // heads
    folder.mkdir()
    config = {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": width,
        "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv, "vocab_size": rows, "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": tied,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (rows, width), "model.norm.weight": (width,),
    }  # fmt: skip
    if not tied:
        shapes["lm_head.weight"] = (rows, width)
    for layer in range(layers):
        for part, shape in {
            "input_layernorm.weight": (width,), "post_attention_layernorm.weight": (width,),
            "self_attn.q_proj.weight": (width, width), "self_attn.q_proj.bias": (width,),
            "self_attn.k_proj.weight": (kv * head, width), "self_attn.k_proj.bias": (kv * head,),
            "self_attn.v_proj.weight": (kv * head, width), "self_attn.v_proj.bias": (kv * head,),
            "self_attn.o_proj.weight": (width, width), "mlp.gate_proj.weight": (inner, width),
            "mlp.up_proj.weight": (inner, width), "mlp.down_proj.weight": (width, inner),
        }.items():  # fmt: skip
            shapes[f"model.layers.{layer}.{part}"] = shape
    names = list(shapes)
    half = len(names) // 2
    weight_map = {}
    for shard, part in enumerate((names[:half], names[half:])):
        file = f"model-{shard + 1:05d}-of-00002.safetensors"
        write_safetensors(folder / file, {n: shapes[n] for n in part})
        weight_map |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    write_tokenizer(folder)
    return max(2 * int(np.prod(shape)) for shape in shapes.values())


def write_safetensors(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Random BF16 values of about 0.02, written in pieces."""
    header: dict[str, Any] = {}
    at = 0
    for name, shape in shapes.items():
        end = at + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    rng = np.random.default_rng(0)
    noise = (rng.standard_normal(1 << 21, np.float32) * np.float32(0.02)).view(np.uint32) >> 16
    block = noise.astype("<u2").tobytes()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for start in range(0, at, len(block)):
            file.write(block[: at - start])


def write_tokenizer(folder: Path) -> None:
    """The 256 bytes, without a merge, behind Qwen2's pre-tokenizer."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {letter: i for i, letter in enumerate(letters)}
    vocab["".join(letters[:2])] = len(vocab)
    tokenizer = Tokenizer(models.BPE(vocab, [(letters[0], letters[1])]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(REGEX), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def warm(path: Path) -> None:
    """Read a file once, into the system's cache."""
    with open(path, "rb") as file:
        while file.read(1 << 24):
            pass


if __name__ == "__main__":
    main()
