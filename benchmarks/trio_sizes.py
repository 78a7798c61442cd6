"""The table of docs/trios.md: what each known trio takes to download, on the disk, and in memory.

Needs no network: the sizes of the models are those of their config.json, copied below, and files
are taken to be as large as their tensors.

    python benchmarks/trio_sizes.py
"""

from __future__ import annotations

from trimix_cpp.gguf.shape import ModelShape, shape_of_config
from trimix_cpp.pull.hub import Listing, RemoteFile
from trimix_cpp.pull.plan import AUTOMATIC, Offer, default_profile, make_plan
from trimix_cpp.quant.memory import estimate
from trimix_cpp.quant.options import Options
from trimix_cpp.quant.profiles import RoleProfile, load_profile
from trimix_cpp.quant.sizes import planned_bytes
from trimix_cpp.store.spec import load_spec
from trimix_cpp.store.trios import bundled_files

FIELDS = (
    "hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads",
    "num_key_value_heads", "head_dim", "vocab_size", "tie_word_embeddings",
)  # fmt: skip
SIZES = {
    "Qwen2.5-1.5B": (1536, 28, 8960, 12, 2, 128, 151936, True),
    "Qwen2.5-3B": (2048, 36, 11008, 16, 2, 128, 151936, True),
    "Qwen2.5-7B-Instruct": (3584, 28, 18944, 28, 4, 128, 152064, False),
    "Qwen2.5-14B-Instruct": (5120, 48, 13824, 40, 8, 128, 152064, False),
    "gemma-3-4b": (2560, 34, 10240, 8, 4, 256, 262208, True),
    "gemma-3-12b-it": (3840, 48, 15360, 16, 8, 256, 262208, True),
}
# What the official GGUF repositories of Qwen2.5 hold.
READY = ("Q2_K", "Q3_K_M", "Q4_0", "Q4_K_M", "Q5_0", "Q5_K_M", "Q6_K", "Q8_0", "F16")
N_CTX = 4096


def shape_of(repository: str) -> ModelShape:
    """The sizes of a model, by the longest name in `SIZES` that its repository's begins with."""
    name = repository.partition("/")[2]
    known = max((key for key in SIZES if name.startswith(key)), key=len)
    kind = "Gemma3ForCausalLM" if "gemma" in name else "Qwen2ForCausalLM"
    config = dict(zip(FIELDS, SIZES[known], strict=True)) | {"architectures": [kind]}
    return shape_of_config(config, repository)


def listing_of(repository: str) -> Listing:
    """What the Hub would list, as far as it matters here."""
    shape = shape_of(repository)
    names = [
        ("config.json", 1000),
        ("model.safetensors", planned_bytes(shape, RoleProfile("BF16"))),
    ]
    if repository.endswith("-GGUF"):
        names = [(f"x-{t}.gguf", planned_bytes(shape, RoleProfile(t))) for t in READY]
    files = tuple(RemoteFile(name, size, None, None) for name, size in names)
    return Listing(repository, "0" * 40, files)


def main() -> None:
    """Print the table, one line for each trio and profile; decimal GB, and GiB of memory."""
    print(
        "trio | profile | download GB | disk on the way GB | disk GB | memory GiB | by default from"
    )
    seen = set()
    for file in bundled_files():
        spec = load_spec(file)
        kind = spec.name.rpartition("-")[0]
        if not spec.sources or kind in seen:
            continue
        seen.add(kind)
        wanted = [r for source in spec.sources.values() for r in source.repositories]
        offer = Offer(
            {r.key: listing_of(r.name) for r in wanted}, {r.key: shape_of(r.name) for r in wanted}
        )
        profiles = {name: load_profile(name) for name in ("paper-int8", *AUTOMATIC)}
        for name, profile in profiles.items():
            plan = make_plan(spec, profile, offer)
            shapes = {r: shape_of(s.repositories[0].name) for r, s in spec.sources.items()}
            needs = estimate(shapes, Options(n_ctx=N_CTX), profile=profile)
            least = next(
                (
                    g
                    for g in range(2, 65)
                    if default_profile(spec, g << 30, profiles, offer) == name
                ),
                None,
            )
            download = sum(step.size for step in plan.steps)
            kept = sum(step.result for step in plan.steps)
            row = [f"{n / 1e9:.1f}" for n in (download, plan.disk(), kept)]
            print(
                " | ".join(
                    [
                        kind,
                        name,
                        *row,
                        f"{needs.total / 2**30:.1f}",
                        f"{least} GiB" if least else "-",
                    ]
                )
            )


if __name__ == "__main__":
    main()
