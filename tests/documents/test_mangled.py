"""Files with mangled lines are refused in one line or translated; nothing else happens."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from trimix_cpp.documents.opening import open_document
from trimix_cpp.documents.segments import FormatOptions, Result

from ..support.examples import examples
from ..support.refusals import taken
from .test_formats import SRT, VTT
from .test_markdown import TEXT

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
OTHERS = ("strings.xml", "Localizable.stringsdict", "messages.xlf", "messages-2.xlf", "app.ts",
          "Strings.resx", "memory.tmx", "app_en.arb", "clip.ass", "page.html",
          "Localizable.strings", "Localizable.xcstrings", "labels.properties", "rails.yml",
          "i18next.json")  # fmt: skip
PO = (EXAMPLES / "messages.po").read_text(encoding="utf-8")
TABLE = 'id,en,note\r\n1,Open,"a, b"\r\n2,,\r\n3,"Save ""as""",\r\n\r\n'
JSON = '{"n": 1.5e2, "text": "Open", "e": "\\u00e9\\/"}\n\n{"text":null}\n{"text":"b"}'
FILES = [
    ("a.po", PO, FormatOptions(fuzzy=True, target="uig")),
    ("a.srt", SRT, FormatOptions()),
    ("a.vtt", VTT, FormatOptions()),
    ("a.md", TEXT, FormatOptions()),
    ("a.csv", TABLE, FormatOptions(column="2", into="2")),
    ("a.csv", TABLE, FormatOptions(column="en")),
    ("a.tsv", TABLE.replace(",", "\t"), FormatOptions(column="2", into="3")),
    ("a.jsonl", JSON, FormatOptions()),
    ("a.txt", TEXT, FormatOptions(paragraphs=True)),
    *(
        (name, (EXAMPLES / name).read_text(encoding="utf-8"), FormatOptions(target="rus"))
        for name in OTHERS
    ),
]
PARTS = [
    "",
    '"',
    "\\",
    "\r",
    " ",
    "|",
    "\t",
    "<",
    "`",
    "#",
    "-->",
    "%s",
    "{",
    ",",
    "\u2028",
    "> ",
    "ཀ",
    "9" * 5000,
    f"&#{'9' * 5000};",
]
edits = st.lists(
    st.tuples(
        st.sampled_from(["double", "drop", "swap", "insert"]),
        st.integers(0, 99),
        st.integers(0, 99),
        st.sampled_from(PARTS),
    ),
    min_size=1,
    max_size=5,
)


def mangled(text: str, edits: list[tuple[str, int, int, str]]) -> str:
    lines = text.split("\n")
    for kind, first, second, part in edits:
        i, j = first % len(lines), second % len(lines)
        if kind == "double":
            lines.insert(j, lines[i])
        elif kind == "drop" and len(lines) > 1:
            lines.pop(i)
        elif kind == "swap":
            lines[i], lines[j] = lines[j], lines[i]
        else:
            at = second % (len(lines[i]) + 1)
            lines[i] = lines[i][:at] + part + lines[i][at + first % 3 :]
    return "\n".join(lines)


@settings(max_examples=examples(400))
@given(
    st.sampled_from(FILES),
    edits,
    st.sampled_from(["x", "ئاچ " * 30, "- ཀ་ཁ", "1. a\nb", "", "|", "a\tb"]),
    st.booleans(),
)
def test_mangled_files(
    file: tuple[str, str, FormatOptions],
    edits: list[tuple[str, int, int, str]],
    translation: str,
    flagged: bool,
) -> None:
    name, text, options = file
    data = mangled(text, edits).encode()
    document = taken(lambda: open_document(data, name, None, options))
    if document is not None:
        assert document.render({}) == data
        result = Result(translation, flagged, ("why", "two\nlines"))
        got = document.render({s.key: result for s in document.segments})
        # What it gives can be opened again.
        open_document(got, name, None, options)
