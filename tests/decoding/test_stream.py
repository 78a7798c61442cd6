"""A stream gives whole characters, and together the whole text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.characters import settled, starts
from trimix_cpp.decoding.stream import TextStream

UYGHUR = "ئۇيغۇرچە ھۆججەتنى ئاچ."
TIBETAN = "བོད་སྐད་ནི་བརྒྱུད་པའི་སྐད་ཡིག་ཅིག་རེད།"
MONGOLIAN = "ᠮᠣᠩᠭᠣᠯ\u180b ᠬᠡᠯᠡ"
EMOJI = "👩🏽\u200d🚀 ok 🇰🇿🇲🇳"
HINDI = "क्षमा करें, फ़ाइल"
KOREAN = "\u1112\u1161\u11ab글"
PERSIAN = "می\u200cخواهم \u0600١٢"
SAMPLES = [UYGHUR, TIBETAN, MONGOLIAN, EMOJI, HINDI, KOREAN, PERSIAN]
texts = st.one_of(
    st.sampled_from(SAMPLES),
    st.text(st.characters(codec="utf-8"), max_size=30),
)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    points = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts)})
    return [data[a:b] for a, b in pairwise(points)]


@given(texts, st.lists(st.integers(0, 1000), max_size=40))
def test_pieces_are_whole_characters_and_nothing_is_lost(text: str, cuts: list[int]) -> None:
    stream = TextStream()
    pieces = [stream.push(part) for part in cut(text.encode(), cuts)]
    places = starts(text)
    for shown in ("".join(pieces[: i + 1]) for i in range(len(pieces))):
        assert text.startswith(shown)
        assert len(shown) in places  # of the whole text, which the stream had not seen yet
    pieces.append(stream.finish())
    assert "".join(pieces) == text == stream.text
    assert stream.dropped_bytes == 0


@pytest.mark.parametrize("text", SAMPLES)
def test_byte_by_byte(text: str) -> None:
    stream = TextStream()
    shown = "".join(stream.push(bytes([byte])) for byte in text.encode())
    assert shown == text[: settled(text)]
    assert shown + stream.finish() == text


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("བརྒྱུ", ["", "བ", "", "", ""]),  # ra with three signs under it, after ba
        ("🇰🇿🇲", ["", "", "🇰🇿"]),  # two halves of a flag, one of another
        ("क्षa", ["", "", "", "क्ष"]),
        ("م\u200cخ", ["", "", "م\u200c"]),
        ("\u1112\u1161\u11aba", ["", "", "", "\u1112\u1161\u11ab"]),
        ("\u0600١a", ["", "", "\u0600١"]),
        ("a\nb", ["", "a\n", ""]),  # nothing joins a line feed
        ("a\r\n", ["", "a", "\r\n"]),
    ],
)
def test_a_character_comes_when_the_next_begins(text: str, pieces: list[str]) -> None:
    stream = TextStream()
    assert [stream.push(char.encode()) for char in text] == pieces
    assert "".join(pieces) + stream.finish() == text


def test_an_unfinished_character_is_dropped() -> None:
    stream = TextStream()
    assert stream.push("ئا".encode()[:3]) == ""
    assert stream.finish() == "ئ"
    assert stream.dropped_bytes == 1


def test_bytes_that_are_no_text_become_replacement_characters() -> None:
    stream = TextStream()
    assert stream.push(b"a\xff b") + stream.finish() == "a\ufffd b"


@given(texts, st.text(min_size=1, max_size=3), texts, st.lists(st.integers(0, 1000), max_size=40))
def test_a_stop_string_ends_the_text_however_it_is_cut(
    before: str, stop: str, after: str, cuts: list[int]
) -> None:
    data = (before + stop + after).encode()
    stream = TextStream((stop, "never\0this"))
    shown = "".join(stream.push(part) for part in cut(data, cuts)) + stream.finish()
    assert shown == (before + stop + after).partition(stop)[0]
    assert stream.stopped
    assert stream.push(b"more") == ""


def test_text_that_only_begins_like_a_stop_string_comes_later() -> None:
    stream = TextStream(("\nEnglish:",))
    assert stream.push(b"salam \nEng") == "salam "
    # A space may carry a mark, so it waits as letters do.
    assert stream.push(b"ine ") == "\nEngine"
    assert not stream.stopped
