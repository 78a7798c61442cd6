"""Tags within a text: numbered for the models, each back once, in XML that is well nested."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.documents.inline import Inline, Role, Tag, inline, pieces_of
from trimix_cpp.documents.xml_file import Element, parse
from trimix_cpp.errors import TrimixError

from ..support.growth import assert_linear

texts = st.one_of(
    st.sampled_from(["", " ", "Open", "<1>", "</2>", "<3/>", "a & b", "]]>", "ئاچ", "བོད་", "\n"]),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=5),
)
names = st.sampled_from(["b", "g", "x", "a:b"])


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


contents = st.recursive(
    st.one_of(
        texts.map(escaped),
        names.map(lambda name: f"<{name}/>"),
        st.just("<!-- a -->"),
        st.just("<?php <1> ?>"),
        st.just("&app;"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map("".join),
        st.tuples(names, inner).map(lambda pair: f"<{pair[0]} id='>'>{pair[1]}</{pair[0]}>"),
    ),
    max_leaves=12,
)
HEAD = '<!DOCTYPE r [<!ENTITY app "TriMix">]>\n<r xmlns:a="urn:a">'


def by_content(element: Element) -> Role:
    return "whole" if element.name == "x" else "pair"


def read(content: str) -> Inline:
    text = f"{HEAD}{content}</r>"
    root = parse(text, "a.xml")
    assert root is not None
    return inline(pieces_of(text, root, by_content))


@given(contents)
def test_a_text_is_written_as_it_was(content: str) -> None:
    read_ = read(content)
    assert read_.write(read_.text) == content
    assert read(read_.write(read_.text)) == read(content)


translations = st.lists(
    st.one_of(
        texts,
        st.builds("<{}{}{}>".format, st.sampled_from(["", "/"]), st.integers(0, 9),
                  st.sampled_from(["", "/", " /"])),
    ),
    max_size=10,
).map("".join)  # fmt: skip


@given(contents, translations)
def test_any_translation_is_well_formed_and_has_every_tag_once(
    content: str, translation: str
) -> None:
    before = read(content)
    written = before.write(translation)
    ElementTree.fromstring(f"{HEAD}{written}</r>")
    after = read(written)
    assert sorted(map("".join, after.tags.values())) == sorted(map("".join, before.tags.values()))


def test_what_the_models_see() -> None:
    tagged = read('<b>Warning:</b> see <x id="7">p. 7</x>, &lt;1&gt; &amp; all')
    assert tagged.text == "<2>Warning:</2> see <3/>, <1> & all"
    assert tagged.write("<3/>: <2>ئاگاھ</2>") == '<x id="7">p. 7</x>: <b>ئاگاھ</b>'
    assert read("&#x41;<![CDATA[<b>&amp;]]>&apos;").text == "A<b>&amp;'"
    # Lost, doubled, crossed.
    assert tagged.write("a") == 'a<b></b><x id="7">p. 7</x>'
    assert tagged.write("<2>a</2> <2>b</2><3/>") == '<b>a</b> b<x id="7">p. 7</x>'
    crossed = read("<b>a</b><i>b</i>")
    assert crossed.write("<1>a<2>b</1>c</2>") == "<b>a<i>b</i></b>c"


def test_halves_that_nest_are_pairs_and_others_stand_alone() -> None:
    def tags(spelled: str) -> str:
        return inline(
            Tag(each, "open" if each.isupper() else "close", each.lower())
            if each.isalpha()
            else each
            for each in spelled
        ).text

    assert tags("A.b") == "<1/>.<2/>"
    assert tags("A.B.b.a") == "<1>.<2>.</2>.</1>"
    assert tags("A.B.a.b") == "<1/>.<2>.<3/>.</2>"
    assert tags("a.A") == "<1/>.<2/>"
    assert tags("A.A.a.a") == "<1/>.<2>.</2>.<3/>"


@pytest.mark.parametrize("unit", ["<b>a</b>", "<x/>a", "&lt;1&gt;", "&app;", "<!-- -->"])
def test_the_work_is_linear(unit: str) -> None:
    def work(content: str) -> None:
        read_ = read(content)
        read_.write(read_.text)

    assert_linear(work, unit, 400)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("<a>\n<b></a>", 2),
        ("<a>\n&nbsp;</a>", 2),
        ("<a/>\n<a/>", 2),
        ("<a>\n<b", 2),
        ("a", 1),
        ("<a>" * 101 + "</a>" * 101, 1),
        ('<!DOCTYPE a [\n<!ENTITY x SYSTEM "/etc/passwd">]><a>&x;</a>', 2),
        ('<!DOCTYPE a [\n<!ENTITY % x "y">]><a/>', 2),
        ('<!DOCTYPE a [<!ENTITY x "lol">\n<!ENTITY y "&x;&x;">]><a>&y;</a>', 2),
        ('<!DOCTYPE a [<!ENTITY x "lol">\n<!ENTITY y "&#38;x;">]><a>&y;</a>', 2),
        (f'<!DOCTYPE a [<!ENTITY x "{"l" * 1000}">]><a b="&x;"/>', 1),
        ('<a xmlns:x="u">\n<y:b/></a>', 2),
        ("<a>\x01</a>", 1),
    ],
)
def test_what_is_no_xml_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(TrimixError, match=rf"^a.xml: line {line}: ") as error:
        parse(text, "a.xml")
    assert "\n" not in str(error.value)


@given(st.text(alphabet="<>/ab &;\"'=![]?-\nཀ", max_size=30))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        root = parse(f"<r>{text}</r>", "a.xml")
    except TrimixError:
        return
    assert root is not None
    assert root.inner == 3
