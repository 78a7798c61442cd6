"""Scores of answers: statistics of each item, and what their sums mean.

A score of a whole set is a function of sums over its items: so it can be computed again for any
resampling of them. For accuracy and ROUGE-L that function is the mean; chrF++ counts n-grams.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import TrimixError
from .rouge import rouge_l
from .tasks import Item, Kind, Metric

Doubles = NDArray[np.float64]

# Tokens that some models print and no answer means (as in the published scripts).
_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<extra_id_0>")
_NUMBER = re.compile(r"[0-9]+\.[0-9]+|[0-9]+")
_BETA = 2.0


def clean(text: str) -> str:
    """The answer in what a model wrote: its first line, stripped, without special tokens."""
    line = text.strip().split("\n")[0]
    for token in _SPECIAL:
        line = line.replace(token, "")
    return line.strip()


def is_right(answer: str, item: Item, kind: Kind) -> bool:
    """Whether an answer to a question of an exact kind is right, as the published scripts judge.

    Options: the first letter, if it is one of A to E. Labels: the whole, upper and lower case
    alike. Numbers: the last one, commas left out.
    """
    if kind == "option":
        return (answer[:1] if answer[:1] in tuple("ABCDE") else answer) == item.gold
    if kind == "label":
        return answer.lower() == item.gold.lower()
    return last_number(answer) == float(item.gold)


def last_number(text: str) -> float:
    """The last number in a text, -1 where there is none; commas do not part a number."""
    found = _NUMBER.findall(text.replace(",", "").removesuffix("."))
    return float(found[-1]) if found else -1.0


def statistics(
    answers: Sequence[str], items: Sequence[Item], kind: Kind, metric: Metric, *, fold: bool = True
) -> Doubles:
    """What each item adds to the sums: [n_items, n_sums].

    `fold`: chrF++ takes upper and lower case as one, as the paper does.

    Raises:
        TrimixError: sacrebleu is missing.
    """
    if metric == "chrF++":
        return _ngrams(answers, [item.gold for item in items], fold)
    if metric == "ROUGE-L":
        pairs = zip(answers, items, strict=True)
        values = [rouge_l(answer, item.gold) for answer, item in pairs]
    else:
        pairs = zip(answers, items, strict=True)
        values = [float(is_right(answer, item, kind)) for answer, item in pairs]
    return np.array(values, np.float64).reshape(-1, 1)


def score(sums: Doubles, n_items: int, metric: Metric) -> Doubles:
    """The score from 0 to 100 of sums of `statistics` over `n_items` items: [..., n_sums] -> [...].

    chrF++ is sacrebleu's: precision and recall are averaged over the n-gram orders that both sides
    have, and give an F-score with beta 2.
    """
    if metric != "chrF++":
        return np.asarray(100 * sums[..., 0] / n_items)
    ours, right, both = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, 3), -1, 0)
    counted = (ours > 0) & (right > 0)
    orders = np.maximum(counted.sum(axis=-1), 1)
    precision, recall = (
        (both * counted / np.where(counted, total, 1)).sum(axis=-1) / orders
        for total in (ours, right)
    )
    weighted = _BETA**2 * precision + recall
    return np.asarray(
        100 * (1 + _BETA**2) * precision * recall / np.where(weighted > 0, weighted, 1)
    )


def _ngrams(answers: Sequence[str], references: Sequence[str], fold: bool) -> Doubles:
    check_metric("chrF++")
    from sacrebleu.metrics import CHRF

    chrf = CHRF(word_order=2, lowercase=fold)
    # What sacrebleu's own significance tests resample.
    counts = chrf._extract_corpus_statistics(list(answers), [list(references)])
    return np.array(counts, np.float64).reshape(len(answers), -1)


def check_metric(metric: Metric) -> None:
    """Find out before long work whether a metric can be computed.

    Raises:
        TrimixError: sacrebleu is missing.
    """
    if metric == "chrF++":
        try:
            import sacrebleu  # noqa: F401
        except ImportError:
            raise TrimixError("chrF++ needs sacrebleu: pip install 'trimix-cpp[eval]'") from None
