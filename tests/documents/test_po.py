"""PO files keep their own form; what changes is what gettext means by a translation."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import polib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.documents.opening import Document, open_document
from trimix_cpp.documents.plurals import of_header, of_language
from trimix_cpp.documents.segments import FormatOptions, Result
from trimix_cpp.errors import TrimixError
from trimix_cpp.prompts.languages import known_languages

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "messages.po"
HEADER = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n'
TEMPLATE = (
    '#, fuzzy\nmsgid ""\nmsgstr ""\n"Language: \\n"\n'
    '"Content-Type: text/plain; charset=CHARSET\\n"\n'
    '"Plural-Forms: nplurals=INTEGER; plural=EXPRESSION;\\n"\n'
)
UYGHUR = "ھۆججەتنى ئېچىش ۋە ساقلاش ئۈچۈن بۇ كۇنۇپكىنى چېكىڭ، ئاندىن قايتا قوزغىتىڭ."


def opened(text: str | bytes, **options: object) -> Document:
    data = text.encode() if isinstance(text, str) else text
    return open_document(data, "m.po", None, FormatOptions(**options))  # type: ignore[arg-type]


def translate(text: str, result: Result, **options: object) -> str:
    document = opened(text, **options)
    return document.render({s.key: result for s in document.segments}).decode()


def entries(text: str) -> list[polib.POEntry]:
    return list(polib.pofile(text))


# Strings that PO and polib can both hold: other control characters have no escape there.
strings = st.one_of(
    st.sampled_from([UYGHUR, "a\nb", "a\n", " \t\"\\'", "\\n", "བོད་ཡིག", "a\u2028b\x85c", "-" * 90]),
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]) | st.sampled_from('\n\t"\\'),
        min_size=1,
        max_size=30,
    ),
)


@given(st.lists(strings, max_size=5), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_a_catalogue_round_trips_and_takes_any_translation(
    ids: list[str], end: str, bom: bool
) -> None:
    catalog = polib.POFile(wrapwidth=60)
    catalog.metadata = {"Content-Type": "text/plain; charset=UTF-8"}
    catalog += [polib.POEntry(msgid=text) for text in dict.fromkeys(ids)]
    data = (b"\xef\xbb\xbf" if bom else b"") + str(catalog).replace("\n", end).encode()
    document = opened(data)
    assert document.render({}) == data
    assert [s.text for s in document.segments] == list(dict.fromkeys(ids))
    results = {s.key: Result(s.text[::-1]) for s in document.segments}
    again = opened(document.render(results))
    assert again.segments == []  # all is translated
    got = document.render(results)
    assert got.count(b"\r\n") == (got.count(b"\n") if end == "\r\n" else 0)
    # Two readings agree: the strings are those that were given.
    values = [entry.msgstr for entry in _read(got)]
    assert values == [text[::-1] for text in dict.fromkeys(ids)]


def _read(data: bytes) -> list[polib.POEntry]:
    """Read by polib from a file, which cuts lines at line ends only."""
    text = data.decode("utf-8-sig").replace("\r\n", "\n")
    for char in "\x85\u2028\u2029":
        text = text.replace(char, f"[{ord(char):x}]")
    read = entries(text)
    for entry in read:
        for char in "\x85\u2028\u2029":
            entry.msgstr = entry.msgstr.replace(f"[{ord(char):x}]", char)
    return read


def test_only_what_is_untranslated_is_sent() -> None:
    document = opened(EXAMPLE.read_bytes())
    texts = [s.text for s in document.segments]
    assert len(texts) == 10
    assert "Delete the selected file" not in texts
    assert texts.count("Open") == 1
    fuzzy = opened(EXAMPLE.read_bytes(), fuzzy=True)
    assert [s.text for s in fuzzy.segments if s not in document.segments] == [
        "Delete the selected file"
    ]
    # Keys do not depend on what is sent.
    assert set(document.segments) < set(fuzzy.segments)


def test_everything_else_stays_byte_for_byte() -> None:
    before = EXAMPLE.read_text(encoding="utf-8")
    after = translate(before, Result("ئاچ"))
    filled = before.replace('msgstr ""\n\n', 'msgstr "ئاچ"\n\n')
    assert after == filled.replace('msgstr[0] ""', 'msgstr[0] "ئاچ"')


def test_a_new_translation_is_no_longer_fuzzy() -> None:
    after = translate(EXAMPLE.read_text(encoding="utf-8"), Result("ئاچ"), fuzzy=True)
    assert "fuzzy" not in after
    assert "#|" not in after
    assert "# The old text was about folders." in after


def test_a_flagged_one_is_fuzzy_and_says_why() -> None:
    text = HEADER + '\n# Mine.\n#. Theirs\n#: a.c:1\n#, c-format\nmsgid "a %s"\nmsgstr ""\n'
    after = translate(text, Result("x", True, ("loses %s", "repeats\nitself")))
    assert after == HEADER + (
        "\n# Mine.\n# trimix-cpp: loses %s; repeats itself\n#. Theirs\n#: a.c:1\n"
        '#, fuzzy, c-format\nmsgid "a %s"\nmsgstr "x"\n'
    )
    # Translated again, it is clean again.
    again = translate(after, Result("x %s"), fuzzy=True)
    assert again == text.replace('"a %s"\nmsgstr ""', '"a %s"\nmsgstr "x %s"')


def test_a_flag_without_a_flags_line() -> None:
    text = HEADER + '\n#: a.c:1\nmsgid "a"\nmsgstr ""\n'
    assert "#: a.c:1\n#, fuzzy\nmsgid" in translate(text, Result("x", True, ("why",)))


@pytest.mark.parametrize(
    ("header", "forms"),
    [
        ("nplurals=1; plural=0;", ["%d files"]),
        ("nplurals=2; plural=n != 1;", ["%d file", "%d files"]),
        ("nplurals=2; plural=n > 1;", ["%d file", "%d files"]),
        ("nplurals=3; plural=n%10==1 ? 0 : n%10<5 ? 1 : 2;", ["%d file", "%d files", "%d files"]),
    ],
)
def test_plural_forms_are_the_target_language_s(header: str, forms: list[str]) -> None:
    text = HEADER + f'"Plural-Forms: {header}\\n"\n\n'
    text += 'msgid "%d file"\nmsgid_plural "%d files"\nmsgstr[0] ""\nmsgstr[1] ""\n'
    document = opened(text)
    assert [s.text for s in document.segments] == forms
    results = {s.key: Result(f"{s.key} %d") for s in document.segments}
    entry = entries(document.render(results).decode())[0]
    given = {i: f"{i} %d" for i in range(len(forms))}
    assert {i: text for i, text in entry.msgstr_plural.items() if text} == given


def test_a_singular_without_the_number_serves_for_one_only() -> None:
    body = 'msgid "One file"\nmsgid_plural "%d files"\nmsgstr[0] ""\nmsgstr[1] "x"\n'
    two = HEADER + '"Plural-Forms: nplurals=2; plural=n != 1;\\n"\n\n' + body
    assert [s.text for s in opened(two).segments] == ["One file"]
    russian = HEADER + f'"Plural-Forms: {of_language("rus").header}\\n"\n\n' + body
    assert [s.text for s in opened(russian).segments] == ["%d files", "%d files"]


def test_some_forms_keep_their_translation() -> None:
    text = HEADER + '"Plural-Forms: nplurals=2; plural=n != 1;\\n"\n\n'
    text += 'msgid "%d a"\nmsgid_plural "%d b"\nmsgstr[0] ""\n"kept "\n"%d"\nmsgstr[1] ""\n'
    assert translate(text, Result("%d c")) == text.replace('[1] ""', '[1] "%d c"')


def test_a_template_s_header_is_filled() -> None:
    body = '\nmsgid "%d a"\nmsgid_plural "%d b"\nmsgstr[0] ""\nmsgstr[1] ""\n'
    after = translate(TEMPLATE + body, Result("%d c"), target="uig")
    metadata = polib.pofile(after).metadata
    assert metadata["Language"] == "ug"
    assert metadata["Content-Type"] == "text/plain; charset=UTF-8"
    assert metadata["Plural-Forms"] == "nplurals=1; plural=0;"
    # Without plural entries and a target, only the charset can be told.
    plain = translate(TEMPLATE + '\nmsgid "a"\nmsgstr ""\n', Result("b"))
    assert plain == TEMPLATE.replace("=CHARSET", "=UTF-8") + '\nmsgid "a"\nmsgstr "b"\n'


def test_a_missing_plural_rule_is_added() -> None:
    body = '\nmsgid "%d a"\nmsgid_plural "%d b"\nmsgstr[0] ""\n'
    after = translate(HEADER + body, Result("%d c"), target="bod")
    assert after.startswith(HEADER + '"Plural-Forms: nplurals=1; plural=0;\\n"\n')


def test_long_translations_are_wrapped_as_the_file_is() -> None:
    long = " ".join([UYGHUR] * 2)
    wrapped = translate(HEADER + '\nmsgid "a"\nmsgstr ""\n', Result(long))
    assert max(map(len, wrapped.splitlines())) <= 78
    unwrapped = f'\nmsgid "{"word " * 30}"\nmsgstr ""\n'
    assert f'msgstr "{long}"\n' in translate(HEADER + unwrapped, Result(long))


@given(st.dictionaries(strings.filter(str.isprintable), strings.filter(str.isprintable)))
def test_it_is_written_as_polib_writes_it(texts: dict[str, str]) -> None:
    catalog = polib.POFile()
    catalog.metadata = {"Content-Type": "text/plain; charset=UTF-8"}
    catalog += [polib.POEntry(msgid=text) for text in texts]
    document = opened(str(catalog))
    got = document.render({s.key: Result(texts[s.text]) for s in document.segments})
    for entry in catalog:
        entry.msgstr = texts[entry.msgid]
    assert got.decode() == str(catalog)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER.replace("UTF-8", "ISO-8859-1"), "charset=ISO-8859-1; say --encoding"),
        (HEADER + '\nmsgid "a\nmsgstr ""\n', "line 5: not gettext PO"),
        (HEADER + '\nmsgid "a"b"\nmsgstr ""\n', "line 5: not gettext PO"),
        (HEADER + '\nmsgid "a"\nhello\n', "line 6: not gettext PO"),
        (HEADER + '\nmsgstr "a"\n', "line 5: not gettext PO"),
        (HEADER + '\nmsgid "a"\n', "line 5: not gettext PO"),
        (HEADER + '\nmsgid "a"\n#~ msgstr ""\n', "line 6: not gettext PO"),
        (HEADER + '\n#| msgid "a"\n"b"\nmsgid "c"\nmsgstr ""\n', "line 6: not gettext PO"),
        (HEADER + '"Plural-Forms: nplurals=2; plural=n+;\\n"\n', "Plural-Forms make no sense"),
        (HEADER + '"Plural-Forms: nplurals=99; plural=0;\\n"\n', "Plural-Forms make no sense"),
        (HEADER + '"Plural-Forms: nplurals=2; plural=n%0;\\n"\n', "n = 0 divides by zero"),
    ],
)
def test_what_is_no_catalogue_is_refused(text: str, message: str) -> None:
    with pytest.raises(TrimixError, match=message):
        opened(text)


def test_plural_rules_are_sound() -> None:
    for entry in set(known_languages().values()):
        plurals = of_language(entry.code)
        assert of_header(plurals.header) == plurals
        assert 0 <= plurals.for_one() < plurals.count


@pytest.mark.skipif(shutil.which("msgfmt") is None, reason="needs gettext's msgfmt")
def test_msgfmt_accepts_the_result(tmp_path: Path) -> None:
    document = opened(EXAMPLE.read_bytes(), fuzzy=True)
    results = {
        s.key: Result(f"ئا {s.text} \u2069", s.key == 4, ("why",)) for s in document.segments
    }
    path = tmp_path / "m.po"
    path.write_bytes(document.render(results))
    done = subprocess.run(
        ["msgfmt", "--check-format", "--check-header", "--statistics", "-o", "/dev/null", path],
        capture_output=True,
        text=True,
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert "11 translated messages, 1 fuzzy translation." in done.stderr


def test_a_catalogue_in_an_old_code_page_may_become_utf_8() -> None:
    data = (HEADER.replace("UTF-8", "ISO-8859-1") + '\nmsgid "é"\nmsgstr ""\n').encode("latin-1")
    kept = open_document(data, "m.po", None, FormatOptions(encoding="latin1"))
    assert kept.render({0: Result("ü")}) == data[:-3] + b'"\xfc"\n'
    options = FormatOptions(encoding="latin1:utf-8", target="uig")
    got = open_document(data, "m.po", None, options).render({0: Result("ئاچ")}).decode()
    assert "charset=utf-8" in got
    assert 'msgid "é"\nmsgstr "ئاچ"' in got
