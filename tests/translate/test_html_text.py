"""HTML: what is text is a segment, what is not stays, tags come back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimix_cpp.translate import Html, Result

from ..support.examples import examples

PAGE = (
    '<!DOCTYPE html>\n<p class="a">Open <b>the</b> <a href="x?a=1&amp;b=2">file</a> &amp; go.</p>\n'
    "<ul><li>One<li>Two &lt; three<br>four</ul>\n<script>if (a < b) { '<p>' }</script>"
    '<p translate="no">Stay</p><pre>x</pre> Press <code>Ctrl</code>.'
)


def texts(page: str) -> list[str]:
    return [segment.text for segment in Html(page).segments]


def test_segments_have_numbers_for_tags() -> None:
    assert texts(PAGE) == [
        "Open <1>the</1> <2>file</2> & go.",
        "One",
        "Two < three<1/>four",
        "x",
        "Press <1/>.",
    ]


def test_a_page_without_results_is_itself() -> None:
    assert Html(PAGE).render({}) == PAGE


def test_results_come_into_their_places() -> None:
    page = Html(PAGE)
    done = page.render({s.key: Result(s.text.upper()) for s in page.segments})
    assert '<p class="a">OPEN <b>THE</b> <a href="x?a=1&amp;b=2">FILE</a> &amp; GO.</p>' in done
    assert "<script>if (a < b) { '<p>' }</script><p translate=\"no\">Stay</p>" in done
    assert "PRESS <code>Ctrl</code>." in done
    lost = page.render({s.key: Result("X") for s in page.segments})
    assert lost.count("<b></b>") == lost.count("</a>") == 1  # what a model loses is still there


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("plain & text", ["plain & text"]),
        ("<b>a <i>b</b> c</i>", ["<1/>a <2>b<3/> c</2>"]),
        ("<span class='x notranslate'>A<span>B</span></span> Hi", ["Hi"]),
        ("<br><b>Hi</b><br>", ["<1>Hi</1>"]),
        ("<!-- <p>no</p> --> <p>yes", ["yes"]),
        ("&#1234;&nbsp;&copy; word", ["Ӓ\u00a0© word"]),
        ("<style>p { color: red }</style>", []),
        ("<script>never closed", []),
        ("123 <b>4</b>", []),
        ("<p>ئاچ <bdi>فايل</bdi></p><p>ཁ་ཕྱེ།</p>", ["ئاچ <1>فايل</1>", "ཁ་ཕྱེ།"]),
    ],
)
def test_odd_pages(page: str, expected: list[str]) -> None:
    assert texts(page) == expected


@settings(max_examples=examples(50))
@given(
    st.lists(
        st.sampled_from(
            ["<p>", "</p>", "<b>", "</b>", "<i a='1>'>", "</i>", "<br/>", "<code>", "</code>",
             "word ", "&amp;", "&#x41;", "<", ">", "&", "<!--", "-->", "\n", "<script>",
             "</script>", "<svg>", "</svg>", '<a translate="no">', "</a>", "<![CDATA[", "]]>",
             "<?x", "12"]
        ),
        max_size=12,
    ).map("".join)
)  # fmt: skip
def test_any_page_is_read_and_its_tags_survive(page: str) -> None:
    html = Html(page)
    done = html.render({s.key: Result("x") for s in html.segments})
    again = Html(done)
    assert len(again.segments) >= 0
    for tag in ("<b>", "</b>", "<br/>"):
        assert done.count(tag) == html.render({}).count(tag)
