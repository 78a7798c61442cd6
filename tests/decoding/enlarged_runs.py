"""The demo trio in exact mode, and with a cpt that has tokens which it never says: "equal" or not.

Run by test_enlarged.py, in a process of its own.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.rewrite import TOKENS, expanded, n_vocab
from tests.support.tiny import byte_alphabet
from trimix_cpp.decoding import Decoder, Text, Trio
from trimix_cpp.fusion import LogProbs, Sampler, Weights
from trimix_cpp.llama import Context, Model
from trimix_cpp.quant import Options
from trimix_cpp.store import RoleSpec, TrioSpec, find_trio

PROMPTS = ("Please translate into Uyghur.\nEnglish: Open\nUyghur: ", "ئاچ", "1234  \n", "བོད་སྐད")
ROLES = ("large", "cpt", "base")
WORDS = ["qqqqzz", "thez", "openq"]
HALVES = Weights(0.4, 0.5)
PIECES = ("ئاچ", "اچ", "སྐ", "སྐད", "34", "4 ", "234", "pen U", "😀")
SAID = (("English: Open\nUyghur: ", "ئاچ"), ("བོད་", "སྐད"), ("12", "34 "), ("a", "😀"))


def rows(spec: TrioSpec, never: int | None, n_parallel: int) -> list[list[bytes]]:
    """The fused rows of some texts; cpt's logits from the id `never` on are -inf."""
    options = Options(n_ctx=256, n_threads=1, n_parallel=n_parallel, exact=True)
    with Trio(spec, ROLES, options) as trio:
        feed, decoder, seen = trio._feed, Decoder(trio), dict[Text, list[bytes]]()

        def silenced(role: str, feeds: list) -> np.ndarray:  # type: ignore[type-arg]
            found = feed(role, feeds)
            if role == "cpt" and never is not None:
                found[:, never:] = -np.inf
            return found

        trio._feed = silenced  # type: ignore[method-assign]
        pick = decoder._engine.pick

        def spy(text: Text, own: dict[str, np.ndarray]) -> int:
            token = pick(text, own)
            seen.setdefault(text, []).append(decoder._engine.row.tobytes())
            return token

        decoder._engine.pick = spy  # type: ignore[method-assign]
        texts = [
            Text(
                trio.tokenize(prompt),
                Weights(0.3, 0.9),
                Sampler(temperature=0.8 * (i % 2), repeat_penalty=1.2, seed=i),
                max_tokens=8,
            )
            for i, prompt in enumerate(PROMPTS)
        ]
        for done in decoder.run(texts):
            done.raise_error()
        return [seen[text] for text in texts]


class Seen(LogProbs):
    """Keeps cpt's rows from a position on."""

    def __init__(self, start: int) -> None:
        super().__init__(HALVES, start)
        self.rows: list[np.ndarray] = []

    def add(self, at: int, rows: dict, targets: np.ndarray) -> None:  # type: ignore[type-arg, override]
        self.rows.extend(rows["cpt"].copy())

    def end(self, last: dict) -> None:  # type: ignore[type-arg, override]
        self.rows.append(last["cpt"].copy())


def masses(
    context: Context, strings: list[tuple[int, ...]], own: list[int], text: tuple[int, ...], n: int
) -> np.ndarray:
    """P(text, v) for the `n` letters v after the tokens `own`, over every way to say it."""
    context.clear()
    last = np.arange(len(own)) == len(own) - 1
    places = np.arange(len(own), dtype=np.int32)
    context.decode(np.array(own, np.int32), places, np.zeros(len(own), np.int32), last)
    p = np.exp(context.logits()[0].astype(np.float64))
    p, total = p / p.sum(), np.zeros(n)
    for token, string in enumerate(strings):
        shared = min(len(string), len(text))
        if string[:shared] != text[:shared]:
            continue
        if len(string) > shared:
            total[string[shared]] += p[token]
        else:
            total += p[token] * masses(context, strings, [*own, token], text[shared:], n)
    return total


def oracle(spec: TrioSpec) -> bool:
    """The loop's rows of cpt against all segmentations, for a few texts."""
    options = Options(n_ctx=128, n_threads=1, n_outputs=8, exact=True, exact_vocabulary=True)
    worst = 0.0
    with (
        Trio(spec, ROLES, options) as trio,
        Model(spec.roles["cpt"].path, exact=True) as model,
        Context(model, n_ctx=128, n_threads=1) as context,
    ):
        enlarged, n = trio.alignment.enlarged["cpt"], trio.n_tokens
        for prompt, text in SAID:
            before, after = trio.tokenize(prompt), trio.tokenize(text)[:3]
            seen = Seen(len(before) - 1)
            looked = Text([*before, *after], HALVES, max_tokens=0, observers=(seen,))
            for done in Decoder(trio).run([looked]):
                done.raise_error()
            for count, row in enumerate(seen.rows):
                own, letters = enlarged.read(before)[0], tuple(after[:count])
                expected = masses(context, enlarged._strings, own, letters, n)  # type: ignore[arg-type]
                p = np.exp(row.astype(np.float64))
                worst = max(worst, np.abs(p / p.sum() - expected / expected.sum()).max())
    print(worst, file=sys.stderr)
    return worst < 1e-5


def with_pieces(source: Path, target: Path) -> Path:
    """A copy with tokens of several of its own, which take over rows of others."""
    known = set(gguf.GGUFReader(source).fields[TOKENS].contents())
    letters = byte_alphabet()
    words = ["".join(letters[byte] for byte in word.encode()) for word in PIECES]
    return expanded(source, target, [word for word in words if word not in known])


def main() -> None:
    spec = find_trio("demo")
    cpt = spec.roles["cpt"].path
    with tempfile.TemporaryDirectory() as folder:
        if sys.argv[1] == "oracle":
            copy = with_pieces(cpt, Path(folder) / "cpt.gguf")
            other = replace(spec, roles={**spec.roles, "cpt": RoleSpec(copy)})
            print("equal" if oracle(other) else "different")
            return
        words = WORDS if sys.argv[1] == "never" else []
        copy = expanded(cpt, Path(folder) / "cpt.gguf", words)
        other = replace(spec, roles={**spec.roles, "cpt": RoleSpec(copy)})
        found = [
            rows(one, never, n_parallel)
            for n_parallel in (1, 3)
            for one, never in ((spec, None), (other, n_vocab(cpt)))
        ]
    print("equal" if all(each == found[0] for each in found) else "different")


if __name__ == "__main__":
    main()
