"""ICU messages become whole sentences for each case, and come back as messages."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.documents import Segment
from trimix_cpp.markup.icu import arguments
from trimix_cpp.prompts import language
from trimix_cpp.translate import Checking, Outcome, lay_out
from trimix_cpp.translate.messages import spelled_out

from ..support.growth import assert_linear

FILES = "{n, plural, =0 {No files} one {One file} other {# files}} in {folder}"


def texts(message: str, target: str) -> list[str]:
    return [piece for piece, is_text in spelled_out(message, target) or [] if is_text]


def shown(message: str, values: dict[str, str], case: str) -> str:
    """What a program shows, by cases that are given; an independent reading of ICU."""
    while found := arguments(message):
        item = found[0]
        selector = values.get(item.name, case)
        branches = {name: message[a:b] for name, a, b in item.branches}
        text = branches.get(selector, branches["other"])
        message = message[: item.start] + text + message[item.end :]
    return message


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("uig", ["No files", "One file", "# files"]),
        ("bod", ["No files", "# files"]),
        ("rus", ["No files", "# files", "# files", "# files", "# files"]),
    ],
)
def test_cases_are_those_of_the_language(target: str, expected: list[str]) -> None:
    assert texts(FILES, target) == [f"{text} in {{folder}}" for text in expected]


def test_nested_arguments() -> None:
    message = "{who, select, he {His} other {Their}} {n, plural, one {file} other {# files}}."
    assert texts(message, "uig") == [
        "His file.", "His # files.", "Their file.", "Their # files.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "message",
    ["Open", "# {n, plural, other {#}}", "{n, plural, other {# in {m, plural, other {#}}}}",
     "a '{' {n, plural, other {#}}", "{n, plural, one {a}", "{a, select, x {} other {}}" * 12],
)  # fmt: skip
def test_what_stays_as_it_is(message: str) -> None:
    assert spelled_out(message, "uig") is None


WORDS = st.sampled_from(["Open ", "{name} ", "the file ", "", "it's "])
PLURAL = st.tuples(WORDS, WORDS).map(
    lambda two: f"{{n, plural, =0 {{{two[1]}}} one {{# {two[0]}}} other {{# {two[1]}}}}} "
)
SELECT = st.tuples(WORDS, WORDS).map(
    lambda two: f"{{who, select, he {{{two[0]}}} other {{{two[1]}}}}} "
)


@given(st.lists(st.one_of(WORDS, PLURAL, SELECT), min_size=1, max_size=3).map("".join))
def test_spelled_out_it_shows_the_same(message: str) -> None:
    pieces = spelled_out(message, "eng")
    if pieces is None:
        return
    whole = "".join(piece for piece, _ in pieces)
    for who in ("he", "she"):
        for case in ("=0", "one", "other"):
            values = {"who": who}
            assert shown(whole, values, case) == shown(message, values, case)


def test_a_layout_translates_sentences_and_keeps_the_structure() -> None:
    (layout,) = lay_out([Segment(0, FILES, "f:1")], cut=0, labels=False, target="uig")
    answers = {
        "No files in {folder}": "{folder} دا ھۆججەت يوق",
        "One file in {folder}": "{folder} دا بىر ھۆججەت",
        "# files in {folder}": "{folder} دا # ھۆججەت",
    }
    assert [unit.text for unit in layout.asked] == list(answers)
    result = layout.result({unit: Outcome(answers[unit.text]) for unit in layout.asked})
    assert result is not None
    assert result.text == (
        "{n, plural, =0 {{folder} دا ھۆججەت يوق} one {{folder} دا بىر ھۆججەت} "
        "other {{folder} دا # ھۆججەت}}"
    )
    checking = Checking(language("eng"), language("uig"))
    assert checking.faults(layout.segment, result.text) == ()
    assert layout.asked[2].broken("{folder} دا ھۆججەت") == ("loses #",)
    broken = checking.faults(layout.segment, result.text.replace("يوق}", "يوق"), late=True)
    assert broken[0].reason == "loses {n, plural}"


@pytest.mark.parametrize("unit", ["{n, plural, other {#}}", "{n, plural, other {", "{a}", "'"])
def test_long_messages_take_time_in_proportion(unit: str) -> None:
    assert_linear(lambda text: spelled_out(text, "rus"), unit, 200)


def test_structure_is_spaced_as_people_write_it() -> None:
    pieces = spelled_out("{n,plural,offset:1 one{a}other{b}}", "uig")
    assert pieces is not None
    assert re.sub(r"\s+", " ", "".join(piece for piece, _ in pieces)) == (
        "{n,plural,offset:1 one {a} other {b}}"
    )
