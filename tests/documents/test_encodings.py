"""Bytes are text and the same bytes again, in every encoding that a file may have."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.documents.encodings import Kind, decode
from trimix_cpp.documents.opening import open_document
from trimix_cpp.documents.segments import FormatOptions, Result
from trimix_cpp.errors import TrimixError, UsageError

from .test_formats import UYGHUR

ALL: frozenset[Kind] = frozenset({"utf-16", "xml", "java"})


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ("a\nb".encode("utf-16"), 1),
        ("a\nb".encode("utf-32"), 1),
        ("a\nb".encode("utf-16-le"), 1),
        (b"a\nb\xe9c\n", 2),
        (b"\xef\xbb\xbfa\n\nb\xe9c\n", 3),
        (b"a\nb\n\0", 3),
        (b"ab\xf0\x9f", 1),
    ],
)
def test_what_is_not_utf_8_is_refused_with_its_line(data: bytes, line: int) -> None:
    with pytest.raises(TrimixError, match=rf"^x: line {line}: ") as error:
        decode(data, "x")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "source", "page"),
    [
        ("café", "eng", "WINDOWS-1252"),
        ("файл", "rus", "WINDOWS-1251"),
        ("файл", "tat", "WINDOWS-1251"),
        ("қазақ", "kaz", "PT154"),
        ("ملف", "arb", "WINDOWS-1256"),
        ("dosyayı", "tur", "WINDOWS-1254"),
        ("打开文件", "zho", "GB18030"),
        ("ファイル", "jpn", "SHIFT_JIS"),
        ("파일", "kor", "CP949"),
        ("แฟ้ม", "tha", "CP874"),
    ],
)
def test_the_code_page_that_is_named_is_the_language_s(text: str, source: str, page: str) -> None:
    with pytest.raises(TrimixError, match=f"line 1: .*iconv -f {page} -t UTF-8"):
        decode(text.encode(page), "x", source=source)
    # A script without code pages, and bytes that are in none.
    with pytest.raises(TrimixError, match=r"; save it as UTF-8, or name"):
        decode(b"\xff\xfc", "x", source="bod")


@given(
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "gb18030"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=20),
)
def test_what_is_decoded_is_encoded_again(codec: str, text: str) -> None:
    data = text.encode(codec)
    got, encoding = decode(data, "x", wanted=codec)
    assert (got, encoding.encode(got, "x")) == (text, data)
    if codec in ("utf-8", "utf-8-sig", "utf-16") and not text.isascii():
        got, encoding = decode(data, "x", ALL - {"java"})
        assert (got, encoding.encode(got, "x")) == (text, data)


@given(st.binary(max_size=20), st.sampled_from(["cp1251", "iso-8859-1", "shift_jis", "iso2022_jp"]))
def test_bytes_come_back_or_are_refused(data: bytes, codec: str) -> None:
    refused, again = "", data
    try:
        text, encoding = decode(data, "x", wanted=codec)
        again = encoding.encode(text, "x")
    except TrimixError as error:
        refused = str(error)
    assert again == data
    assert "\n" not in refused


def test_another_encoding_may_be_written() -> None:
    options = FormatOptions(encoding="windows-1251:utf-8", source="rus", target="uig")
    document = open_document("файл\r\n".encode("cp1251"), "a.txt", None, options)
    assert document.segments[0].text == "файл"
    assert document.render({0: Result(UYGHUR)}).decode() == f"{UYGHUR}\r\n"
    wide = FormatOptions(encoding="windows-1251:utf-16", source="rus")
    assert open_document(b"a\n", "a.txt", None, wide).render({}) == codecs.BOM_UTF16_LE + b"a\0\n\0"


def test_letters_that_the_code_page_lacks_are_told_before_the_work() -> None:
    options = FormatOptions(encoding="windows-1252", source="fra", target="uig")
    with pytest.raises(TrimixError, match=r"^a.txt: cp1252 has no '.*Uyghur.*cp1252:utf-8"):
        open_document("é\n".encode("latin-1"), "a.txt", None, options)
    document = open_document(b"a\n", "a.txt", None, FormatOptions(encoding="ascii", target="deu"))
    with pytest.raises(TrimixError, match=r"ascii has no 'ü' \(U\+00FC\)"):
        document.render({0: Result("für")})


def test_an_xml_declaration_names_the_encoding() -> None:
    data = '<?xml version="1.0" encoding="ISO-8859-1"?><a>é</a>'.encode("latin-1")
    text, encoding = decode(data, "x", frozenset({"xml"}))
    assert encoding.encode(text, "x") == data
    # What the code page has not, XML has as a reference.
    assert encoding.encode("ئ", "x") == b"&#1574;"
    with pytest.raises(UsageError, match="line 1"):
        decode(b'<?xml version="1.0" encoding="klingon"?>', "x", frozenset({"xml"}))


@pytest.mark.parametrize(
    "codec", ["klingon", "base64", "rot13", "", ":utf-8", "utf-8:base64", "\0"]
)
def test_no_encoding_is_one_line(codec: str) -> None:
    if codec:
        with pytest.raises(UsageError, match="--encoding"):
            decode(b"a", "x", wanted=codec)


@pytest.mark.parametrize(
    ("header", "flag", "told"),
    [
        ("ug_CN", None, None),
        ("ug_CN", "uig", None),
        ("de", "uig", "a.po: says de \\(German\\), --to says uig"),
        ("klingon", "uig", None),
        ("", "uig", None),
        ("mn", "mvf", None),  # two codes of one language
    ],
)
def test_the_file_s_language_is_taken_or_contradicted_aloud(
    header: str, flag: str | None, told: str | None
) -> None:
    data = f'msgid ""\nmsgstr "Language: {header}\\n"\n\nmsgid "a"\nmsgstr ""\n'.encode()
    document = open_document(data, "a.po", None, FormatOptions(target=flag))
    assert document.target == (flag or header)
    assert (told is None) == (document.notices == ())
    if told is not None:
        import re

        assert re.match(told, document.notices[0])
