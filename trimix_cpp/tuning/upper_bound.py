"""The score of the best pair of the grid, where right answers are known: the paper's upper bound.

Every pair answers every prompt greedily, and the answers are scored against the references. It
costs as many generations as the grid has pairs: it is there to see how far a choice without
references stays from it, not to choose by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from ..decoding import Decoder, Text, Trio, common_beginning, generate
from ..errors import TrimixError
from ..fusion import Plausibility, Weights
from ..showing import Progress

Metric = Literal["chrf", "accuracy"]
# The paper's tasks end an answer at a line break.
STOPS = ("\n",)


def answers(
    trio: Trio,
    prompts: Sequence[Sequence[int]],
    pairs: Sequence[Weights],
    *,
    max_tokens: int,
    plausibility: Plausibility | None = None,
    progress: Progress | None = None,
) -> list[list[str]]:
    """The greedy answer of each pair to each prompt, first line, stripped: [n_pairs][n_prompts].

    Args:
        trio: with the roles of the pairs.
        prompts: token ids.
        pairs: weights.
        max_tokens: most tokens of an answer.
        plausibility: contrastive decoding's mask.
        progress: is told (answers done, answers in all).
    """
    found = [[""] * len(prompts) for _ in pairs]
    # All pairs of a prompt one after the other: texts of like length share a batch.
    texts = (
        Text(
            list(prompt),
            weights,
            max_tokens=max_tokens,
            stops=STOPS,
            plausibility=plausibility,
            tag=(j, i),
        )
        for i, prompt in enumerate(prompts)
        for j, weights in enumerate(pairs)
    )
    with Decoder(trio) as decoder:
        for done, text in enumerate(generate(decoder, texts, common_beginning(prompts)), 1):
            j, i = cast(tuple[int, int], text.tag)
            found[j][i] = text.text.strip()
            if progress:
                progress(done, len(pairs) * len(prompts))
    return found


def score(answers: Sequence[str], references: Sequence[str], metric: Metric) -> float:
    """How good the answers are, from 0 to 100.

    `chrf` is chrF++ of the corpus (sacrebleu, word order 2, letters as they are); `accuracy` is
    the share of answers that are the reference, upper and lower case alike.

    Raises:
        TrimixError: sacrebleu is missing.
    """
    if metric == "accuracy":
        same = [
            a.casefold() == r.strip().casefold() for a, r in zip(answers, references, strict=True)
        ]
        return 100 * sum(same) / len(same)
    check_metric(metric)
    from sacrebleu.metrics import CHRF

    return float(CHRF(word_order=2).corpus_score(list(answers), [list(references)]).score)


def check_metric(metric: Metric) -> None:
    """Find out before long work whether `metric` can be computed.

    Raises:
        TrimixError: sacrebleu is missing.
    """
    if metric == "chrf":
        try:
            import sacrebleu  # noqa: F401
        except ImportError:
            raise TrimixError(
                "chrF++ needs sacrebleu: pip install 'trimix-cpp[eval]', or --metric accuracy"
            ) from None
