"""Fused stepping against the paper's method in PyTorch: the same weights, tokens and machine.

    python benchmarks/against_pytorch.py        needs the extra `train`

PyTorch has the bundled trio's weights in float32, as Hugging Face folders for transformers, with KV
caches. TriMix has the same values as F32 files, as F16 files, and as they ship (Q8_0 and Q5_K_M:
the float32 weights are these, dequantized), the last also without flash attention, which small
models on a CPU do better without. All continue the same prompts greedily for --predict
tokens, whatever ends come, in turn, --repeats times; the time of the prompts is not counted. Both
have the same number of threads.
"""

from __future__ import annotations

import argparse
import json
import runpy
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from trimix_cpp.convert import convert
from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.llama.backend import physical_cores
from trimix_cpp.prompts import SENTENCES
from trimix_cpp.prompts.languages import language
from trimix_cpp.prompts.paper import translation_prompt
from trimix_cpp.store.spec import TrioSpec, spec_from_files
from trimix_cpp.store.trios import find_trio

ROLES = ("large", "cpt", "base")
UNPACK = Path(__file__).parent.parent / "tools" / "demo_trio" / "unpack.py"


def torch_run(models: dict, prompt: list[int], weights: Weights, n: int) -> tuple[list[int], float]:
    """(tokens, seconds of all but the first): all models step with caches, logits are fused."""
    coefficients = weights.coefficients
    fed, caches, tokens, seconds = torch.tensor([prompt]), dict.fromkeys(models), [], 0.0
    for step in range(n + 1):
        began = time.perf_counter()
        fused: Any = 0
        for role, model in models.items():
            out = model(fed, past_key_values=caches[role], use_cache=True, logits_to_keep=1)
            caches[role] = out.past_key_values
            fused = fused + coefficients[role] * out.logits[0, -1]
        tokens.append(int(fused.argmax()))
        fed = torch.tensor([tokens[-1:]])
        seconds += (time.perf_counter() - began) * (step > 0)
    return tokens, seconds


def our_run(
    decoder: Decoder, prompt: list[int], weights: Weights, n: int
) -> tuple[list[int], float]:
    """(tokens, seconds of all but the first)."""
    text = Text(prompt, weights, ignore_ends=True)
    decoder.submit(text)
    while not text.generated:
        decoder.step()
    began = time.perf_counter()
    for _ in range(n):
        decoder.step()
    seconds = time.perf_counter() - began
    decoder.drop(text)
    return text.generated, seconds


def prepare(folder: Path) -> tuple[dict[str, Path], dict[str, TrioSpec]]:
    """Role -> Hugging Face folder, and the trios by the type of their files."""
    unpack, shipped = runpy.run_path(str(UNPACK))["unpack"], find_trio("demo")
    specs = {"as shipped": shipped}
    for role in ROLES:
        unpack(shipped.roles[role].path, folder / role)
    for kind in ("f16", "f32"):
        files = {role: folder / f"{role}-{kind}.gguf" for role in ROLES}
        for role, path in files.items():
            convert(folder / role, path, kind)
        specs[kind.upper()] = spec_from_files(files)
    return {role: folder / role for role in ROLES}, specs


def measure(folder: Path, flags: argparse.Namespace) -> list[dict[str, Any]]:
    """A row a type of our files."""
    weights, n = Weights(*map(float, flags.weights.split(","))), flags.predict
    folders, specs = prepare(folder)
    torch.set_num_threads(flags.threads or physical_cores())
    models = {
        role: AutoModelForCausalLM.from_pretrained(folders[role], dtype=torch.float32).eval()
        for role in weights.roles
    }
    options = Options(n_ctx=512, n_threads=flags.threads)
    with torch.inference_mode(), ExitStack() as stack:
        without = replace(options, flash_attn=False)
        runs = {kind: (spec, options) for kind, spec in specs.items()}
        runs["as shipped, -fa off"] = specs["as shipped"], without
        trios = {
            kind: stack.enter_context(Trio(spec, weights.roles, settings))
            for kind, (spec, settings) in runs.items()
        }
        english, uyghur = language("eng"), language("uig")
        texts = [translation_prompt(sentence, english, uyghur) for sentence in SENTENCES]
        prompts = list(map(trios["F32"].tokenize, texts))
        decoders = {kind: Decoder(trio, keep=False) for kind, trio in trios.items()}
        equal = dict.fromkeys(decoders, 0)
        rounds: list[dict[str, float]] = []
        for _ in range(flags.repeats + 1):
            rounds.append(dict.fromkeys(("PyTorch", *decoders), 0.0))
            for prompt in prompts:
                theirs, seconds = torch_run(models, prompt, weights, n)
                rounds[-1]["PyTorch"] += seconds
                for kind, decoder in decoders.items():
                    ours, seconds = our_run(decoder, prompt, weights, n)
                    rounds[-1][kind] += seconds
                    equal[kind] += theirs == ours
    n_runs, tokens = len(prompts) * len(rounds), n * len(prompts)
    del rounds[0]  # it warms up
    rows = []
    for kind in decoders:
        ratios = [times["PyTorch"] / times[kind] for times in rounds]
        rows.append(
            {
                "files": kind,
                "ratio": median(ratios),
                "least": min(ratios),
                "most": max(ratios),
                "tokens_per_second": tokens / median(times[kind] for times in rounds),
                "pytorch_tokens_per_second": tokens / median(t["PyTorch"] for t in rounds),
                "equal_outputs": equal[kind] / n_runs,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--weights", default="0.3,0.9", help="alpha,beta; base takes part in these")
    parser.add_argument("--predict", type=int, default=64, help="tokens after the first")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="0: the physical cores")
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = measure(Path(name), flags)
    if flags.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{flags.threads or physical_cores()} threads, torch {torch.__version__}\n")
    print("| files | TriMix over PyTorch | least | most | tokens/s | PyTorch | equal outputs |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        print(
            f"| {row['files']} | {row['ratio']:.2f} | {row['least']:.2f} | {row['most']:.2f} | "
            f"{row['tokens_per_second']:.1f} | {row['pytorch_tokens_per_second']:.1f} | "
            f"{row['equal_outputs']:.0%} |"
        )


if __name__ == "__main__":
    main()
