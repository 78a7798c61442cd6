"""Tiny checkpoints of Llama, Qwen3 and Gemma, made without torch or transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, processors

from . import spm_tokenizers as spm
from .languages import TEXTS
from .qwen2_checkpoints import byte_level_bpe, write_tokenizer, write_weights

# Llama 3's regular expression, as its own tokenizer.json spells it.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_ROPE = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
FAMILIES = ("llama2", "llama3", "qwen3", "gemma2", "gemma3")
ROWS = 832


def write_family(
    folder: Path,
    family: str,
    *,
    dtype: str = "float32",
    shards: int = 1,
    tied: bool = True,
    lm_head: bool | None = None,
    rows: int = ROWS,
    model_file: bool = False,
    prefix: str = "",
    config: dict[str, Any] | None = None,
    text_config: bool = False,
    scale: float = 0.2,
) -> dict[str, np.ndarray]:
    """Write a random checkpoint; returns its tensors, float32, by Hugging Face name.

    `model_file` adds tokenizer.model; `prefix` is "language_model." (transformers 4) or
    "model.language_model." (transformers 5) where the text model is a part of a multimodal one;
    `text_config` nests the configuration as multimodal checkpoints do; a `config` value of None
    takes the key out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = CONFIGS[family] | {
        "vocab_size": rows, "tie_word_embeddings": tied,
    } | (config or {})  # fmt: skip
    values = {key: value for key, value in values.items() if value is not None}
    shapes = _shapes(values, lm_head=not tied if lm_head is None else lm_head)
    if text_config:
        shapes["vision_tower.vision_model.embeddings.patch_embedding.weight"] = (8, 3, 2, 2)
        shapes["multi_modal_projector.mm_soft_emb_norm.weight"] = (8,)
        values = {
            "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
            "text_config": {**values, "model_type": "gemma3_text", "architectures": None},
        }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(values))
    renamed = {_with(prefix, name): shape for name, shape in shapes.items()}
    tensors = write_weights(folder, renamed, dtype, shards, tied=tied, scale=scale)
    write_tokenizer_of(folder, family, model=model_file)
    return tensors


def _with(prefix: str, name: str) -> str:
    """A text model's tensor in a multimodal checkpoint of transformers 4 or 5."""
    if prefix.startswith("model."):
        return name.replace("model.", prefix, 1) if name.startswith("model.") else name
    return prefix + name if name.startswith(("model.", "lm_head.")) else name


_COMMON = {
    "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "rms_norm_eps": 1e-6,
}  # fmt: skip
LLAMA: dict[str, Any] = _COMMON | {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2,
    "rope_theta": 1e4, "hidden_act": "silu",
}  # fmt: skip
# Seven layers, so that one has full attention; a window shorter than the tests' texts.
GEMMA3: dict[str, Any] = _COMMON | {
    "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "num_hidden_layers": 7,
    "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16, "rope_theta": 1e6,
    "rope_local_base_freq": 1e4, "hidden_activation": "gelu_pytorch_tanh",
}  # fmt: skip


GEMMA2: dict[str, Any] = _COMMON | {
    "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "num_hidden_layers": 3,
    "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16, "rope_theta": 1e4,
    "hidden_activation": "gelu_pytorch_tanh", "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
}  # fmt: skip
QWEN3: dict[str, Any] = _COMMON | {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "num_hidden_layers": 2,
    "head_dim": 32, "rope_theta": 1e6, "hidden_act": "silu",
}  # fmt: skip
CONFIGS = {
    "llama2": LLAMA, "llama3": LLAMA, "qwen3": QWEN3, "gemma2": GEMMA2, "gemma3": GEMMA3,
}  # fmt: skip


def _shapes(values: dict[str, Any], *, lm_head: bool) -> dict[str, tuple[int, ...]]:
    width, inner, rows = (
        values[k] for k in ("hidden_size", "intermediate_size", "vocab_size")
    )  # fmt: skip
    head = values.get("head_dim", width // values["num_attention_heads"])
    q, kv = head * values["num_attention_heads"], head * values["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (rows, width), "model.norm.weight": (width,),
    }  # fmt: skip
    if lm_head:
        shapes["lm_head.weight"] = (rows, width)
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (width,), "post_attention_layernorm.weight": (width,),
        "self_attn.q_proj.weight": (q, width), "self_attn.k_proj.weight": (kv, width),
        "self_attn.v_proj.weight": (kv, width), "self_attn.o_proj.weight": (width, q),
        "mlp.gate_proj.weight": (inner, width), "mlp.up_proj.weight": (inner, width),
        "mlp.down_proj.weight": (width, inner),
    }  # fmt: skip
    model = values["model_type"]
    if model.startswith("gemma"):
        layer["pre_feedforward_layernorm.weight"] = (width,)
        layer["post_feedforward_layernorm.weight"] = (width,)
    if model.startswith(("gemma3", "qwen3")):
        layer["self_attn.q_norm.weight"] = layer["self_attn.k_norm.weight"] = (head,)
    for part, key in (("self_attn", "attention_bias"), ("mlp", "mlp_bias")):
        if values.get(key):
            for name in [n for n in layer if n.startswith(part) and "norm" not in n]:
                layer[name.replace("weight", "bias")] = layer[name][:1]
    for index in range(values["num_hidden_layers"]):
        shapes |= {f"model.layers.{index}.{name}": shape for name, shape in layer.items()}
    return shapes


def write_tokenizer_of(folder: Path, family: str, *, model: bool = False) -> None:
    """Write tokenizer.json, tokenizer_config.json and, if wanted, tokenizer.model."""
    if family == "qwen3":
        write_tokenizer(folder)
        return
    if family == "llama3":
        llama3_tokenizer().save(str(folder / "tokenizer.json"))
        values: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>",
            "eos_token": "<|eot_id|>", "chat_template": "{{ bos_token }}{{ messages }} བོད",
        }  # fmt: skip
    else:
        (folder / "tokenizer.json").write_text(json.dumps(spm.json_file(spm.kind(family))))
        values = spm.settings(spm.kind(family))
        if model:
            (folder / "tokenizer.model").write_bytes(spm.model_file(spm.kind(family)))
    (folder / "tokenizer_config.json").write_text(json.dumps(values))


def llama3_tokenizer(vocab_size: int = 700) -> Tokenizer:
    """A byte-level BPE with Llama 3's pre-tokenizer, which lets whole words skip the merges."""
    tokenizer = byte_level_bpe(LLAMA3, TEXTS, vocab_size, ignore_merges=True)
    tokenizer.add_special_tokens(
        ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|eot_id|>"]
    )
    bos = "<|begin_of_text|>"
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{bos} $A",
                pair=f"{bos} $A {bos}:1 $B:1",
                special_tokens=[(bos, tokenizer.token_to_id(bos))],
            ),
        ]
    )
    return tokenizer
