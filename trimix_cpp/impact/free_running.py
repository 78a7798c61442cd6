"""Free running: what both sides answer to the same prompts, greedily, and how that differs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from ..decoding import Decoder, Text, Trio, common_beginning, common_length, generate
from ..errors import TrimixError
from ..fusion import Weights
from ..quant import Options
from ..showing import Progress
from ..store import TrioSpec
from ..tuning import STOPS

_SAMPLES = 1000


@dataclass(frozen=True)
class Answer:
    """One greedy answer: its token ids, and its text up to the end of its line, stripped."""

    tokens: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class Score:
    """chrF++ (sacrebleu, word order 2) of both sides against references, 0 to 100.

    Attributes:
        base, quantized: of the corpus.
        p_value: of paired bootstrap resampling, that the difference is chance.
        signature: sacrebleu's.
    """

    base: float
    quantized: float
    p_value: float
    signature: str


@dataclass(frozen=True)
class Difference:
    """How the answers of one side differ from the reference's.

    Attributes:
        n: prompts.
        n_same: answers of the very same tokens.
        first: of each other answer the place of its first token that differs, from 0.
        score: with right answers.
    """

    n: int
    n_same: int
    first: tuple[int, ...]
    score: Score | None = None

    def as_json(self) -> dict[str, Any]:
        """The figures; the places as their median, and in full."""
        found: dict[str, Any] = {
            "prompts": self.n,
            "same answers %": 100 * self.n_same / self.n,
            "median place of the first difference": self.median,
            "first differences": list(self.first),
        }
        if self.score:
            found["chrF++ (base)"] = self.score.base
            found["chrF++ (Q)"] = self.score.quantized
            found["p, paired bootstrap"] = self.score.p_value
            found["signature"] = self.score.signature
        return found

    @property
    def median(self) -> float | None:
        """The median place of the first difference; None where nothing differs."""
        return statistics.median(self.first) if self.first else None


def answers(
    spec: TrioSpec,
    weights: Weights,
    prompts: Sequence[str],
    options: Options,
    *,
    max_tokens: int,
    progress: Progress | None = None,
) -> list[Answer]:
    """The greedy answers of a trio, in the order of the prompts.

    Args:
        spec: the trio with the files of one side.
        weights: of the fusion.
        prompts: texts, as the models get them.
        options: `n_parallel` prompts are answered at a time.
        max_tokens: most tokens of an answer.
        progress: is told (answers done, answers in all).

    Raises:
        ContextFullError: a prompt is longer than the context.
    """
    found: dict[int, Answer] = {}
    with Trio(spec, weights.roles, options) as trio, Decoder(trio) as decoder:
        ids = [trio.tokenize(text, add_special=True, parse_special=True) for text in prompts]
        texts = (
            Text(tokens, weights, max_tokens=max_tokens, stops=STOPS, tag=place)
            for place, tokens in enumerate(ids)
        )
        for done in generate(decoder, texts, common_beginning(ids)):
            found[cast(int, done.tag)] = Answer(tuple(done.generated), done.text.strip())
            if progress:
                progress(len(found), len(prompts))
    return [found[place] for place in range(len(prompts))]


def difference(
    base: Sequence[Answer], quantized: Sequence[Answer], references: Sequence[str] | None
) -> Difference:
    """How the answers differ; with right answers, what that is worth.

    Raises:
        TrimixError: sacrebleu is missing.
    """
    first = [
        common_length(left.tokens, right.tokens)
        for left, right in zip(base, quantized, strict=True)
        if left.tokens != right.tokens
    ]
    score = _score(base, quantized, references) if references else None
    return Difference(len(base), len(base) - len(first), tuple(first), score)


def _score(base: Sequence[Answer], quantized: Sequence[Answer], references: Sequence[str]) -> Score:
    try:
        from sacrebleu.metrics import CHRF
        from sacrebleu.significance import PairedTest
    except ImportError:
        raise TrimixError(
            "chrF++ needs sacrebleu: pip install 'trimix-cpp[eval]', or leave the references out"
        ) from None
    systems = [[answer.text for answer in side] for side in (base, quantized)]
    metric = CHRF(word_order=2)
    left, right = (float(metric.corpus_score(side, [list(references)]).score) for side in systems)
    signature = str(metric.get_signature())
    if systems[0] == systems[1]:
        return Score(left, right, 1.0, signature)
    _, results = PairedTest(
        [("base", systems[0]), ("Q", systems[1])],
        {"chrF2++": CHRF(word_order=2)},
        [list(references)],
        test_type="bs",
        n_samples=_SAMPLES,
    )()
    return Score(left, right, float(results["chrF2++"][1].p_value), signature)
