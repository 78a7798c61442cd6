"""Thoughts and answers are told apart, however the reply is cut up."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.chat.thoughts import Thoughts, thought_and_answer

TEXTS = st.text(st.sampled_from(["<", "think", ">", "/", "\n", " ", "ئا", "བོད", "x"]), max_size=8)
REPLIES = st.lists(st.sampled_from(["<think>", "</think>", "\n", "<", "</th", "ئا", " x"])).map(
    "".join
)


def by_regex(text: str, inside: bool) -> tuple[str, str]:
    """An independent reading of whole replies."""
    if not inside:
        begun = re.match(r"\s*<think>", text)
        if not begun:
            return "", text
        text = text[begun.end() :]
    thought, closed, answer = text.partition("</think>")
    return thought.strip("\r\n"), answer.lstrip("\r\n") if closed else ""


@given(REPLIES, st.booleans(), st.lists(st.integers(1, 5)))
def test_pieces_of_any_length_give_the_same(text: str, inside: bool, cuts: list[int]) -> None:
    thoughts, at = Thoughts(inside=inside), 0
    said: list[tuple[str, str]] = []
    for n in [*cuts, len(text)]:
        said.append(thoughts.push(text[at : at + n]))
        at += n
    said.append(thoughts.finish())
    expected = by_regex(text, inside)
    assert (thoughts.thought, thoughts.answer) == expected
    assert ("".join(t for t, _ in said), "".join(a for _, a in said)) == expected
    assert thought_and_answer(text, inside=inside) == expected


@pytest.mark.parametrize("text", ["", " سالام", "\n\nx", "<b>x</b>", "<thinking>", "a <think>b"])
def test_a_reply_without_thoughts_is_the_answer_to_the_letter(text: str) -> None:
    assert thought_and_answer(text) == ("", text)
