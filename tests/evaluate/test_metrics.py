"""Every metric against an independent computation, on Uyghur and Tibetan too."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import CHRF

from trimix_cpp.evaluate.metrics import clean, is_right, last_number, score, statistics
from trimix_cpp.evaluate.resampling import SAMPLES, interval, p_value, resampled
from trimix_cpp.evaluate.rouge import common_subsequence, rouge_l, words
from trimix_cpp.evaluate.tasks import Item

ALPHABET = "abcAB كتاب،؟ དེབ་། 书书 12½ ᠮᠣᠩ é'-_€\u200c\u0301"
texts = st.text(alphabet=ALPHABET, max_size=25)


def item(gold: str, choices: str = "") -> Item:
    return Item("1", "?", " ", gold, gold, tuple(choices))


def items(golds: list[str]) -> list[Item]:
    return [item(gold) for gold in golds]


@pytest.mark.parametrize("fold", [True, False])
@given(pairs=st.lists(st.tuples(texts, texts), min_size=1, max_size=6))
def test_chrf_is_sacrebleus(fold: bool, pairs: list[tuple[str, str]]) -> None:
    answers, references = [a for a, _ in pairs], [r for _, r in pairs]
    counts = statistics(answers, items(references), "text", "chrF++", fold=fold)
    expected = CHRF(word_order=2, lowercase=fold).corpus_score(answers, [references]).score
    found = float(score(counts.sum(axis=0), len(pairs), "chrF++"))
    assert found == pytest.approx(expected, abs=1e-9)


def test_chrf_of_real_text() -> None:
    right = ["مەكتەپكە بارىمەن.", "སློབ་གྲྭར་འགྲོ།", "Open the File"]
    answers = ["مەكتەپكە باردىم.", "སློབ་གྲྭར་", "open file"]
    folded, cased = (
        float(
            score(
                statistics(answers, items(right), "text", "chrF++", fold=fold).sum(0), 3, "chrF++"
            )
        )
        for fold in (True, False)
    )
    assert cased < folded
    same = statistics(right, items(right), "text", "chrF++")
    assert float(score(same.sum(axis=0), 3, "chrF++")) == pytest.approx(100)


def slow_words(text: str) -> list[str]:
    """BERT's punctuation, then words by the kind of their characters: one character at a time."""
    found: list[str] = []
    kind = ""
    for char in text.lower():
        category = unicodedata.category(char)
        if char not in "\t\n\r" and category.startswith("C"):
            continue
        ascii_sign = char.isascii() and not char.isalnum()
        if char.isspace() or category.startswith("P") or ascii_sign:
            kind = ""
            continue
        now = {"L": "letter", "N": "number"}.get(category[0], "other")
        if "\u4e00" <= char <= "\u9fff":
            now = "han"
        if category.startswith("M"):
            if kind:
                found[-1] += char
                continue
            now = "mark"
        if now == kind and now in ("letter", "number"):
            found[-1] += char
        else:
            found.append(char)
        kind = now
    return found


def slow_lcs(one: list[str], other: list[str]) -> int:
    table = np.zeros((len(one) + 1, len(other) + 1), int)
    for i, a in enumerate(one, 1):
        for j, b in enumerate(other, 1):
            same = a == b
            table[i, j] = table[i - 1, j - 1] + 1 if same else max(table[i - 1, j], table[i, j - 1])
    return int(table[-1, -1])


@given(texts, texts)
def test_rouge_against_a_second_implementation(answer: str, reference: str) -> None:
    ours, right = slow_words(answer), slow_words(reference)
    assert words(answer) == ours
    common = slow_lcs(ours, right)
    assert common_subsequence(ours, right) == common
    if not common:
        assert rouge_l(answer, reference) == 0
        return
    precision, recall = common / len(ours), common / len(right)
    expected = 2 * precision * recall / (precision + recall)
    assert rouge_l(answer, reference) == pytest.approx(expected)


@given(
    st.lists(st.sampled_from("abc"), max_size=150), st.lists(st.sampled_from("abc"), max_size=150)
)
def test_subsequences_of_any_length(one: list[str], other: list[str]) -> None:
    assert common_subsequence(one, other) == slow_lcs(one, other)


def test_rouge_by_hand() -> None:
    assert words("مېسسى، 20-ئەسىر!") == ["مېسسى", "20", "ئەسىر"]
    assert words("བོད་ཀྱི་སྐད།") == ["བོད", "ཀྱི", "སྐད"]
    assert words("ᠮᠣᠩᠭᠣᠯ\u180bᠬᠡᠯᠡ") == ["ᠮᠣᠩᠭᠣᠯ\u180bᠬᠡᠯᠡ"]
    # Three words of four and of three, all three common: P 3/3, R 3/4.
    assert rouge_l("بىر ئىككى ئۈچ", "بىر، ئىككى... تۆت ئۈچ") == pytest.approx(6 / 7)
    assert rouge_l("བོད་ཡིག", "བོད་ཀྱི་ཡིག") == pytest.approx(4 / 5)
    assert rouge_l("", "بىر") == 0


def test_rouge_is_pyonmttoks() -> None:
    """The tokenizer behind the paper's ROUGE; in no default environment."""
    tokenizer = pytest.importorskip("pyonmttok").Tokenizer("aggressive")
    for text in (
        "hello 12ab 3",
        "ئۇيغۇر تىلى 20 ئەسىر",
        "བོད ཡིག ༡༢༣",
        "ab€x °c ☃☃",
        "naïve e\u0301",
    ):
        assert words(text) == tokenizer.tokenize(text)[0]


@pytest.mark.parametrize(
    ("kind", "answer", "gold", "right"),
    [
        ("option", "B", "B", True), ("option", "B. كىتاب", "B", True), ("option", "b", "B", False),
        ("option", "", "A", False), ("option", "F", "F", True), ("option", "كىتاب", "A", False),
        ("label", "sports", "Sports", True), ("label", "Sports!", "Sports", False),
        ("number", "It is 15-3=12, so 5+19.2=24.2.", "24.2", True),
        ("number", "1,234", "1234", True), ("number", "12 to 13", "12", False),
        ("number", "none", "-1", True), ("number", "5.0", "5", True), ("number", "٢٤", "24", False),
    ],
)  # fmt: skip
def test_right_and_wrong(kind: str, answer: str, gold: str, right: bool) -> None:
    assert is_right(answer, item(gold, "ABCD"), kind) is right  # type: ignore[arg-type]
    (row,) = statistics([answer], items([gold]), kind, "accuracy")  # type: ignore[arg-type]
    assert row == [float(right)]


def test_numbers_and_answers_are_found() -> None:
    assert last_number("a 3.5.") == 3.5
    assert last_number("7.") == 7
    assert last_number("") == -1
    assert clean("  B</s>\nC") == "B"
    assert clean("\n\nسالام <pad> \nx") == "سالام"
    assert clean("") == ""


def test_accuracy_and_its_interval() -> None:
    """The bootstrap of a mean has the deviation that theory gives."""
    rng = np.random.default_rng(3)
    right = (rng.random(400) < 0.7).astype(float).reshape(-1, 1)
    scores = resampled(right, "accuracy")
    mean = float(score(right.sum(axis=0), 400, "accuracy"))
    share = mean / 100
    assert len(scores) == SAMPLES
    assert scores.mean() == pytest.approx(mean, abs=0.3)
    assert scores.std() == pytest.approx(100 * np.sqrt(share * (1 - share) / 400), rel=0.1)
    low, high = interval(scores)
    assert low < mean < high
    assert high - low == pytest.approx(2 * 1.96 * scores.std(), rel=0.1)


def test_samples_of_a_set_are_paired() -> None:
    """Two methods with the same answers have the same score in every sample."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 5, (50, 24)).astype(float)
    np.testing.assert_array_equal(resampled(counts, "chrF++"), resampled(counts.copy(), "chrF++"))


def test_p_values() -> None:
    rng = np.random.default_rng(1)
    base = (rng.random(300) < 0.5).astype(float)
    other = np.where(rng.random(300) < 0.25, 1.0, base)  # better on an eighth of the items
    one, two = (resampled(x.reshape(-1, 1), "accuracy") for x in (other, base))
    assert p_value(one, two, 100 * (other.mean() - base.mean())) < 0.01
    shuffled = rng.permutation(base)  # as good, on other items
    same = resampled(shuffled.reshape(-1, 1), "accuracy")
    assert p_value(same, two, 0.0) == 1
    assert p_value(one, two, 5.0) == p_value(two, one, -5.0)
