"""Characters are Unicode's, joined where readers see one; what is settled stays as it is."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.characters import characters, settled, starts

from .support.growth import assert_linear

# Texts cut by hand, as a reader of the language would.
READ = {
    "Uyghur": "ئا|ۇ|ي|غ|ۇ|ر|چ|ە| |ھ|ۆ|ج|ج|ە|ت|.".replace("ئا", "ئ|ا"),
    "Uyghur with marks": "كِ|تَ|ا|بٌ",
    "Arabic number sign": "\u0600١|٢",
    "Tibetan": "བོ|ད|་|སྐ|ད|་|ནི|་|བ|རྒྱུ|ད|་|པ|འི|་|ཨོཾ|།",
    "Mongolian": "ᠮ|ᠣ|ᠩ|ᠭ\u180b|ᠣ|ᠯ| |ᠬ|ᠡ|ᠯ\u200dᠠ",
    "Devanagari": "क्षि|फ़ा|इ|ल| |प्र|का|र|क्\u200c|ष|क्\u200dष",
    "Bengali": "ক্ষ|মা|র্দ্র",
    "Kannada": "ಕ್ಷ|ಮೆ",
    "Gurmukhi": "ਪ੍ਰ|ਕਾ|ਸ਼",
    "Tamil shows its virama": "அ|ம்|மா",
    "Sinhala joins by ZWJ": "ශ්\u200dරී|ක්|ෂ",
    "Burmese stacks, its killer is seen": "ဖို|င်|ကို|မ္မာ",
    "Khmer": "ខ្មែ|រ",
    "Thai": "ที่|นี่",
    "Hangul": "한|한|글",
    "Persian": "می\u200c|خ|و|ا|ه|م".replace("می", "م|ی"),
    "emoji": "👩🏽\u200d🚀|👍🏿|❤\ufe0f\u200d🔥|a|1\ufe0f\u20e3",
    "flags": "🇲🇳|🇨🇳|🇰🇿|🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f|🇰",
    "lines": "a|\r\n|\n|b|\u2028|c",
}


@pytest.mark.parametrize("cut", READ.values(), ids=READ.keys())
def test_real_text(cut: str) -> None:
    expected = cut.split("|")
    assert characters(cut.replace("|", "")) == expected


# What has a part in the rules, and real text.
PARTS = [
    *("a", " ", "\n", "\r", "\t", "\u0301", "\u200c", "\u200d", "ئ", "ا", "\u0600", "\u06dd"),
    *(
        "ཀ",
        "\u0f92",
        "\u0f74",
        "་",
        "ᠮ",
        "\u180b",
        "\u180e",
        "क",
        "ာ",
        "\u094d",
        "\u093c",
        "\u0903",
    ),
    *("ಕ", "\u0ccd", "க", "\u0bcd", "ර", "\u0dca", "က", "\u1039", "\u103a", "ក", "\u17d2"),
    *("\u1100", "\u1161", "\u11a8", "가", "각", "👩", "🏽", "\ufe0f", "🇰", "🇿", "\U000e0067", "©"),
]
texts = st.one_of(
    st.lists(st.sampled_from(PARTS), max_size=12).map("".join),
    st.text(max_size=20),
    st.sampled_from([cut.replace("|", "") for cut in READ.values()]),
)


def unicode_starts(text: str) -> list[int]:
    return [*(match.start() for match in regex.finditer(r"\X", text)), len(text)]


@given(texts)
def test_characters_are_unicode_s_and_some_are_joined(text: str) -> None:
    found = starts(text)
    assert "".join(characters(text)) == text
    assert set(found) <= set(unicode_starts(text))
    joining = regex.compile(r"[\p{InSC=Virama}\p{InSC=Invisible_Stacker}\u200d]")
    mark = regex.compile(r"\p{M}")
    for at in set(unicode_starts(text)) - set(found):
        # Only behind what joins, and never before white space.
        before = text[max(a for a in unicode_starts(text) if a < at) : at]
        assert joining.search(before) or mark.match(text[at])
        assert not text[at].isspace()


@given(texts, texts)
def test_what_is_settled_no_text_that_follows_can_change(text: str, more: str) -> None:
    whole = starts(text + more)
    done = settled(text)
    assert done in whole
    assert [at for at in whole if at <= done] == [at for at in starts(text) if at <= done]
    assert settled(text + more) >= done


@given(texts)
def test_all_but_the_last_character_is_settled(text: str) -> None:
    left = characters(text[settled(text) :])
    assert len(left) <= 1


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "\u0301",
        "क्",
        "क\u094d\u0301",
        "🇰",
        "🇰\u200d",
        "\u0600",
        "a\u200d",
        "👩\u200d",
        "\u1100",
    ],
)
@pytest.mark.parametrize("head", ["", "क"])
def test_long_runs_take_time_in_proportion(unit: str, head: str) -> None:
    assert_linear(starts, unit, 4_000, head)
