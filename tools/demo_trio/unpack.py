"""The shipped GGUF files back to Hugging Face folders in float32: to train on, or to compare with.

    python tools/demo_trio/unpack.py trimix_cpp/demo/cpt.gguf cpt-hf

The weights are those that ship, dequantized; what training had before quantization is not kept.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from trimix_cpp.convert.pretokenizer import QWEN2_REGEX

# GGUF's tensor name -> Hugging Face's, for Qwen2; {} is the layer.
NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "model.layers.{}.input_layernorm",
    "ffn_norm": "model.layers.{}.post_attention_layernorm",
    "attn_q": "model.layers.{}.self_attn.q_proj",
    "attn_k": "model.layers.{}.self_attn.k_proj",
    "attn_v": "model.layers.{}.self_attn.v_proj",
    "attn_output": "model.layers.{}.self_attn.o_proj",
    "ffn_gate": "model.layers.{}.mlp.gate_proj",
    "ffn_up": "model.layers.{}.mlp.up_proj",
    "ffn_down": "model.layers.{}.mlp.down_proj",
}


def unpack(source: Path, folder: Path) -> None:
    """Write config, weights and tokenizer of the Qwen2 model `source` into `folder`."""
    reader = gguf.GGUFReader(source)
    metadata = {name: field.contents() for name, field in reader.fields.items()}
    if metadata.get("general.architecture") != "qwen2":
        raise SystemExit(f"{source}: not a Qwen2 model")
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {hf_name(t.name): values(t) for t in reader.tensors}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    tied = "lm_head.weight" not in tensors
    write_json(folder / "config.json", config(metadata, tied=tied))
    write_json(folder / "tokenizer.json", tokenizer(metadata))
    write_json(folder / "tokenizer_config.json", tokenizer_config(metadata))


def hf_name(name: str) -> str:
    """`blk.3.attn_q.bias` -> `model.layers.3.self_attn.q_proj.bias`."""
    parts = name.split(".")
    layer = parts[1] if parts[0] == "blk" else ""
    return f"{NAMES[parts[-2]].format(layer)}.{parts[-1]}"


def values(tensor: Any) -> NDArray[np.float32]:
    """The tensor in float32, shape as Hugging Face has it."""
    data = gguf.dequantize(tensor.data, tensor.tensor_type)
    return np.ascontiguousarray(data.reshape(tensor.shape[::-1]), np.float32)


def config(metadata: dict[str, Any], *, tied: bool) -> dict[str, Any]:
    """`config.json`."""
    own = {key.removeprefix("qwen2."): value for key, value in metadata.items()}
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "vocab_size": len(metadata["tokenizer.ggml.tokens"]),
        "hidden_size": own["embedding_length"],
        "intermediate_size": own["feed_forward_length"],
        "num_hidden_layers": own["block_count"],
        "num_attention_heads": own["attention.head_count"],
        "num_key_value_heads": own["attention.head_count_kv"],
        "max_position_embeddings": own["context_length"],
        "rms_norm_eps": own["attention.layer_norm_rms_epsilon"],
        "rope_theta": own["rope.freq_base"],
        "tie_word_embeddings": tied,
        "hidden_act": "silu",
        "torch_dtype": "float32",
        "eos_token_id": metadata["tokenizer.ggml.eos_token_id"],
    }


def special_ids(metadata: dict[str, Any]) -> list[int]:
    """Ids of the control tokens."""
    types = metadata["tokenizer.ggml.token_type"]
    return [i for i, kind in enumerate(types) if kind == gguf.TokenType.CONTROL]


def tokenizer(metadata: dict[str, Any]) -> dict[str, Any]:
    """`tokenizer.json`: byte-level BPE with Qwen2's pre-tokenizer, nothing normalised."""
    tokens, specials = metadata["tokenizer.ggml.tokens"], special_ids(metadata)
    added = {
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
    levels = {"add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"pattern": {"Regex": QWEN2_REGEX}, "behavior": "Isolated", "invert": False}
    return {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": tokens[i], **added} for i in specials],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Split", **split}, {"type": "ByteLevel", **levels}],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", **levels},
        "model": {
            "type": "BPE",
            "vocab": {text: i for i, text in enumerate(tokens) if i not in specials},
            "merges": [merge.split(" ") for merge in metadata["tokenizer.ggml.merges"]],
        },
    }


def tokenizer_config(metadata: dict[str, Any]) -> dict[str, Any]:
    """`tokenizer_config.json`."""
    tokens = metadata["tokenizer.ggml.tokens"]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": False,
        "eos_token": tokens[metadata["tokenizer.ggml.eos_token_id"]],
        "chat_template": metadata.get("tokenizer.chat_template"),
    }


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write `data` as UTF-8 JSON."""
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")


def main() -> None:
    """Unpack the file and into the folder that the command line names."""
    parser = argparse.ArgumentParser(description="A shipped GGUF to a Hugging Face folder.")
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    unpack(arguments.source, arguments.folder)


if __name__ == "__main__":
    main()
