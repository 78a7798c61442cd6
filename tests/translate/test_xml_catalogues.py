"""Localizers' XML files: what is not translated stays byte for byte, the rest is read again."""

from __future__ import annotations

import plistlib
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimix_cpp.documents.opening import Document, open_document
from trimix_cpp.documents.segments import FormatOptions, Result
from trimix_cpp.errors import TrimixError
from trimix_cpp.translate.faults import lost

from ..support.examples import examples
from ..support.growth import assert_linear

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
IN_PLACE = ["strings.xml", "Localizable.stringsdict", "Strings.resx"]
BESIDE = ["messages.xlf", "messages-2.xlf", "app.ts", "memory.tmx"]
FUZZY = ["messages.xlf", "messages-2.xlf", "app.ts"]
FILES = {name: (EXAMPLES / name).read_text(encoding="utf-8") for name in IN_PLACE + BESIDE}
UYGHUR, TIBETAN = "ھۆججەتنى ئاچ", "ཡིག་ཆ་ཁ་འབྱེད།"
names = st.sampled_from(sorted(FILES))
# Whatever a model may answer. Tags that it made up for others are tried in test_inline.
answers = st.one_of(
    st.sampled_from([
        "it's \"so\" & <b>", "]]>", "--", "\\n", "@string/a", "?", "  two  ", "a\nb\n", "", "%s",
        UYGHUR, TIBETAN, "\x00\x0b", "-->", "\u2028", "é\u0301", "&amp;", "\t",
    ]),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=9),
)  # fmt: skip


def opened(text: str | bytes, name: str, **options: object) -> Document:
    data = text.encode() if isinstance(text, str) else text
    options = {"source": "eng", "target": "uig", **options}
    return open_document(data, name, None, FormatOptions(**options))  # type: ignore[arg-type]


def encoded(text: str, encoding: str) -> bytes:
    declared = re.sub('encoding="[^"]*"', f'encoding="{encoding}"', text, count=1)
    return declared.encode(encoding, "xmlcharrefreplace")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "windows-1251"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", FILES)
def test_a_file_comes_back_and_is_read_again(name: str, end: str, encoding: str) -> None:
    text = FILES[name].replace("\n", end)
    data = encoded(text, encoding).replace(b'"utf-8-sig"', b'"utf-8"')
    document = opened(data, name)
    assert document.render({}) == data
    sent = [segment.text for segment in document.segments]
    assert sent == [segment.text for segment in opened(FILES[name], name).segments]
    results = {s.key: Result(f"{UYGHUR} {s.text}", True, ("why",)) for s in document.segments}
    after = document.render(results)
    assert (b"why" in after or "why".encode("utf-16-le") in after) == (name != "memory.tmx")
    ElementTree.fromstring(after)
    again = opened(after, name)
    texts = [segment.text for segment in again.segments]
    texts += [pair.translation for pair in again.pairs or ()]
    for result in results.values():
        assert result.text in texts
    if encoding.startswith("utf-8"):
        lines = after.decode().split("\n")
        assert [line.endswith("\r") for line in lines[:-1]] == [end == "\r\n"] * (len(lines) - 1)


@pytest.mark.parametrize("name", FILES)
def test_lines_that_end_in_several_ways_keep_their_own(name: str) -> None:
    lines = FILES[name].split("\n")
    text = "".join(line + ("\n", "\r\n")[i % 2] for i, line in enumerate(lines[:-1]))
    for target in ("uig", "bod", "rus"):
        document = opened(text, name, target=target)
        assert document.render({}) == text.encode()
        results = {s.key: Result(UYGHUR, True, ("why",)) for s in document.segments}
        after = document.render(results).decode()
        ElementTree.fromstring(after)
        again = opened(after, name, target=target, **({"fuzzy": True} if name in FUZZY else {}))
        results = {s.key: Result(UYGHUR) for s in again.segments}
        alike = opened(FILES[name], name, target=target)
        plain = alike.render({s.key: Result(UYGHUR) for s in alike.segments}).decode()
        if name in FUZZY:  # remarks are gone again, with their lines
            assert again.render(results).decode().replace("\r\n", "\n") == plain


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_text_that_is_its_own_translation_changes_nothing(name: str) -> None:
    document = opened(FILES[name], name)
    same = {s.key: Result(s.text) for s in document.segments}
    after = document.render(same).decode()
    assert after.replace('tools:locale="ug"', 'tools:locale="en"') == FILES[name]


@settings(max_examples=examples(40))
@given(
    names,
    st.lists(answers, min_size=8, max_size=8),
    st.booleans(),
    st.sampled_from(["uig", "bod", "rus", "arb"]),
)
def test_any_answer_is_written_and_read_again(
    name: str, texts: list[str], flagged: bool, target: str
) -> None:
    document = opened(FILES[name], name, target=target)
    results = {
        segment.key: Result(text, flagged, ("lo\nses --", "]]>"))
        for segment, text in zip(document.segments, texts * 2, strict=False)
    }
    after = document.render(results)
    ElementTree.fromstring(after)
    again = opened(after, name, target=target if name in BESIDE else None)
    found = [s.text for s in again.segments] + [p.translation for p in again.pairs or ()]
    untagged = [re.sub(r"</?\d+/?>", "", text) for text in found]
    lost = "[\ufffe\uffff]" if name == "strings.xml" else "[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]"
    for result in results.values():
        text = re.sub(lost, "", re.sub(r"</?\d+/?>", "", result.text))
        assert text in untagged or not text.strip()


def test_what_is_not_well_formed_is_refused_in_one_line() -> None:
    for name, text in FILES.items():
        data = text.encode()
        for at in range(1, len(data) - 2, 13):
            with pytest.raises(TrimixError) as error:
                opened(data[:at], name)
            assert re.match(rf"{re.escape(name)}:? ?(?:line )?\d+: ", str(error.value)), error.value
            assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html/>", "<html> where <"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "/etc/passwd">]><a>&x;</a>', "is a file"),
        ('<?xml version="1.0" encoding="utf-16"?><resources/>', "utf-16|UTF-16"),
        ('<?xml version="1.0" encoding="base64"?><resources/>', "unknown|not known"),
        ("export const x = 1;", "not well-formed XML"),
        ("<a>" * 200, "100 others"),
    ],
)
def test_what_is_something_else_is_refused(name: str, text: str, message: str) -> None:
    with pytest.raises(TrimixError, match=message) as error:
        opened(text, name)
    assert "\n" not in str(error.value)


UNITS = {
    "strings.xml": ('<resources>', '<string name="a">Open <b>a</b></string>\n', "</resources>"),
    "a.stringsdict": ("<plist><dict>", "<key>a</key><string>b</string>\n", "</dict></plist>"),
    "a.xlf": (
        '<xliff version="1.2" xmlns="urn:x"><file><body>',
        "<trans-unit><source>Open <x/></source></trans-unit>\n",
        "</body></file></xliff>",
    ),
    "b.xlf": (
        '<xliff version="2.0" xmlns="urn:x"><file><unit>',
        "<segment><source>Open <ph/></source></segment>\n",
        "</unit></file></xliff>",
    ),
    "a.ts": ("<TS><context>", "<message><source>a</source></message>\n", "</context></TS>"),
    "a.resx": ("<root>", '<data name="a"><value>a</value></data>\n', "</root>"),
    "a.tmx": ("<tmx><body>", '<tu><tuv xml:lang="en"><seg>a</seg></tuv></tu>\n', "</body></tmx>"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNITS)
def test_the_work_is_linear(name: str) -> None:
    head, unit, tail = UNITS[name]

    def work(text: str) -> None:
        document = opened(text + tail, name)
        assert document.segments
        document.render({s.key: Result(UYGHUR, True, ("why",)) for s in document.segments})

    assert_linear(work, unit, 40, head)


MRK = '<g id="{}"><mrk mtype="seg" mid="{}">a</mrk></g>'
BAD = {
    "one line": ("strings.xml", "<resources>", "<string>a</string>", "</resources>"),
    "comments that are none": (
        "strings.xml", "<resources><?x ", "<!-- ", "?><string>a</string></resources>"
    ),
    "spaces in a remark": (
        "a.ts",
        "<TS><context><message><source>a</source><translatorcomment>b",
        " ",
        ".</translatorcomment><translation/></message></context></TS>",
    ),
    "roots that are none": (
        "a.xlf",
        "<xliff><file><body><trans-unit><source>a<![CDATA[",
        "<xliff ",
        "]]></source></trans-unit></body></file></xliff>",
    ),
    "tags": ("strings.xml", "<resources><string>a", "<b>a</b>", "</string></resources>"),
    "open halves": (
        "a.xlf",
        "<xliff><file><body><trans-unit><source>a",
        '<bpt id="1"/>',
        "</source></trans-unit></body></file></xliff>",
    ),
    "segments": (
        "a.xlf",
        "<xliff><file><body><trans-unit><source>a</source><seg-source>",
        MRK,
        "</seg-source></trans-unit></body></file></xliff>",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_strangers_write_costs_its_length(kind: str) -> None:
    name, head, unit, tail = BAD[kind]

    def work(text: str) -> None:
        parts = (part.replace("{}", str(i)) for i, part in enumerate(text.split("\0")))
        document = opened(head + "".join(parts) + tail, name)
        results = {s.key: Result(UYGHUR, True, ("why",)) for s in document.segments}
        assert document.segments
        document.render(results)

    assert_linear(work, unit + "\0", 100 + 4000 // len(unit))


# Android


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (r"  a\n \t b  ", "a\n \t b"),
        (r"It\'s \"so\"", 'It\'s "so"'),
        ('"It\'s  so\n"', "It's  so\n"),
        (r"\@a \? \# \\ \q", "@a ? # \\ q"),
        (r"\u0626\u0020\ud83d\ude00", "ئ 😀"),
        ("a\n    b", "a b"),
        ("<b> a </b> b", "<1>a </1>b"),
        ('<![CDATA[<a href="x">it\'s  </a>\\n]]>', '<a href="x">it\'s  </a>\n'),
        ("&lt;b&gt;a&lt;/b&gt; &amp;amp;", "<b>a</b> &amp;"),
        ('<x:g xmlns:x="urn:oasis:names:tc:xliff:document:1.2">%s</x:g> a', "<1/> a"),
        (r"\ud83d a", "<1/> a"),
    ],
)
def test_android_s_escapes(raw: str, text: str) -> None:
    document = opened(f'<resources><string name="a">{raw}</string></resources>', "strings.xml")
    assert [segment.text for segment in document.segments] == [text]


@pytest.mark.parametrize("raw", ["@string/a", " ?attr/b ", "", " ", "@android:string/ok"])
def test_references_are_no_text(raw: str) -> None:
    assert not opened(f"<resources><string>{raw}</string></resources>", "strings.xml").segments


def test_entities_of_a_file_come_back() -> None:
    text = """<!DOCTYPE resources [
    <!ENTITY app "Notes &amp; more">
]>
<resources><string name="a">&app; cannot open %1$s</string></resources>
"""
    document = opened(text, "strings.xml")
    assert document.segments[0].text == "<1/> cannot open %1$s"
    after = document.render({0: Result("%1$s: <1/>")}).decode()
    assert '<string name="a">%1$s: &app;</string>' in after
    assert ElementTree.fromstring(after)[0].text == "%1$s: Notes & more"


# Apple


def test_plist_reads_what_is_written() -> None:
    name = "Localizable.stringsdict"
    document = opened(FILES[name], name, target="rus")
    after = document.render({s.key: Result(f"{i}") for i, s in enumerate(document.segments)})
    entry = plistlib.loads(after)["files selected"]
    assert entry["NSStringLocalizedFormatKey"] == "0"
    assert entry["files"] == {
        "NSStringFormatSpecTypeKey": "NSStringPluralRuleType",
        "NSStringFormatValueTypeKey": "d",
        "zero": "1", "one": "2", "few": "3", "many": "4", "other": "5",
    }  # fmt: skip
    none = opened(FILES[name], name, target="bod")
    after = none.render({s.key: Result("a") for s in none.segments})
    assert set(plistlib.loads(after)["files selected"]["files"]) == {
        "NSStringFormatSpecTypeKey", "NSStringFormatValueTypeKey", "zero", "other"
    }  # fmt: skip


def test_a_variable_must_survive() -> None:
    assert lost("%#@files@ in %1$#@folders@", "%#@files@") == ("loses %1$#@folders@",)


# XLIFF

XLIFF1 = """<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2">
<file source-language="en"><body>
<trans-unit id="a"><source>Open</source>{}</trans-unit>
</body></file></xliff>
"""


@pytest.mark.parametrize(
    ("target", "sent", "fuzzy"),
    [
        ("", 1, 1),
        ("<target/>", 1, 1),
        ("<target> </target>", 1, 1),
        ('<target state="new">Open</target>', 1, 1),
        ('<target state="needs-translation">Open</target>', 1, 1),
        ('<target state="needs-review-translation">ئاچ</target>', 0, 1),
        ("<target>ئاچ</target>", 0, 0),
        ('<target state="final">ئاچ</target>', 0, 0),
        ('<target state="signed-off"/>', 0, 0),
        ("<alt-trans><target>ئاچ</target></alt-trans>", 1, 1),
    ],
)
def test_translations_stay(target: str, sent: int, fuzzy: int) -> None:
    text = XLIFF1.format(target)
    assert len(opened(text, "a.xlf").segments) == sent
    assert len(opened(text, "a.xlf", fuzzy=True).segments) == fuzzy
    approved = text.replace('id="a"', 'id="a" approved="yes"')
    assert not opened(approved, "a.xlf", fuzzy=True).segments


def test_a_target_is_kept_segment_by_segment_or_whole() -> None:
    text = FILES["messages.xlf"]
    first = '<target><mrk mtype="seg" mid="1">ساقلاي</mrk> <mrk mtype="seg" mid="2"/></target>'
    cut = text.replace("</seg-source>", f"</seg-source>{first}")
    document = opened(cut, "a.xlf")
    assert [s.text for s in document.segments][-1] == "They are lost otherwise."
    after = document.render({document.segments[-1].key: Result("ئاچ")}).decode()
    assert '<mrk mtype="seg" mid="1">ساقلاي</mrk> <mrk mtype="seg" mid="2">ئاچ</mrk></t' in after
    whole = opened(text.replace("</seg-source>", "</seg-source><target>ساقلاي</target>"), "a.xlf")
    assert "Save changes?" not in [s.text for s in whole.segments]
    assert (whole.pairs or ())[-1].segment.text == "Save changes? They are lost otherwise."


def test_states_and_notes_of_xliff_1() -> None:
    document = opened(XLIFF1.format(""), "a.xlf")
    done = document.render({0: Result("ئاچ")}).decode()
    assert '<target state="translated" state-qualifier="mt-suggestion">ئاچ</target>' in done
    assert '<file source-language="en" target-language="ug">' in done
    told = document.render({0: Result("ئاچ", True, ("loses <1>",))}).decode()
    assert 'state="needs-review-translation"' in told
    assert '<note from="trimix-cpp">loses &lt;1&gt;</note>' in told
    # Once more, and all is well: the note goes.
    again = opened(told, "a.xlf", fuzzy=True).render({0: Result("ئاچ")}).decode()
    assert again == done


def test_states_and_notes_of_xliff_2() -> None:
    document = opened(FILES["messages-2.xlf"], "a.xlf")
    told = document.render({0: Result("ئاچ", True, ("why",))}).decode()
    assert '<segment state="initial" subState="trimix-cpp:review">' in told
    assert '<notes><note category="trimix-cpp">why</note></notes>\n      <segment' in told
    again = opened(told, "a.xlf", fuzzy=True)
    assert [s.text for s in again.segments][:1] == ["Open file"]
    assert '<segment state="translated">' in again.render({0: Result("ئاچ")}).decode()
    assert "category" not in again.render({0: Result("ئاچ")}).decode()


def test_tags_of_a_translation_have_their_source_s_numbers() -> None:
    unit = '<target><x id="2"/><g id="3">b</g><x id="1"/></target>'
    text = XLIFF1.format(unit).replace(
        "<source>Open<", '<source><x id="1"/><x id="2"/><g id="3">a</g><'
    )
    (pair,) = opened(text, "a.xlf").pairs or ()
    assert pair.segment.text == "<1/><2/><3>a</3>"
    assert pair.translation == "<2/><3>b</3><1/>"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('<bpt id="1">[b]</bpt>a<ept id="1">[/b]</ept>', "<1>a</1>"),
        ('<bx id="1" rid="9"/>a<ex id="2" rid="9"/>', "<1>a</1>"),
        ('<bpt id="1">x</bpt>a', "<1/>a"),
        ('<ph id="1">%s</ph> <it id="2" pos="open">x</it>a', "<1/> <2/>a"),
        ('<mrk mtype="protected">TriMix</mrk> a', "<1/> a"),
        ('<mrk mtype="term">a</mrk>', "<1>a</1>"),
    ],
)
def test_codes_of_xliff_1(content: str, text: str) -> None:
    document = opened(XLIFF1.format("").replace(">Open<", f">{content}<"), "a.xlf")
    assert document.segments[0].text == text
    after = document.render({0: Result(text)}).decode()
    assert f">{content}</target>" in after


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('<sc id="1"/>a<ec startRef="1"/>', "<1>a</1>"),
        ('<sc id="1" isolated="yes"/>a', "<1/>a"),
        ('<sm id="1"/>a<em startRef="1"/>', "<1>a</1>"),
        ('<mrk id="1" translate="no">TriMix</mrk> a', "<1/> a"),
        ('<cp hex="001b"/>a', "<1/>a"),
    ],
)
def test_codes_of_xliff_2(content: str, text: str) -> None:
    whole = FILES["messages-2.xlf"].replace(">Open file<", f">{content}<")
    document = opened(whole, "a.xlf")
    assert document.segments[0].text == text
    assert f"<target>{content}</target>" in document.render({0: Result(text)}).decode()


def test_a_prefix_and_a_group_that_is_not_translated() -> None:
    text = """<x:xliff xmlns:x="urn:oasis:names:tc:xliff:document:1.2" version="1.2">
<x:file><x:body>
<x:group translate="no" resname="Menu">
<x:trans-unit id="a"><x:source>a</x:source></x:trans-unit>
<x:trans-unit id="b" translate="yes">
<x:source xml:space="preserve">b</x:source></x:trans-unit></x:group>
<source>no</source></x:body></x:file></x:xliff>"""
    document = opened(text, "a.xlf")
    assert [(s.name, s.context) for s in document.segments] == [("b", "Menu")]
    assert (
        '</x:source>\n<x:target xml:space="preserve" state='
        in document.render({0: Result("ئا")}).decode()
    )


# Qt


@pytest.mark.parametrize(("target", "count"), [("uig", 2), ("bod", 1), ("rus", 3), ("arb", 6)])
def test_numerus_forms_are_those_of_the_language(target: str, count: int) -> None:
    document = opened(FILES["app.ts"], "app.ts", target=target)
    forms = [segment for segment in document.segments if segment.form is not None]
    assert [segment.form for segment in forms] == list(range(count))
    after = document.render({s.key: Result(f"{s.form}") for s in forms})
    tree = ElementTree.fromstring(after)
    texts = [form.text for form in tree.iter("numerusform")]
    assert texts == [str(i) for i in range(count)]
    assert [t.get("type") for t in tree.iter("translation")][2] is None


def test_qt_s_bytes_and_marks() -> None:
    text = FILES["app.ts"].replace("Copy %1", 'Copy<byte value="x1b"/> %1')
    document = opened(text, "app.ts")
    assert document.segments[-1].text == "Copy<1/> %1 to %2"
    key = document.segments[-1].key
    told = document.render({key: Result("<1/>'%1'", True, ("loses %2",))}).decode()
    assert '<translation type="unfinished"><byte value="x1b"/>&apos;%1&apos;</translation>' in told
    assert "<translatorcomment>trimix-cpp: loses %2</translatorcomment>" in told
    again = opened(told, "app.ts", fuzzy=True)
    done = again.render({key: Result("<1/> %1 %2")}).decode()
    assert "trimix-cpp" not in done
    assert '<translation><byte value="x1b"/> %1 %2</translation>' in done


@pytest.mark.skipif(shutil.which("lconvert") is None, reason="needs Qt's lconvert")
def test_lconvert_writes_the_same(tmp_path: Path) -> None:
    document = opened(FILES["app.ts"], "app.ts")
    results = {s.key: Result(f"«{s.text}'»", s.key == 4, ("why",)) for s in document.segments}
    ours, theirs = tmp_path / "ours.ts", tmp_path / "theirs.ts"
    ours.write_bytes(document.render(results))
    subprocess.run(["lconvert", "-i", ours, "-o", theirs], check=True, timeout=60)
    assert theirs.read_bytes() == ours.read_bytes()


# TMX


def test_pairs_of_a_memory() -> None:
    document = opened(FILES["memory.tmx"], "memory.tmx", source="en", target="ug")
    assert [(p.segment.text, p.translation) for p in document.pairs or ()] == [("Close", "ياپ")]
    german = opened(FILES["memory.tmx"], "memory.tmx", source="eng", target="de")
    assert [(p.segment.text, p.translation) for p in german.pairs or ()] == [
        ("Open <1>file</1>", "<1>Datei</1> öffnen")
    ]
    assert not opened(FILES["memory.tmx"], "memory.tmx", source="kaz", target="de").pairs
    back = opened(FILES["memory.tmx"], "memory.tmx", source="deu", target="eng")
    assert [p.translation for p in back.pairs or ()] == ["Open <1>file</1>"]
    assert back.notices == ()


def test_languages_are_told() -> None:
    for name, said in {
        "messages.xlf": ("en", "ug"), "messages-2.xlf": ("en", "ug"), "app.ts": ("en", "ug"),
        "strings.xml": ("en", None), "memory.tmx": ("en", None), "Strings.resx": (None, None),
    }.items():  # fmt: skip
        document = opened(FILES[name], name, source=None, target=None)
        assert (document.source, document.target) == said


def test_the_encoding_that_is_written_is_declared() -> None:
    data = encoded(FILES["strings.xml"], "iso-8859-1")
    document = opened(data, "strings.xml", encoding="iso-8859-1:utf-8")
    after = document.render({s.key: Result(UYGHUR) for s in document.segments})
    assert after.startswith(b'<?xml version="1.0" encoding="utf-8"?>')
    assert UYGHUR in after.decode("utf-8")
