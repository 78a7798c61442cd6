"""Qwen2 in plain PyTorch, small and quick to train on a CPU, and on a GPU.

Parameter names, shapes and arithmetic are those of Hugging Face's Qwen2ForCausalLM with tied
embeddings, so `save` writes a checkpoint that transformers and the converter read as it is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

ROPE_THETA = 10000.0
NORM_EPS = 1e-6


@dataclass(frozen=True)
class Shape:
    """The dimensions of a model; all multiples of 256 where K-quants need it."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int = 8192
    positions: int = 512

    @property
    def head_dim(self) -> int:
        """Columns of one attention head."""
        return self.hidden // self.heads


SHAPES = {
    "small": Shape(hidden=256, intermediate=768, layers=4, heads=4, kv_heads=2),
    "large": Shape(hidden=512, intermediate=1536, layers=4, heads=8, kv_heads=4),
}


class Norm(nn.Module):
    """Root mean square normalisation over the last dimension."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape and type in and out; the arithmetic is float32."""
        y = x.float()
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + NORM_EPS)
        return (y * self.weight).to(x.dtype)


class Past:
    """Keys and values of one layer's earlier tokens, with room for more."""

    def __init__(self, room: int) -> None:
        self.room, self.used = room, 0
        self.keys = self.values = torch.empty(0)

    def extend(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values, the new ones the last; (batch, kv heads, length, head_dim)."""
        start, self.used = self.used, self.used + key.shape[2]
        if not start:
            batch, heads, length, head_dim = key.shape
            size = batch, heads, length + self.room, head_dim
            self.keys, self.values = key.new_zeros(size), value.new_zeros(size)
        self.keys[:, :, start : self.used] = key
        self.values[:, :, start : self.used] = value
        return self.keys[:, :, : self.used], self.values[:, :, : self.used]

    def repeat(self, times: int) -> None:
        """Every sequence of the batch `times` times in a row."""
        self.keys = self.keys.repeat_interleave(times, dim=0)
        self.values = self.values.repeat_interleave(times, dim=0)


class Attention(nn.Module):
    """Grouped-query attention with rotary positions and biases on q, k and v."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        kv = shape.kv_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.hidden, shape.hidden)
        self.k_proj = nn.Linear(shape.hidden, kv)
        self.v_proj = nn.Linear(shape.hidden, kv)
        self.o_proj = nn.Linear(shape.hidden, shape.hidden, bias=False)

    def forward(
        self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor, past: Past | None = None
    ) -> Tensor:
        """x: (batch, length, hidden); mask: (batch, 1, length, past + length), added to scores."""
        batch, length, _ = x.shape
        head_dim = self.shape.head_dim
        query, key, value = (
            proj(x).view(batch, length, -1, head_dim).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        repeats = self.shape.heads // self.shape.kv_heads
        key = rotate(key, turn)
        if past is not None:
            key, value = past.extend(key, value)
        key = key.repeat_interleave(repeats, dim=1)
        value = value.repeat_interleave(repeats, dim=1)
        mixed = functional.scaled_dot_product_attention(rotate(query, turn), key, value, mask)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))


class Mlp(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.down_proj = nn.Linear(shape.intermediate, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(…, hidden) to (…, hidden)."""
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """Attention and MLP, each behind a norm and on the residual stream."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(shape)
        self.mlp = Mlp(shape)
        self.input_layernorm = Norm(shape.hidden)
        self.post_attention_layernorm = Norm(shape.hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor, past: Past | None = None
    ) -> Tensor:
        """(batch, length, hidden) to the same."""
        x = x + self.dropout(self.self_attn(self.input_layernorm(x), turn, mask, past))
        return x + self.dropout(self.mlp(self.post_attention_layernorm(x)))


class Trunk(nn.Module):
    """All of Qwen2 but the output layer, which shares `embed_tokens`."""

    def __init__(self, shape: Shape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.numbers = torch.bfloat16  # what the arithmetic is done in
        self.embed_tokens = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape, dropout) for _ in range(shape.layers))
        self.norm = Norm(shape.hidden)
        self.dropout = nn.Dropout(dropout)
        self.reset()

    def reset(self) -> None:
        """Small random weights; the layers' outputs start at zero."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias") or "o_proj" in name or "down_proj" in name:
                nn.init.zeros_(parameter)
            elif parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02 if "embed" in name else self.shape.hidden**-0.5)

    def forward(
        self, tokens: Tensor, document: Tensor, pasts: Sequence[Past] | None = None
    ) -> Tensor:
        """tokens: (batch, length); document: (batch, past + length); both int64.

        Returns (batch, length, hidden). `pasts`, one a layer, hold what came before and take
        what is new.
        """
        x = self.dropout(self.embed_tokens(tokens).to(self.numbers))
        length = tokens.shape[1]
        cosine, sine = rotation(document.shape[1], self.shape.head_dim, x.device)
        turn = cosine[-length:], sine[-length:]
        mask = attention_mask(document, length).to(x.dtype)
        for layer, past in zip(self.layers, pasts or [None] * len(self.layers), strict=True):
            x = layer(x, turn, mask, past)
        return self.norm(x)


def attention_mask(document: Tensor, new: int) -> Tensor:
    """(batch, 1, new, length): 0 where one of the `new` last tokens may look, else very low."""
    length = document.shape[1]
    causal = torch.ones(new, length, dtype=torch.bool, device=document.device).tril(length - new)
    same = document[:, -new:, None] == document[:, None, :]
    allowed = (causal & same)[:, None]
    return torch.zeros(allowed.shape, device=document.device).masked_fill(~allowed, -30000.0)


def rotation(length: int, head_dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary positions, each (length, head_dim), float32."""
    steps = torch.arange(0, head_dim, 2, device=device).float()
    frequency = ROPE_THETA ** (-steps / head_dim)
    angle = torch.arange(length, device=device).float()[:, None] * frequency
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions on (batch, heads, length, head_dim)."""
    cosine, sine = turn
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return (x * cosine + turned * sine).to(x.dtype)


class TiedLoss(torch.autograd.Function):
    """Mean cross-entropy of the output layer, never holding more than one chunk of logits."""

    CHUNK = 512  # positions

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, target: Tensor) -> Tensor:
        """x: (n, hidden); weight: (vocab, hidden); target: (n,). Gradients are made here."""
        table = weight.to(torch.bfloat16)
        grad_x = torch.empty_like(x)
        grad_weight = torch.zeros_like(weight)
        total = torch.zeros((), device=x.device)
        for start in range(0, len(x), TiedLoss.CHUNK):
            part = slice(start, start + TiedLoss.CHUNK)
            logits = (x[part] @ table.T).float()
            chance = torch.softmax(logits, dim=-1)
            wanted = target[part, None]
            total -= chance.gather(1, wanted).clamp_min(1e-30).log().sum()
            chance.scatter_add_(1, wanted, torch.full_like(wanted, -1.0, dtype=chance.dtype))
            slope = (chance / len(x)).to(torch.bfloat16)
            grad_x[part] = slope @ table
            grad_weight += slope.T @ x[part]
        ctx.save_for_backward(grad_x, grad_weight)
        return total / len(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        """The gradients that forward made."""
        grad_x, grad_weight = ctx.saved_tensors
        return grad_x * grads[0].to(grad_x.dtype), grad_weight * grads[0], None


def to_disk(trunk: Trunk) -> dict[str, Tensor]:
    """The state dict under Hugging Face's names, float32."""
    return {
        f"model.{k}": v.detach().float().cpu().contiguous() for k, v in trunk.state_dict().items()
    }


def save(trunk: Trunk, tokenizer: Path, out: Path, end: int, template: str | None) -> None:
    """Write a Hugging Face checkpoint folder with its tokenizer; `end` is the EOS id."""
    out.mkdir(parents=True, exist_ok=True)
    shape = trunk.shape
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "eos_token_id": end,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.intermediate,
        "max_position_embeddings": shape.positions,
        "model_type": "qwen2",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": NORM_EPS,
        "rope_theta": ROPE_THETA,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": shape.vocab,
    }
    write_json(out / "config.json", config)
    write_json(out / "generation_config.json", {"do_sample": False, "eos_token_id": end})
    save_file(to_disk(trunk), out / "model.safetensors", metadata={"format": "pt"})
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        shutil.copyfile(tokenizer / name, out / name)
    settings = json.loads((tokenizer / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["eos_token"] = settings["added_tokens_decoder"][str(end)]["content"]
    if template is not None:
        settings["chat_template"] = template
        (out / "chat_template.jinja").write_text(template, encoding="utf-8")
    write_json(out / "tokenizer_config.json", settings)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """One JSON document, indented, with a line break at its end."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_weights(trunk: Trunk, folder: Path) -> None:
    """Take the weights of a folder that `save` wrote."""
    tensors = load_file(folder / "model.safetensors")
    trunk.load_state_dict({name.removeprefix("model."): t for name, t in tensors.items()})
