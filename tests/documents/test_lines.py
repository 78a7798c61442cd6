"""Lines are broken at spaces, never inside a placeholder, and make the text again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.documents.lines import rebreak, rewrap, split_lines, unwrap
from trimix_cpp.markup.placeholders import find, unbreakable

from ..support.growth import assert_linear

MARKDOWN = frozenset({"markdown"})
PARTS = [
    *("ھۆججەت", "ཡིག་ཆ་", "word", "a", "`cat -n x`", '<a href="x y">', "{{< ref name >}}", "%s"),
    *('](http://a.b "a title")', "{n, plural, one {# a b} other {c d}}", "$x + y$", "{% if a b %}"),
]
texts = st.lists(st.sampled_from(PARTS), min_size=1, max_size=12).map(" ".join)


@given(texts, st.lists(st.integers(1, 40), min_size=2, max_size=3), st.sampled_from(["", "  "]))
def test_rewrapped_lines_keep_placeholders_whole(text: str, widths: list[int], indent: str) -> None:
    like = ["x" * widths[0], *(indent + "x" * width for width in widths[1:])]
    lines = rewrap(text, like, unbreakable(text, MARKDOWN))
    assert " ".join(line.strip() for line in lines) == text
    assert all(line.startswith(indent) for line in lines[1:])
    found = [token.token for token in find(text, MARKDOWN)]
    # Each stands whole in a line; what is longer than the width has no place to break.
    broken = [token.token for line in lines for token in find(line.strip(), MARKDOWN)]
    assert broken == found
    for line in lines:
        words = rewrap(line.strip(), ["x", "x"], unbreakable(line.strip(), MARKDOWN))
        assert len(line) <= max(map(len, like)) or len(words) == 1


@given(texts, st.integers(1, 4))
def test_rebroken_lines_keep_placeholders_whole(text: str, count: int) -> None:
    lines = rebreak(text, count, unbreakable(text, MARKDOWN))
    assert 1 <= len(lines) <= count
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    broken = [token.token for line in lines for token in find(line, MARKDOWN)]
    assert broken == [token.token for token in find(text, MARKDOWN)]


@pytest.mark.parametrize("unit", ["word ", "་", " ", "a", "%s ", "{n, plural, other {", "\n", "\r"])
def test_long_texts_take_time_in_proportion(unit: str) -> None:
    like = ["x" * 60] * 3
    assert_linear(lambda text: rewrap(text, like, unbreakable(text)), unit, 1_000)
    assert_linear(lambda text: rebreak(text, 3, unbreakable(text)), unit, 1_000)
    assert_linear(lambda text: unwrap([body for body, _ in split_lines(text)]), unit, 1_000)
