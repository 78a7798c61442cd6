"""The demo trio in exact mode, and with a cpt that has tokens which it never says: "equal" or not.

Run by test_enlarged.py, in a process of its own.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.rewrite import expanded, n_vocab
from trimix_cpp.decoding import Decoder, Text, Trio
from trimix_cpp.fusion import Sampler, Weights
from trimix_cpp.quant import Options
from trimix_cpp.store import RoleSpec, TrioSpec, find_trio

PROMPTS = ("Please translate into Uyghur.\nEnglish: Open\nUyghur: ", "ئاچ", "1234  \n", "བོད་སྐད")
ROLES = ("large", "cpt", "base")
WORDS = ["qqqqzz", "thez", "openq"]


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


def main() -> None:
    spec = find_trio("demo")
    cpt = spec.roles["cpt"].path
    with tempfile.TemporaryDirectory() as folder:
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
