"""Adapters made by PEFT itself: against llama.cpp's own converter, and against PEFT's logits.

These need torch, transformers and PEFT (the `train` extra); the converter is
`convert_lora_to_gguf.py` in the folder of llama.cpp sources that TRIMIX_LLAMA_CPP names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimix_cpp.convert import OUTTYPES, convert
from trimix_cpp.convert.lora import convert_lora
from trimix_cpp.errors import TrimixError

from .adapters import logits
from .families import write_tokenizer_of
from .oracle import differences
from .qwen2_checkpoints import write_tokenizer

pytestmark = pytest.mark.slow

SOURCES = os.environ.get("TRIMIX_LLAMA_CPP", "")
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SIZES = {
    "vocab_size": 832, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 11,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
    "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
}  # fmt: skip
FAMILIES = {
    "qwen2": "Qwen2", "qwen3": "Qwen3", "llama": "Llama", "gemma2": "Gemma2", "gemma3": "Gemma3",
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "attention": {"target_modules": LINEAR[:4], "r": 4, "lora_alpha": 6},
    "all linear, rank 32": {"target_modules": LINEAR, "r": 32, "lora_alpha": 16},
    "one": {"target_modules": ["down_proj"], "r": 1, "lora_alpha": 0.5},
    "ranks": {
        "target_modules": LINEAR,
        "r": 4,
        "rank_pattern": {"v_proj": 7, r"layers\.10\..*_proj": 2},
    },
    "some layers": {"target_modules": LINEAR, "r": 4, "layers_to_transform": [0, 10]},
}
HEADS = {"target_modules": [*LINEAR, "embed_tokens", "lm_head"], "r": 8, "lora_alpha": 12}
# Where llama.cpp's converter writes lora_alpha alone, which is another scale than PEFT's.
OWN_SCALES: dict[str, dict[str, Any]] = {
    "rank-stabilized": {"target_modules": LINEAR, "r": 9, "use_rslora": True},
    "alphas": {"target_modules": LINEAR, "r": 4, "alpha_pattern": {"q_proj": 1, "up_proj": 30}},
}


def base_model(family: str, folder: Path, tied: bool = False) -> Any:
    """A random model of a family, saved to `folder`."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    pytest.importorskip("peft")
    torch.manual_seed(0)
    name = FAMILIES[family]
    gemma = family.startswith("gemma")
    extra = {"head_dim": 16} if gemma or family == "qwen3" else {}
    extra |= {"query_pre_attn_scalar": 16} if gemma else {}
    tied = tied or family == "gemma2"  # which has no head of its own
    kind = getattr(transformers, "Gemma3TextConfig" if family == "gemma3" else f"{name}Config")
    # llama.cpp looks Gemma's GELU up in a table of half floats: large activations are rounded more.
    deviation = 0.02 if gemma else 0.2
    config = kind(**SIZES, **extra, tie_word_embeddings=tied, initializer_range=deviation)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    model.save_pretrained(folder)
    if family == "qwen2":
        write_tokenizer(folder)
    else:
        write_tokenizer_of(folder, "llama3" if family == "llama" else family)
    return model


def adapt(model: Any, folder: Path, options: dict[str, Any], dtype: str = "float32") -> Any:
    """`model` with a random adapter, which is saved to `folder`."""
    import peft
    import torch

    torch.manual_seed(1)
    adapted = peft.get_peft_model(model, peft.LoraConfig(init_lora_weights=False, **options))
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data = (parameter.data * 0.3).to(getattr(torch, dtype)).float()
    adapted.eval().save_pretrained(folder)
    if dtype != "float32":
        from safetensors.torch import load_file, save_file

        path = folder / "adapter_model.safetensors"
        tensors = {n: t.to(getattr(torch, dtype)) for n, t in load_file(path).items()}
        save_file(tensors, path)
    return adapted


def official(src: Path, base: Path, dst: Path, outtype: str) -> Path:
    script = Path(SOURCES) / "convert_lora_to_gguf.py"
    if not SOURCES or not script.is_file():
        pytest.skip("TRIMIX_LLAMA_CPP names no folder of llama.cpp sources")
    arguments = [src, "--base", base, "--outfile", dst, "--outtype", outtype]
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return dst


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
def test_same_file_as_llama_cpp(tmp_path: Path, family: str, options: dict[str, Any]) -> None:
    base, src = tmp_path / "base", tmp_path / "qwen-1.5b-ug-lora"
    adapt(base_model(family, base), src, options)
    (src / "README.md").write_text(
        "---\nlicense: apache-2.0\nlanguage: [ug]\nbase_model: Qwen/Qwen2.5-1.5B\n---\n"
    )
    theirs = official(src, base, tmp_path / "theirs.gguf", "f32")
    assert differences(convert_lora(src, tmp_path / "ours.gguf", base).path, theirs) == []


@pytest.mark.parametrize("outtype", OUTTYPES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_same_file_in_every_type(tmp_path: Path, outtype: str, dtype: str) -> None:
    base, src = tmp_path / "base", tmp_path / "ug-lora"
    adapt(base_model("llama", base), src, HEADS, dtype)
    theirs = official(src, base, tmp_path / "theirs.gguf", outtype)
    ours = convert_lora(src, tmp_path / "ours.gguf", base, outtype).path
    assert differences(ours, theirs) == []


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "options",
    [*CASES.values(), HEADS, *OWN_SCALES.values()],
    ids=[*CASES, "with embedding and head", *OWN_SCALES],
)
def test_logits_equal_those_of_peft(tmp_path: Path, family: str, options: dict[str, Any]) -> None:
    import torch

    tied = family.startswith("gemma") or "embed_tokens" not in options["target_modules"]
    base, src = tmp_path / "base", tmp_path / "lora"
    adapted = adapt(base_model(family, base, tied), src, options)
    ids = np.random.default_rng(1).integers(0, 600, 48)
    if tied and "embed_tokens" in options["target_modules"]:
        with pytest.raises(TrimixError, match="one matrix for the embedding"):
            convert_lora(src, tmp_path / "lora.gguf", base)
        return

    def reference() -> np.ndarray:
        with torch.no_grad():
            rows: np.ndarray = adapted(torch.from_numpy(ids)[None]).logits[0].numpy()
            return rows

    lora = convert_lora(src, tmp_path / "lora.gguf", base).path
    path = convert(base, tmp_path / "base.gguf", "f32").path
    ours, plain = (logits(path, ids, adapter) for adapter in (lora, None))
    unmerged = reference()
    adapted.merge_adapter()
    merged = reference()
    assert np.abs(ours - unmerged).max() < 1e-3
    assert np.abs(ours - merged).max() < 1e-3
    assert np.abs(ours - plain).max() > 0.01


@pytest.mark.parametrize(
    "options",
    [
        {"use_dora": True},
        {"lora_bias": True},
        {"modules_to_save": ["lm_head"]},
        {"trainable_token_indices": [1, 2]},
        {"bias": "lora_only"},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "olora"},
        {"target_modules": None, "target_parameters": ["mlp.down_proj.weight"]},
        {"layer_replication": [[0, 2], [1, 3]]},
    ],
    ids=str,
)
def test_what_peft_can_and_gguf_cannot_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    base, src = tmp_path / "base", tmp_path / "lora"
    model = base_model("qwen2", base)
    import peft

    wanted = {"target_modules": ["q_proj", "v_proj"], "r": 4, **options}
    peft.get_peft_model(model, peft.LoraConfig(**wanted)).save_pretrained(src)
    with pytest.raises(TrimixError, match="merge the adapter"):
        convert_lora(src, tmp_path / "lora.gguf", base)
    assert not (tmp_path / "lora.gguf").exists()
    # The tensors alone give nearly all of them away as well, should the configuration not.
    if {"init_lora_weights", "layer_replication", "target_parameters"} & options.keys():
        return
    config = json.loads((src / "adapter_config.json").read_text())
    kept = {k: v for k, v in config.items() if k not in options}
    (src / "adapter_config.json").write_text(json.dumps(kept))
    with pytest.raises(TrimixError):
        convert_lora(src, tmp_path / "lora.gguf", base)
