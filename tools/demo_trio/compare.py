"""Measure checkpoints and their fusion in PyTorch, while the trio is being trained.

    python tools/demo_trio/compare.py DATA BASE CPT LARGE

Bits per byte of the Uyghur side over the whole grid of alpha and beta, and chrF++ of greedy
translations, on a part of the development split. The figures of the model card come from
evaluate.py and the GGUF files instead.
"""

from __future__ import annotations

import argparse
import itertools
import math
from pathlib import Path

import torch
from data import PROMPT, TURN_END, Pair, dev_pairs, encode
from sacrebleu.metrics import CHRF
from tokenizers import Tokenizer
from torch import Tensor
from transformers import Qwen2ForCausalLM
from transformers.utils import logging

GRID = [0.1, 0.3, 0.5, 0.7, 0.9, 1.0]
SINGLES = {"base": (0.0, 0.0), "cpt": (0.0, 1.0), "large": (1.0, 0.0), "proxy tuning": (1.0, 1.0)}
LONGEST = 60  # tokens of an answer

Weights = tuple[float, float]


def fuse(logits: list[Tensor], weights: Tensor) -> Tensor:
    """Eq. 5. logits: base, cpt, large, each (n, vocab); weights: (n, 2), alpha and beta."""
    base, cpt, large = logits
    alpha, beta = weights[:, :1], weights[:, 1:]
    return alpha * large + beta * cpt + (1 - alpha - beta) * base


@torch.no_grad()
def answer_logits(
    models: list[Qwen2ForCausalLM], tokenizer: Tokenizer, pairs: list[Pair]
) -> tuple[list[Tensor], Tensor]:
    """Each model's logits (n, vocab) for the answers' tokens, and those tokens (n,)."""
    found: list[list[Tensor]] = [[] for _ in models]
    tokens: list[int] = []
    for pair in pairs:
        head = encode(tokenizer, PROMPT.format(pair.english))
        tail = encode(tokenizer, pair.uyghur)
        ids = torch.tensor([head + tail])
        for rows, model in zip(found, models, strict=True):
            rows.append(model(ids).logits[0, len(head) - 1 : -1])
        tokens += tail
    return [torch.cat(rows) for rows in found], torch.tensor(tokens)


def bits(logits: list[Tensor], tokens: Tensor, pair: Weights) -> float:
    """Bits that the fused distribution spends on all tokens."""
    weights = torch.tensor([pair]).expand(len(tokens), 2)
    chance = torch.log_softmax(fuse(logits, weights), dim=-1)
    return -float(chance.gather(1, tokens[:, None]).sum()) / math.log(2)


@torch.no_grad()
def translate(
    models: list[Qwen2ForCausalLM],
    tokenizer: Tokenizer,
    pairs: list[Pair],
    weights: list[Weights],
) -> list[str]:
    """Greedy answers, one for each pair and its (alpha, beta), all stepped together."""
    prompts = [encode(tokenizer, PROMPT.format(pair.english)) for pair in pairs]
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    stops = torch.tensor([*encode(tokenizer, "\n"), 0, tokenizer.token_to_id(TURN_END)])
    stops[1] = tokenizer.token_to_id("<|endoftext|>")
    table = torch.tensor(weights)
    caches: list[object] = [None] * len(models)
    answers: list[list[int]] = [[] for _ in pairs]
    done = torch.zeros(len(pairs), dtype=torch.bool)
    fed = ids
    for _ in range(LONGEST):
        logits = []
        place = (mask.cumsum(1) - 1).clamp_min(0)[:, -fed.shape[1] :]
        for i, model in enumerate(models):
            out = model(
                fed,
                attention_mask=mask,
                position_ids=place,
                past_key_values=caches[i],
                use_cache=True,
                logits_to_keep=1,
            )
            caches[i] = out.past_key_values
            logits.append(out.logits[:, -1])
        best = fuse(logits, table).argmax(-1)
        done |= torch.isin(best, stops)
        if bool(done.all()):
            break
        for answer, token, over in zip(answers, best.tolist(), done.tolist(), strict=True):
            if not over:
                answer.append(token)
        fed = best[:, None]
        mask = torch.cat([mask, torch.ones(len(pairs), 1, dtype=mask.dtype)], dim=1)
    return [tokenizer.decode(answer).strip() for answer in answers]


def main() -> None:
    """Print the singles' and the grid's figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("cpt", type=Path)
    parser.add_argument("large", type=Path)
    parser.add_argument("--lines", type=int, default=150, help="dev pairs for bits per byte")
    parser.add_argument("--chrf-lines", type=int, default=60, help="dev pairs for chrF++")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    tokenizer = Tokenizer.from_file(str(args.large / "tokenizer.json"))
    models = [Qwen2ForCausalLM.from_pretrained(p) for p in (args.base, args.cpt, args.large)]
    grid = [*SINGLES.values(), *itertools.product(GRID, GRID)]
    pairs = dev_pairs(args.data)[: args.lines]
    size = sum(len(pair.uyghur.encode()) for pair in pairs)
    logits, tokens = answer_logits(models, tokenizer, pairs)
    costs = {w: bits(logits, tokens, w) / size for w in grid}
    some = pairs[: args.chrf_lines]
    metric = CHRF(word_order=2)
    names = {weights: name for name, weights in SINGLES.items()}
    for weights in sorted(set(grid), key=costs.__getitem__):
        answers = translate(models, tokenizer, some, [weights] * len(some)) if some else []
        score = metric.corpus_score(answers, [[p.uyghur for p in some]]).score if some else 0.0
        print(f"{weights}: {costs[weights]:.4f} bpb  {score:.2f}  {names.get(weights, '')}")
    if some:
        for weights in (SINGLES["large"], min(costs, key=costs.__getitem__)):
            print(weights)
            for pair, answer in zip(
                some[:8], translate(models, tokenizer, some[:8], [weights] * 8), strict=True
            ):
                print(f"  {pair.english} | {answer} | {pair.uyghur}")


if __name__ == "__main__":
    main()
