"""A second run touches what is faulty in an output, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimix_cpp.documents import FormatOptions, Result, open_document
from trimix_cpp.errors import TrimixError, UsageError
from trimix_cpp.files import write_json
from trimix_cpp.prompts import language
from trimix_cpp.translate import Checking, existing_in, named_in, redo

CHECKING = Checking(language("eng"), language("uig"))
IN = 'msgid "Open %s"\nmsgstr ""\n\nmsgid "Close"\nmsgstr ""\n\nmsgid "New"\nmsgstr ""\n'
OUT = "# written by hand\n#, fuzzy\n" + IN.replace('""', '"ئاچ"', 1).replace('""', '"تاقا"', 1)


def test_a_catalogue_keeps_all_else(tmp_path: Path) -> None:
    found = redo(
        open_document(IN.encode(), "in.po"), open_document(OUT.encode(), "out.po"), None, CHECKING
    )
    assert [segment.text for segment in found.segments] == ["Open %s", "New"]
    first, new = found.segments
    assert found.before[first.key].reasons == ("loses %s",)
    better = found.better({first.key: Result("%s ئاچ"), new.key: Result("يېڭى")})
    text = found.document.render({**found.kept, **better}).decode()
    assert text == OUT.replace("#, fuzzy\n", "").replace("ئاچ", "%s ئاچ").replace('""', '"يېڭى"')


def test_a_worse_one_is_not_taken() -> None:
    found = redo(
        open_document(IN.encode(), "in.po"), open_document(OUT.encode(), "out.po"), None, CHECKING
    )
    key = found.segments[0].key
    worse = Result("x", True, ("loses %s", "is empty"))
    assert found.better({key: worse})[key].text == "ئاچ"
    assert found.better({})[key].text == "ئاچ"


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.srt"])
def test_files_of_one_language(name: str) -> None:
    cue = "1\n00:00:01,000 --> 00:00:09,000\n{}\n\n2\n00:00:10,000 --> 00:00:19,000\n{}\n"
    form = cue if name == "a.srt" else "{}\n\n{}\n"
    source, output = form.format("Open %s", "Close"), form.format("ئاچ", "تاقا")
    documents = [open_document(text.encode(), name) for text in (source, output)]
    found = redo(documents[0], documents[1], None, CHECKING)
    (segment,) = found.segments
    assert segment.text == "Open %s"
    rendered = found.document.render({**found.kept, segment.key: Result("%s ئاچ")})
    assert rendered.decode() == form.format("%s ئاچ", "تاقا")
    same = found.document.render({**found.kept, **found.better({})})
    assert same.decode() == output


def test_what_a_report_names(tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    write_json({"flagged": [{"where": "a", "source": "Close", "reasons": []}]}, report)
    found = redo(
        open_document(IN.encode(), "in.po"),
        open_document(OUT.encode(), "out.po"),
        named_in(report),
        CHECKING,
    )
    assert [segment.text for segment in found.segments] == ["Close", "New"]
    report.write_text('{"flagged": 1}')
    with pytest.raises(UsageError, match="is no report"):
        named_in(report)


ANDROID = """<resources>
    <string name="{}">{}</string>
    <string name="{}">{}</string>
    <plurals name="files"><item quantity="one">%d</item><item quantity="other">%d</item></plurals>
</resources>
"""


def test_strings_with_names_go_by_them() -> None:
    options = FormatOptions(source="en", target="ug")
    texts = (("open", "Open %s", "close", "Close"), ("close", "تاقا", "open", "ئاچ"))
    documents = [
        open_document(ANDROID.format(*four).encode(), "strings.xml", None, options)
        for four in texts
    ]
    assert documents[1].pairs is None
    there = existing_in(documents[1], documents[0])
    found = [(pair.segment.text, pair.translation) for pair in there.pairs]
    assert found[:2] == [("Open %s", "ئاچ"), ("Close", "تاقا")]
    again = redo(documents[0], documents[1], None, CHECKING)
    assert [segment.text for segment in again.segments] == ["Open %s"]


def test_files_that_do_not_belong_together() -> None:
    one, two = (open_document(text.encode(), "a.txt") for text in ("a\nb\n", "a\n"))
    with pytest.raises(TrimixError, match="cannot be told"):
        redo(one, two, None, CHECKING)


def test_a_table_is_filled_where_it_was() -> None:
    options = FormatOptions(column="en", into="ug")
    source, output = "en\tug\nOpen %s\t\nClose\t\n", "en\tug\nOpen %s\tئاچ\nClose\tتاقا\n"
    documents = [open_document(text.encode(), "a.tsv", None, options) for text in (source, output)]
    found = redo(documents[0], documents[1], None, CHECKING)
    (segment,) = found.segments
    text = found.document.render({segment.key: Result("%s ئاچ")}).decode()
    assert text == output.replace("\tئاچ", "\t%s ئاچ")
