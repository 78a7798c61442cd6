"""Plain stepping with a cpt of an enlarged vocabulary, against the same trio with equal ones.

    python benchmarks/vocabularies.py --shapes qwen2.5-1.5b+7b --keep FOLDER

The weights are random, and the texts are given: each token that is picked is replaced by the next
one of a text, so that all trios go the same way. cpt gets further tokens of two to four small
letters. Two texts are stepped: one of large letters, which no further token fits, and one of small
letters, where a model of random weights is in the middle of many tokens at once and evaluated all
the same. A trained cpt is evaluated less often than once a token, so this is the dear case. Trios
take turns; medians are told.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import string
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from trimix_cpp.bench.random_models import DEFAULT_TYPE, random_trio
from trimix_cpp.decoding import Decoder, Feed, Text, Trio
from trimix_cpp.fusion import Sampler, Weights
from trimix_cpp.quant import Options
from trimix_cpp.store import RoleSpec, TrioSpec

ROLES = ("large", "cpt", "base")
TEXTS = {"none fits": string.ascii_uppercase, "many fit": string.ascii_lowercase}
TOKENS, TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"


@dataclass(frozen=True)
class Given(Sampler):
    """Picks the next token of a text, whatever the logits."""

    tokens: Sequence[int] = field(default=())
    n_prompt: int = 0

    def pick(self, logits: Any, recent: Sequence[int], position: int) -> int:
        super().pick(logits, recent, position)
        return self.tokens[position - self.n_prompt]


def enlarge(source: Path, target: Path, n_more: int) -> None:
    """A copy with `n_more` tokens of two to four small letters; rows repeat the first ones."""
    reader, chance = gguf.GGUFReader(source), random.Random(0)
    words: dict[str, None] = {}
    while len(words) < n_more:
        words["".join(chance.choices(string.ascii_lowercase, k=chance.randint(2, 4)))] = None
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    known = set(reader.fields[TOKENS].contents())
    words = {word: None for word in words if word not in known}
    for name, item in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value, kind = item.contents(), item.types[0]
        value = [*value, *words] if name == TOKENS else value
        value = [*value, *[1] * len(words)] if name == TYPES else value
        value = value + len(words) if name.endswith(".vocab_size") else value
        sub_type = item.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, kind, sub_type=sub_type)
    for tensor in reader.tensors:
        data = tensor.data
        if tensor.name in ("token_embd.weight", "output.weight"):
            data = np.concatenate([data, data[: len(words)]])
        writer.add_tensor(tensor.name, data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def step(trio: Trio, letters: str, n: int) -> tuple[float, float]:
    """Seconds a token of plain stepping, and evaluations of cpt a token."""
    chance = random.Random(1)
    prompt, *tokens = trio.tokenize("".join(chance.choices(letters, k=n + 1)))
    text = Text([prompt], Weights(0.3, 0.9), Given(tokens=tokens, n_prompt=1), ignore_ends=True,
                max_tokens=n)  # fmt: skip
    decoder, feed, fed = Decoder(trio, keep=False), trio._feed, 0

    def counted(role: str, feeds: list[Feed]) -> Any:
        nonlocal fed
        fed += sum(len(own.tokens) for own in feeds) if role == "cpt" else 0
        return feed(role, feeds)

    trio._feed = counted  # type: ignore[method-assign]
    decoder.submit(text)
    while not text.generated:
        decoder.step()
    fed, began = 0, time.perf_counter()
    while text.stop is None:
        decoder.step()
    seconds = time.perf_counter() - began
    trio._feed = feed  # type: ignore[method-assign]
    text.raise_error()
    return seconds / (n - 1), fed / (n - 1)


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", default="qwen2.5-1.5b+7b")
    parser.add_argument("--keep", type=Path, required=True, help="folder of the models")
    parser.add_argument("--type", default=DEFAULT_TYPE)
    parser.add_argument("--further", type=int, default=16000, help="tokens that cpt has besides")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    flags = parser.parse_args()
    with random_trio(flags.shapes, dict.fromkeys(ROLES, flags.type), flags.keep) as files:
        larger = flags.keep / f"cpt-{flags.further}.gguf"
        if not larger.is_file():
            enlarge(files["cpt"], larger, flags.further)
        seen: dict[str, dict[str, list[tuple[float, float]]]] = {text: {} for text in TEXTS}
        options = Options(n_ctx=256, n_threads=flags.threads)
        for _ in range(flags.repetitions):
            for name, cpt in (("equal", files["cpt"]), ("enlarged", larger)):
                roles = {role: RoleSpec(path) for role, path in {**files, "cpt": cpt}.items()}
                with Trio(TrioSpec(name, roles), ROLES, options) as trio:
                    for text, letters in TEXTS.items():
                        step(trio, letters, 4)
                        found = step(trio, letters, flags.tokens)
                        seen[text].setdefault(name, []).append(found)
    out: dict[str, Any] = {"shapes": flags.shapes, "further": flags.further}
    for text, by_name in seen.items():
        median = {k: statistics.median(s for s, _ in own) for k, own in by_name.items()}
        out[text] = {
            "ms_per_token": {k: round(1e3 * value, 2) for k, value in median.items()},
            "ratio": round(median["enlarged"] / median["equal"], 3),
            "cpt_evaluations_per_token": round(by_name["enlarged"][-1][1], 2),
        }
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
