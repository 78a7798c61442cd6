"""Placeholders are found where they are and nowhere else, and their loss is told."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trimix_cpp.markup import arguments
from trimix_cpp.markup.accelerators import accelerator, append_accelerator
from trimix_cpp.markup.placeholders import find, passes_through, placeholders


def lost_or_invented(
    source: str, translation: str, syntax: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """Of all placeholders, and of the accelerator."""
    found = arguments.lost_or_invented(source, translation, syntax)
    return (*found, *arguments.wrong_accelerator(source, translation))


SYNTAX = frozenset({"c-format"})
TOKENS = [
    *("%s", "%d", "%1$s", "%2$d", "%(name)s", "%-5.2f", "%05d", "%lu", "%%", "%1", "%n", "%L1"),
    *("%B", "%PRODUCTNAME", "{name}", "{0}", "{}", "{0:.2f}", "{{ var }}", "${x}", "$x$", "$HOME"),
    *("<b>", "</b>", "<br/>", '<a href="x y">', "<v Bob>", "{\\an8}", "&amp;", "&#8230;", "\\n"),
    *("\n", "\t", "https://example.org/a?b=c", "me@example.org", "www.example.org", "$(ARG1)"),
]


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("around", ["{}", "ھۆججەت {} نى ئاچ", "ཡིག་ཆ་ {} ཁ་འབྱེད།", "({})", "{}."])
def test_each_is_found_whole(token: str, around: str) -> None:
    assert placeholders(around.replace("{}", token, 1)) == Counter({token: 1})


@pytest.mark.parametrize("token", [t for t in TOKENS if t.isascii()])
def test_a_suffix_may_follow_at_once(token: str) -> None:
    assert placeholders(f"«{token}»نى") == Counter({token: 1})


@pytest.mark.parametrize(
    "text",
    [
        *("50% done", "5 % d'intérêt", "100%", "3.5% of", "a & b", "R&D", "AT&T", "3 < 4 > 2"),
        *(
            "I <3 you",
            "x<y",
            "snake_case",
            "__init__",
            "~/file",
            "a ~ b",
            "{not this one}",
            "$5.00",
        ),
        *("5 USD", "C:\\dir", "50٪", "Enter a <value>", "Usage: <file name>", "2 * 3 * 4", "a@b"),
        *("http://", "Tom & Jerry", "Q&A", "file_name and other_name", "%", "% ", "a_b", "5%-10%"),
    ],
)
def test_what_only_looks_like_one(text: str) -> None:
    assert placeholders(text) == Counter()
    assert lost_or_invented(text, "بىر") == ()
    assert lost_or_invented("one", text) == ()


texts = st.lists(
    st.sampled_from([*TOKENS, " ", "ئاچ", "ཁ་འབྱེད", "50% done", "Open"]), max_size=8
).map(" ".join)


@given(texts)
def test_a_text_carries_its_own_placeholders(text: str) -> None:
    assert lost_or_invented(text, text) == ()
    assert lost_or_invented(text, text, SYNTAX) == ()


@given(texts, st.sampled_from(TOKENS), st.integers(0, 8))
@example("%L1 %s", "%1", 0)
def test_one_less_or_one_more_is_told(text: str, token: str, at: int) -> None:
    parts = text.split(" ")
    more = " ".join([*parts[:at], token, *parts[at:]])
    before, after = placeholders(text), placeholders(more)
    if after - before:
        assert any("invents" in reason for reason in lost_or_invented(text, more))
        assert any("loses" in reason for reason in lost_or_invented(more, text))


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_judged_in_one_line(source: str, translation: str) -> None:
    reasons = lost_or_invented(source, translation)
    assert lost_or_invented(source, source) == ()
    for found in find(source):
        assert source[found.start : found.end] == found.token
    assert all("\n" not in reason for reason in reasons)


@pytest.mark.parametrize(
    ("source", "translation", "reasons"),
    [
        ("Copy %s", "كۆچۈر", ("loses %s",)),
        ("Copy", "كۆچۈر %s", ("invents %s",)),
        ("%s %s %s", "%s", ("loses %s (2 times)",)),
        ("Copy {a} to {b}", "{b} غا {a} نى كۆچۈر", ()),
        ("Copy %1 to %2", "%2 غا %1 نى كۆچۈر", ()),
        ("%s has %d files", "%d ھۆججەت %s دا بار", ("changes the order of %s %d",)),
        ("%s has %d files", "%2$d ھۆججەت %1$s دا بار", ()),
        ("%s has %d files", "%1$d ھۆججەت %2$s دا بار", ("loses %s, %d", "invents %1$d, %2$s")),
        ("%1$s to %2$s", "%2$s %1$s", ()),
        ("%A, %B %d", "%d %B %A", ()),  # a date
        ("50% off", "%50", ()),
        ("<b>Open</b>", "<b>ئاچ", ("loses </b>",)),
        ("a\nb", "ئا", ("loses a line break",)),
        ("Replace %1custom%2", "%1ئالماشتۇر%2", ()),
        ("See https://a.b/c.", "https://a.b/c نى كۆرۈڭ.", ()),
        ("&Open", "ئاچ(&O)", ()),
        ("&Open", "&ئاچ", ()),
        ("&Open", "ئاچ", ("loses the accelerator &O",)),
        ("&Open", "&ئاچ(&O)", ("doubles the accelerator &O",)),
        ("_Open", "ئاچ(_O)", ()),
        ("~Open", "ئاچ", ("loses the accelerator ~O",)),
        ("Open", "ئاچ(_O)", ("invents an accelerator _O",)),
        ("Righ_t", "_ئوڭ", ()),
    ],
)
def test_judgements(source: str, translation: str, reasons: tuple[str, ...]) -> None:
    assert lost_or_invented(source, translation) == reasons


def test_gettext_s_flags() -> None:
    assert placeholders("100% done") == Counter()
    assert placeholders("100% done", SYNTAX) == Counter({"% d": 1})
    assert placeholders("100 %s", frozenset({"no-c-format"})) == Counter()
    assert placeholders("{a}", frozenset({"no-python-brace-format"})) == Counter()


def test_markdown() -> None:
    text = "Run `a  b` and see [the **docs**](http://a.b/c 'T'), ![x][1] or <http://d.e>."
    tokens = placeholders(text, frozenset({"markdown"}))
    assert tokens == Counter(
        {"`a  b`": 1, "**": 2, "](http://a.b/c 'T')": 1, "![": 1, "][1]": 1, "<http://d.e>": 1}
    )


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "42", "3,14 %", "12:30", "...", "—", "%s", "%d / %d", "<br/>", "https://a.b/c"),
        *("&nbsp;", "me@a.org", "1.2.3", "v2.0-rc1", "{name}: {value}", "2026-11-22", "🙂", "♪"),
        *("/usr/bin/env", "--help", "١٢٣", "༡༢༣"),
    ],
)
def test_what_passes_through(text: str) -> None:
    assert passes_through(text)


@pytest.mark.parametrize(
    "text", ["a", "SSE", "Open %s", "50% done", "v", "10 MB", "ئاچ", "ཀ", "क", "<b>x</b>", "and/or"]
)
def test_what_is_translated(text: str) -> None:
    assert not passes_through(text)


@pytest.mark.parametrize(
    ("label", "plain", "appended"),
    [
        ("&Open", "Open", "ئاچ(&O)"),
        ("E&xit", "Exit", "ئاچ(&X)"),
        ("Save _As...", "Save As...", "ئاچ(_A)"),
        ("~Name:", "Name:", "ئاچ(~N)"),
    ],
)
def test_accelerators(label: str, plain: str, appended: str) -> None:
    found = accelerator(label)
    assert found is not None
    assert found.plain == plain
    assert append_accelerator("ئاچ", found) == appended
    assert append_accelerator("ئاچ...", found) == appended + "..."
    assert append_accelerator("ئاچ:", found) == appended + ":"
    assert lost_or_invented(label, appended) == ()


@pytest.mark.parametrize(
    "text", ["R&D", "a & b", "&amp;", "&a &b", "file_name", "~/x", "Open", "&&x"]
)
def test_no_accelerator(text: str) -> None:
    assert accelerator(text) is None
