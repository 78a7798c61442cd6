"""Documents in ZIP files: other programs read the translation, and all else keeps its bytes."""

from __future__ import annotations

import io
import re
import shutil
import struct
import subprocess
import zipfile
from pathlib import Path

import docx
import pytest
from docx.oxml.ns import qn
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from trimix_cpp.documents import Document, FormatOptions, Result, open_document
from trimix_cpp.documents.zipped import MOST_MEMBERS, Zip
from trimix_cpp.errors import TrimixError

from ..support.examples import examples
from ..support.growth import assert_linear
from ..support.refusals import taken

UYGHUR, TIBETAN = "ھۆججەتنى ئاچ", "ཡིག་ཆ་ཁ་འབྱེད།"
W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
answers = st.one_of(
    st.sampled_from(["it's \"so\" & <b>", "]]>", "\\n", "  two  ", "a\nb\t", "", UYGHUR, TIBETAN,
                     "\x00\x0b", "</1>", "<2/><1>x", "é\u0301", "&amp;"]),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=9),
)  # fmt: skip


def opened(data: bytes, name: str, **options: str) -> Document:
    return open_document(data, name, None, FormatOptions(**{"source": "eng", **options}))  # type: ignore[arg-type]


def texts(document: Document) -> list[str]:
    return [segment.text for segment in document.segments]


def packed(members: dict[str, str | bytes], stored: tuple[str, ...] = ()) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            kind = zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name), content, kind)
    return out.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


# ZIP files


@settings(max_examples=examples(50))
@given(
    st.dictionaries(
        st.text("abc/é.", min_size=1, max_size=6).filter(
            lambda n: not n.startswith("/") and ".." not in n.split("/")
        ),
        st.tuples(st.binary(max_size=40), st.binary(max_size=40), st.booleans(), st.booleans()),
        min_size=1,
        max_size=5,
    ),
    st.binary(max_size=5),
)
def test_some_members_change_and_the_others_keep_their_bytes(
    contents: dict[str, tuple[bytes, bytes, bool, bool]], comment: bytes
) -> None:
    data = packed(
        {name: old for name, (old, _, _, _) in contents.items()},
        tuple(name for name, (_, _, stored, _) in contents.items() if stored),
    )
    with zipfile.ZipFile(buffer := io.BytesIO(data), "a") as archive:
        archive.comment = comment
    if b"PK\5\6" in comment:
        return
    data = buffer.getvalue()
    found = Zip(data, "a.zip")
    assert found.names == list(contents)
    assert found.with_members({}) == data
    changes = {name: new for name, (_, new, _, change) in contents.items() if change}
    after = found.with_members(changes)
    expected = {n: new if change else old for n, (old, new, _, change) in contents.items()}
    assert members(after) == expected
    again = Zip(after, "a.zip")
    assert {name: again.read(name) for name in again.names} == expected
    assert again.with_members({n: c[0] for n, c in contents.items() if c[3]}) == data


def test_sizes_behind_the_bytes_are_read_and_kept() -> None:
    class Stream(io.RawIOBase):  # no seeking: zipfile writes sizes behind each member
        data = b""

        def writable(self) -> bool:
            return True

        def write(self, more: object) -> int:
            self.data += bytes(more)  # type: ignore[call-overload]
            return len(bytes(more))  # type: ignore[call-overload]

    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[call-overload]
        for name in "abc":
            archive.writestr(name, name * 50)
    after = Zip(stream.data, "a").with_members({"b": b"new"})
    assert members(after) == {"a": b"a" * 50, "b": b"new", "c": b"c" * 50}


def bad_zips() -> dict[str, bytes]:
    plain = packed({"a": "x" * 100, "b": "y" * 100})
    directory = plain.index(b"PK\1\2")
    second = plain.index(b"PK\1\2", directory + 4)

    def patched(at: int, new: bytes) -> bytes:
        return plain[:at] + new + plain[at + len(new) :]

    return {
        "is no ZIP": b"PK\3\4 and nothing else",
        "behind its end": plain + b"x",
        "before": b"PK" + plain,
        "encrypted": patched(directory + 8, b"\1"),
        "damaged": patched(plain.index(b"a", 4) + 3, b"\xff\xff"),
        "two things": patched(30, b"c"),
        "overlap|two things": patched(second + 42, struct.pack("<L", 0)),
        "leads elsewhere": packed({"../a": "x"}),
        "'/etc/x', which": packed({"/etc/x": "x"}),
        "'a.*b', which": packed({"a\\b": "x"}),
        "two members": plain.replace(b"b", b"a"),
        f"{MOST_MEMBERS:,} members": packed({f"{i}": b"" for i in range(MOST_MEMBERS + 1)}),
    }


@pytest.mark.parametrize("why", bad_zips())
def test_what_could_be_read_in_two_ways_is_refused(why: str) -> None:
    data = bad_zips()[why]
    with pytest.raises(TrimixError, match=why) as error:
        found = Zip(data, "a.docx")
        [found.read(name) for name in found.names]
    assert "\n" not in str(error.value)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = bytearray(packed({"a": b"\0" * (1 << 20)}))
    at = bomb.index(b"PK\1\2")
    for size in (100, 1 << 30):  # it says less, and more, than what it holds
        bomb[at + 24 : at + 28] = struct.pack("<L", size)
        with pytest.raises(TrimixError, match=r"damaged|MiB"):
            Zip(bytes(bomb), "a").read("a")


@given(st.binary(max_size=80), st.integers(0, 300), st.binary(min_size=1, max_size=4))
def test_any_bytes_are_read_or_refused(tail: bytes, at: int, patch: bytes) -> None:
    plain = packed({"a": "x" * 9, "b/c": "y" * 9})

    def read(data: bytes) -> None:
        found = Zip(data, "a")
        assert found.with_members({}) == data
        [found.read(name) for name in found.names]

    taken(lambda: read(b"PK" + tail))
    taken(lambda: read(plain[:at] + patch + plain[at + len(patch) :]))


# DOCX


def word(body: str, **more: str) -> bytes:
    """A document with that body; `more` are headers and the like, by name."""
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml"
    parts = {"document": f"<w:document {NAMES}><w:body>{body}</w:body></w:document>", **more}
    kinds = {name: f"{main}.{re.sub('[0-9]', '', name)}+xml" for name in parts}
    kinds["document"] = f"{main}.document.main+xml"
    overrides = "".join(
        f'<Override PartName="/word/{name}.xml" ContentType="{kind}"/>'
        for name, kind in kinds.items()
    )
    rels = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    return packed({
        "[Content_Types].xml":
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default '
            'Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships'
            f'+xml"/><Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>',
        "_rels/.rels":
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="r1" Type="{rels}" Target="word/document.xml"/></Relationships>',
        "word/media/image1.png": b"\x89PNG \0\1",
        **{f"word/{name}.xml": text for name, text in parts.items()},
    })  # fmt: skip


NAMES = (
    f'xmlns:w="{W}" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" '
    'xmlns:v="urn:schemas-microsoft-com:vml"'
)


def run(text: str, properties: str = "") -> str:
    rpr = f"<w:rPr>{properties}</w:rPr>" if properties else ""
    return f'<w:r>{rpr}<w:t xml:space="preserve">{text}</w:t></w:r>'


BOX = (
    "<w:r><w:pict><v:textbox><w:txbxContent><w:p>" + run("In a box") + "</w:p></w:txbxContent>"
    "</v:textbox></w:pict></w:r>"
)
FIELD = (
    '<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText> PAGE </w:instrText></w:r>'
    '<w:r><w:fldChar w:fldCharType="separate"/></w:r><w:r><w:t>one</w:t></w:r>'
    '<w:r><w:fldChar w:fldCharType="end"/></w:r>'
)
BODY = (
    "<w:p><w:pPr><w:pStyle w:val='Title'/><w:jc w:val='center'/></w:pPr>"
    + run("Annual ") + '<w:proofErr w:type="spellStart"/>'
    + run("report", '<w:lang w:val="en-US"/>') + "</w:p>"
    "<w:p w:rsidR='1'><w:bookmarkStart w:id='0' w:name='a'/>" + run("Read the ")
    + run("whole", "<w:b/>") + run(" of ") + run("it", "<w:b/><w:sz w:val='30'/>")
    + '<w:hyperlink r:id="r9">' + run(" on the ", "<w:u/>") + run("web", "<w:u/>")
    + "</w:hyperlink>" + run(" &amp; page ") + FIELD + run(".") + "<w:bookmarkEnd w:id='0'/></w:p>"
    "<w:p><w:del w:id='1'><w:r><w:delText>gone</w:delText></w:r></w:del><w:ins w:id='2'>"
    + run("Added") + "</w:ins>" + run(" here") + "<w:r><w:tab/><w:t>and there</w:t><w:br/></w:r>"
    "</w:p><w:p>" + run("Around ") + BOX + run("the box") + "</w:p>"
    "<w:tbl><w:tblPr><w:tblW w:w='0'/></w:tblPr><w:tr><w:tc><w:p>" + run("Cell") + "</w:p></w:tc>"
    "</w:tr></w:tbl><w:p>" + run("12.5 %") + "</w:p><w:p/><w:sectPr><w:pgSz/></w:sectPr>"
)  # fmt: skip
WORD = word(
    BODY,
    header1=f"<w:hdr {NAMES}><w:p>{run('Top of the page')}</w:p></w:hdr>",
    footnotes=f"<w:footnotes {NAMES}><w:footnote w:id='1'><w:p>{run('A note')}</w:p></w:footnote>"
    "</w:footnotes>",
    comments=f"<w:comments {NAMES}><w:comment w:id='1'><w:p>{run('Really?')}</w:p></w:comment>"
    "</w:comments>",
)


def word_texts(data: bytes) -> list[str]:
    """What python-docx reads."""
    document = docx.Document(io.BytesIO(data))
    found = [p.text for p in document.paragraphs]
    return found + [c.text for t in document.tables for row in t.rows for c in row.cells]


def test_paragraphs_of_word_are_texts_with_numbers_for_what_differs() -> None:
    document = opened(WORD, "a.docx")
    assert texts(document) == [
        "Annual report",
        "Read the <1>whole</1> of <2>it</2><3> on the web</3> & page <4/>.",
        "<1>Added</1> here<2/>and there",
        "Around <1/>the box",
        "In a box",
        "Cell",
        "Top of the page",
        "A note",
        "Really?",
    ]
    assert document.render({}) == WORD
    assert document.render({s.key: Result(s.text) for s in document.segments}) == WORD


def test_a_translation_is_read_by_python_docx_and_its_language_is_said() -> None:
    document = opened(WORD, "a.docx", target="uig")
    assert "run from the right" in document.notices[0]
    results = {s.key: Result(s.text.replace("e", "ې")) for s in document.segments}
    after = document.render(results)
    plain = [re.sub("<.*?>", "", result.text) for result in results.values()]
    read = word_texts(after)
    assert read[:2] == [
        plain[0],
        plain[1].replace("page .", "page one.").replace("pagې .", "pagې one."),
    ]
    assert (read[3], read[-1]) == (plain[3], plain[5])
    old, new = members(WORD), members(after)
    assert [n for n in old if old[n] != new[n]] == [
        f"word/{name}.xml" for name in ("document", "header1", "footnotes", "comments")
    ]
    assert list(old) == list(new)
    text = new["word/document.xml"].decode()
    assert text.count("<w:bidiVisual/>") == 1
    assert "<w:pStyle w:val='Title'/><w:bidi/><w:jc w:val='center'/>" in text
    assert "<w:pgSz/><w:bidi/></w:sectPr>" in text
    assert "<w:del w:id='1'><w:r><w:delText>gone</w:delText></w:r></w:del>" in text
    assert "<w:p>" + run("12.5 %") + "</w:p><w:p/>" in text
    bold = ('<w:rPr><w:b/><w:bCs/><w:rtl/><w:lang w:val="ug" w:bidi="ug"/></w:rPr>'
            '<w:t xml:space="preserve">wholې</w:t>')  # fmt: skip
    assert bold in text
    assert text.count("<w:rtl/>") > 8
    tibetan = opened(WORD, "a.docx", target="bod").render({5: Result(TIBETAN)})
    assert members(tibetan)["word/document.xml"].decode() == members(WORD)[
        "word/document.xml"
    ].decode().replace(run("Cell"), run(TIBETAN, '<w:lang w:val="bo" w:bidi="bo"/>'))


@settings(max_examples=examples(60))
@given(st.lists(answers, min_size=9, max_size=9), st.sampled_from(["uig", "bod"]))
def test_any_answer_is_written_into_word(made_up: list[str], target: str) -> None:
    document = opened(WORD, "a.docx", target=target)
    after = document.render({i: Result(f"Q{text}Z") for i, text in enumerate(made_up)})
    root = etree.fromstring(members(after)["word/document.xml"])
    for text in root.iter(f"{{{W}}}t"):
        assert text.getparent().tag == f"{{{W}}}r"
    assert len([*root.iter(f"{{{W}}}p")]) == 8  # none is lost, none is new
    for name in ("bookmarkStart", "hyperlink", "del", "tab", "pict"):
        before = etree.fromstring(members(WORD)["word/document.xml"])
        extra = sum(text.count("\t") for text in made_up) if name == "tab" else 0
        assert len([*root.iter(f"{{{W}}}{name}")]) <= extra + len([*before.iter(f"{{{W}}}{name}")])
        assert len([*root.iter(f"{{{W}}}{name}")]) >= len([*before.iter(f"{{{W}}}{name}")])
    again = opened(after, "a.docx")
    assert len(again.segments) == len(document.segments)
    cell = next(e for e in root.iter(f"{{{W}}}tc"))
    said = "".join(
        {"t": e.text or "", "tab": "\t", "br": "\n"}.get(etree.QName(e).localname, "")
        for e in cell.iter()
        if e.tag != qn("w:tcPr")
    )
    kept = "".join(char for char in made_up[5] if char in "\t\n\r" or char >= " ")
    assert said == f"Q{kept.replace(chr(0xFFFE), '').replace(chr(0xFFFF), '')}Z"


def test_a_document_of_python_docx_passes_through() -> None:
    made = docx.Document()
    made.add_heading("A heading", 1)
    paragraph = made.add_paragraph("Some ")
    paragraph.add_run("bold").bold = True
    made.add_paragraph("An item", style="List Bullet")
    made.sections[0].header.paragraphs[0].text = "Header"
    out = io.BytesIO()
    made.save(out)
    document = opened(out.getvalue(), "a.docx", target="uig")
    assert texts(document) == ["A heading", "Some <1>bold</1>", "An item", "Header"]
    after = document.render({s.key: Result(f"{UYGHUR} {s.text}") for s in document.segments})
    assert word_texts(after) == [
        f"{UYGHUR} {text}" for text in ("A heading", "Some bold", "An item")
    ]


def test_a_zip_file_that_is_no_word_document_is_refused() -> None:
    for data in (packed({"a": "b"}), packed({"[Content_Types].xml": "<Types/>"})):
        with pytest.raises(TrimixError, match=r"a.docx"):
            opened(data, "a.docx")


def test_the_work_grows_with_a_word_document() -> None:
    def work(body: str) -> None:
        document = opened(word(body), "a.docx", target="uig")
        document.render({s.key: Result(UYGHUR) for s in document.segments})

    assert_linear(work, "<w:p>" + run("a") + run("b", "<w:b/>") + FIELD + "</w:p>", 60)
    begun = FIELD.partition("<w:r><w:t>")[0]
    for unit in (run("a") + "<w:hyperlink>" + run("b") + "</w:hyperlink>", run("a") + begun, BOX):
        assert_linear(lambda more: work(f"<w:p>{run('x')}{more}</w:p>"), unit, 60)


# Programs that people open these with


def shown_by_libreoffice(data: bytes, name: str, folder: Path) -> str:
    program = shutil.which("soffice")
    if program is None:
        pytest.skip("LibreOffice is not installed")
    (folder / name).write_bytes(data)
    command = [program, f"-env:UserInstallation=file://{folder}/profile", "--headless",
               "--convert-to", "txt:Text (encoded):UTF8", "--outdir", folder, name]  # fmt: skip
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
    return (folder / name).with_suffix(".txt").read_text(encoding="utf-8-sig")


@pytest.mark.slow
def test_libreoffice_shows_a_translated_word_document(tmp_path: Path) -> None:
    document = opened(WORD, "a.docx", target="uig")
    after = document.render({s.key: Result(f"{UYGHUR} {s.text}") for s in document.segments})
    shown = shown_by_libreoffice(after, "a.docx", tmp_path)
    for text in ("Annual report", "Read the whole of it on the web & page", "Cell"):
        assert f"{UYGHUR} {text}" in shown


# ODT


ODF = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{space}:1.0"'
    for name, space in {
        "office": "office", "text": "text", "style": "style", "table": "table", "draw": "drawing",
        "fo": "xsl-fo-compatible", "manifest": "manifest",
    }.items()
)  # fmt: skip
ODT_BODY = (
    "<text:tracked-changes><text:p>gone</text:p></text:tracked-changes><text:h>Annual <text:span "
    'text:style-name="T1">rep</text:span><text:span text:style-name="T2">ort</text:span></text:h>\n'
    '<text:p text:style-name="P1"><text:bookmark text:name="a"/>Read <text:span text:style-name='
    '"B">the </text:span><text:span text:style-name="B">whole</text:span>\n  of <text:a href="x">it'
    "</text:a><text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>A note"
    "</text:p></text:note-body></text:note> &amp; page "
    "<text:page-number>3</text:page-number>.</text:p>"
    "<text:p><text:s/>Around <draw:frame><draw:text-box><text:p>In a box</text:p></draw:text-box>"
    "</draw:frame>the box</text:p><text:p>12 %</text:p><text:p/><table:table><table:table-row>"
    "<table:table-cell><text:p>Cell</text:p></table:table-cell></table:table-row></table:table>"
)


def odt(body: str) -> bytes:
    styles = (
        f"<office:document-styles {ODF}><office:styles><style:default-style "
        f'style:family="paragraph">'
        '<style:paragraph-properties style:writing-mode="page"/><style:text-properties '
        'fo:language="en" fo:country="US"/></style:default-style></office:styles>'
        '<office:automatic-styles><style:page-layout style:name="L"><style:page-layout-properties '
        'fo:page-width="21cm"/></style:page-layout></office:automatic-styles><office:master-styles>'
        '<style:master-page style:name="Standard" '
        'style:page-layout-name="L"><style:header><text:p>Top '
        "of the page</text:p></style:header></style:master-page></office:master-styles>"
        "</office:document-styles>"
    )
    mime = "application/vnd.oasis.opendocument.text"
    entries = "".join(
        f'<manifest:file-entry manifest:full-path="{path}" manifest:media-type="{kind}"/>'
        for path, kind in (("/", mime), ("content.xml", "text/xml"), ("styles.xml", "text/xml"))
    )
    return packed({
        "mimetype": mime,
        "content.xml":
            f'<office:document-content {ODF} xmlns:o="http://openoffice.org/2009/office">'
            '<office:automatic-styles><style:style style:name="T1" style:family="text">'
            '<style:text-properties o:rsid="1"/></style:style><style:style style:name="T2" '
            'style:family="text"/><style:style style:name="B" style:family="text">'
            '<style:text-properties fo:font-weight="bold"/></style:style></office:automatic-styles>'
            f"<office:body><office:text>{body}</office:text></office:body>"
            "</office:document-content>",
        "styles.xml": styles,
        "Pictures/a.png": b"\x89PNG",
        "META-INF/manifest.xml": f"<manifest:manifest {ODF}>{entries}</manifest:manifest>",
    }, ("mimetype",))  # fmt: skip


def test_paragraphs_of_odt_are_texts_and_come_back() -> None:
    data = odt(ODT_BODY)
    document = opened(data, "a.odt", target="uig")
    assert texts(document) == [
        "Annual report",
        "Read <1>the whole</1> of <2>it</2><3/> & page <4/>.",
        "A note",
        "Around <1/>the box",
        "In a box",
        "Cell",
        "Top of the page",
    ]
    assert document.render({}) == data
    assert document.render({s.key: Result(s.text) for s in document.segments}) == data
    after = document.render({s.key: Result(s.text.upper()) for s in document.segments})
    old, new = members(data), members(after)
    assert [n for n in old if old[n] != new[n]] == ["content.xml", "styles.xml"]
    text, styles = new["content.xml"].decode(), new["styles.xml"].decode()
    assert "<text:p>gone</text:p>" in text
    assert "<text:h>ANNUAL REPORT</text:h>" in text
    assert 'style-name="B">THE WHOLE</text:span> OF <text:a href="x">IT</text:a><text:note>' in text
    assert "<text:note-body><text:p>A NOTE</text:p>" in text
    assert "<text:p><text:s/>AROUND <draw:frame><draw:text-box><text:p>IN A BOX</text:p>" in text
    assert (
        'style:writing-mode="rl-tb"/><style:text-properties fo:language="ug" fo:country="none"'
        in styles
    )
    assert (
        '<style:page-layout-properties fo:page-width="21cm" style:writing-mode="rl-tb"/>' in styles
    )
    only = members(document.render({5: Result("A  b\nc")}))["content.xml"].decode()
    assert only == old["content.xml"].decode().replace("Cell", "A <text:s/>b<text:line-break/>c")


@settings(max_examples=examples(60))
@given(st.lists(answers, min_size=7, max_size=7), st.sampled_from(["uig", "bod"]))
def test_any_answer_is_written_into_odt(made_up: list[str], target: str) -> None:
    document = opened(odt(ODT_BODY), "a.odt", target=target)
    after = document.render({i: Result(f"Q{text}Z") for i, text in enumerate(made_up)})
    space = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
    before = etree.fromstring(members(odt(ODT_BODY))["content.xml"])
    root = etree.fromstring(members(after)["content.xml"])
    for name in ("p", "h", "a", "note", "bookmark", "page-number"):
        assert len([*root.iter(space + name)]) == len([*before.iter(space + name)])
    again = opened(after, "a.odt")
    assert len(again.segments) == 7


@pytest.mark.slow
def test_libreoffice_shows_a_translated_text_document(tmp_path: Path) -> None:
    document = opened(odt(ODT_BODY), "a.odt", target="uig")
    after = document.render({s.key: Result(f"{UYGHUR} {s.text}") for s in document.segments})
    shown = shown_by_libreoffice(after, "a.odt", tmp_path)
    for text in ("Annual report", "Read the whole of it", "Cell"):
        assert f"{UYGHUR} {text}" in shown


def test_the_work_grows_with_a_text_document() -> None:
    def work(body: str) -> None:
        document = opened(odt(body), "a.odt", target="uig")
        document.render({s.key: Result(UYGHUR) for s in document.segments})

    assert_linear(work, '<text:p>a<text:span text:style-name="B">b</text:span></text:p>', 80)
    note = "<text:note><text:p>n</text:p></text:note>a"
    assert_linear(lambda more: work(f"<text:p>x{more}</text:p>"), note, 80)


# EPUB

XHTML = 'xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"'


def book(**more: str) -> bytes:
    """A book of two pages with both tables of contents; `more` are further members."""
    page = "<?xml version='1.0'?>\n<html {}><head><title>{}</title></head><body>{}</body></html>"
    return packed({
        "mimetype": "application/epub+zip",
        "META-INF/container.xml":
            '<container version="1.0" '
            'xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OPS/book.opf" media-type="application/oebps-package+xml"/>'
            "</rootfiles></container>",
        "OPS/book.opf":
            '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="i">'
            '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier '
            'id="i">urn:uuid:a1b2'
            "c3d4-0000-4000-8000-000000000000</dc:identifier><dc:title>A small book</dc:title>"
            '<dc:language>en-GB</dc:language><meta property="dcterms:modified">2026-11-26T00:00:00Z'
            '</meta></metadata><manifest><item id="n" href="nav.xhtml" properties="nav" '
            'media-type="application/xhtml+xml"/><item id="x" href="toc.ncx" '
            'media-type="application/'
            'x-dtbncx+xml"/><item id="b" href="two.xhtml" '
            'media-type="application/xhtml+xml"/><item '
            'id="a" href="text/one%201.xhtml" media-type="application/xhtml+xml"/></manifest>'
            '<spine toc="x"><itemref idref="a"/><itemref idref="b"/></spine></package>',
        "OPS/nav.xhtml": page.format(
            XHTML, "Contents",
            '<nav epub:type="toc"><ol><li><a href="text/one%201.xhtml">First</a></li></ol></nav>'),
        "OPS/toc.ncx":
            '<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/" version="2005-1" '
            'xml:lang="en"><head>'
            '<meta name="dtb:uid" content="urn:uuid:a1b2c3d4-0000-4000-8000-000000000000"/></head>'
            "<docTitle><text>A small book</text></docTitle><navMap>"
            '<navPoint id="p" playOrder="1"><navLabel><text>First</text></navLabel>'
            '<content src="text/one%201.xhtml"/></navPoint></navMap></ncx>',
        "OPS/two.xhtml": page.format(XHTML, "Two", "<p>The end.</p>"),
        "OPS/text/one 1.xhtml": page.format(
            f'{XHTML} xml:lang="en"', "One",
            "<h1>First</h1><p>It <em>was</em> so.</p><pre>x</pre>"),
        **more,
    }, ("mimetype",))  # fmt: skip


BOOK = book()


def test_a_book_is_read_by_its_spine_and_its_language_is_set() -> None:
    document = opened(BOOK, "a.epub", target="uig")
    assert (document.source, texts(document)) == ("eng", [
        "A small book", "One", "First", "It <1>was</1> so.", "Two", "The end.", "Contents",
        "<1>First</1>", "A small book", "First",
    ])  # fmt: skip
    assert open_document(BOOK, "a.epub").source == "en-GB"
    assert "from the right" in document.notices[-1]
    assert document.render({}) == BOOK
    assert document.render({s.key: Result(s.text) for s in document.segments}) == BOOK
    after = document.render({s.key: Result(s.text.upper()) for s in document.segments})
    assert after[:58] == BOOK[:58]  # the mimetype is first and stored
    old, new = members(BOOK), members(after)
    assert [n for n in old if old[n] == new[n]] == ["mimetype", "META-INF/container.xml"]
    opf = etree.fromstring(new["OPS/book.opf"])
    dc = "{http://purl.org/dc/elements/1.1/}"
    assert (opf.findtext(f".//{dc}language"), opf.findtext(f".//{dc}title")) == (
        "ug",
        "A SMALL BOOK",
    )
    assert b'<spine page-progression-direction="rtl" toc="x">' in new["OPS/book.opf"]
    page = etree.fromstring(new["OPS/text/one 1.xhtml"])
    assert (page.get("{http://www.w3.org/XML/1998/namespace}lang"), page.get("dir")) == (
        "ug",
        "rtl",
    )
    assert b"<h1>FIRST</h1><p>IT <em>WAS</em> SO.</p><pre>x</pre>" in new["OPS/text/one 1.xhtml"]
    assert b"<navLabel><text>FIRST</text></navLabel>" in new["OPS/toc.ncx"]
    assert b'xml:lang="ug"' in new["OPS/toc.ncx"]


@settings(max_examples=examples(60))
@given(st.lists(answers, min_size=10, max_size=10))
def test_any_answer_is_written_into_a_book(made_up: list[str]) -> None:
    document = opened(BOOK, "a.epub", target="bod")
    after = document.render({i: Result(f"Q{text}Z") for i, text in enumerate(made_up)})
    for name, content in members(after).items():
        if name != "mimetype":
            etree.fromstring(content)
    assert len(opened(after, "a.epub").segments) == 10


def test_a_book_that_is_protected_or_broken_is_refused() -> None:
    drm = (
        '<e xmlns="x"><EncryptionMethod '
        'Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/></e>'
    )
    font = drm.replace(
        "http://www.w3.org/2001/04/xmlenc#aes128-cbc", "http://www.idpf.org/2008/embedding"
    )
    assert opened(book(**{"META-INF/encryption.xml": font}), "a.epub").segments
    bad = {
        "DRM": book(**{"META-INF/encryption.xml": drm}),
        "mimetype": packed({"mimetype": "application/epub+zip"}),
        "is no EPUB": packed({"mimetype": "text/plain"}, ("mimetype",)),
        "not well-formed": book(**{"OPS/two.xhtml": "<html><br></html>"}),
        "which is missing": BOOK.replace(b"OPS/two.xhtml", b"OPS/tvo.xhtml"),
        "names no book": book(**{"META-INF/container.xml": "<container/>"}),
    }
    for why, data in bad.items():
        with pytest.raises(TrimixError, match=why):
            opened(data, "a.epub")


@pytest.mark.slow
def test_epubcheck_accepts_a_translated_book(tmp_path: Path) -> None:
    program, java = shutil.which("epubcheck"), shutil.which("java")
    if program is None or java is None:
        pytest.skip("epubcheck is not installed")
    document = opened(BOOK, "a.epub", target="uig")
    after = document.render({s.key: Result(f"{UYGHUR} {s.text}") for s in document.segments})
    (tmp_path / "a.epub").write_bytes(after)
    command = [java, "-jar", program, str(tmp_path / "a.epub")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
