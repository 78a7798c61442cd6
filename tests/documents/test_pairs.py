"""What a file holds translations of already: pairs, by keys that render knows too."""

from __future__ import annotations

import json

import pytest

from trimix_cpp.documents import FormatOptions, Result, open_document

PO = """msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"

msgid "Open"
msgstr "ئاچ"

#, fuzzy
msgid "Close"
msgstr "تاقا"

msgid "Print"
msgstr ""

#, c-format
msgid "one file"
msgid_plural "%d files"
msgstr[0] "بىر ھۆججەت"
msgstr[1] "%d ھۆججەت"
"""
TSV = "en\tug\nOpen\tئاچ\nClose\t\n"
JSONL = "\n".join(
    json.dumps(line, ensure_ascii=False)
    for line in ({"text": "Open", "translation": "ئاچ"}, {"text": "Close"})
)
FILES = {
    "a.po": (PO, FormatOptions()),
    "a.tsv": (TSV, FormatOptions(column="en", into="ug")),
    "a.csv": (TSV.replace("\t", ","), FormatOptions(column="en", into="ug")),
    "a.jsonl": (JSONL, FormatOptions()),
}


@pytest.mark.parametrize("name", FILES)
def test_a_text_is_a_pair_or_is_to_be_translated(name: str) -> None:
    text, options = FILES[name]
    document = open_document(text.encode(), name, options=options)
    assert document.pairs is not None
    pairs = {pair.segment.text: pair.translation for pair in document.pairs}
    assert pairs["Open"] == "ئاچ"
    open_ = {segment.text for segment in document.segments}
    assert not open_ & pairs.keys()
    keys = [item.segment.key for item in document.pairs] + [item.key for item in document.segments]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", FILES)
def test_render_replaces_what_was_translated(name: str) -> None:
    text, options = FILES[name]
    document = open_document(text.encode(), name, options=options)
    assert document.pairs is not None
    key = next(pair.segment.key for pair in document.pairs if pair.segment.text == "Open")
    assert document.render({key: Result("ئېچىش")}).decode() == text.replace("ئاچ", "ئېچىش")


def test_plural_forms_are_pairs_of_their_own() -> None:
    pairs = open_document(PO.encode(), "a.po").pairs
    assert pairs is not None
    assert [(pair.segment.text, pair.translation, pair.fuzzy) for pair in pairs] == [
        ("Open", "ئاچ", False),
        ("Close", "تاقا", True),
        ("one file", "بىر ھۆججەت", False),
        ("%d files", "%d ھۆججەت", False),
    ]


@pytest.mark.parametrize("name", ["a.txt", "a.srt", "a.md"])
def test_a_file_of_one_language_has_none(name: str) -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\nOpen\n" if name == "a.srt" else "Open\n"
    assert open_document(text.encode(), name).pairs is None


def test_a_po_file_tells_contexts_comments_and_forms() -> None:
    text = PO + (
        "\n# of the door\n#. a verb,\n#. short\n#: a.c:1\n# trimix-cpp: is odd\n"
        'msgctxt "menu"\nmsgid "Shut"\nmsgstr "ياپ"\n'
        '\nmsgid "_: a noun\\nCut"\nmsgstr "كەس"\n'
    )
    segments = [pair.segment for pair in open_document(text.encode(), "a.po").pairs or ()]
    assert [segment.form for segment in segments] == [None, None, 0, 1, None, None]
    assert (segments[4].context, segments[4].comment) == ("menu", "of the door a verb, short")
    assert (segments[5].context, segments[5].text) == ("a noun", "Cut")


def test_scripts_find_documents_where_they_were() -> None:
    from trimix_cpp.documents import open_document
    from trimix_cpp.translate.documents import open_document as by_its_old_name

    assert by_its_old_name is open_document
