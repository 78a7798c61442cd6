"""Parts make the text again; they end where sentences do, and never inside a character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.characters import starts
from trimix_cpp.markup.placeholders import find
from trimix_cpp.translate.sentences import Part, join, split

from ..support.growth import assert_linear

UYGHUR = "ھۆججەتنى ئاچالمىدى. قايتا سىنامسىز؟ «ھەئە» نى چېكىڭ، ئاندىن كۈتۈڭ!"
TIBETAN = "བོད་སྐད་ནི་སྐད་ཡིག་ཅིག་རེད། །ཡིག་ཆ་ཁ་འབྱེད། དེ་ནས་ཉར་ཚགས་བྱེད་རོགས།།"
MONGOLIAN = "ᠮᠣᠩᠭᠣᠯ ᠬᠡᠯᠡ᠃ ᠨᠡᠭᠡᠭᠡᠬᠦ᠂ ᠬᠠᠳᠠᠭᠠᠯᠠᠬᠤ᠃ ᠪᠠᠷᠠ"
ODIA = "ଫାଇଲ ଖୋଲନ୍ତୁ। ଏହାକୁ ସଞ୍ଚୟ କରନ୍ତୁ। ବନ୍ଦ କରନ୍ତୁ"
HINDI = "फ़ाइल खोलें। फिर सहेजें॥ बंद करें।"
CHINESE = "打开文件。你好吗？“好。”保存！"
ENGLISH = (
    "Open the file, e.g. by Dr. Smith. It has version 1.2.3! Really? (Yes.) See http://a.b/c.d now."
)
SAMPLES = [UYGHUR, TIBETAN, MONGOLIAN, ODIA, HINDI, CHINESE, ENGLISH]
PARTS = [
    *("\n", "\r\n", " ", "  ", "- ", "<i>", "</i>", "{\\an8}", "%s", "1. ", "a", ". "),
    *("👩🏽\u200d🚀", "🇲🇳🇨🇳", "क्षि", "각", "བརྒྱུ"),
]

texts = st.one_of(
    st.sampled_from(SAMPLES),
    st.lists(st.sampled_from([*SAMPLES, *PARTS]), max_size=8).map("".join),
    st.text(max_size=40),
)
limits = st.integers(1, 60)


@given(texts, limits)
def test_the_parts_are_the_text(text: str, limit: int) -> None:
    parts = split(text, limit)
    assert join(parts) == text
    assert join(parts, [part.text for part in parts]) == text
    assert all(part.text == part.text.strip() for part in parts)
    assert not any(char in part.text for part in parts for char in "\r\n")


@given(texts, limits)
def test_no_character_and_no_placeholder_is_cut(text: str, limit: int) -> None:
    whole = starts(text)
    taken = [(f.start, f.end) for f in find(text) if f.kind not in ("break", "tab")]
    at = 0
    for part in split(text, limit):
        # White space and marks on their own make odd clusters; text that is sent does not.
        if part.text and (at == 0 or not text[at - 1].isspace()):
            assert at in whole
        at += len(part.text)
        assert not any(start < at < end for start, end in taken) or "\n" in text or "\r" in text
        at += len(part.separator)


@given(texts, limits)
def test_only_what_cannot_be_cut_is_longer_than_the_limit(text: str, limit: int) -> None:
    for part in split(text, limit):
        if len(part.text) > limit:
            kept = [(f.start, f.end) for f in find(part.text)]
            whole = starts(part.text)
            assert not any(
                0 < len(part.text[:at].strip()) <= limit
                and at in whole
                and not any(start < at < end for start, end in kept)
                for at in range(1, len(part.text))
            )


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        (UYGHUR, 30, ["ھۆججەتنى ئاچالمىدى.", "قايتا سىنامسىز؟", "«ھەئە» نى چېكىڭ، ئاندىن كۈتۈڭ!"]),
        (
            TIBETAN,
            31,
            ["བོད་སྐད་ནི་སྐད་ཡིག་ཅིག་རེད། །", "ཡིག་ཆ་ཁ་འབྱེད།", "དེ་ནས་ཉར་ཚགས་བྱེད་རོགས།།"],
        ),
        (MONGOLIAN, 24, ["ᠮᠣᠩᠭᠣᠯ ᠬᠡᠯᠡ᠃", "ᠨᠡᠭᠡᠭᠡᠬᠦ᠂ ᠬᠠᠳᠠᠭᠠᠯᠠᠬᠤ᠃", "ᠪᠠᠷᠠ"]),
        (ODIA, 24, ["ଫାଇଲ ଖୋଲନ୍ତୁ।", "ଏହାକୁ ସଞ୍ଚୟ କରନ୍ତୁ।", "ବନ୍ଦ କରନ୍ତୁ"]),
        (HINDI, 13, ["फ़ाइल खोलें।", "फिर सहेजें॥", "बंद करें।"]),
        (CHINESE, 7, ["打开文件。", "你好吗？", "“好。”保存！"]),
        (CHINESE, 6, ["打开文件。", "你好吗？", "“好。”", "保存！"]),
        (
            ENGLISH,
            33,
            [
                "Open the file, e.g. by Dr. Smith.",
                "It has version 1.2.3! Really?",
                "(Yes.) See http://a.b/c.d now.",
            ],
        ),
        ("one two, three four five", 12, ["one two,", "three four", "five"]),
        ("བོད་ཀྱི་སྐད་ཡིག", 9, ["བོད་ཀྱི་", "སྐད་ཡིག"]),
        ("abcdefg", 3, ["abc", "def", "g"]),
        ("क्षिक्षि", 3, ["क्षि", "क्षि"]),
    ],
)
def test_cuts(text: str, limit: int, expected: list[str]) -> None:
    assert [part.text for part in split(text, limit)] == expected


@pytest.mark.parametrize("text", SAMPLES)
def test_what_fits_is_not_cut(text: str) -> None:
    assert split(text, 200) == [Part(text, "")]


def test_lines_lists_and_enclosing_markup() -> None:
    text = (
        "  - <i>Open the file.</i>  \r\n\r\n{\\an8}<font color='red'><b>No</b></font>\n<b>a</b> b"
    )
    assert split(text, 100) == [
        Part("", "  - <i>"),
        Part("Open the file.", "</i>  \r\n"),
        Part("", "\r\n"),
        Part("", "{\\an8}<font color='red'><b>"),
        Part("No", "</b></font>\n"),
        Part("<b>a</b> b", ""),
    ]
    assert [p.text for p in split("<b>a</b> or <b>b</b>", 100)] == ["<b>a</b> or <b>b</b>"]


def test_sentences_that_ran_together_get_a_space() -> None:
    parts = split(CHINESE, 6)
    assert join(parts, ["ئاچ.", "ياخشىمۇ؟", "«ياخشى»", "ساقلا!"]) == "ئاچ. ياخشىمۇ؟ «ياخشى» ساقلا!"
    assert join(parts, ["开。"] * 4) == "开。" * 4


def test_a_size_of_tokens() -> None:
    parts = split("a b c. d e f. g h i.", 6, lambda text: len(text.split()))
    assert [part.text for part in parts] == ["a b c. d e f.", "g h i."]


@pytest.mark.parametrize(
    "unit",
    [".", "a. ", "x", "word ", "! ", ", ", "།", "། ", "་", "。", "- ", "<i>", "<b>x</b>", '"', " ",
     "%s", "🇰", "{a}", "1. ", "\n"],
)  # fmt: skip
@pytest.mark.parametrize("head", ["", "x" * 400])
def test_long_texts_are_cut_in_time_in_proportion(unit: str, head: str) -> None:
    def work(text: str) -> None:
        parts = split(text + "y", 200)
        assert join(parts) == text + "y"

    assert_linear(work, unit, 4_000, head)
