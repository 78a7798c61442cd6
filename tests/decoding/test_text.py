"""A stream gives whole characters, and together the whole text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.decoding.text import TextStream, last_cluster

UYGHUR = "ئۇيغۇرچە ھۆججەتنى ئاچ."
TIBETAN = "བོད་སྐད་ནི་བརྒྱུད་པའི་སྐད་ཡིག་ཅིག་རེད།"
MONGOLIAN = "ᠮᠣᠩᠭᠣᠯ\u180b ᠬᠡᠯᠡ"
EMOJI = "👩🏽‍🚀 ok"
texts = st.one_of(
    st.sampled_from([UYGHUR, TIBETAN, MONGOLIAN, EMOJI]),
    st.text(st.characters(codec="utf-8"), max_size=30),
)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    points = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts)})
    return [data[a:b] for a, b in pairwise(points)]


@given(texts, st.lists(st.integers(0, 1000), max_size=40))
def test_pieces_are_whole_characters_and_nothing_is_lost(text: str, cuts: list[int]) -> None:
    stream = TextStream()
    pieces = [stream.push(part) for part in cut(text.encode(), cuts)]
    for shown in ("".join(pieces[: i + 1]) for i in range(len(pieces))):
        assert text.startswith(shown)
        rest = text[len(shown) :]
        # What follows never changes the last character shown.
        assert not rest or last_cluster(shown + rest[0]) >= len(shown) or rest[0].isspace()
    pieces.append(stream.finish())
    assert "".join(pieces) == text == stream.text
    assert stream.dropped_bytes == 0


@pytest.mark.parametrize("text", [UYGHUR, TIBETAN, MONGOLIAN])
def test_byte_by_byte(text: str) -> None:
    stream = TextStream()
    shown = "".join(stream.push(bytes([byte])) for byte in text.encode())
    assert shown == text[: last_cluster(text)]
    assert shown + stream.finish() == text


def test_a_tibetan_stack_is_one_character() -> None:
    stack = "བརྒྱུ"  # ra with three signs under it, after ba
    assert last_cluster(stack) == 1
    stream = TextStream()
    assert [stream.push(c.encode()) for c in stack] == ["", "བ", "", "", ""]
    assert stream.finish() == stack[1:]


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
    assert stream.push(b"ine ") == "\nEngine "
    assert not stream.stopped
