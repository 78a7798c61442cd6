"""Measure checkpoints and their fusion in PyTorch, on a GPU or a CPU, while the trio is trained.

    python tools/demo_trio/compare.py DATA TOKENIZER BASE CPT LARGE

On lines of the development split's first half, each after exemplars that no model has seen: chrF++
of greedy translations under the whole grid of alpha and beta; what the likelihood of prompts (PPL),
of the exemplars' answers alone (PPL-ANSWERS) and the entropy of the first token (ENT) choose. The
figures of the model card come from evaluate.py and the GGUF files instead.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from data import PROMPT, TURN_END, Pair, dev_pairs, encode, held_out_pairs
from model import SHAPES, Past, Trunk, load_weights
from sacrebleu.metrics import CHRF
from tokenizers import Tokenizer
from torch import Tensor

STEPS = [0.1, 0.3, 0.5, 0.7, 0.9, 1.0]
GRID = [(a, b) for a, b in itertools.product(STEPS, repeat=2)]
SINGLES = {"base": (0.0, 0.0), "cpt": (0.0, 1.0), "large": (1.0, 0.0)}
PAIRS = [*SINGLES.values(), *GRID]
LONGEST = 60  # tokens of an answer
SAMPLES = 50  # prompts that a task's pair is chosen by

Weights = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A prompt's ids, its reference's, and which ids are answers of exemplars."""

    prompt: list[int]
    answer: list[int]
    shown: list[bool]
    reference: str


def exemplars(pool: Sequence[Pair], line: int, shots: int) -> list[Pair]:
    """Some of the pool, others for each line."""
    return random.Random(line).sample(pool, shots)


def make_line(tokenizer: Tokenizer, pair: Pair, shots: Sequence[Pair]) -> Line:
    """The paper's prompt; an exemplar's answer is its text and the line break after it."""
    text, spans = "", []
    for shot in shots:
        text += PROMPT.format("Uyghur", shot.english, "Uyghur")
        spans.append((len(text), len(text) + len(shot.answer) + 1))
        text += shot.answer + "\n\n"
    text += PROMPT.format("Uyghur", pair.english, "Uyghur")
    found = tokenizer.encode(text, add_special_tokens=False)
    shown = [any(a < end and start < b for a, b in spans) for start, end in found.offsets]
    return Line(found.ids, encode(tokenizer, pair.answer), shown, pair.answer)


def fuse(logits: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Eq. 5. logits: base, cpt, large, each (n, vocab); weights: (n, 2), alpha and beta."""
    base, cpt, large = logits
    alpha, beta = weights[:, :1], weights[:, 1:]
    return alpha * large + beta * cpt + (1 - alpha - beta) * base


class Models:
    """base, cpt and large, in float32."""

    def __init__(self, trunks: Sequence[Trunk], device: str) -> None:
        self.trunks = [trunk.to(device).eval() for trunk in trunks]
        for trunk in self.trunks:
            trunk.numbers = torch.float32
        self.device = device

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> list[Tensor]:
        """Each model's logits (len(ids), vocab)."""
        tokens = torch.tensor([ids], device=self.device)
        return [self.rows(t, t(tokens, torch.zeros_like(tokens)))[0] for t in self.trunks]

    @staticmethod
    def rows(trunk: Trunk, hidden: Tensor) -> Tensor:
        """The output layer, tied to the input's."""
        return hidden @ trunk.embed_tokens.weight.T

    @torch.no_grad()
    def translate(
        self, tokenizer: Tokenizer, prompts: Sequence[list[int]], pairs: Sequence[Weights]
    ) -> list[list[str]]:
        """Greedy answers of every prompt under every pair of weights: [pair][prompt]."""
        stops = torch.tensor([*encode(tokenizer, "\n"), tokenizer.token_to_id(TURN_END)])
        stops = stops.to(self.device)
        width, times = max(map(len, prompts)), len(pairs)
        ids = [[0] * (width - len(p)) + p for p in prompts]
        document = [[-1] * (width - len(p)) + [0] * len(p) for p in prompts]
        fed = torch.tensor(ids, device=self.device)
        seen = torch.tensor(document, device=self.device)
        pasts = [[Past(LONGEST) for _ in trunk.layers] for trunk in self.trunks]
        table = torch.tensor(pairs, device=self.device).repeat(len(prompts), 1)
        chosen: list[Tensor] = []
        over = torch.zeros(len(table), dtype=torch.bool, device=self.device)
        for step in range(LONGEST):
            logits = [
                self.rows(trunk, trunk(fed, seen, past)[:, -1])
                for trunk, past in zip(self.trunks, pasts, strict=True)
            ]
            if step == 0:
                logits = [rows.repeat_interleave(times, dim=0) for rows in logits]
                seen = seen.repeat_interleave(times, dim=0)
                for past in itertools.chain(*pasts):
                    past.repeat(times)
            best = fuse(logits, table).argmax(-1)
            over |= torch.isin(best, stops)
            if bool(over.all()):
                break
            chosen.append(torch.where(over, -1, best))
            fed = best[:, None]
            seen = torch.cat([seen, torch.zeros_like(fed)], dim=1)
        rows = torch.stack(chosen, 1).tolist() if chosen else [[] for _ in table]
        texts = [tokenizer.decode([i for i in row if i >= 0]).strip() for row in rows]
        return [texts[i::times] for i in range(times)]


@torch.no_grad()
def likelihoods(logits: Sequence[Tensor], targets: Tensor) -> np.ndarray:
    """-ln P of targets (n,) under each pair of `PAIRS`: float64 [pairs, n]."""
    found = []
    for pair in PAIRS:
        weights = torch.tensor([pair], device=targets.device).expand(len(targets), 2)
        chance = torch.log_softmax(fuse(logits, weights), dim=-1)
        found.append(-chance.gather(1, targets[:, None])[:, 0])
    return torch.stack(found).double().cpu().numpy()


@torch.no_grad()
def entropies(logits: Sequence[Tensor]) -> np.ndarray:
    """Entropy in nats of one position's distribution under each pair of `PAIRS`."""
    weights = torch.tensor(PAIRS, device=logits[0].device)
    chance = torch.log_softmax(fuse([r[None] for r in logits], weights), dim=-1)
    return -(chance.exp() * chance).sum(-1).cpu().numpy()


@dataclass
class Scores:
    """Per line, float64 [pairs, lines]: what is chosen by, and what the references cost."""

    ppl: np.ndarray
    answers: np.ndarray
    ent: np.ndarray
    bits: np.ndarray

    def task(self, values: np.ndarray) -> int:
        """The pair of the grid that the first `SAMPLES` lines choose together."""
        return len(SINGLES) + int(values[len(SINGLES) :, :SAMPLES].mean(axis=1).argmin())

    def inputs(self, values: np.ndarray) -> np.ndarray:
        """The pair of the grid that every line chooses for itself."""
        return len(SINGLES) + values[len(SINGLES) :].argmin(axis=0)


def score(models: Models, lines: Sequence[Line]) -> Scores:
    """Likelihoods of prompts, exemplars' answers and references, and first tokens' entropies."""
    ppl, answers, ent, bits = [], [], [], []
    for line in lines:
        ids = line.prompt + line.answer
        logits = models.logits(ids[:-1])
        targets = torch.tensor(ids[1:], device=models.device)
        nll = likelihoods(logits, targets)
        own = len(line.prompt) - 1
        shown = np.array(line.shown[1:])
        ppl.append(nll[:, :own].mean(axis=1))
        answers.append(nll[:, :own][:, shown].mean(axis=1) if shown.any() else ppl[-1])
        ent.append(entropies([rows[own] for rows in logits]))
        bits.append(nll[:, own:].sum(axis=1) / np.log(2) / len(line.reference.encode()))
    return Scores(*(np.stack(values, axis=1) for values in (ppl, answers, ent, bits)))


def chrf(answers: Sequence[str], lines: Sequence[Line]) -> float:
    """chrF++ of the translations."""
    metric = CHRF(word_order=2)
    return float(metric.corpus_score(list(answers), [[ln.reference for ln in lines]]).score)


def compare(
    models: Models, tokenizer: Tokenizer, lines: Sequence[Line], together: int = 25
) -> dict[str, object]:
    """All figures of a trio."""
    scores = score(models, lines)
    texts: list[list[str]] = [[] for _ in PAIRS]
    ordered = sorted(range(len(lines)), key=lambda i: len(lines[i].prompt))
    for start in range(0, len(ordered), together):
        part = [lines[i].prompt for i in ordered[start : start + together]]
        for own, new in zip(texts, models.translate(tokenizer, part, PAIRS), strict=True):
            own.extend(new)
    place = {line: at for at, line in enumerate(ordered)}
    texts = [[own[place[i]] for i in range(len(lines))] for own in texts]
    values = [chrf(own, lines) for own in texts]
    sizes = np.array([len(line.reference.encode()) for line in lines])
    bits = (scores.bits * sizes).sum(axis=1) / sizes.sum()
    best = len(SINGLES) + int(np.argmax(values[len(SINGLES) :]))
    found: dict[str, object] = {
        name: {"chrf": values[i], "bits": bits[i]} for i, name in enumerate(SINGLES)
    }
    found["best"] = {"pair": PAIRS[best], "chrf": values[best], "bits": bits[best]}
    found["proxy"] = {"chrf": values[PAIRS.index((1.0, 1.0))]}
    for name in ("ppl", "answers", "ent"):
        table = getattr(scores, name)
        at, each = scores.task(table), scores.inputs(table)
        own = [texts[pair][line] for line, pair in enumerate(each)]
        mean = np.array(PAIRS)[each].mean(axis=0).round(2).tolist()
        found[name] = {"pair": PAIRS[at], "chrf": values[at], "bits": bits[at]}
        found[f"{name} per input"] = {"pair": mean, "chrf": chrf(own, lines)}
    found["grid"] = {
        f"{a:g},{b:g}": [round(v, 2), round(float(w), 4)]
        for (a, b), v, w in zip(PAIRS, values, bits, strict=True)
    }
    return found


def first_half(
    data: Path, tokenizer: Tokenizer, count: int, shots: int, pool: Sequence[Pair] = ()
) -> list[Line]:
    """Lines of the development split's first half, which is every other pair."""
    pool = pool or held_out_pairs(data)
    pairs = dev_pairs(data)[::2][:count]
    return [
        make_line(tokenizer, pair, exemplars(pool, 2 * i, shots)) for i, pair in enumerate(pairs)
    ]


def load(folder: Path) -> Trunk:
    """A checkpoint's model; its shape is told by its width."""
    width = json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"]
    trunk = Trunk(next(shape for shape in SHAPES.values() if shape.hidden == width))
    load_weights(trunk, folder)
    return trunk


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("data", "tokenizer", "base", "cpt", "large"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--lines", type=int, default=150, help="of the first half")
    parser.add_argument("--shots", type=int, default=5, help="exemplars of a prompt")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer = Tokenizer.from_file(str(args.tokenizer / "tokenizer.json"))
    models = Models([load(path) for path in (args.base, args.cpt, args.large)], args.device)
    lines = first_half(args.data, tokenizer, args.lines, args.shots)
    print(json.dumps(compare(models, tokenizer, lines), indent=1))


if __name__ == "__main__":
    main()
