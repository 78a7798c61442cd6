"""Tiny Qwen2 checkpoints and tokenizers, made without torch or transformers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

# Qwen2's regular expression, as its own tokenizer.json spells it.
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXTS = [
    "The quick brown fox doesn't jump; it'll wait. We'Ve seen I'M, they'RE and SHE'D too.",
    "ئۇيغۇر تىلى تۈركىي تىللار تۈركۈمىگە كىرىدۇ، 20-ئەسىردە يېزىقى ئۆزگەردى.",
    "བོད་ཡིག་ནི་བོད་ཀྱི་སྐད་ཡིག་ཡིན། ༡༢༣ ལོ་རྒྱུས།",
    "قازاق تىلى — 1,234.56 تەڭگە; ᠮᠣᠩᠭᠣᠯ ᠬᠡᠯᠡ ᠪᠢᠴᠢᠭ",
    "def f(x):\n\treturn {'a': x ** 2}  # done\n\n\n    if x != 10_000:\r\n\r\n  pass",
    "12345 ٣٤٥ १२३ ½ Ⅷ  1.5e-10\t\t 3.14",
    "🙂👩\u200d👩\u200d👧🇹🇷 naïve cafe\u0301 ﷽ …——  \u00a0x\u3000y  ",
    " leading and trailing   \n",
]


def byte_level_bpe(
    pattern: str, texts: Iterable[str], vocab_size: int, *, ignore_merges: bool = False
) -> Tokenizer:
    """A byte-level BPE whose pre-tokenizer splits by `pattern`, trained on `texts`."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def qwen2_tokenizer(vocab_size: int = 600) -> Tokenizer:
    """One with Qwen2's pre-tokenizer, trained on the texts above."""
    tokenizer = byte_level_bpe(QWEN2, TEXTS * 3, vocab_size)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False), AddedToken("<|box|>")])
    return tokenizer


def bfloat16(array: np.ndarray) -> np.ndarray:
    """The values of `array` cut to bfloat16 precision, float32."""
    return (array.view(np.uint32) & 0xFFFF0000).view(np.float32)


def save_bfloat16(tensors: dict[str, np.ndarray], path: Path) -> None:
    """Write float32 arrays as a BF16 safetensors file, by hand: NumPy has no such type."""
    header, blobs, offset = {}, [], 0
    for name, array in tensors.items():
        blob = (array.view(np.uint32) >> 16).astype("<u2").tobytes()
        end = offset + len(blob)
        header[name] = {"dtype": "BF16", "shape": array.shape, "data_offsets": [offset, end]}
        blobs.append(blob)
        offset = end
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def write_checkpoint(
    folder: Path,
    *,
    dtype: str = "float32",
    shards: int = 1,
    tied: bool = True,
    lm_head: bool | None = None,
    rows: int = 640,
    width: int = 64,
    config: dict[str, Any] | None = None,
) -> dict[str, np.ndarray]:
    """Write a random Qwen2 checkpoint; returns its tensors, float32, by Hugging Face name."""
    folder.mkdir(parents=True, exist_ok=True)
    inner, kv = 2 * width, width // 2
    values = {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": rows,
        "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
        "rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": tied,
        "bos_token_id": None, "eos_token_id": None,
    }  # fmt: skip
    values |= config or {}
    (folder / "config.json").write_text(json.dumps(values))
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (rows, width), "model.norm.weight": (width,),
    }  # fmt: skip
    if not tied if lm_head is None else lm_head:
        shapes["lm_head.weight"] = (rows, width)
    for layer in range(2):
        for name, shape in {
            "input_layernorm.weight": (width,), "post_attention_layernorm.weight": (width,),
            "self_attn.q_proj.weight": (width, width), "self_attn.q_proj.bias": (width,),
            "self_attn.k_proj.weight": (kv, width), "self_attn.k_proj.bias": (kv,),
            "self_attn.v_proj.weight": (kv, width), "self_attn.v_proj.bias": (kv,),
            "self_attn.o_proj.weight": (width, width), "mlp.gate_proj.weight": (inner, width),
            "mlp.up_proj.weight": (inner, width), "mlp.down_proj.weight": (width, inner),
        }.items():  # fmt: skip
            shapes[f"model.layers.{layer}.{name}"] = shape
    tensors = write_weights(folder, shapes, dtype, shards, tied=tied)
    write_tokenizer(folder)
    return tensors


def write_weights(
    folder: Path,
    shapes: dict[str, tuple[int, ...]],
    dtype: str,
    shards: int,
    *,
    tied: bool,
    scale: float = 0.2,
) -> dict[str, np.ndarray]:
    """Write normal random tensors as safetensors; a tied `lm_head` equals the embedding."""
    rng = np.random.default_rng(0)
    deviation = np.float32(scale)
    tensors = {n: rng.standard_normal(s, np.float32) * deviation for n, s in shapes.items()}
    heads = [name for name in tensors if name.endswith("lm_head.weight")]
    for head in heads if tied else ():
        embedding = next(name for name in tensors if name.endswith("embed_tokens.weight"))
        tensors[head] = tensors[embedding].copy()
    if dtype == "bfloat16":
        tensors = {name: bfloat16(array) for name, array in tensors.items()}
    _save_weights(folder, tensors, dtype, shards)
    return tensors


def _save_weights(folder: Path, tensors: dict[str, np.ndarray], dtype: str, shards: int) -> None:
    def save(part: dict[str, np.ndarray], path: Path) -> None:
        if dtype == "bfloat16":
            save_bfloat16(part, path)
        else:
            save_file({n: a.astype(dtype) for n, a in part.items()}, path)

    if shards == 1:
        save(tensors, folder / "model.safetensors")
        return
    names, weight_map = list(tensors), {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[shard::shards]}
        save(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def write_tokenizer(folder: Path, tokenizer: Tokenizer | None = None) -> None:
    """Write tokenizer.json and tokenizer_config.json."""
    (tokenizer or qwen2_tokenizer()).save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "Qwen2Tokenizer", "add_bos_token": False, "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": {"__type": "AddedToken", "content": "<|endoftext|>"},
        "chat_template": "{{ messages[0].content }} ئا",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
