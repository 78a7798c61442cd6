"""Files of prompts: nothing of a prompt is lost, and a line that is no prompt is named."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.decoding.prefixes import common_beginning
from trimix_cpp.errors import TrimixError
from trimix_cpp.tuning.examples import Example, parse_examples, sample
from trimix_cpp.tuning.samples import cut_front

LINE = st.text(
    st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), min_size=1, max_size=12
).filter(lambda text: text.strip() != "")
# U+2028 and U+0085 are line ends for str.splitlines and characters for us.
UYGHUR = "سالام\u2028دۇنيا\u0085 "
TIBETAN = "བཀྲ་ཤིས་བདེ་ལེགས།"


@given(st.lists(LINE, min_size=1, max_size=6), st.sampled_from(["\n", "\r\n", "\n\n", "\n \n"]))
def test_a_prompt_a_line(prompts: list[str], newline: str) -> None:
    found = parse_examples(newline.join(prompts) + newline, "lines", "f")
    assert [example.prompt for example in found] == prompts
    step = newline.count("\n")
    assert [example.line for example in found] == [1 + i * step for i in range(len(prompts))]


@given(st.lists(st.lists(LINE, min_size=1, max_size=3).map("\n".join), min_size=1, max_size=5))
def test_a_prompt_a_paragraph(prompts: list[str]) -> None:
    for between in ("\n\n", "\n \n\n", "\r\n\r\n"):
        found = parse_examples(between.join(prompts), "paragraphs", "f")
        assert [example.prompt for example in found] == prompts


@given(st.lists(st.tuples(LINE, st.none() | LINE), min_size=1, max_size=6), st.booleans())
def test_json_lines_come_back(rows: list[tuple[str, str | None]], ascii_only: bool) -> None:
    lines = [json.dumps({"prompt": p, "reference": r}, ensure_ascii=ascii_only) for p, r in rows]
    found = parse_examples("\n".join(lines), "jsonl", "f")
    assert [(example.prompt, example.reference) for example in found] == rows


def test_spaces_and_rare_line_ends_stay() -> None:
    assert parse_examples(UYGHUR + "\n" + TIBETAN, "lines", "f") == [
        Example(UYGHUR, 1),
        Example(TIBETAN, 2),
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not JSON"),
        ("سالام", "not JSON"),
        ("[1]", "prompt"),
        ('"prompt"', "prompt"),
        ('{"text": "a"}', "prompt"),
        ('{"prompt": 3}', "not a text"),
        ('{"prompt": ""}', "empty"),
        ('{"prompt": "a", "reference": []}', "not a text"),
        ('{"prompt": "a\\ud800"}', "half of a character"),
        ("[" * 100_000, "not JSON"),
        ("9" * 10_000, "not JSON"),
    ],
)
def test_a_line_that_is_no_prompt_is_named(line: str, words: str) -> None:
    with pytest.raises(TrimixError, match=r"f\.jsonl: line 3") as caught:
        parse_examples('{"prompt": "a"}\n\n' + line, "jsonl", "f.jsonl")
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n", " \n\t\r\n"])
@pytest.mark.parametrize("kind", ["lines", "paragraphs", "jsonl"])
def test_no_prompt_at_all(text: str, kind: str) -> None:
    with pytest.raises(TrimixError, match=r"f\.txt: there is no prompt"):
        parse_examples(text, kind, "f.txt")  # type: ignore[arg-type]


@given(st.integers(0, 30), st.integers(1, 40), st.integers(0, 2**64))
def test_a_sample_is_drawn_by_its_seed(n: int, wanted: int, seed: int) -> None:
    examples = [Example(str(i), i) for i in range(n)]
    drawn = sample(examples, wanted, seed)
    assert drawn == sample(examples, wanted, seed)
    assert len(drawn) == min(n, wanted)
    lines = [example.line for example in drawn]
    assert lines == sorted(set(lines))


def test_another_seed_draws_others() -> None:
    examples = [Example(str(i), i) for i in range(1000)]
    assert len({tuple(e.line for e in sample(examples, 5, seed)) for seed in range(20)}) == 20


@given(
    st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=8), min_size=2, max_size=5),
    st.lists(st.integers(0, 3), max_size=4),
)
def test_the_common_prefix_is_common_and_the_longest(
    tails: list[list[int]], head: list[int]
) -> None:
    prompts = [head + tail for tail in tails]
    shared = len(common_beginning(prompts))
    assert head == prompts[0][: len(head)]
    assert len(head) <= shared < min(map(len, prompts))
    assert len({tuple(prompt[:shared]) for prompt in prompts}) == 1
    one_more = {tuple(prompt[: shared + 1]) for prompt in prompts}
    assert len(one_more) > 1 or shared + 1 == min(map(len, prompts))


def test_one_prompt_shares_nothing() -> None:
    assert common_beginning([[1, 2, 3]]) == []


def test_whole_exemplars_go_first() -> None:
    shots = [f"English: {i}\nUyghur: {i}" for i in range(5)]
    text = "\n\n".join(shots)
    for limit in range(len(shots[0]), len(text)):
        kept = cut_front(text, limit, len)
        assert kept in [text.removeprefix("\n\n".join(shots[:i]) + "\n\n") for i in range(1, 5)]
        assert len(kept) <= limit


@given(
    st.text(st.sampled_from("aئۇنۋ༄ཀྱིུ་ \n"), min_size=1, max_size=40),
    st.integers(1, 40),
)
def test_a_cut_text_is_an_end_that_fits(text: str, limit: int) -> None:
    kept = cut_front(text, limit, lambda part: len(part.encode()) // 2)
    assert text.endswith(kept)
    assert len(kept.encode()) // 2 <= limit
    # No stack without its head: a Tibetan vowel sign or subjoined letter begins nothing.
    if kept != text and not text.removesuffix(kept).endswith("\n"):
        assert kept[:1] not in ("ྱ", "ི", "ུ")
