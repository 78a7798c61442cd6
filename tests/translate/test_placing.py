"""What becomes of faulty translations, and what reports say of them."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.documents import Segment, open_document
from trimix_cpp.fusion import Weights
from trimix_cpp.prompts import language
from trimix_cpp.translate import Outcome, Placing, Recipe, lay_out, results_of
from trimix_cpp.translate.faults import Checking
from trimix_cpp.translate.files import check_paths
from trimix_cpp.translate.placing import Mark, OnFault
from trimix_cpp.translate.reports import html, tsv, write_report
from trimix_cpp.translate.summary import Row, Summary, summarize

ENG, UIG, MVF = language("eng"), language("uig"), language("mvf")
UIGHUR = Checking(ENG, UIG)
RECIPE = Recipe(ENG, UIG, Weights(0.1, 0.9))
PO = 'msgid "Open %s?"\nmsgstr ""\n\nmsgid "Close"\nmsgstr ""\n\nmsgid "1.0"\nmsgstr ""\n'
ANSWERS = {"Open %s?": Outcome("ئاچ؟", ("loses %s",)), "Close": Outcome("تاقا")}


def done(on_fault: OnFault, mark: Mark) -> tuple[str, Summary]:
    document = open_document(PO.encode(), "a.po")
    layouts = lay_out(document.segments, cut=0, labels=True)
    outcomes = {unit: ANSWERS[unit.text] for layout in layouts for unit in layout.asked}
    placing = Placing(UIGHUR, on_fault, mark)
    judged = placing.judged(layouts, results_of(layouts, outcomes))
    placed = placing.placed(layouts, judged)
    summary = summarize(layouts, judged, outcomes, placed, resumed=0, recipe=RECIPE, seconds=0.0)
    return document.render(placed).decode(), summary


@pytest.mark.parametrize("mark", ["all", "faults", "none"])
@pytest.mark.parametrize(
    ("on_fault", "strings", "counts"),
    [
        ("mark", ["ئاچ؟", "تاقا", "1.0"], (2, 0)),
        ("keep", ["Open %s?", "تاقا", "1.0"], (1, 1)),
        ("drop", ["", "تاقا", "1.0"], (1, 1)),
    ],
)
def test_what_comes_into_the_file(
    on_fault: OnFault, strings: list[str], counts: tuple[int, int], mark: Mark
) -> None:
    text, summary = done(on_fault, mark)
    assert re.findall(r'msgstr "(.*)"', text) == strings
    assert (summary.translated, summary.untranslated) == counts
    assert summary.passed_through == 1
    (row,) = summary.flagged
    assert (row.translation, row.reasons, row.used) == ("ئاچ؟", ("loses %s",), on_fault == "mark")
    fuzzy = {"all": 2, "faults": 1, "none": 0}[mark]
    assert text.count("fuzzy") == fuzzy - (on_fault == "drop" and fuzzy > 0)


def test_late_checks_are_told_too_and_can_be_switched_off() -> None:
    (layout,) = lay_out([Segment(0, "Save it?", "f:1")], cut=0, labels=False)
    outcomes = {layout.asked[0]: Outcome("ساقلا")}
    results = results_of([layout], outcomes)
    judged = Placing(UIGHUR).judged([layout], results)
    assert judged[0].reasons == ("ends without a question mark",)
    assert judged[0].flagged
    quiet = Placing(Checking(ENG, UIG, frozenset({"ends"}))).judged([layout], results)
    assert quiet == results


ROWS = [
    Row("a.po:1", ("loses %s",), "Open <b>%s</b>\n\t&c", "ئاچ <script>alert(1)</script>", True),
    Row("a.po:2", (), "Close", "تاقا\u202e", False),
    Row("a.po:3", ("is too long",), "x\\n", None, False),
]


class Cells(HTMLParser):
    """The text of every cell, by row, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = self.inside or tag in ("td", "th")
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1] and self.inside:
            self.rows[-1][-1] += data


def parsed(page: str) -> Cells:
    cells = Cells()
    cells.feed(page)
    return cells


def test_html_shows_texts_side_by_side_and_runs_nothing() -> None:
    page = parsed(html(ROWS, ENG, UIG))
    assert page.rows[1][:4] == [
        "a.po:1", "Open <b>%s</b>\n\t&c", "ئاچ <script>alert(1)</script>", "loses %s",
    ]  # fmt: skip
    assert page.rows[2][2:] == ["تاقاU+202E", "not in the file"]
    names = [tag for tag, _ in page.tags]
    assert not {"script", "link", "img", "iframe", "b"} & set(names)
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert not any("src" in attrs or "href" in attrs for _, attrs in page.tags)
    ways = [(attrs.get("lang"), attrs.get("dir")) for tag, attrs in page.tags if tag == "td"]
    assert ways.count(("en", "ltr")) == ways.count(("ug", "rtl")) == 3


def test_html_writes_mongolian_in_columns() -> None:
    page = html([Row("a:1", (), "Open", "ᠨᠡᠭᠡᠭᠡ")], ENG, MVF)
    assert 'class="text ttb"' in page
    assert "writing-mode: vertical-lr" in page
    assert parsed(page).rows[1][2].rstrip() == "ᠨᠡᠭᠡᠭᠡ"


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=10))
def test_any_text_stays_in_its_cell(source: str, translation: str, reason: str) -> None:
    rows = [Row("f:1", (reason,), source, translation)]
    assert [len(row) for row in parsed(html(rows, ENG, UIG)).rows] == [4, 4]
    lines = tsv(rows).split("\n")
    assert [line.count("\t") for line in lines] == [4, 4, 0]
    cell = lines[1].split("\t")[3]
    spelled = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
    assert re.sub(r"\\(.)", lambda match: spelled[match[1]], cell) == translation


@pytest.mark.parametrize("name", ["r.json", "r.tsv", "r.html"])
def test_a_report_overwrites_a_report_and_nothing_else(tmp_path: Path, name: str) -> None:
    _, summary = done("mark", "faults")
    path = tmp_path / name
    source, out = tmp_path / "a.po", tmp_path / "b.po"
    source.write_text(PO)
    write_report(path, summary, ENG, UIG)
    check_paths(source, out, None, path, force=False)
    path.write_text("mine")
    with pytest.raises(Exception, match=r"there already|exists|not"):
        check_paths(source, out, None, path, force=False)


def test_json_holds_all_where_it_is_asked_to() -> None:
    _, summary = done("mark", "faults")
    assert "all" not in summary.document()
    document = json.loads(json.dumps(summary.document(True), ensure_ascii=False))
    assert [row["source"] for row in document["all"]] == ["Open %s?", "Close", "1.0"]
    assert [row["source"] for row in document["flagged"]] == ["Open %s?"]
