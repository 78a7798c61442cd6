"""Fusion over bytes against fusion over tokens, of the same models.

    python benchmarks/bytes.py quality DATA [--pairs 200]    the bundled trio: bits per byte, chrF++
    python benchmarks/bytes.py speed [--large F --cpt F --base F]    seconds a character

`quality` takes pairs of the demo trio's development split (tools/demo_trio), two exemplars each.
Bits per byte are what the references cost, given the prompt. The two kinds of fusion are different
distributions, even of one tokenizer: weights are applied to bytes, or to tokens.

`speed` lets the models write given texts, as their own choices, and translations of their own, and
counts what is evaluated: the tokens of all roles for one in token fusion. Given text surprises
models, and then many tokenizations stay possible. Run it alone: two cores that share their
time with something else tell nothing; the counts are right on any machine.
"""

from __future__ import annotations

import argparse
import gzip
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sacrebleu.metrics import CHRF
from sacrebleu.significance import PairedTest

from trimix_cpp.bytewise import Pruning
from trimix_cpp.decoding import Decoder, Text, Trio, common_length, open_trio
from trimix_cpp.fusion import LogProbs, Row, Sampler, Weights
from trimix_cpp.prompts.languages import language
from trimix_cpp.prompts.paper import translation_prompt
from trimix_cpp.quant import Options
from trimix_cpp.store import TrioSpec, find_trio, spec_from_files

ROLES = ("large", "cpt", "base")
TEXTS = {  # of the Universal Declaration of Human Rights
    "English": "All human beings are born free and equal in dignity and rights. They are endowed "
    "with reason and conscience and should act towards one another in a spirit of brotherhood.",
    "Uyghur": "ھەممە ئادەم زانىدىنلا ئەركىن، ئىززەت-ھۆرمەت ۋە ھوقۇقتا باپباراۋەر بولۇپ تۇغۇلغان. "
    "ئۇلار ئەقىلگە ۋە ۋىجدانغا ئىگە ھەمدە بىر-بىرىگە قېرىنداشلىق مۇناسىۋىتىگە خاس "
    "روھ بىلەن مۇئامىلە قىلىشى كېرەك.",
    "Tibetan": "འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ་སྐྱེས་ཙམ་ཉིད་ནས་ཆེ་མཐོངས་དང༌། ཐོབ་ཐངགི་རང་དབང་འདྲ་མཉམ་དུ་ཡོད་ལ།",
}  # fmt: skip


SHOTS = (("Close the tab", "بەتكۈچنى ياپ"), ("Cannot open the file", "ھۆججەتنى ئاچالمىدى"))
OWN = ("Save the picture", "Could not connect to the server", "Select all files in this folder")
KINDS = ("tokens", "bytes")


class Forced(Sampler):
    """Says what it is told to, whatever the logits."""

    def __init__(self, said: Sequence[int], n_prompt: int) -> None:
        super().__init__()
        object.__setattr__(self, "said", (said, n_prompt))

    def pick(self, logits: Row, recent: Sequence[int], position: int) -> int:
        said, n_prompt = self.said  # type: ignore[attr-defined]
        return int(said[position - n_prompt])


@contextmanager
def opened(spec: TrioSpec, kind: str, args: argparse.Namespace, n: int = 1) -> Iterator[Trio]:
    pruning = Pruning(args.beam, args.threshold) if kind == "bytes" else None
    options = Options(
        n_ctx=args.ctx, n_threads=args.threads, n_parallel=n, n_outputs=64, bytes=pruning
    )
    with open_trio(spec, ROLES, options) as trio:
        yield trio


def quality(args: argparse.Namespace) -> None:
    """How the bundled trio translates, and what references cost."""
    with gzip.open(args.data / "en-ug" / "dev.tsv.gz", "rt", encoding="utf-8") as lines:
        pairs = [tuple(line.rstrip("\n").split("\t")[1:3]) for line in lines][: args.pairs + 2]
    shots, pairs = pairs[:2], pairs[2:]
    languages = language("eng"), language("uig")
    prompts = [translation_prompt(english, *languages, shots) for english, _ in pairs]
    references = [uyghur for _, uyghur in pairs]
    spec = find_trio("demo")
    said: dict[str, list[str]] = {}
    for kind in KINDS:
        with opened(spec, kind, args, n=8) as trio:
            found: dict[int, str] = {}
            with Decoder(trio) as decoder:
                texts = [
                    Text(
                        trio.tokenize(prompt, add_special=True),
                        spec.weights,
                        max_tokens=500 if kind == "bytes" else 100,
                        stops=("\n",),
                        tag=i,
                    )
                    for i, prompt in enumerate(prompts)
                ]
                for text in decoder.run(texts):
                    text.raise_error()
                    assert isinstance(text.tag, int)
                    found[text.tag] = text.text.strip()
            said[kind] = [found[i] for i in range(len(prompts))]
            bits = cost(trio, spec.weights, prompts, references)
        score = CHRF(word_order=2).corpus_score(said[kind], [references]).score
        print(f"{kind:6}  {bits:.4f} bits per byte  chrF++ {score:.2f}")
    same = sum(one == two for one, two in zip(*said.values(), strict=True))
    print(f"{same} of {len(prompts)} translations are the same")
    named = [(kind, said[kind]) for kind in KINDS]
    test = PairedTest(named, {"chrF2++": CHRF(word_order=2)}, [references], "bs", 1000)
    _, scores = test()
    for kind, result in zip(KINDS, scores["chrF2++"], strict=True):
        p = "" if result.p_value is None else f"  p {result.p_value:.3f}"
        print(f"{kind:6}  chrF++ {result.mean:.2f} ± {result.ci:.2f}{p}")


def cost(trio: Trio, weights: Weights, prompts: list[str], references: list[str]) -> float:
    """Bits per byte of the references after their prompts."""
    bits, n_bytes = 0.0, 0
    with Decoder(trio) as decoder:
        for prompt, reference in zip(prompts, references, strict=True):
            head = trio.tokenize(prompt, add_special=True)
            whole = trio.tokenize(f"{prompt} {reference}", add_special=True)
            start = common_length(head, whole)
            seen = LogProbs(weights, start - 1)
            for done in decoder.run([Text(whole, weights, max_tokens=0, observers=(seen,))]):
                done.raise_error()
            bits -= sum(seen.values) / math.log(2)
            n_bytes += len(f" {reference}".encode())
    return bits / n_bytes


def speed(args: argparse.Namespace) -> None:
    """Seconds a character, and what is evaluated."""
    files = {role: getattr(args, role) for role in ROLES if getattr(args, role)}
    spec = spec_from_files(files) if files else find_trio("demo")
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for kind in KINDS:
        with opened(spec, kind, args) as trio:
            for name, text in TEXTS.items():
                prompt = trio.tokenize("Text:", add_special=True)
                said = trio.tokenize(f" {text}")
                found[name, kind] = write(trio, prompt, said)
            found["own", kind] = own(trio)
    print(f"{'':8}  seconds a character: tokens    bytes  ratio  tokens evaluated: ratio")
    for name in (*TEXTS, "own"):
        (before, fed), (after, fed_bytes) = found[name, "tokens"], found[name, "bytes"]
        ratios = f"{after / before:5.2f}  {fed_bytes / fed:23.2f}"
        print(f"{name:8}  {before:27.4f}  {after:7.4f}  {ratios}")


def own(trio: Trio) -> tuple[float, float]:
    """The same where the models say what they like: translations into Uyghur."""
    languages = language("eng"), language("uig")
    prompts = [translation_prompt(each, *languages, SHOTS) for each in OWN]
    pairs = [write(trio, trio.tokenize(prompt, add_special=True)) for prompt in prompts]
    seconds, fed = (sum(each) / len(pairs) for each in zip(*pairs, strict=True))
    return seconds, fed


def write(trio: Trio, prompt: list[int], said: Sequence[int] | None = None) -> tuple[float, float]:
    """(seconds a character, tokens that all roles were fed a character) where `said` is written."""
    fed, feed = 0, trio._feed

    def counted(role, feeds):  # type: ignore[no-untyped-def]
        nonlocal fed
        fed += sum(len(each.tokens) for each in feeds)
        return feed(role, feeds)

    with Decoder(trio, keep=False) as decoder:
        forced = Text(
            prompt,
            Weights(0.3, 0.9),
            Forced(said, len(prompt)) if said else Sampler(),
            max_tokens=len(said) if said else 300,
            stops=() if said else ("\n",),
            ignore_ends=said is not None,
        )
        decoder.submit(forced)
        decoder.step()  # the prompt
        trio._feed = counted  # type: ignore[method-assign]
        began = time.perf_counter()
        for _ in decoder.stream(forced):
            pass
        seconds = time.perf_counter() - began
        trio._feed = feed  # type: ignore[method-assign]
    return seconds / len(forced.text), fed / len(forced.text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("quality")
    one.add_argument("data", type=Path)
    one.add_argument("--pairs", type=int, default=200)
    two = commands.add_parser("speed")
    for role in ROLES:
        two.add_argument(f"--{role}", type=Path)
    for command in (one, two):
        command.add_argument("--threads", type=int, default=0)
        command.add_argument("--ctx", type=int, default=1024, help="tokens of a context")
        command.add_argument("--beam", type=int, default=4)
        command.add_argument("--threshold", type=float, default=1e-3)
    args = parser.parse_args()
    (quality if args.command == "quality" else speed)(args)


if __name__ == "__main__":
    main()
