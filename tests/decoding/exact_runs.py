"""Exact mode against itself, run by test_decoding.py: prints "equal" where every bit agrees."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.speculation import Speculator
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.fusion.sampling import Sampler
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.store.spec import RoleSpec, TrioSpec

TEXTS = Path(__file__).parents[1] / "impact" / "quantization"
TIBETAN = "བོད་སྐད་ནི་བརྒྱུད་པའི་སྐད་ཡིག་ཅིག་རེད། "
TEXT = "Please translate the following English text into Uyghur.\nEnglish: Open\nUyghur: ئاچ "


class Recorder:
    """Keeps the rows that the tokens of every text are picked from."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder, self.rows = decoder, dict[Text, list[bytes]]()
        engine = decoder._engine
        pick = engine.pick

        def spy(text: Text, rows: dict[str, np.ndarray]) -> int:
            token = pick(text, rows)
            self.rows.setdefault(text, []).append(engine.row.tobytes())
            return token

        engine.pick = spy  # type: ignore[method-assign]


def jobs(trio: Trio) -> list[Text]:
    """Lengths from 5 to 700 tokens: caches beyond 512 cells."""
    text = trio.tokenize(TEXT)
    return [
        Text((text * 40)[:length], Weights(*pair), Sampler(temperature=t, seed=3), max_tokens=n)
        for length, pair, t, n in (
            (20, (0.7, 0.5), 0, 9),
            (700, (0.3, 0.9), 0, 5),
            (5, (1, 0), 0.8, 12),
            (250, (0.1, 0.9), 0, 15),
            (33, (0.5, 0.7), 1.1, 7),
        )
    ]


def run(
    spec: TrioSpec, parallel: int, threads: int, n_batch: int = 512, shared: int = 0
) -> list[list[bytes]]:
    """The fused rows of every job; its first `shared` tokens are evaluated once for all."""
    options = Options(
        n_ctx=1024, n_parallel=parallel, n_threads=threads, n_batch=n_batch, exact=True
    )
    with Trio(spec, ("large", "cpt", "base"), options) as trio:
        recorder, texts = Recorder(Decoder(trio)), jobs(trio)
        if shared:
            recorder.decoder.pin(texts[1].tokens[:shared], trio.roles)
        for done in recorder.decoder.run(iter(texts)):
            done.raise_error()
        assert not shared or sum(text.n_cached >= shared for text in texts) >= 3
        return [recorder.rows[text] for text in texts]


def rewound(spec: TrioSpec, threads: int) -> list[list[bytes]]:
    """Every text goes on in the cache of another that began alike, went on, and was cut back."""
    out = []
    with Trio(
        spec, ("large", "cpt", "base"), Options(n_ctx=1024, n_threads=threads, exact=True)
    ) as trio:
        for text in jobs(trio):
            recorder = Recorder(Decoder(trio))
            half = Text(text.tokens[: text.n_prompt // 2], text.weights, max_tokens=3)
            stranger = Text([*text.tokens, 7, 8], text.weights, max_tokens=4)
            for before in (stranger, half):  # what they leave behind is cut back
                list(recorder.decoder.stream(before))
            list(recorder.decoder.stream(text))
            assert text.n_cached >= text.n_prompt // 2
            out.append(recorder.rows[text])
    return out


def draft_jobs(trio: Trio, n: int) -> Iterator[tuple[int | None, dict[str, Any]]]:
    """Drafts a round, and what a `Text` is made of: of all kinds, in three languages."""
    chance = random.Random(1)
    texts = [(TEXTS / f"udhr-{code}.txt").read_text(encoding="utf-8") for code in ("uig", "eng")]
    tokens_of = [trio.tokenize(text[:4000]) for text in (*texts, TIBETAN * 40)]
    samplers = [
        Sampler(),
        Sampler(temperature=0.8, seed=5),
        Sampler(repeat_penalty=1.3),
        Sampler(temperature=1.2, top_k=0, repeat_penalty=1.1, seed=9),
    ]
    pairs = [(0.1, 0.9), (0.3, 0.9), (0.7, 0.5), (0.9, 0.3), (1.0, 1.0), (0.0, 1.5)]
    for i in range(n):
        tokens = chance.choice(tokens_of)
        length = chance.choice([1, 3, 40, 120, 250, 505, 700])
        start = chance.randrange(max(len(tokens) - length, 1))
        yield (
            [1, 3, None, 8, 15][i % 5],
            {
                "tokens": tokens[start : start + length],
                "weights": Weights(*pairs[i % len(pairs)]),
                "sampler": samplers[i % len(samplers)],
                "control": chance.choice(["large", "fused"]),
                "max_tokens": chance.choice([1, 8, 25, 40]),
                "stops": chance.choice([(), (), (" ",), ("\u0020ھ", "།")]),
            },
        )


def drafts_are_exact(spec: TrioSpec, threads: int, n: int) -> bool:
    """Rows, tokens, text and end of `n` jobs, drafted and not."""
    options = Options(n_ctx=1024, n_threads=threads, n_outputs=16, exact=True)
    with Trio(spec, ("large", "cpt", "base"), options) as trio:
        for depth, job in draft_jobs(trio, n):
            found = []
            for speculator in (None, Speculator(depth)):
                recorder, text = Recorder(Decoder(trio, speculator, keep=False)), Text(**job)
                list(recorder.decoder.stream(text))
                found.append((recorder.rows[text], text.tokens, text.text, text.stop))
            if found[0] != found[1]:
                print(depth, job, found[0][1:], found[1][1:], file=sys.stderr)
                return False
    return True


def main() -> None:
    case, threads = sys.argv[1], int(sys.argv[2])
    roles = dict(zip(("large", "cpt", "base"), map(Path, sys.argv[3:]), strict=True))
    spec = TrioSpec("exact", {role: RoleSpec(path) for role, path in roles.items()})
    if case.endswith("drafts"):
        n = 200 if case.startswith("many") else 12
        print("equal" if drafts_are_exact(spec, threads, n) else "different")
        return
    alone = run(spec, 1, threads)
    if case == "together":
        others = [run(spec, 3, threads), run(spec, 5, threads)]
    elif case == "chunks":
        others = [run(spec, 1, threads, n_batch=n) for n in (1, 7, 64)]
    elif case == "shared":
        others = [run(spec, 2, threads, shared=15), run(spec, 4, threads, shared=20)]
    elif case == "float":
        others = [run(spec, 1, threads, n_batch=n) for n in (5, 64)]
    else:
        others = [rewound(spec, threads)]
    print("equal" if all(other == alone for other in others) else "different")


if __name__ == "__main__":
    main()
