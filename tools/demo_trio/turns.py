"""Is a later message of a chat answered better than a first? chrF++ by the number of earlier turns.

    python tools/demo_trio/turns.py DATA

The last message is a line of the development split's first half; earlier ones are held out strings,
with the replies that the trio itself gave, one after the other, as in a chat.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from data import dev_pairs, held_out_pairs
from sacrebleu.metrics import CHRF

from trimix_cpp.decoding.answers import generate
from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Trio
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.prompts.languages import language
from trimix_cpp.prompts.paper import translation_prompt
from trimix_cpp.quant.options import Options
from trimix_cpp.store.trios import find_trio

EARLIER = 6  # chats that the lines are spread over
TURNS = (0, 1, 2, 5)


def replies(trio: Trio, weights: Weights, prompts: Sequence[str]) -> list[str]:
    """Greedy replies, in the order of the prompts."""
    found = [""] * len(prompts)
    texts = (
        Text(
            trio.tokenize(prompt, parse_special=True), weights, max_tokens=64, stops=("\n",),
            control="large", tag=i,
        )
        for i, prompt in enumerate(prompts)
    )  # fmt: skip
    with Decoder(trio) as decoder:
        for text in generate(decoder, texts):
            assert isinstance(text.tag, int)
            found[text.tag] = text.text.strip()
    return found


def main() -> None:
    """Print a line a number of earlier turns."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder with en-ug/")
    parser.add_argument("--lines", type=int, default=350)
    parser.add_argument("--threads", type=int, default=0, help="0: the physical cores")
    args = parser.parse_args()
    spec, codes = find_trio("demo"), (language("eng"), language("uig"))
    pairs = dev_pairs(args.data)[::2][: args.lines]
    pool = held_out_pairs(args.data)
    options = Options(n_ctx=512, n_parallel=16, n_threads=args.threads)
    with Trio(spec, ("large", "cpt", "base"), options) as trio:
        chats = [""] * EARLIER
        for turn in range(max(TURNS) + 1):
            if turn in TURNS:
                prompts = [
                    chats[i % EARLIER] + translation_prompt(pair.english, *codes)
                    for i, pair in enumerate(pairs)
                ]
                answers = replies(trio, spec.weights, prompts)
                score = CHRF(word_order=2).corpus_score(answers, [[pair.answer for pair in pairs]])
                print(f"{turn} earlier turns: chrF++ {score.score:.2f}", flush=True)
            # As large's chat template renders a turn that has been answered.
            asked = [pool[turn * EARLIER + i].english for i in range(EARLIER)]
            begun = [
                chat + translation_prompt(english, *codes)
                for chat, english in zip(chats, asked, strict=True)
            ]
            said = replies(trio, spec.weights, begun)
            chats = [
                f"{text}{reply}\n<|im_end|>\n" for text, reply in zip(begun, said, strict=True)
            ]


if __name__ == "__main__":
    main()
