"""Markdown keeps its structure; what is no text stays byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from trimix_cpp.documents.opening import Document, open_document
from trimix_cpp.documents.segments import Result

TEXT = """---
title: front matter
---

# Getting started #

Open the **file** and read
it with `cat -n`, see
[the docs](http://a.b/c).

- First item
  goes on here
- 1. nested
  > quoted text
  > and more

Setext heading
==============

```sh
echo "no text"
```

    code too

<div>
html
</div>

| Name | Use of it |
|:-----|----------:|
| Name | `a`       |
| 1    | a \\| b   |

Hard break{two_spaces}
next line\\
last line.

![alt](x.png)

[ref]: http://x.y "T"
""".replace("{two_spaces}", "  ")
parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def opened(text: str) -> Document:
    return open_document(text.encode(), "a.md")


def structure(text: str) -> list[tuple[str, str, str]]:
    """Blocks, and the content of those that hold no text to translate."""
    tokens = parser.parse(text)
    kept = ("fence", "code_block", "html_block")
    return [(t.type, t.markup, t.content if t.type in kept else "") for t in tokens]


def test_segments() -> None:
    assert [s.text for s in opened(TEXT).segments] == [
        "Getting started",
        "Open the **file** and read it with `cat -n`, see [the docs](http://a.b/c).",
        "First item goes on here",
        "nested",
        "quoted text and more",
        "Setext heading",
        "Name",
        "Use of it",
        "Name",
        "`a`",
        "1",
        "Hard break\nnext line\nlast line.",
        "![alt](x.png)",
    ]
    assert opened(TEXT).segments[1].where == "a.md:7"


@given(st.sampled_from(["\n", "\r\n"]), st.integers(0, len(TEXT)))
def test_round_trip(end: str, stop: int) -> None:
    data = TEXT[:stop].replace("\n", end).encode()
    document = open_document(data, "a.md")
    assert document.render({}) == data
    assert document.render({s.key: Result(s.text) for s in document.segments}) == data


@given(st.text(max_size=60))
def test_any_text_round_trips(text: str) -> None:
    data = text.replace("\0", "").encode()
    document = open_document(data, "a.md")
    assert document.render({}) == data
    assert document.render({s.key: Result(s.text) for s in document.segments}) == data


@given(
    st.lists(
        st.sampled_from(["ھۆججەت", "ཡིག་ཆ", "- x", "1. y", "# z", "> q", "a|b", "word"]), min_size=1
    )
)
def test_a_translation_changes_no_structure(words: list[str]) -> None:
    new = " ".join(words)
    document = opened(TEXT)
    results = {
        s.key: Result("\n".join([new] * (s.text.count("\n") + 1))) for s in document.segments
    }
    got = document.render(results).decode()
    body, before = got.split("---\n", 2)[2], TEXT.split("---\n", 2)[2]
    assert structure(body) == structure(before)
    assert got.startswith("---\ntitle: front matter\n---\n")
    assert got.endswith('[ref]: http://x.y "T"\n')


@pytest.mark.parametrize(
    "start", ["# z", "- x", "1. y", "> q", "+ p", "***", "```", "===", "    c"]
)
def test_a_paragraph_stays_one(start: str) -> None:
    document = opened("Open\nthe file\n\nNext\n")
    got = document.render({document.segments[0].key: Result(f"{start} ئاچ")}).decode()
    assert [t[0] for t in structure(got)] == [t[0] for t in structure("a\n\nb\n")]
    assert got.endswith("\n\nNext\n")


def test_prefixes_and_hard_breaks_are_put_back() -> None:
    document = opened(TEXT)
    results = {
        s.key: Result(s.text.replace("quoted", "cited").replace("next", "another"))
        for s in document.segments
    }
    got = document.render(results).decode()
    assert got == TEXT.replace("quoted", "cited").replace("next line\\", "another\nline\\").replace(
        "another\nline", "another line"
    )
