"""How fast files of each format are read and written: python benchmarks/formats.py [--segments N].

Each is a file of N segments; the time is that of opening it, filling in a translation for every
segment, half of them flagged, and writing it. No model takes part. A format that takes far longer
than the others, or whose time grows faster than N, has lost its linear way.
"""

from __future__ import annotations

import argparse
import io
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from trimix_cpp.documents import FormatOptions, Result, open_document

TRANSLATION = "ھۆججەتنى ئاچ"


def repeated(head: str, unit: str, tail: str = "") -> Callable[[int], str]:
    """A file of N units; `{}` in one is its number."""
    return lambda n: head + "".join(unit.replace("{}", str(i)) for i in range(n)) + tail


PO = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'
RESX = "<root>\n", '<data name="n{}"><value>Open file {}</value></data>\n', "</root>\n"
CHROME = '"n": {"message": "a"}}'
ASS = "Dialogue: 0,0:00:01.00,0:00:02.00,D,,0,0,0,,{\\i1}Open{\\i0} {}\n"
# By format: the file's extension, what makes the file, and its options.
FILES: dict[str, tuple[str, Callable[[int], str], dict[str, str]]] = {
    "text": (".txt", repeated("", "Open file {}\n"), {}),
    "tsv": (".tsv", repeated("id\ten\n", "{}\tOpen file {}\n"), {"column": "en"}),
    "csv": (".csv", repeated("id,en\n", '{},"Open, {}"\n'), {"column": "en"}),
    "jsonl": (".jsonl", repeated("", '{"text": "Open file"}\n'), {}),
    "po": (".po", repeated(PO, 'msgid "Open file {}"\nmsgstr ""\n\n'), {}),
    "srt": (".srt", repeated("", "1\n00:00:01,000 --> 00:00:02,000\nOpen {}\n\n"), {}),
    "vtt": (".vtt", repeated("WEBVTT\n\n", "00:01.000 --> 00:02.000\nOpen {}\n\n"), {}),
    "html": (".html", repeated("<html>", '<p title="a {}">Open <b>{}</b></p>\n'), {}),
    "markdown": (".md", repeated("", "Open *file* {}\n\n"), {}),
    "android": (
        ".xml",
        repeated("<resources>\n", '<string name="n{}">Open <b>{}</b></string>\n', "</resources>\n"),
        {},
    ),
    "stringsdict": (
        ".stringsdict",
        repeated(
            "<plist><dict>\n", "<key>n{}</key><string>Open {}</string>\n", "</dict></plist>\n"
        ),
        {},
    ),
    "xliff": (
        ".xlf",
        repeated(
            '<xliff version="1.2"><file source-language="en"><body>\n',
            '<trans-unit id="n{}">\n<source>Open <x id="1"/>{}</source>\n</trans-unit>\n',
            "</body></file></xliff>\n",
        ),
        {},
    ),
    "ts": (
        ".ts",
        repeated("<TS><context>\n", "<message><source>a{}</source></message>\n", "</context></TS>"),
        {},
    ),
    "resx": (".resx", repeated(*RESX), {}),
    "i18next": (".json", repeated("{", '"n{}": "Open {}",\n', '"n": "a"}'), {}),
    "chrome": (".json", repeated("{", '"n{}": {"message": "Open {}"},\n', CHROME), {}),
    "arb": (".arb", repeated('{"@@locale": "en"', ',\n"n{}": "Open {name} {}"', "}"), {}),
    "xcstrings": (
        ".xcstrings",
        repeated('{"sourceLanguage": "en", "strings": {', '"Open {}": {},\n', '"a": {}}}'),
        {},
    ),
    "strings": (".strings", repeated("", '/* A button */\n"n{}" = "Open {}";\n'), {}),
    "properties": (".properties", repeated("", "# A button\nn{} = Open {}\n"), {}),
    "yaml": (".yml", repeated("en:\n", "  n{}: Open {}\n"), {}),
    "ass": (".ass", repeated("[Events]\n", ASS), {}),
    "tmx": (
        ".tmx",
        repeated(
            "<tmx><body>\n", '<tu><tuv xml:lang="en"><seg>a{}</seg></tuv></tu>\n', "</body></tmx>"
        ),
        {},
    ),
}


def package(
    kind: str, member: str, make: Callable[[int], str], mime: str = ""
) -> Callable[[int], bytes]:
    """A ZIP file whose one text is what `make` makes; `kind` is its list of contents."""

    def packed(n: int) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            if mime:
                archive.writestr(zipfile.ZipInfo("mimetype"), mime)
                rootfile = '<a><rootfile full-path="book.opf"/></a>'
                archive.writestr("META-INF/container.xml", rootfile)
            archive.writestr("book.opf" if mime else "[Content_Types].xml", kind)
            archive.writestr(member, make(n))
        return out.getvalue()

    return packed


WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
WORD_NAMES = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
PACKAGES = {
    "docx": (
        ".docx",
        package(
            f'<Types><Override ContentType="{WORD}" PartName="/d.xml"/></Types>',
            "d.xml",
            repeated(
                f"<w:document {WORD_NAMES}><w:body>",
                "<w:p><w:r><w:t>Open </w:t></w:r><w:r><w:rPr><w:b/></w:rPr><w:t>{}</w:t></w:r>"
                "</w:p>",
                "</w:body></w:document>",
            ),
        ),
    ),
}


ODF = "urn:oasis:names:tc:opendocument:xmlns"
PACKAGES["odt"] = (
    ".odt",
    package(
        "",
        "content.xml",
        repeated(
            f'<o:c xmlns:o="{ODF}:office:1.0" xmlns:t="{ODF}:text:1.0">',
            "<t:p>Open <t:span>{}</t:span></t:p>",
            "</o:c>",
        ),
        "application/vnd.oasis.opendocument.text",
    ),
)
OPF = (
    '<package version="3.0"><manifest><item id="a" href="a.xhtml" '
    'media-type="application/xhtml+xml"/></manifest><spine><itemref idref="a"/></spine></package>'
)
PACKAGES["epub"] = (
    ".epub",
    package(
        OPF,
        "a.xhtml",
        repeated("<html>", "<p>Open <b>{}</b></p>\n", "</html>"),
        "application/epub+zip",
    ),
)


def seconds(format: str, n: int) -> tuple[float, int, int]:
    """CPU seconds for a file of `n` segments, its bytes, and how many segments were found."""
    options: dict[str, str] = {}
    if format in PACKAGES:
        extension, pack = PACKAGES[format]
        data = pack(n)
    else:
        extension, make, options = FILES[format]
        data = make(n).encode()
    settings = FormatOptions(source="eng", target="uig", **options)  # type: ignore[arg-type]
    began = time.process_time()
    document = open_document(data, f"a{extension}", format, settings)
    results = {
        segment.key: Result(TRANSLATION, i % 2 == 0, ("why",))
        for i, segment in enumerate(document.segments)
    }
    document.render(results)
    return time.process_time() - began, len(data), len(document.segments)


def main() -> None:
    """Print a row a format."""
    parser = argparse.ArgumentParser(description=Path(__file__).stem)
    parser.add_argument("--segments", type=int, default=10_000)
    n = parser.parse_args().segments
    print(f"{'format':12} {'segments':>9} {'KiB':>7} {'s':>7} {'s, a quarter':>13}")
    for format in [*FILES, *PACKAGES]:
        quarter, _, _ = seconds(format, n // 4)
        took, size, found = seconds(format, n)
        print(f"{format:12} {found:>9,} {size / 1024:>7.0f} {took:>7.2f} {quarter:>13.2f}")


if __name__ == "__main__":
    main()
