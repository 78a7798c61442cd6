"""Loops are noticed, real text is not taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.translate.quality import flags, repeats

from ..support.growth import assert_linear

REAL = [
    "ھۆججەت ۋە ھۆججەت قىسقۇچنى كۆچۈرۈپ، يەنە بىر ھۆججەت قىسقۇچقا چاپلاڭ.",
    "بىر-بىرلەپ، قەدەممۇ-قەدەم، چوڭ-چوڭ ھۆججەتلەرنى ئۆچۈرۈڭ.",
    "ཁྱེད་ཀྱིས་ཁྱེད་ཀྱི་ཡིག་ཆ་དང་ཡིག་སྣོད་ཐམས་ཅད་རིམ་པ་རིམ་པར་འདྲ་བཤུས་བྱེད་དགོས།",
    "མི་རིགས་སོ་སོའི་སྐད་ཡིག་སོ་སོར་ཡོད། སོ་སོའི་སྐད་ཡིག་བེད་སྤྱོད་བྱེད་པའི་རང་དབང་ཡོད།",
    "Қазір-қазір, бірте-бірте, бір-бірден ашыңыз.",
    "No, no, no!",
    "Hahaha... ------- ======= 00000000000000 1.1.1.1.1.1",
]
WORDS = ["پرىنتېر", "སྐད་ཡིག་", "принтер", "printer", "打印机"]


@pytest.mark.parametrize("text", REAL)
def test_real_text_does_not_repeat_itself(text: str) -> None:
    assert not repeats(text)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("space", [" ", "، "])
def test_a_word_again_and_again(word: str, space: str) -> None:
    assert repeats("يېڭى " + space.join([word] * 4))
    assert not repeats("يېڭى " + space.join([word] * 2))


@given(
    st.sampled_from(REAL[:5]), st.lists(st.sampled_from(WORDS), min_size=2, max_size=6, unique=True)
)
def test_a_phrase_three_times(before: str, phrase: list[str]) -> None:
    looped = " ".join([before, *phrase * 3])
    assert repeats(looped)


def test_a_loop_that_counts() -> None:
    assert repeats(" ".join(f"بۇ تاللانما بىلەن ھۆججەتنى ئاچىدۇ {i}" for i in range(12)))
    assert repeats("ئا" + "ھ" * 10)
    assert repeats("ཧ་ཧ་ཧ་ཧ་ཧ་ཧ་")


@pytest.mark.parametrize(
    ("source", "translation", "hit", "reasons"),
    [
        ("Open", "ئاچ", False, ()),
        ("Open", "ئاچ", True, ("ran into the token limit",)),
        ("Open", " ", False, ("is empty",)),
        ("", "", False, ()),
        ("Open", "ئا\ufffd", False, ("holds replacement characters",)),
        ("a\ufffd", "ئا\ufffd", False, ()),
        ("la la la la", "لا لا لا لا", False, ()),
        ("Open", "لا لا لا لا", False, ("repeats itself",)),
        ("Open the file now", "Open the file now", False, ("is the source unchanged",)),
        ("Mozilla Firefox", "Mozilla Firefox", False, ()),
    ],
)
def test_flags(source: str, translation: str, hit: bool, reasons: tuple[str, ...]) -> None:
    assert flags(source, translation, hit) == reasons


@given(st.text(max_size=200))
def test_any_text_is_judged(text: str) -> None:
    assert isinstance(repeats(text), bool)


@pytest.mark.parametrize(
    "unit", ["a", "1 ", "1 1 1 2 ", "ab ", "1. x ", "x" * 39 + "y", ". ", "ab cd "]
)
def test_long_texts_take_time_in_proportion(unit: str) -> None:
    assert_linear(repeats, unit, 8_000 // len(unit))
    assert_linear(lambda text: repeats(" ".join(map(str, range(len(text))))), unit, 200)
