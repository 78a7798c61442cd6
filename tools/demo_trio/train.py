"""Train one role of the demo trio and save it as a Hugging Face checkpoint.

    python tools/demo_trio/train.py base  DATA TOKENIZER OUT
    python tools/demo_trio/train.py cpt   DATA TOKENIZER OUT --start BASE
    python tools/demo_trio/train.py large DATA TOKENIZER OUT

OUT/last is written at the end, OUT/step-N every `--save-minutes`. Runs are seeded; a run that
`--minutes` ends early is repeated by giving the number of steps that it printed.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from data import (
    END_OF_TEXT,
    PROMPT,
    TURN_END,
    Language,
    PairRows,
    Row,
    TextRows,
    batches,
    dev_pairs,
    encode,
    encode_all,
    english_lines,
    mixed,
    task_pairs,
    uyghur_lines,
)
from model import SHAPES, TiedLoss, Trunk, load_weights, save
from muon import Muon
from tokenizers import Tokenizer
from torch import Tensor

ENGLISH_IN_CPT = 0.2  # of the tokens, as in the paper
DEV_LINES = 150

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


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Train one role of the demo trio.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("role", choices=["base", "cpt", "large"])
    parser.add_argument("data", type=Path, help="folder with en-ug/, mono/ and english/")
    parser.add_argument("tokenizer", type=Path, help="folder that train_tokenizer.py wrote")
    parser.add_argument("out", type=Path, help="folder for checkpoints")
    parser.add_argument("--start", type=Path, help="checkpoint folder to start from")
    parser.add_argument("--steps", type=int, default=100_000, help="steps at most")
    parser.add_argument("--minutes", type=float, default=1e9, help="wall time at most")
    parser.add_argument("--save-minutes", type=float, default=5.0, help="between checkpoints")
    parser.add_argument("--pairs", type=int, default=20_000, help="pairs that large may see")
    parser.add_argument("--english", type=float, default=0.25, help="share of large's rows")
    parser.add_argument("--batch", type=int, default=8, help="rows a step")
    parser.add_argument("--length", type=int, default=256, help="tokens a row")
    parser.add_argument("--lr", type=float, default=3e-3, help="peak rate of AdamW")
    parser.add_argument("--muon-lr", type=float, default=0.02, help="peak rate of Muon")
    parser.add_argument("--decay", type=float, default=0.1, help="weight decay")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-compile", action="store_true", help="plain PyTorch")
    return parser.parse_args()


def training_rows(args: argparse.Namespace, tokenizer: Tokenizer) -> Iterator[Row]:
    """The rows that the role learns from."""
    dice = random.Random(args.seed)
    (newline,) = encode(tokenizer, "\n")
    english = Language(
        encode_all(tokenizer, english_lines(args.data)),
        encode(tokenizer, "English: "),
        ENGLISH_IN_CPT if args.role == "cpt" else 1.0,
    )
    if args.role != "cpt":
        text = iter(TextRows([english], newline, args.length, dice))
    else:
        lines = encode_all(tokenizer, uyghur_lines(args.data))
        uyghur = Language(lines, encode(tokenizer, "Uyghur: "), 1 - ENGLISH_IN_CPT)
        text = iter(TextRows([english, uyghur], newline, args.length, dice))
    if args.role != "large":
        return text
    pairs = iter(PairRows(task_pairs(args.data, args.pairs), tokenizer, args.length, dice))
    return mixed([(text, args.english), (pairs, 1 - args.english)], dice)


def step_loss(trunk: Trunk, arrays: tuple[np.ndarray, ...]) -> Tensor:
    """Mean cross-entropy in nats of the wanted tokens of one batch."""
    tokens, wanted, document = (torch.from_numpy(array) for array in arrays)
    forward = trunk if trunk.training else trunk.forward  # only training is compiled
    with torch.autocast("cpu", torch.bfloat16):
        hidden = forward(tokens, document)
    learned = (wanted[:, 1:] == 1) & (document[:, 1:] == document[:, :-1])
    weight = trunk.embed_tokens.weight
    return TiedLoss.apply(hidden[:, :-1][learned], weight, tokens[:, 1:][learned])


def dev_rows(args: argparse.Namespace, tokenizer: Tokenizer) -> tuple[list[Row], int]:
    """Prompt and answer of the first dev pairs, one a row, and the answers' UTF-8 bytes."""
    pairs = [pair for pair in dev_pairs(args.data)[:DEV_LINES] if len(pair.uyghur) < 150]
    rows = []
    for english, uyghur, _ in pairs:
        prompt, answer = PROMPT.format(english), uyghur
        if args.role == "base":
            prompt, answer = "English: ", english
        head, tail = encode(tokenizer, prompt), encode(tokenizer, answer)
        padding = max(0, 160 - len(head) - len(tail))
        tokens = np.array((head + tail + [0] * padding)[:160])
        wanted = np.array(([0] * len(head) + [1] * len(tail) + [0] * padding)[:160])
        rows.append(Row(tokens, wanted, np.zeros(160, dtype=np.int64)))
    answers = [pair.english if args.role == "base" else pair.uyghur for pair in pairs]
    return rows, sum(len(answer.encode()) for answer in answers)


@torch.no_grad()
def dev_bits(trunk: Trunk, rows: list[Row], size: int) -> float:
    """Bits per UTF-8 byte of the dev answers, given their prompts."""
    trunk.eval()
    bits = 0.0
    for start in range(0, len(rows), 50):
        arrays = tuple(np.stack(group) for group in zip(*rows[start : start + 50], strict=True))
        bits += float(step_loss(trunk, arrays)) / math.log(2) * int(arrays[1].sum())
    trunk.train()
    return bits / size


def rate(progress: float) -> float:
    """Share of the peak rate: warm-up, plateau, and a linear way down from 55 %."""
    return min(1.0, progress / 0.02, (1.02 - progress) / 0.45)


def optimizers(trunk: Trunk, args: argparse.Namespace) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices; AdamW for embeddings, norms and biases."""
    matrices = [p for p in trunk.layers.parameters() if p.dim() == 2]
    vectors = [p for p in trunk.parameters() if p.dim() == 1]
    table = [trunk.embed_tokens.weight]
    groups = [
        {"params": table, "weight_decay": args.decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.95), fused=True)
    muon = Muon(matrices, lr=args.muon_lr, momentum=0.95, weight_decay=args.decay)
    found: list[torch.optim.Optimizer] = [adam, muon]
    for optimizer in found:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return found


def train(trunk: Trunk, args: argparse.Namespace, tokenizer: Tokenizer) -> None:
    """The whole run: steps, a log line every two minutes, checkpoints."""
    end = tokenizer.token_to_id(TURN_END if args.role == "large" else END_OF_TEXT)
    template = CHAT_TEMPLATE if args.role == "large" else None
    rows, size = dev_rows(args, tokenizer)
    source = batches(training_rows(args, tokenizer), args.batch)
    both = optimizers(trunk, args)
    begun = logged = saved = time.monotonic()
    mean, step, progress = 0.0, 0, 0.0
    while progress < 1.0:
        loss = step_loss(trunk, next(source))
        loss.backward()
        for optimizer in both:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate(progress)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        mean = loss.item() if step == 1 else 0.98 * mean + 0.02 * loss.item()
        now = time.monotonic()
        progress = max(step / args.steps, (now - begun) / 60 / args.minutes)
        if now - logged > 120 or progress >= 1.0 or step in (20, 50):
            seen = step * args.batch * args.length
            print(
                f"{(now - begun) / 60:6.2f} min  step {step}  {seen / 1e6:.2f} M tokens"
                f"  {seen / (now - begun):.0f} tok/s  loss {mean:.3f}"
                f"  dev {dev_bits(trunk, rows, size):.4f} bits a byte",
                flush=True,
            )
            logged = now
        if now - saved > 60 * args.save_minutes:
            save(trunk, args.tokenizer, args.out / f"step-{step}", end, template)
            saved = now
    save(trunk, args.tokenizer, args.out / "last", end, template)


def main() -> None:
    """Build the role's model and train it."""
    args = arguments()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    tokenizer = Tokenizer.from_file(str(args.tokenizer / "tokenizer.json"))
    shape = SHAPES["large" if args.role == "large" else "small"]
    trunk = Trunk(shape, args.dropout)
    if args.start:
        load_weights(trunk, args.start)
    print(f"{args.role}: {sum(p.numel() for p in trunk.parameters()) / 1e6:.1f} M parameters")
    if not args.no_compile:
        trunk.compile(dynamic=False)
    train(trunk, args, tokenizer)


if __name__ == "__main__":
    main()
