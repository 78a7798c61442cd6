"""Every format gives a file back byte for byte, and a translation in its place and nowhere else."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable

import pysubs2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trimix_cpp.documents.formats import FORMATS
from trimix_cpp.documents.opening import Document, format_of, open_document
from trimix_cpp.documents.segments import FormatOptions, Result
from trimix_cpp.errors import TrimixError, UsageError

from ..support.refusals import taken

UYGHUR = "ھۆججەتنى ئاچ."
TIBETAN = "ཡིག་ཆ་ཁ་འབྱེད།"
NAMES = {
    "text": "a.txt",
    "tsv": "a.tsv",
    "csv": "a.csv",
    "jsonl": "a.jsonl",
    "po": "a.po",
    "android": "a.xml",
    "stringsdict": "a.stringsdict",
    "xliff": "a.xlf",
    "ts": "a.ts",
    "resx": "a.resx",
    "tmx": "a.tmx",
    "i18next": "a.json",
    "chrome": "_locales/en/messages.json",
    "arb": "a.arb",
    "xcstrings": "a.xcstrings",
    "strings": "a.strings",
    "properties": "a.properties",
    "yaml": "a.yml",
    "ass": "a.ass",
    "srt": "a.srt",
    "vtt": "a.vtt",
    "html": "a.html",
    "docx": "a.docx",
    "odt": "a.odt",
    "epub": "a.epub",
    "markdown": "a.md",
}
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
line_ends = st.sampled_from(["\n", "\r\n", "\r"])
line_texts = st.one_of(
    st.sampled_from(["", "  ", "Open file", " a\tb ", UYGHUR, TIBETAN, "a\u2028b", "x\x0cy"]),
    st.text(
        st.characters(codec="utf-8", exclude_characters="\r\n\0", exclude_categories=["Cs"]),
        max_size=20,
    ),
)
texts = st.lists(st.tuples(line_texts, line_ends), max_size=8).flatmap(
    lambda lines: line_texts.map(lambda last: "".join(body + end for body, end in lines) + last)
)
boms = st.sampled_from([b"", b"\xef\xbb\xbf"])


def opened(text: str | bytes, format: str, **options: object) -> Document:
    data = text.encode() if isinstance(text, str) else text
    return open_document(data, NAMES[format], None, FormatOptions(**options))  # type: ignore[arg-type]


def translated(document: Document, change: Callable[[str], str]) -> str:
    results = {s.key: Result(change(s.text)) for s in document.segments}
    return document.render(results).decode()


def assert_round_trips(data: bytes, document: Document) -> None:
    assert document.render({}) == data
    keys = [segment.key for segment in document.segments]
    assert len(set(keys)) == len(keys)
    assert keys == sorted(keys)


def assert_own_text_changes_nothing(data: bytes, document: Document) -> None:
    assert document.render({s.key: Result(s.text) for s in document.segments}) == data


# Text


@given(boms, texts, st.booleans())
def test_text_round_trips(bom: bytes, text: str, paragraphs: bool) -> None:
    data = bom + text.lstrip("\ufeff").encode()
    document = opened(data, "text", paragraphs=paragraphs)
    assert_round_trips(data, document)
    assert_own_text_changes_nothing(data, document)


@given(st.lists(st.tuples(line_texts, line_ends), max_size=8))
def test_each_line_is_translated_in_its_place(lines: list[tuple[str, str]]) -> None:
    lines = [(body, end) for body, end in lines if body != "" or end != "\n"]
    text = "".join(body + end for body, end in lines).lstrip("\ufeff")
    got = translated(opened(text, "text"), lambda line: f"<{line}>")
    expected = "".join(
        f"<{body}>{end}" if body.strip() else body + end for body, end in lines_of(text)
    )
    assert got == expected


def lines_of(text: str) -> list[tuple[str, str]]:
    out, body = [], ""
    rest = list(text)
    while rest:
        char = rest.pop(0)
        if char == "\r" and rest and rest[0] == "\n":
            out.append((body, char + rest.pop(0)))
            body = ""
        elif char in "\r\n":
            out.append((body, char))
            body = ""
        else:
            body += char
    return [*out, (body, "")] if body else out


def test_a_paragraph_is_joined_and_broken_as_it_was() -> None:
    text = "Open a file\nand read it,\nall of it.\n\nOne line stays one however long it may be.\n"
    document = opened(text, "text", paragraphs=True)
    assert [s.text for s in document.segments] == [
        "Open a file and read it, all of it.",
        "One line stays one however long it may be.",
    ]
    got = translated(document, lambda text: " ".join(["word"] * (7 if "Open" in text else 20)))
    assert got == "word word\nword word\nword word\nword\n\n" + " ".join(["word"] * 20) + "\n"


@given(st.lists(line_ends, min_size=1, max_size=6), st.integers(1, 9))
def test_a_paragraph_s_lines_end_as_those_that_stood_there(ends: list[str], count: int) -> None:
    text = "".join(f"word{end}" for end in ends)
    document = opened(text, "text", paragraphs=True)
    got = translated(document, lambda _: " ".join(["more"] * (count if len(ends) > 1 else 1)))
    new = [end for _, end in lines_of(got)]
    assert len(new) == (count if len(ends) > 1 else 1)
    assert new[-1] == ends[-1]
    assert all(end == ends[min(i, max(len(ends) - 2, 0))] for i, end in enumerate(new[:-1]))


def test_tibetan_lines_are_joined_without_a_space() -> None:
    document = opened("བོད་ཀྱི་\nསྐད་ཡིག\n", "text", paragraphs=True)
    assert document.segments[0].text == "བོད་ཀྱི་སྐད་ཡིག"


def test_a_line_stays_one_line() -> None:
    assert translated(opened("a b\nc\n", "text"), lambda _: "x\ny") == "x y\nx y\n"


# Encoding and choice of format


def test_formats_go_by_extension() -> None:
    assert {format_of(name) for name in NAMES.values()} == set(FORMATS)
    assert format_of("-") == "text"
    assert format_of("A.B.PO") == "po"
    # An unknown file is nowhere said to be text: that would translate its markup.
    for name in ("README", "a.docm", "strings.exe"):
        with pytest.raises(UsageError, match=r"--format NAME") as error:
            format_of(name)
        assert "--format text" not in str(error.value)
        assert all(name in str(error.value) for name in FORMATS)


def test_an_option_of_another_format_is_refused() -> None:
    with pytest.raises(UsageError, match="--fuzzy has no meaning"):
        opened("a", "text", fuzzy=True)
    with pytest.raises(UsageError, match="--column has no meaning"):
        opened("{}", "jsonl", column="a")


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_file_stays_empty(format: str) -> None:
    if format == "vtt":
        with pytest.raises(TrimixError, match="WEBVTT"):
            opened(b"", format)
    else:
        document = opened(b"", format)
        assert document.segments == []
        assert document.render({}) == b""


@given(st.sampled_from(list(FORMATS)), st.binary(max_size=60))
def test_any_bytes_are_opened_or_refused_in_one_line(format: str, data: bytes) -> None:
    document = taken(lambda: opened(data, format))
    assert document is None or document.render({}) == data


# Tables

cells = st.lists(
    st.sampled_from(["a", "b", " ", "é", "ئ", "ཀ", "1", "'", ",", '"', "\n", "\r\n", ";"]),
    max_size=6,
).map("".join)


@given(
    st.integers(1, 3).flatmap(
        lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), max_size=5)
    ),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.booleans(),
)
def test_csv_reads_as_the_csv_module_does(
    rows: list[list[str]], end: str, quoting: int, last_end: bool
) -> None:
    file = io.StringIO()
    csv.writer(file, lineterminator=end, quoting=quoting).writerows(rows)  # type: ignore[call-overload]
    text = file.getvalue()
    text = text if last_end else text.removesuffix(end)
    first = text.split("\n")[0]
    if first.count(";") or (first.count('"') % 2):
        return  # another delimiter might be meant
    document = opened(text, "csv", column="1", into="1")
    assert document.render({}) == text.encode()
    read = list(csv.reader(io.StringIO(text, newline="")))
    expected = [row[0].replace("\r\n", "\n") for row in read if row and row[0].strip()]
    if all(len(row) != 1 or row[0].strip() or row[0] == "" for row in read):
        assert [s.text for s in document.segments] == expected
    changed = translated(document, lambda text: text + '"x"')
    again = list(csv.reader(io.StringIO(changed, newline="")))
    assert len(again) == len(read)
    for before, after in zip(read, again, strict=True):
        assert after[1:] == before[1:]
        assert not before or not before[0].strip() or after[0].endswith('"x"')


def test_a_new_column_lines_up() -> None:
    text = 'id,en,note\r\n1,Open,"a, b"\r\n2,,\r\n3,"Save ""as""",\r\n\r\n'
    got = translated(opened(text, "csv", column="en"), str.upper)
    assert got == (
        'id,en,note,translation\r\n1,Open,"a, b",OPEN\r\n2,,,\r\n'
        '3,"Save ""as""",,"SAVE ""AS"""\r\n\r\n'
    )


def test_filled_cells_are_left_alone() -> None:
    text = "en;ug\nOpen;\nClose;ياپ\nSave\n"
    document = opened(text, "csv", column="en", into="ug")
    assert [s.text for s in document.segments] == ["Open", "Save"]
    assert translated(document, str.upper) == "en;ug\nOpen;OPEN\nClose;ياپ\nSave;SAVE\n"


def test_line_breaks_in_a_csv_cell_keep_their_kind() -> None:
    document = opened('"a\r\nb",x\r\n', "csv", column="1", into="1")
    assert document.segments[0].text == "a\nb"
    assert translated(document, str.upper) == '"A\r\nB",x\r\n'


def test_tsv_has_no_quoting() -> None:
    text = "a\t\"Open\tb\n\nc\tit's\td"
    document = opened(text, "tsv", column="2", into="2")
    assert [s.text for s in document.segments] == ['"Open', "it's"]
    assert translated(document, lambda _: "x\ty\n") == "a\tx y \tb\n\nc\tx y \td"


@given(
    st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=5),
    st.sampled_from(["\n", "\r\n"]),
)
def test_tsv_of_a_spreadsheet_is_read_as_it_was_written(rows: list[list[str]], end: str) -> None:
    file = io.StringIO()
    rows = [["id", "en", "note"], *rows, ["1", 'Say "x"', ""]]  # unmistakable
    csv.writer(file, dialect="excel-tab", lineterminator=end).writerows(rows)
    text = file.getvalue()
    document = opened(text, "tsv", column="en", into="en")
    assert document.render({}) == text.encode()
    expected = [row[1].replace("\r\n", "\n") for row in rows[1:] if row[1].strip()]
    assert [s.text for s in document.segments] == expected
    changed = translated(document, lambda text: text + '\t"x"')
    again = list(csv.reader(io.StringIO(changed, newline=""), dialect="excel-tab"))
    for before, after in zip(rows[1:], again[1:], strict=True):
        assert (after[0], after[2]) == (before[0], before[2])
        assert not before[1].strip() or after[1].endswith('\t"x"')


MARKED = st.sampled_from(['"Open', "a", 'it "x"', '"b"', "", 'Close"'])


@given(st.lists(st.lists(MARKED, min_size=2, max_size=2), min_size=1))
def test_tsv_without_quoting_stays_without(rows: list[list[str]]) -> None:
    text = "".join("\t".join(row) + "\n" for row in rows)
    document = opened(text, "tsv", column="1", into="1")
    assert [s.text for s in document.segments] == [row[0] for row in rows if row[0]]


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ('id\ten\n1\t"Open\nit"\n2\tClose\n', ["Open\nit", "Close"]),
        ('id\ten\n1\t"a\tb"\n2\tClose\n', ["a\tb", "Close"]),
        ('id\ten\n1\t"Open"\n2\tClose\n', ['"Open"', "Close"]),
    ],
)
def test_what_needs_quotes_tells_that_there_are(text: str, texts: list[str]) -> None:
    assert [s.text for s in opened(text, "tsv", column="en").segments] == texts


def test_a_mark_that_nothing_closes_is_told_where_rows_are_short() -> None:
    with pytest.raises(TrimixError, match="line 2: a quotation mark opens a cell"):
        opened('id\ten\tnote\n1\t"Open the file\nand read it\tmenu\n2\tb\tc\n', "tsv", column="en")


@pytest.mark.parametrize("format", ["csv", "tsv"])
@pytest.mark.parametrize("declared", ["sep=;", "SEP=;", '"sep=;"', "sep=|", "sep=\t", "sep=,"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_declared_separator_is_kept_and_no_header(format: str, declared: str, end: str) -> None:
    sign = declared.strip('"')[-1]
    rows = [["key", "en"], ["1", "Open"], ["2", "Close"]]
    text = declared + end + "".join(sign.join(row) + end for row in rows)
    document = opened(text, format, column="en")
    assert [s.text for s in document.segments] == ["Open", "Close"]
    assert [s.where for s in document.segments] == [f"a.{format}:3", f"a.{format}:4"]
    assert document.render({}) == text.encode()
    got = translated(document, str.upper)
    assert got.split(end)[:3] == [declared, sign.join(["key", "en", "translation"]),
                                  sign.join(["1", "Open", "OPEN"])]  # fmt: skip


def test_the_separator_is_told_from_the_first_row_with_its_line_breaks() -> None:
    document = opened('"a,\nb";en\n1;Open\n', "csv", column="en")
    assert [s.text for s in document.segments] == ["Open"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b\n", {}, "say which holds the text with --column"),
        ("a,b\n", {"column": "c"}, "no such name"),
        ("a,b\n", {"column": "3"}, "has 2 columns"),
        ("a,b\n", {"column": "1", "into": "9"}, "has 2 columns"),
        ("a,b\n", {"column": "1", "into": "ug"}, "say --header"),
        ('a,b\n"c,d\n', {"column": "1"}, "line 2: a quotation mark"),
        ("a,b\nc,d,e\n", {"column": "1"}, "line 2: 3 cells"),
    ],
)
def test_tables_that_cannot_be_read(text: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(TrimixError, match=message):
        opened(text, "csv", **options)


# JSON lines

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)


@given(
    st.lists(st.tuples(st.dictionaries(words, json_values, max_size=4), words), max_size=4),
    st.sampled_from([(", ", ": "), (",", ":"), (" ,\t", " :  ")]),
    st.booleans(),
    st.sampled_from(["text", "translation"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_json_lines_change_in_one_value(
    objects: list[tuple[dict[str, object], str]],
    separators: tuple[str, str],
    ascii: bool,
    into: str,
    end: str,
) -> None:
    lines = []
    for others, text in objects:
        others.pop("translation", None)
        whole = {"before": 1.50, **others, "text": text, "after": [1e400, {"text": "no"}]}
        lines.append(json.dumps(whole, ensure_ascii=ascii, separators=separators))
    data = end.join([*lines, ""]).encode()
    document = opened(data, "jsonl", into=into)
    assert_round_trips(data, document)
    got = translated(document, lambda text: text + UYGHUR).encode()
    for before, after in zip(lines, got.decode().split(end), strict=False):
        old, new = json.loads(before), json.loads(after)
        if old["text"].strip():
            source = old["text"].replace("\r\n", "\n").replace("\r", "\n")
            assert new.pop(into) == source + UYGHUR
            old.pop(into, None)
        assert new == old
        assert [key for key in new if key in old] == [key for key in old if key in new]
    if into == "text":
        assert_own_text_changes_nothing(data, document)


def test_json_is_kept_as_it_is_spelled() -> None:
    text = '{"n": 1.500e+02, "text": "Open", "e": "\\u00e9\\/"}\n\n{"text":null}\n{"text":"b"}'
    got = translated(opened(text, "jsonl"), lambda _: "ئاچ")
    assert got == (
        '{"n": 1.500e+02, "text": "Open", "translation": "\\u0626\\u0627\\u0686", '
        '"e": "\\u00e9\\/"}\n\n{"text":null}\n{"text":"b","translation":"\\u0626\\u0627\\u0686"}'
    )


def test_json_lines_that_are_done_are_left_alone() -> None:
    text = '{"text": "a", "ug": "x"}\n{"text": "b", "ug": ""}\n{"ug": null, "text": "c"}\n'
    document = opened(text, "jsonl", into="ug")
    assert [s.text for s in document.segments] == ["b", "c"]
    got = translated(document, str.upper)
    assert got == '{"text": "a", "ug": "x"}\n{"text": "b", "ug": "B"}\n{"ug": "C", "text": "c"}\n'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"', "line 2: not JSON"),
        ('["text"]', "line 2: a JSON object"),
        ('{"txt": "a"}', "line 2: the object has no field 'text'"),
        ('{"text": 3}', "line 2: the field 'text' holds no string"),
        ('{"text": "\\ud800"}', "line 2: the text holds half"),
        ('{"text": ' + "[" * 100_000 + "]" * 100_000 + "}", "line 2: JSON nested too deeply"),
    ],
)
def test_bad_json_names_its_line(line: str, message: str) -> None:
    with pytest.raises(TrimixError, match=message):
        opened('{"text": "ok"}\n' + line + "\n", "jsonl")


# Subtitles

SRT = """1
00:00:01,000 --> 00:00:03,000 X1:1 X2:2
{\\an8}<i>Open the file
and read it.</i>

2
00:00:04,000 --> 00:00:06,000
- Who is there?
- Nobody.


3
00:00:07,000 --> 00:00:08,000

4
00:00:09,000 --> 00:00:10,000
The end, --> really

"""
VTT = """WEBVTT - a title
Kind: captions

STYLE
::cue { color: red }

NOTE
Open the file

intro
00:01.000 --> 00:03.000 align:start position:10%
<v Bob>Open the <c.red>file</c>
and read it &amp; close it.

00:00:04.000 --> 00:00:06.000
One line
"""


@given(st.sampled_from([SRT, VTT]), st.sampled_from(["\n", "\r\n", "\r"]), boms, st.integers(0, 40))
def test_subtitles_round_trip(text: str, end: str, bom: bytes, cut: int) -> None:
    format = "srt" if text is SRT else "vtt"
    data = bom + text[: len(text) - cut].replace("\n", end).encode()
    try:
        document = opened(data, format)
    except TrimixError:
        assert "-->" in text[len(text) - cut - 30 :]  # cut off within the times
        return
    assert_round_trips(data, document)
    assert_own_text_changes_nothing(data, document)


def test_a_sentence_over_two_lines_is_one_text_and_two_lines_again() -> None:
    document = opened(SRT, "srt")
    assert [s.text for s in document.segments] == [
        "{\\an8}<i>Open the file and read it.</i>",
        "- Who is there?\n- Nobody.",
        "The end, --> really",
    ]
    got = translated(document, lambda text: text.replace("file", "document"))
    assert got == SRT.replace("file\nand", "document\nand")


@pytest.mark.parametrize("format", ["srt", "vtt"])
@given(lines=st.lists(st.sampled_from([UYGHUR, TIBETAN, "a b", "", " ", "x-->y"]), min_size=1))
def test_pysubs2_reads_the_translation_with_the_times_of_the_source(
    format: str, lines: list[str]
) -> None:
    source = SRT if format == "srt" else VTT
    got = translated(opened(source, format), lambda _: "\n".join(lines))
    before = pysubs2.SSAFile.from_string(source, format)
    after = pysubs2.SSAFile.from_string(got, format)
    assert [(cue.start, cue.end) for cue in after] == [(cue.start, cue.end) for cue in before]
    kept = [line.strip() for line in lines if line.strip()]
    if format == "srt" and kept:
        assert after[0].plaintext.split("\n") == kept or len(kept) == 1


def test_what_is_no_cue_stays_in_vtt() -> None:
    document = opened(VTT, "vtt")
    assert [s.where for s in document.segments] == ["a.vtt:12", "a.vtt:16"]
    assert document.segments[0].text == (
        "<v Bob>Open the <c.red>file</c> and read it &amp; close it."
    )
    got = translated(document, lambda text: text.replace("Open", "Shut").replace("One", "1-->2"))
    assert got == VTT.replace("<v Bob>Open", "<v Bob>Shut").replace("\nand", " and\n").replace(
        "\n read", "\nread"
    ).replace("One", "1--&gt;2")


@pytest.mark.parametrize(
    ("format", "text", "message"),
    [
        ("srt", "1\n00:00:0l,000 --> 00:00:02,000\nx\n", "line 2: looks like times"),
        ("srt", "Hello\n", "line 1: not SRT"),
        ("vtt", "WEBVTT\n\n00:0x --> 00:02.000\nx\n", "line 3: looks like times"),
        ("vtt", "1\n00:00:01,000 --> 00:00:02,000\nx\n", "line 1: not WebVTT"),
    ],
)
def test_broken_subtitles_name_their_line(format: str, text: str, message: str) -> None:
    with pytest.raises(TrimixError, match=message):
        opened(text, format)


# Spellings that programs write and players read; each stays as it is.
TIMES = [
    "00:00:04,000 --> 00:00:06,000",
    "00:00:04,000-->00:00:06,000",
    "00:00:04.000 --> 00:00:06.000",
    "0:0:4,0 --> 0:0:6,5",
    "00:00:04 --> 00:00:06",
    "00:04,000 --> 00:06,000",
    "00:04 --> 00:06",
    "00:00:04:00 --> 00:00:06:12",
    "00:00:04;00 --> 00:00:06;12",
    "100:00:04,000 --> 100:00:06,000",
    "-00:00:04,000 --> 00:00:06,000",
    "00:00:04,000000 --> 00:00:06,000000",
    "  00:00:04,000  -->  00:00:06,000  ",
    "00:00:04,000\t-->\t00:00:06,000",
    "00:00:04,000 ---> 00:00:06,000",
    "00:00:04,000 --> 00:00:06,000 X1:1 X2:2 Y1:3 Y2:4",
    "00:00:04,000 --> 00:00:06,000 align:start position:0%",
    "٠٠:٠٠:٠٤,٠٠٠ --> ٠٠:٠٠:٠٦,٠٠٠",
]
# What other programs made of times; each is told with its line.
DAMAGED = [
    "00:00:04,000 -> 00:00:06,000",
    "00:00:04,000 –> 00:00:06,000",
    "00:00:04,000 —> 00:00:06,000",
    "00:00:04,000 -- > 00:00:06,000",
    "00:00:04,000 - -> 00:00:06,000",
    "00:00:04,000 => 00:00:06,000",
    "00:00:04,000 → 00:00:06,000",
    "00:00:04,000 --&gt; 00:00:06,000",
    "00:00:04,000 --> ",
    "00:00:04,000 -->",
    "--> 00:00:06,000",
    "00: 00: 04, 000 --> 00: 00: 06, 000",
    "00：00：04，000 --> 00：00：06，000",
    "00.00.04,000 --> 00.00.06,000",
    "00:00:04,000 00:00:06,000",
    "00:00:04.000,00:00:06.000",
    "00:00:04,000 - 00:00:06,000",
    "00:00:04,000 –– 00:00:06,000",
    "00:00:04,000 > 00:00:06,000",
    "00:00:04,000 --> 00:00:06,000 Hello",
    "00:00:0l,000 --> 00:00:06,000",
    "OO:00:04,000 --> 00:00:06,000",
]
# Text that only has times in it.
SPOKEN = [
    "At 10:00 - 11:30 we meet.",
    "10:00",
    "It is 10:00:30 now",
    "a -> b",
    "5:3 > 4:2 now",
    "> 7",
]


@pytest.mark.parametrize("times", TIMES)
def test_times_as_files_have_them_stay(times: str) -> None:
    text = f"1\n00:00:01,000 --> 00:00:03,000\nOpen\n\n2\n{times}\nClose\n"
    document = opened(text, "srt")
    assert [s.text for s in document.segments] == ["Open", "Close"]
    assert translated(document, str.upper) == text.replace("Open", "OPEN").replace("Close", "CLOSE")


@pytest.mark.parametrize("stray", ["2\n\n", "2\n\n\n2\n\n", "٢\n \n"])
@pytest.mark.parametrize("said", ["Open\n\nit\n", "1984\n", ""])
def test_the_number_of_a_cue_that_is_gone_is_no_text(stray: str, said: str) -> None:
    times = "00:00:04,000 --> 00:00:06,000\n"
    text = f"1\n{times}{said}\n{stray}2\n{times}Close\n"
    document = opened(text, "srt")
    assert [s.text for s in document.segments] == [*([said.rstrip()] if said else []), "Close"]
    got = translated(document, lambda text: text.swapcase().replace("\n\n", "\n"))
    assert got.endswith(f"\n{stray}2\n{times}cLOSE\n")


@pytest.mark.parametrize("times", DAMAGED)
@pytest.mark.parametrize("number", ["2\n", ""])
def test_damaged_times_are_told_with_their_line(times: str, number: str) -> None:
    text = f"1\n00:00:01,000 --> 00:00:03,000\nOpen\n\n{number}{times}\nClose\n"
    if not number and re.search("[lO]", times):
        return  # such a letter makes a text of it, unless a number says what it is
    with pytest.raises(TrimixError, match=rf"line {5 + bool(number)}: looks like times"):
        opened(text, "srt")
    if "Hello" not in times:  # WebVTT has settings there
        with pytest.raises(TrimixError, match="looks like times"):
            opened(f"WEBVTT\n\n00:01.000 --> 00:03.000\nOpen\n\n{times}\nClose\n", "vtt")


@pytest.mark.parametrize("format", ["srt", "vtt"])
@pytest.mark.parametrize("line", SPOKEN)
def test_times_in_a_text_are_text(format: str, line: str) -> None:
    head = "WEBVTT\n\n" if format == "vtt" else "1\n"
    document = opened(f"{head}00:00:01.000 --> 00:00:03.000\n{line}\n", format)
    assert [s.text for s in document.segments] == [line]


@pytest.mark.parametrize("format", ["srt", "vtt"])
@pytest.mark.parametrize("line", [*TIMES, *DAMAGED[:-2]])
def test_a_translation_that_looks_like_times_makes_no_cue(format: str, line: str) -> None:
    source = SRT if format == "srt" else VTT
    got = translated(opened(source, format), lambda _: line)
    again = opened(got, format)
    assert len(again.segments) == len(opened(source, format).segments)


@given(
    st.lists(st.sampled_from(["a", " ", "་", "ཀ", "<b c='d e'>"])).map("".join), st.integers(1, 4)
)
@example("", 2)
def test_lines_are_broken_without_loss(text: str, count: int) -> None:
    from trimix_cpp.documents.lines import rebreak
    from trimix_cpp.markup.placeholders import find

    keep = [(f.start, f.end) for f in find(text)]
    lines = rebreak(text, count, keep)
    assert 1 <= len(lines) <= count
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert sum(line.count("<b c='d e'>") for line in lines) == text.count("<b c='d e'>")
