"""HTML: what is text is a segment, what is not stays, tags come back."""

from __future__ import annotations

import re

import lxml.html
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from trimix_cpp.documents import FormatOptions, Html, Result, open_document
from trimix_cpp.documents.html_tokens import tokens
from trimix_cpp.errors import TrimixError

from ..support.examples import examples
from ..support.growth import assert_linear

XHTML = "http://www.w3.org/1999/xhtml"

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
        ("<span class='x notranslate'>A<span>B</span></span> Hi", ["<1/> Hi"]),
        ("<br><b>Hi</b><br>", ["<1>Hi</1>"]),
        ("<!-- <p>no</p> --> <p>yes", ["yes"]),
        ("&#1234;&nbsp;&copy; word", ["Ӓ\u00a0© word"]),
        ("<p translate=no>A<p>B</p><ul><li translate=no>a<ul><li>b</ul>c<li>d</ul>", ["B", "d"]),
        ("<div><span translate='no'>A</div><p>B", ["B"]),
        ("<code>rm</code> takes files away", ["<1/> takes files away"]),
        ("<title>A &amp; <b></title><textarea>x</textarea>y", ["A & <b>", "y"]),
        ("<xmp><p>x</xmp><plaintext>y</plaintext>", []),
        ("<p <b>x</b> a='>'>y", ["x<1/> a='>'>y"]),
        ("</><!x>a</3 b>c<p/>d<b/>e", ["a<1/>c", "d<1/>e"]),
        ("<a title=", []),
        ("a < b <= c <3 d & e", ["a < b <= c <3 d & e"]),
        ("<td>a<td title=x>b<th abbr='c'>d", ["a", "x", "b", "c", "d"]),
        ("<style>p { color: red }</style>", []),
        ("<script>never closed", []),
        ("123 <b>4</b>", []),
        ("<p>ئاچ <bdi>فايل</bdi></p><p>ཁ་ཕྱེ།</p>", ["ئاچ <1>فايل</1>", "ཁ་ཕྱེ།"]),
    ],
)
def test_odd_pages(page: str, expected: list[str]) -> None:
    assert texts(page) == expected


def test_attributes_that_people_read_are_texts() -> None:
    page = (
        '<meta name=description content="A  page"><meta name=viewport content="width=x">'
        "<meta property='og:title' content='Its name'><meta name='author' content='Ann'>"
        '<p title="One &amp; two">See <a href="x" title=\'It&#39;s\'>that <img src=a alt=tree></a>'
        '</p><input type=submit value=Go><input value=Stay placeholder = "Your name">'
        '<div aria-label="Menu" translate=no title=no><button title>x</button></div>'
    )
    html = Html(page)
    assert [s.text for s in html.segments] == [
        "A page", "Its name", "One & two", "See <1>that <2/></1>", "It's", "tree", "Go",
        "Your name",
    ]  # fmt: skip
    done = html.render({s.key: Result(s.text.replace("e", "\"'&<")) for s in html.segments})
    assert 'title="On&quot;\'&amp;&lt; &amp; two"' in done
    assert "<a href=\"x\" title='It&#39;s'>that <img src=a alt=\"tr&quot;'&amp;" in done
    only = html.render({html.segments[5].key: Result("دەرەخ")})
    assert only == page.replace("alt=tree", 'alt="دەرەخ"')
    both = html.render({3: Result("<1><2/>X</1>"), 4: Result("Y")})
    assert '<p title="One &amp; two"><a href="x" title=\'Y\'><img src=a alt=tree>X</a></p>' in both


def test_characters_are_spelled_as_in_the_source() -> None:
    page = "<p>&Eacute;t&eacute;&nbsp;&rarr; a > b &#39;x' &copy 1</p>"
    html = Html(page)
    assert html.segments[0].text == "Été\u00a0→ a > b 'x' © 1"
    done = html.render({0: Result("É\u00a0→ > ' © < & é")})
    assert done == "<p>&Eacute;&nbsp;&rarr; > ' © &lt; &amp; &eacute;</p>"


@pytest.mark.parametrize(
    ("page", "target", "expected"),
    [
        ("<html><p>A", "uig", '<html lang="ug" dir="rtl"><p>B'),
        ('<HTML lang="en" class=x><p>A', "uig", '<HTML lang="ug" class=x dir="rtl"><p>B'),
        ("<html lang=en dir=ltr><p>A", "uig", '<html lang="ug" dir="rtl"><p>B'),
        ("<html lang dir = rtl><p>A", "bod", '<html lang="bo" dir = "ltr"><p>B'),
        ('<html xml:lang="en" dir="auto"><p>A', "bod", '<html xml:lang="bo" dir="auto"><p>B'),
        ('<html lang="ug-CN" dir="rtl"><p>A', "uig", '<html lang="ug-CN" dir="rtl"><p>B'),
        ("<p>A", "uig", "<p>B"),
        (f'<?xml version="1.0"?>\n<html xmlns="{XHTML}"><p>A</p></html>', "uig",
         f'<?xml version="1.0"?>\n<html xmlns="{XHTML}" xml:lang="ug" dir="rtl"><p>B</p></html>'),
    ],
)  # fmt: skip
def test_the_root_names_the_language_and_its_direction(
    page: str, target: str, expected: str
) -> None:
    document = open_document(page.encode(), "a.html", None, FormatOptions(target=target))
    assert document.render({0: Result("B")}).decode() == expected
    turned = re.findall(r'dir ?= ?"?(\w+)', expected) != re.findall(r'dir ?= ?"?(\w+)', page)
    assert len([notice for notice in document.notices if "dir=" in notice]) == turned


def test_a_page_says_its_source_language_and_encoding() -> None:
    page = '<html lang="ru"><meta charset="windows-1251"><p>Привет</p>'
    data = page.encode("cp1251")
    document = open_document(data, "a.htm", None, FormatOptions(target="uig"))
    assert (document.source, document.render({})) == ("ru", data)
    assert "<p>&#1726;</p>" in document.render({0: Result("ھ")}).decode("cp1251")
    options = FormatOptions(target="uig", encoding="windows-1251:utf-8")
    done = open_document(data, "a.htm", None, options).render({0: Result("ھ")}).decode()
    assert '<meta charset="utf-8"><p>ھ</p>' in done
    old = "<meta http-equiv=content-type content='text/html; charset=ISO-8859-1'>caf\xe9 \x93a\x94"
    document = open_document(old.encode("latin-1"), "a.html")
    assert document.segments[0].text == "café “a”"
    with pytest.raises(TrimixError, match="meta charset"):
        open_document(b"<meta charset=klingon>a", "a.html")


def test_xhtml_is_read_as_xml() -> None:
    page = (
        '<!DOCTYPE html [<!ENTITY pro "Pro 2">]>\n'
        f'<html xmlns="{XHTML}"><head><title/><script/></head><body><p>A<a id="x"/> <b>b</b>'
        "<![CDATA[ < c]]> &pro; &#233;</p><p translate='no'/><p>d</p><?x <y> ?></body></html>"
    )
    document = open_document(page.encode(), "a.xhtml")
    assert [s.text for s in document.segments] == ["A<1/> <2>b</2> < c <3/> é", "d"]
    done = document.render({0: Result("<3/> <2>x</2> ]]> ü\x0b")}).decode()
    etree.fromstring(done.encode())
    assert '<p>&pro; <b>x</b> ]]&gt; ü<a id="x"/></p>' in done
    broken = "<?xml version='1.0'?><p>a<br>b"
    with pytest.raises(TrimixError, match="well-formed"):
        open_document(broken.encode(), "a.xhtml")
    assert open_document(broken.encode(), "a.html").segments[0].text == "a<1/>b"


PIECES = st.sampled_from(
    ["<p>", "</p>", "<b>", "</b>", "<i a='1>'>", "</i>", "<br/>", "<code>", "</code>", "word ",
     "&amp;", "&#x41;", "<", ">", "&", "<!--", "-->", "\n", "<script>", "</script>", "<svg>",
     "</svg>", '<a translate="no">', "</a>", "<![CDATA[", "]]>", "<?x", "12", "<title>", "</title",
     "<img alt=tree>", '<p title="a', "'", '"', "<html lang=en>", "<pre>", "</pre>", "=", "/>", "é",
     "<textarea>", "</textarea>", "</div>", "<li translate=no>", "<meta charset=utf-8>", "\u00a0",
     "ئاچ", "&nbsp;", "ཁ་ཕྱེ།"]
)  # fmt: skip


@settings(max_examples=examples(200))
@given(st.lists(PIECES, max_size=14).map("".join), st.booleans())
def test_a_page_comes_back_and_its_own_texts_change_nothing(page: str, xml: bool) -> None:
    if xml and "<![CDATA[" in page and "]]>" not in page[page.rindex("<![CDATA[") :]:
        return
    found = [*tokens(page, xml)]
    assert "".join(page[token.start : token.end] for token in found) == page
    html = Html(page, options=FormatOptions(source="eng"), xml=xml)
    assert html.render({}) == page
    assert html.render({s.key: Result(s.text) for s in html.segments}) == page
    starts = [segment.key for segment in html.segments]
    assert starts == sorted(starts)


@settings(max_examples=examples(100))
@given(
    st.lists(
        st.sampled_from(
            [
                "<p>Open ",
                "<b>the</b> ",
                "file</p>",
                "<img alt='a tree'>",
                "<ul><li>one<li>two</ul>",
                "<a href=x title='t t'>link</a> ",
                "&eacute; ",
                "<script>x<y</script>",
                "<p>It&#39;s ",
                "<table><tr><td>cell<td>next</table>",
                "<code>x</code> ",
                "<!-- c --> ",
                "<br>",
            ]
        ),
        max_size=10,
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8),
)
def test_any_answer_is_what_a_browser_reads(parts: list[str], answer: str) -> None:  # fmt: skip
    page = "<html><body>" + "".join(parts) + "</body></html>"
    html = Html(page)
    marked = [f"Q{s.key}{answer}Z" for s in html.segments]
    done = html.render({s.key: Result(t) for s, t in zip(html.segments, marked, strict=True)})
    root = lxml.html.document_fromstring(done)
    shown = "".join(root.itertext()) + "".join(v for e in root.iter() for v in map(str, e.values()))
    for text in marked:
        assert text in shown

    def tags(text: str) -> list[str]:
        return sorted(str(element.tag) for element in lxml.html.document_fromstring(text).iter())

    assert tags(done) == tags(page)


@pytest.mark.parametrize(
    "unit",
    ["<p>a <b>b</b></p>\n", "<b>a", "</b>a", "<", "<a ", "<p title='", "<!--", "<div translate=no>",
     "<span translate=no>a</div>", "&amp", "<code>", "<li translate=no>x", "<script>",
     "<!DOCTYPE [",
     "<a title=b>c</a> ", "</script ", "<title>a"],
)  # fmt: skip
def test_the_work_grows_with_the_page(unit: str) -> None:
    def work(text: str) -> None:
        html = Html(text)
        html.render({s.key: Result("ئاچ <1>") for s in html.segments})

    assert_linear(work, unit, 1500)


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
