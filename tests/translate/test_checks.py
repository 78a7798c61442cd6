"""Numbers, options and answer keys: lost ones are told, other spellings are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.translate.faults import lost

DIGITS = {"Arabic": "٠", "Persian": "۰", "Tibetan": "༠", "Mongolian": "᠐", "Devanagari": "०"}


def in_script(number: str, zero: str) -> str:
    return "".join(chr(ord(zero) + int(char)) if char.isdecimal() else char for char in number)


@given(
    st.lists(st.integers(0, 10**7), min_size=1, max_size=4),
    st.sampled_from(sorted(DIGITS.values())),
    st.sampled_from(["{:,}", "{}"]),
    st.randoms(use_true_random=False),
)
def test_numbers_in_any_digits_and_order(
    numbers: list[int], zero: str, style: str, random: object
) -> None:
    source = "; ".join(map(str, numbers))
    moved = sorted(numbers, key=lambda _: random.random())  # type: ignore[attr-defined]
    translation = " ۋە ".join(in_script(style.format(number), zero) for number in moved)
    if style == "{}" or len(numbers) == 1:
        assert lost(source, translation) == ()
    assert lost(source, "ئاچ") == (
        f"loses the number {', '.join(map(str, dict.fromkeys(numbers)))}",
    )


@pytest.mark.parametrize(
    ("source", "translation", "reasons"),
    [
        ("12 345 km", "44", ("loses the number 12 345", "invents the number 44")),
        ("12\u202f345 km", "١٢٣٤٥ كم", ()),
        ("E37: No write", "ساقلانمىدى", ("loses the number 37",)),
        ("E37: No write", "E37: ساقلانمىدى", ()),
        ("2026-11-22", "22.11.2026", ()),
        ("two files", "2 ھۆججەت", ()),
        ("<1>a</1> <2/><3>b</3>", "<3>b <1>a</1></3><2/>", ()),
        ("<1>a</1> <3>b</3>", "<1>a <3>b</1></3>", ("nests the tags otherwise",)),
        ("<1>a</1>", "</1>a<1>", ("nests the tags otherwise",)),
        ("a</0> b <1>", "ئا<1> بە </0>", ("nests the tags otherwise",)),
        ("Open", "ئاچ 44", ("invents the number 44",)),
        ("50% off", "%50", ()),
        ("50% off", "ئاچ", ("loses the number 50",)),
        ("Copy %2$s", "%2$s كۆچۈر", ()),
        ("%d of 5", "%d", ("loses the number 5",)),
        ("-k      Keep the date", "ساقلا", ("loses -k",)),
        ("-r fmt  Name of the copy", "نامى", ("loses -r",)),
        ("-k, --keep", "ساقلا", ("loses -k, --keep",)),
        ("a : all kinds of data", "ھەممىسى", ("loses a",)),
        ("a : all kinds of data", "a : ھەممىسى", ()),
        ("Use -k or --keep-all.", "-k", ("loses --keep-all",)),
        ("Use --keep.", "--keep نى ئىشلەت", ()),
        ("Use --keep.", "«--keep»نى --all", ("invents --all",)),
        ("-I know.", "بىلىمەن.", ()),  # who speaks in a subtitle
        ("A well-known a-b, pre-k", "ئاچ", ()),
        ("Overwrite? [y/n]", "قاپلامدۇ؟", ("loses [y/n]",)),
        ("Overwrite? (Y/n/q)", "قاپلامدۇ؟ (Y/n/q)", ()),
        ("Overwrite? [yes/no]", "قاپلامدۇ؟ [y/n]", ("loses [yes/no]", "invents [y/n]")),
        ("(n/a)", "يوق", ()),
        ("{n, plural, one {1 file} other {# files}}", "{n, plural, other {# ھۆججەت}}", ()),
    ],
)
def test_judgements(source: str, translation: str, reasons: tuple[str, ...]) -> None:
    assert lost(source, translation) == reasons


@given(st.text(max_size=60))
def test_any_text_carries_its_own(text: str) -> None:
    assert lost(text, text) == ()


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_two_texts_are_judged(source: str, translation: str) -> None:
    assert isinstance(lost(source, translation), tuple)
