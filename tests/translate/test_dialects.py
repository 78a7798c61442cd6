"""What Markdown's dialects add is no text; what it frames is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.documents.opening import open_document
from trimix_cpp.documents.segments import Result
from trimix_cpp.markup.arguments import lost_or_invented
from trimix_cpp.translate.units import lay_out

from ..support.growth import assert_linear

# Dialect: a file, and the texts in it. All else is to stay.
CASES: dict[str, tuple[str, list[str]]] = {
    "YAML front matter": ("---\ntitle: Open\n---\n\nText\n", ["Text"]),
    "TOML front matter": ('+++\ntitle = "Open"\ndraft = false\n+++\nText\n', ["Text"]),
    "JSON front matter": ('{\n  "title": "Open",\n  "tags": ["a"]\n}\n\nText\n', ["Text"]),
    "a line of plus signs is text": ("+++\n\nText\n", ["+++", "Text"]),
    "Hugo": (
        '{{% pageinfo color="info" %}}\nText one.\n{{% /pageinfo %}}\n\n{{< note >}}\nText two\n'
        '{{< /note >}}\n\nSee {{< ref "x" >}} now.\n\n{{< figure\n  src="a.png"\n  title="b" >}}\n',
        ["Text one.", "Text two", 'See {{< ref "x" >}} now.'],
    ),
    "a shortcode in a list": ("1. One\n\n    {{< button >}}\n\n2. Two\n", ["One", "Two"]),
    "Jekyll": ("{% include a.html %}\n\n{% if x %}\nText\n{% endif %}\n{: .note}\n", ["Text"]),
    "Jinja comments": ("{# no\ntext #}\nText\n{# none #}\n", ["Text"]),
    "colon fences": (":::note Title\nText one\n:::\n\n::: {.x}\nText two\n:::\n\n::leaf[x]{y=z}\n",
                     ["Text one", "Text two"]),
    "MkDocs": ('!!! note "Title"\n    One\n\n    Two\n\n??? tip\n\n    Three\n\nEnd\n',
               ["One", "Two", "Three", "End"]),
    "MDX": ("import Tabs from '@theme/Tabs';\nimport './a.css'\n\nexport const a = {\n  b,\n};\n"
            "\n<Tabs value={x}>\n\nText\n\n</Tabs>\n\n{/* no text */}\n", ["Text"]),
    "alerts": ("> [!NOTE]\n> Text one\n> goes on.\n\n> [!tip]- Title\n> Text\n",
               ["Text one goes on.", "Title", "Text"]),
    "footnotes": (
        "Text[^1] and[^long].\n\n[^1]: One.\n\n[^long]: Two.\n\n    Three.\n\nEnd\n",
        ["Text[^1] and[^long].", "One.", "Two.", "Three.", "End"],
    ),
    "identifiers": ("# Files {#files}\n\nSet {.x}\n===\n\n## Open ## {#open}\n\nText\n{: #id .c}\n"
                    "\n### Docu {/* #x */}\n", ["Files", "Set", "Open", "Text", "Docu"]),
    "task lists": ("- [ ] Open\n- [x] Save\n  it\n1. [X] Close\n", ["Open", "Save it", "Close"]),
    "formulas": ("$$\na + b\n$$\n\n$$ x $$\n\n\\[\ny\n\\]\n\nText $x$.\n\n\\begin{align}\nz\n"
                 "\\end{align}\n", ["Text $x$."]),
    "code in templates": (
        "{% highlight ruby %}\nputs 1\n\nend\n{% endhighlight %}\n\nText\n\n"
        "{{< highlight go >}}\n# no\n{{< /highlight >}}\n\n"
        "{%- comment -%}\nno text\n{%- endcomment -%}\n{% code %}\nText two\n",
        ["Text", "Text two"],
    ),
    "shortcodes first in an item or a quotation": (
        '- {{< tab "x" >}}\n  One\n  {{< /tab >}}\n1. {% if y %}\n   Two\n\n'
        "> {% hint %}\n> Three\n> {% endhint %}\n",
        ["One", "Two", "Three"],
    ),
    "tabs of MkDocs": ('=== "One"\n    Text\n\n===+ "Two"\n\n    Text two\n', ["Text", "Text two"]),
    "targets of MyST": ("(target)=\n## Open\n\nText (see)\n", ["Open", "Text (see)"]),
    "definitions": ("Term\n: One\n:   Two\n    goes on\n\nOther\n\n: Three\n",
                    ["Term", "One", "Two goes on", "Other", "Three"]),
    "titled alerts": ("> [!tip]+ Open the file\n> Save\n> it.\n>\n> > [!note] Two\n> > Three\n",
                      ["Open the file", "Save it.", "Two", "Three"]),
    "abbreviations": ("*[HTML]: Hyper Text\n\nText\n", ["Hyper Text", "Text"]),
    "contents": ("[TOC]\n\n[[_TOC_]]\n\n--8<-- \"a.md\"\n\nText\n", ["Text"]),
    "code shows them": ("```\n{{< note\n$$\n:::\n```\n\nText\n\n~~~\n```\n{% raw\n~~~\nText two\n",
                        ["Text", "Text two"]),
}  # fmt: skip


def texts_of(text: str) -> list[str]:
    return [segment.text for segment in open_document(text.encode(), "a.md").segments]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_text_is_sent_and_all_else_stays(case: str, end: str) -> None:
    source, texts = CASES[case]
    data = source.replace("\n", end).encode()
    document = open_document(data, "a.md")
    assert [segment.text for segment in document.segments] == texts
    assert document.render({}) == data
    assert document.render({s.key: Result(s.text) for s in document.segments}) == data
    got = document.render({s.key: Result(s.text.upper()) for s in document.segments}).decode()
    assert got.upper() == data.decode().upper()
    changed = [line for line in got.split(end) if line not in source.split("\n")]
    # Each line that changed holds text.
    words = {word for text in texts for word in text.upper().split()}
    assert all(any(word in line for word in words) for line in changed)
    assert texts_of(got) == [text.upper() for text in texts]


LABELS = """Read the [user guide] before you open a file.

The [settings][] are described in the [second part][cfg]. [Printing] is not.

![Main window]

[user guide]: https://example.org/guide
[settings]: https://example.org/settings
[cfg]: https://example.org/config "Second part"
[Main window]: window.png
"""


@pytest.mark.parametrize(
    ("text", "translation", "reasons"),
    [
        (0, "ئاچ", ("loses the link [user guide]",)),
        (0, "[user guide] نى ئاچ", ()),
        (0, "[قوللانما][User  Guide] نى ئاچ", ()),
        (1, "[settings][] [second part][cfg]", ()),
        (1, "[تەڭشەك][settings] [قىسىم][cfg] [بېسىش]", ()),
        (1, "[تەڭشەك][] [قىسىم][cfg]", ("loses the link [settings]",)),
        (1, "[settings][] [cfg", ("loses the link [cfg]", "has a bracket without its pair")),
        (2, "![Main window]", ()),
        (2, "![كۆزنەك]", ("loses the link [main window]",)),
        (2, "![كۆزنەك][main window]", ()),
    ],
)
def test_labels_that_the_file_defines(
    text: int, translation: str, reasons: tuple[str, ...]
) -> None:
    segment = open_document(LABELS.encode(), "a.md").segments[text]
    (layout,) = lay_out([segment], cut=0, labels=False)
    (unit,) = layout.asked
    assert unit.broken(translation) == reasons


def test_citations_and_formulas_must_survive() -> None:
    text = "See [@doe99, p. 3], @fig-a and \\(x\\), or me@example.org; a @ b"
    syntax = frozenset({"markdown"})
    assert lost_or_invented(text, "ئاچ", syntax) == (
        "loses @doe99, @fig-a, \\(x\\), me@example.org",
    )
    assert lost_or_invented(text, text, syntax) == ()


def test_what_holds_only_code_is_not_sent() -> None:
    text = (
        "| Command | Does |\n|---|---|\n| `cat -n` | `x` or `y` |\n\n`ls -l`\n\n<br/>\n\n[[Page]]\n"
    )
    document = open_document(text.encode(), "a.md")
    asked = [unit.text for layout in lay_out(document.segments, cut=0, labels=False)
             for unit in layout.asked]  # fmt: skip
    assert asked == ["Command", "Does", "`x` or `y`"]


PARTS = [
    *("Text\n", "\n", "> ", "- ", "    ", "+++\n", "---\n", "{{< x >}}", "{{%", "%}}", "{% ", "%}"),
    *(":::", "!!! a\n", "[^1]: ", "[!NOTE]", "$$", "```\n", "{#id}", "- [ ] ", "{\n", "}\n", "# "),
    *(
        "<Tabs>",
        "{/*",
        "*/}",
        "\\[\n",
        "\\begin{a}\n",
        "import 'a'\n",
        "| a |\n|---|\n",
        "export {",
    ),
]


@given(st.lists(st.sampled_from(PARTS), max_size=10).map("".join))
def test_any_mixture_round_trips(text: str) -> None:
    document = open_document(text.encode(), "a.md")
    assert document.render({}) == text.encode()
    same = {segment.key: Result(segment.text) for segment in document.segments}
    assert document.render(same) == text.encode()


@pytest.mark.parametrize(
    "unit",
    ["{{< a\n", "{% code %}\n", "$$\n", "\\[\n",
     "{{}}", "{{}} x", "{%\n", "[", "[^a]: ", "> ", " ", "*a", "\n",
     "{", "export {\n", "- ", "`", "]("],
)  # fmt: skip
def test_long_files_take_time_in_proportion(unit: str) -> None:
    assert_linear(lambda text: open_document(text.encode(), "a.md"), unit, 300, "x")
