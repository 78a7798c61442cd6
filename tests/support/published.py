"""Vocabulary files of published tokenizers, changed as fine-tunes change them.

TRIMIX_TOKENIZERS names the folder of the originals: `make build/tokenizers` fetches them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trimix_cpp.convert.vocabulary import convert_vocabulary

FOLDER = os.environ.get("TRIMIX_TOKENIZERS", "")
needs_published = pytest.mark.skipif(not FOLDER, reason="TRIMIX_TOKENIZERS names no folder")

_ARCHITECTURES = {
    "qwen2_5": "Qwen2ForCausalLM",
    "llama2": "LlamaForCausalLM",
    "llama3_2": "LlamaForCausalLM",
    "gemma3": "Gemma3ForCausalLM",
}
_SIZES = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 512, "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0, "sliding_window": 256, "query_pre_attn_scalar": 32,
    "hidden_activation": "gelu_pytorch_tanh", "hidden_act": "silu", "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}  # fmt: skip
Tokenizer = dict[str, Any]


def vocabulary(
    folder: Path, name: str, rows: int, change: Callable[[Tokenizer], None] = lambda _: None
) -> Path:
    """A GGUF file with the tokenizer `name` after `change`, and as many rows as the model has."""
    source = Path(FOLDER) / name
    if not (source / "tokenizer.json").is_file():
        pytest.skip(f"TRIMIX_TOKENIZERS has no {name}/tokenizer.json")
    folder.mkdir(parents=True)
    tokenizer, settings = (
        json.loads((source / name).read_text(encoding="utf-8"))
        for name in ("tokenizer.json", "tokenizer_config.json")
    )
    change(tokenizer)
    kept = {str(token["id"]): token for token in tokenizer["added_tokens"]}
    settings["added_tokens_decoder"] = kept
    if settings.get("eos_token") not in {token["content"] for token in kept.values()}:
        settings["eos_token"] = tokenizer["added_tokens"][0]["content"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    config = {
        **_SIZES,
        "architectures": [_ARCHITECTURES[name]],
        "model_type": {"qwen2_5": "qwen2", "gemma3": "gemma3_text"}.get(name, "llama"),
        "vocab_size": rows,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return convert_vocabulary(folder, folder / "vocabulary.gguf")


def added(content: str, token: int, *, special: bool) -> dict[str, Any]:
    """An entry of `added_tokens`."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token, "content": content, **flags, "special": special}
