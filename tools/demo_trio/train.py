"""Train one role of the demo trio and save it as a Hugging Face checkpoint.

    python tools/demo_trio/train.py base       DATA TOKENIZER W/base
    python tools/demo_trio/train.py cpt        DATA TOKENIZER W/cpt   --start W/base
    python tools/demo_trio/train.py large-base DATA TOKENIZER W/large-base
    python tools/demo_trio/train.py large      DATA TOKENIZER W/large

`RECIPES` is what the shipped models were trained by (cpt in three runs, see README.md); every part
of it has an option. Runs are seeded. The log tells, on train pairs that were held out, the bits
per byte of the answers.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from data import (
    END_OF_TEXT,
    LANGUAGES,
    PROMPT,
    TURN_END,
    PairRows,
    Row,
    Text,
    TextRows,
    batches,
    encode,
    held_out_pairs,
    mixed,
)
from model import SHAPES, TiedLoss, Trunk, load_weights, save
from muon import Muon
from tokenizers import Tokenizer
from torch import Tensor

WATCHED = 150  # held out pairs
LR, MUON_LR = 3e-3, 0.02  # peak rates of AdamW and Muon, where --rate is 1

# One turn of a chat is one example of PairRows; earlier turns are its exemplars.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}{{- message['content'] + '\\n\\n' -}}"
    "{%- elif message['role'] == 'user' -%}"
    "{{- 'Please translate the following English text into Uyghur.\\nEnglish: '"
    " + message['content'] + '\\nUyghur: ' -}}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{{- message['content'] | trim + '\\n<|im_end|>\\n' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
)


@dataclass(frozen=True)
class Recipe:
    """How a role is trained.

    Attributes:
        mix: kind of row -> its share; `english` and `uyghur` are text, a language's code is its
            pairs with English.
        pairs: of English and Uyghur that the role may see, the first of the file.
        steps: of `batch` rows of `length` tokens.
        rate: the peak learning rates, as a part of `LR` and `MUON_LR`.
        related: of the rows of several examples, those whose examples are from one program.
    """

    mix: Mapping[str, float]
    pairs: int = 20_000
    steps: int = 800
    batch: int = 16
    length: int = 512
    rate: float = 1.0
    dropout: float = 0.1
    decay: float = 0.1
    related: float = 0.5
    seed: int = 1


BASE = Recipe({"english": 0.6, "ug": 0.4}, pairs=10_000, steps=1300, batch=4, dropout=0.0)
RECIPES = {
    "base": BASE,
    "cpt": replace(BASE, mix={"uyghur": 0.4, "english": 0.1, "ug": 0.5}, steps=1100, rate=0.25),
    "large-base": replace(BASE, steps=900),
    "large": Recipe({"english": 0.3, "ug": 0.7}, steps=900, batch=8),
}


def shares(text: str) -> dict[str, float]:
    """`english=0.6,ug=0.4` as a mix."""
    mix = {kind: float(share) for kind, _, share in (p.partition("=") for p in text.split(","))}
    if unknown := set(mix) - {"english", "uyghur", *LANGUAGES}:
        raise argparse.ArgumentTypeError(f"no such text: {', '.join(sorted(unknown))}")
    return mix


def arguments() -> argparse.Namespace:
    """The command line; what stands in a recipe is None where it is not given."""
    parser = argparse.ArgumentParser(description="Train one role of the demo trio.")
    parser.add_argument("role", choices=list(RECIPES))
    parser.add_argument("data", type=Path, help="folder with en-ug/, mono/ and english/")
    parser.add_argument("tokenizer", type=Path, help="folder that train_tokenizer.py wrote")
    parser.add_argument("out", type=Path, help="folder for the checkpoint")
    parser.add_argument("--start", type=Path, help="checkpoint folder to start from")
    for field in fields(Recipe):
        kind = {"mix": shares, "pairs": int, "steps": int, "batch": int, "length": int, "seed": int}
        parser.add_argument(f"--{field.name}", type=kind.get(field.name, float))
    parser.add_argument(
        "--snapshots", type=int, nargs="*", default=[], help="steps after which OUT-STEP is saved"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="on the CPU (default: 1)")
    parser.add_argument("--no-compile", action="store_true", help="plain PyTorch on the CPU")
    return parser.parse_args()


def training_rows(recipe: Recipe, text: Text) -> Iterator[Row]:
    """The rows that the role learns from."""
    dice = random.Random(recipe.seed)
    tokenizer = text.tokenizer
    (newline,) = encode(tokenizer, "\n")
    sources: list[tuple[Iterator[Row], float]] = []
    for kind, share in recipe.mix.items():
        rows: TextRows | PairRows
        if code_language := LANGUAGES.get(kind):
            pairs = text.pairs(kind, recipe.pairs if kind == "ug" else 10**9)
            rows = PairRows(pairs, code_language, tokenizer, recipe.length, dice, recipe.related)
        else:
            label = encode(tokenizer, f"{kind.title()}: ")
            rows = TextRows(getattr(text, kind), label, newline, recipe.length, dice)
        sources.append((iter(rows), share))
    return mixed(sources, dice)


def step_loss(trunk: Trunk, arrays: tuple[np.ndarray, ...], device: str) -> Tensor:
    """Mean cross-entropy in nats of the wanted tokens of one batch."""
    tokens, wanted, document = (torch.from_numpy(array).to(device) for array in arrays)
    forward = trunk if trunk.training else trunk.forward  # only training is compiled
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        hidden = forward(tokens, document)
    learned = (wanted[:, 1:] == 1) & (document[:, 1:] == document[:, :-1])
    weight = trunk.embed_tokens.weight
    return TiedLoss.apply(hidden[:, :-1][learned], weight, tokens[:, 1:][learned])


def watched_rows(data: Path, tokenizer: Tokenizer) -> tuple[list[Row], int]:
    """Prompt and answer of held out pairs, one a row, and the answers' UTF-8 bytes."""
    pairs = held_out_pairs(data)[:WATCHED]
    rows = []
    for pair in pairs:
        head = encode(tokenizer, PROMPT.format("Uyghur", pair.english, "Uyghur"))
        tail = encode(tokenizer, pair.answer)
        padding = max(0, 160 - len(head) - len(tail))
        tokens = np.array((head + tail + [0] * padding)[:160])
        wanted = np.array(([0] * len(head) + [1] * len(tail) + [0] * padding)[:160])
        rows.append(Row(tokens, wanted, np.zeros(160, dtype=np.int64)))
    return rows, sum(len(pair.answer.encode()) for pair in pairs)


@torch.no_grad()
def watched_bits(trunk: Trunk, rows: list[Row], size: int, device: str) -> float:
    """Bits per UTF-8 byte of the held out answers, given their prompts."""
    trunk.eval()
    bits = 0.0
    for start in range(0, len(rows), 50):
        arrays = tuple(np.stack(group) for group in zip(*rows[start : start + 50], strict=True))
        loss = float(step_loss(trunk, arrays, device))
        bits += loss / math.log(2) * int(arrays[1].sum())
    trunk.train()
    return bits / size


def rate(progress: float) -> float:
    """Share of the peak rate: warm-up, plateau, and a linear way down from 55 %."""
    return min(1.0, progress / 0.02, (1.02 - progress) / 0.45)


def optimizers(trunk: Trunk, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices; AdamW for embeddings, norms and biases."""
    matrices = [p for p in trunk.layers.parameters() if p.dim() == 2]
    vectors = [p for p in trunk.parameters() if p.dim() == 1]
    table = [trunk.embed_tokens.weight]
    groups = [
        {"params": table, "weight_decay": recipe.decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=LR * recipe.rate, betas=(0.9, 0.95), fused=True)
    muon = Muon(matrices, lr=MUON_LR * recipe.rate, momentum=0.95, weight_decay=recipe.decay)
    found: list[torch.optim.Optimizer] = [adam, muon]
    for optimizer in found:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return found


def train(
    trunk: Trunk,
    recipe: Recipe,
    text: Text,
    device: str,
    log: str = "",
    after: Callable[[int], None] = lambda done: None,
) -> None:
    """The whole run: all steps, a log line every tenth of it; `after` gets each step's number."""
    rows, size = watched_rows(text.data, text.tokenizer)
    source = batches(training_rows(recipe, text), recipe.batch)
    both = optimizers(trunk, recipe)
    begun, mean = time.monotonic(), torch.zeros((), device=device)
    for step in range(recipe.steps):
        loss = step_loss(trunk, next(source), device)
        loss.backward()
        for optimizer in both:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate(step / recipe.steps)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        mean = loss.detach() if step == 0 else mean.lerp(loss.detach(), 0.02)
        done = step + 1
        after(done)
        if done == recipe.steps or done % max(1, recipe.steps // 10) == 0:
            seen, seconds = done * recipe.batch * recipe.length, time.monotonic() - begun
            print(
                f"{log}{seconds / 60:6.2f} min  step {done}  {seen / 1e6:.2f} M tokens"
                f"  {seen / seconds:.0f} tok/s  loss {float(mean):.3f}"
                f"  held out {watched_bits(trunk, rows, size, device):.4f} bits a byte",
                flush=True,
            )


def new_trunk(role: str, recipe: Recipe, device: str, start: Path | None) -> Trunk:
    """The role's model, with new weights or those of a checkpoint."""
    torch.manual_seed(recipe.seed)
    trunk = Trunk(SHAPES["large" if role.startswith("large") else "small"], recipe.dropout)
    if start:
        load_weights(trunk, start)
    return trunk.to(device)


def save_role(trunk: Trunk, role: str, tokenizer: Path, out: Path) -> None:
    """Write the checkpoint; large has a chat template and ends with a turn."""
    chat = role == "large"
    ids = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    end = ids.token_to_id(TURN_END if chat else END_OF_TEXT)
    save(trunk, tokenizer, out, end, CHAT_TEMPLATE if chat else None)


def main() -> None:
    """Build the role's model and train it."""
    args = arguments()
    given = {f.name: value for f in fields(Recipe) if (value := getattr(args, f.name)) is not None}
    recipe = replace(RECIPES[args.role], **given)
    torch.set_num_threads(args.threads)
    tokenizer = Tokenizer.from_file(str(args.tokenizer / "tokenizer.json"))
    trunk = new_trunk(args.role, recipe, args.device, args.start)
    print(f"{args.role}: {sum(p.numel() for p in trunk.parameters()) / 1e6:.1f} M parameters")
    print(recipe)
    if args.device == "cpu" and not args.no_compile:
        trunk.compile(dynamic=False)

    def snapshot(done: int) -> None:
        if done in args.snapshots:
            save_role(trunk, args.role, args.tokenizer, Path(f"{args.out}-{done}"))

    train(trunk, recipe, Text(args.data, tokenizer), args.device, after=snapshot)
    save_role(trunk, args.role, args.tokenizer, args.out)


if __name__ == "__main__":
    main()
