"""The table of docs/quantize.md: what the paper's trios need under each profile that ships.

    python tools/profile_table.py [-c 4096]

No model is loaded: the sizes are those of the published config.json files.
"""

from __future__ import annotations

import argparse

from trimix_cpp.gguf.shape import ModelShape, shape_of_config
from trimix_cpp.quant.memory import estimate
from trimix_cpp.quant.options import Options
from trimix_cpp.quant.profiles import load_profile, profile_names

QWEN_MERGES = 151387


def qwen(name: str, sizes: tuple[int, ...], *, tied: bool) -> ModelShape:
    """Sizes: width, layers, feed-forward width, heads, KV heads, rows of the vocabulary."""
    keys = (
        "hidden_size",
        "num_hidden_layers",
        "intermediate_size",
        "num_attention_heads",
        "num_key_value_heads",
        "vocab_size",
    )
    config = {"architectures": ["Qwen2ForCausalLM"], **dict(zip(keys, sizes, strict=True))}
    return shape_of_config(config | {"tie_word_embeddings": tied}, name, n_merges=QWEN_MERGES)


def gemma(name: str, sizes: tuple[int, ...]) -> ModelShape:
    """Sizes: width, layers, feed-forward width, heads, KV heads."""
    keys = (
        "hidden_size",
        "num_hidden_layers",
        "intermediate_size",
        "num_attention_heads",
        "num_key_value_heads",
    )
    text = {**dict(zip(keys, sizes, strict=True)), "head_dim": 256, "vocab_size": 262208}
    config = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": text}
    return shape_of_config(config, name)


SMALL = {
    "1.5B": (1536, 28, 8960, 12, 2, 151936),
    "3B": (2048, 36, 11008, 16, 2, 151936),
}
LARGE = {
    "7B": (3584, 28, 18944, 28, 4, 152064),
    "14B": (5120, 48, 13824, 40, 8, 152064),
}


def trios() -> dict[str, dict[str, ModelShape]]:
    """The paper's pairs, as models by role."""
    found = {}
    for small, large in (("1.5B", "7B"), ("3B", "14B")):
        found[f"Qwen2.5 {small} + {large}"] = {
            "large": qwen("large", LARGE[large], tied=False),
            "cpt": qwen("cpt", SMALL[small], tied=True),
            "base": qwen("base", SMALL[small], tied=True),
        }
    found["Gemma 3 4B + 12B"] = {
        "large": gemma("large", (3840, 48, 15360, 16, 8)),
        "cpt": gemma("cpt", (2560, 34, 10240, 8, 4)),
        "base": gemma("base", (2560, 34, 10240, 8, 4)),
    }
    return found


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-c", "--ctx-size", type=int, default=4096)
    n_ctx = parser.parse_args().ctx_size
    print("| trio | profile | large | cpt | base | rest | large + cpt | with base |")
    print("|---|---|---|---|---|---|---|---|")
    for trio, models in trios().items():
        for name in profile_names():
            profile = load_profile(name)
            whole = estimate(models, Options(n_ctx=n_ctx), profile=profile)
            two = estimate(
                {role: models[role] for role in ("large", "cpt")},
                Options(n_ctx=n_ctx),
                profile=profile,
            )
            sizes = [f"{whole.roles[role].weights / 2**30:.2f}" for role in models]
            totals = [two.private, two.total, whole.total]
            cells = [*sizes, *(f"{size / 2**30:.2f}" for size in totals)]
            print(f"| {trio} | {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
