"""PO files are read as GNU gettext reads them."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from pathlib import Path

import polib
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimix_cpp.documents.opening import open_document
from trimix_cpp.documents.plurals import Plurals, of_header, of_language
from trimix_cpp.documents.po_syntax import PoSyntaxError, literal, parse
from trimix_cpp.documents.segments import FormatOptions, Result
from trimix_cpp.errors import TrimixError
from trimix_cpp.prompts.languages import known_languages

from ..support.growth import assert_linear

needs_msgfmt = pytest.mark.skipif(shutil.which("msgfmt") is None, reason="needs gettext's msgfmt")
HEADER = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n\n'


def msgfmt(text: str | bytes, folder: Path, *options: str) -> str:
    """What msgfmt has against a catalogue; "" where it takes it."""
    path = folder / "m.po"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    done = subprocess.run(
        ["msgfmt", *options, "-o", "/dev/null", str(path)],
        capture_output=True, text=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    return done.stderr if done.returncode else ""


# Spellings that polib and others refuse, each with the segments in it.
SPELLINGS: dict[str, tuple[str, list[str]]] = {
    "no space after the marks": ('#,fuzzy\n#.said\n#:a.c:1\n#said\nmsgid "a"\nmsgstr ""', ["a"]),
    "no space after keywords": ('msgid"a"\nmsgstr""', ["a"]),
    "two strings on a line": ('msgid "a" "b"\nmsgstr "" ""', ["ab"]),
    "a message on a line": ('msgid "a" msgstr ""', ["a"]),
    "two messages on a line": ('msgid "a" msgstr "" msgid "b" msgstr ""', ["a", "b"]),
    "white space anywhere": ('  msgid\t\t"a"\n\n\t"b"\n\f\v msgstr   ""  ', ["ab"]),
    "line breaks after keywords": ('msgid\n"a"\nmsgstr\n""', ["a"]),
    "a context": ('msgctxt "c" msgid "a"\nmsgstr ""', ["a"]),
    "carriage returns": ('msgid "a"\r\nmsgstr ""\r\n', ["a"]),
    "a previous text without spaces": ('#|msgid "x"\n#|"y"\nmsgid "a"\nmsgstr ""', ["a"]),
    "obsolete without spaces": ('#~msgid "x"\n#~msgstr "y"\nmsgid "a"\nmsgstr ""', ["a"]),
    "obsolete with previous": ('#~|msgid "w"\n#~ msgid "x"\n#~ msgstr "y"', []),
    "spaces around an index": (
        'msgid "a"\nmsgid_plural "b"\nmsgstr [ 0 ] ""\nmsgstr[1]""',
        ["a", "b"],
    ),
    "escapes of bytes": (r'msgid "\303\251\x41\033[0m"' + '\nmsgstr ""', ["éA\x1b[0m"]),
    "a byte that is no text": (r'msgid "a\377"' + '\nmsgstr ""', ["a\\377"]),
    "all escapes": (r'msgid "\a\b\f\v\t\\\""' + '\nmsgstr ""', ['\a\b\f\v\t\\"']),
    "comments at the end": ('msgid "a"\nmsgstr ""\n# end\n#, fuzzy', ["a"]),
    "empty strings": ('msgid "" "a" ""\nmsgstr ""', ["a"]),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_spellings_that_msgfmt_takes(case: str, tmp_path: Path) -> None:
    body, texts = SPELLINGS[case]
    source = HEADER + body
    if shutil.which("msgfmt"):
        assert msgfmt(source, tmp_path) == ""
    document = open_document(source.encode(), "m.po", None, FormatOptions(fuzzy=True))
    assert [segment.text for segment in document.segments] == texts
    assert document.render({}) == source.encode()
    results = {s.key: Result(s.text + "!", i % 2 == 1, ("why",))
               for i, s in enumerate(document.segments)}  # fmt: skip
    got = document.render(results).decode()
    if shutil.which("msgfmt"):
        assert msgfmt(got, tmp_path) == ""
    again = parse(got)
    values = [strings.value for message in again[1:] if not message.obsolete
              for strings in message.forms.values()]  # fmt: skip
    assert values == [text + "!" for text in texts]
    # All that is no translation is as it was.
    for line in source.split("\n"):
        if line.startswith(("#:", "#.", "#~", "# ", "#s")):
            assert line in got.split("\n")


PIECES = [
    *("msgid", "msgstr", "msgstr[0]", "msgstr[1]", "msgid_plural", "msgctxt", '"a"', '"b\\n"'),
    *('""', "\n", "\n", " ", "# c\n", "#, fuzzy\n", "#~ ", "#| ", "#~| ", '"\\q"', '"\\x1b"', '"c'),
    *("msg", "[", "0", "\r\n", "\f", "#:\n", '"\\101"'),
]


MESSAGES = ['\nmsgid "%"\nmsgstr ""', '\nmsgid "%" msgid_plural "b"\nmsgstr[0] ""']
bodies = st.lists(st.sampled_from([*PIECES, *MESSAGES]), max_size=8).map("".join)


@needs_msgfmt
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies)
def test_what_msgfmt_takes_is_taken_and_nothing_else(body: str, tmp_path: Path) -> None:
    numbers = itertools.count()
    text = HEADER + re.sub("%", lambda _: f"m{next(numbers)}", body)
    said = msgfmt(text, tmp_path)
    if any(word in said for word in ("duplicate", "charset", "do not both")):
        return  # of no concern to the syntax
    try:
        parse(text)
        refused = ""
    except PoSyntaxError as error:
        refused = str(error)
    assert bool(refused) == bool(said), (refused, said)


strings = st.text(st.sampled_from('ab 09fF\n\t"\\ئཀ\x1b\a\x7f-'), max_size=20)


@given(strings, st.sampled_from([{}, {"\x1b": r"\x1b"}, {"\x1b": r"\33"}, {"\a": r"\x7"}]))
def test_a_string_means_what_it_was_made_of(text: str, spelled: dict[str, str]) -> None:
    lines = literal(text, "msgstr", 30, spelled)
    (message,) = parse('msgid "a"\nmsgstr ' + "\n".join(lines))
    assert message.forms[None].value == text
    read = polib.pofile('msgid "a"\nmsgstr ' + "\n".join(lines) + "\n")
    if text.isprintable():
        assert read[0].msgstr == text


def test_escapes_are_spelled_as_they_were() -> None:
    source = HEADER + 'msgid "\\033[1mOpen\\x1b[0m \\177"\nmsgstr ""\n'
    document = open_document(source.encode(), "m.po")
    (segment,) = document.segments
    got = document.render({segment.key: Result(segment.text.replace("Open", "ئاچ"))}).decode()
    value = got.split("msgstr")[-1]
    assert parse(got)[1].forms[None].value == "\x1b[1mئاچ\x1b[0m \x7f"
    assert "\\x1b" in value or "\\033" in value
    assert "\x1b" not in got


# Rules of the gettext manual, and of catalogues of many languages.
RULES = [
    "nplurals=1; plural=0;",
    "nplurals=2; plural=n != 1;",
    "nplurals=2; plural=(n > 1);",
    "nplurals=2; plural=n == 1 ? 0 : 1;",
    "nplurals=3; plural=n%10==1 && n%100!=11 ? 0 : n != 0 ? 1 : 2;",
    "nplurals=3; plural=n==1 ? 0 : n==2 ? 1 : 2;",
    "nplurals=3; plural=n==1 ? 0 : (n==0 || (n%100 > 0 && n%100 < 20)) ? 1 : 2;",
    "nplurals=3; plural=n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && "
    "(n%100<10 || n%100>=20) ? 1 : 2;",
    "nplurals=3; plural=(n==1) ? 0 : (n>=2 && n<=4) ? 1 : 2;",
    "nplurals=4; plural=n%100==1 ? 0 : n%100==2 ? 1 : n%100==3 || n%100==4 ? 2 : 3;",
    "nplurals=5; plural=n==1 ? 0 : n==2 ? 1 : n<7 ? 2 : n<11 ? 3 : 4;",
    "nplurals=6; plural=n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : n%100>=3 && n%100<=10 ? 3 : "
    "n%100>=11 ? 4 : 5;",
]
FULL = (
    'msgid ""\nmsgstr ""\n"Project-Id-Version: a\\n"\n'
    '"PO-Revision-Date: 2026-11-01 10:00+0000\\n"\n"Last-Translator: a <a@example.org>\\n"\n'
    '"Language-Team: a <a@example.org>\\n"\n'
    '"Language: {language}\\n"\n"MIME-Version: 1.0\\n"\n'
    '"Content-Type: text/plain; charset={charset}\\n"\n"Content-Transfer-Encoding: 8bit\\n"\n'
    "{plurals}\n"
)
BODY = (
    '#, c-format\nmsgid "%d file"\nmsgid_plural "%d files"\nmsgstr[0] ""\nmsgstr[1] ""\n\n'
    '#, c-format\nmsgid "One place\\n"\nmsgid_plural "%d places\\n"\nmsgstr[0] ""\nmsgstr[1] ""\n\n'
    'msgid "Close"\nmsgstr ""\n\n'
    '#, fuzzy, c-format\n#| msgid "%d old"\nmsgid "%d new"\nmsgid_plural "%d news"\n'
    'msgstr[0] "%d x"\nmsgstr[1] "%d y"\n'
)


def answered(document_text: str, target: str) -> str:
    document = open_document(
        document_text.encode(), "m.po", None, FormatOptions(fuzzy=True, target=target)
    )
    # A segment that could not be translated has no result.
    done = (
        [s for s in document.segments if "news" not in s.text]
        if target == "kaz"
        else (document.segments)
    )
    return document.render({s.key: Result("ئا " + s.text) for s in done}).decode()


@needs_msgfmt
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n_slots", [1, 2, 6])
def test_any_plural_rule_end_to_end(rule: str, n_slots: int, tmp_path: Path) -> None:
    slots = "".join(f'msgstr[{i}] ""\n' for i in range(n_slots))
    body = BODY.replace('msgstr[0] ""\nmsgstr[1] ""\n', slots)
    text = (
        FULL.format(language="ug", charset="UTF-8", plurals=f'"Plural-Forms: {rule}\\n"\n') + body
    )
    got = answered(text, "uig")
    assert msgfmt(got, tmp_path, "-c") == ""
    plurals = of_header(rule)
    assert plurals is not None
    for message in parse(got)[1:]:
        if message.plural is not None:
            assert [*message.forms] == [*range(plurals.count)]
            assert all(strings.value for strings in message.forms.values())


@needs_msgfmt
@pytest.mark.parametrize("template", [True, False])
def test_a_template_in_any_language_is_one_that_msgfmt_takes(
    template: bool, tmp_path: Path
) -> None:
    left = '"Plural-Forms: nplurals=INTEGER; plural=EXPRESSION;\\n"\n' if template else ""
    text = FULL.format(language="", charset="CHARSET", plurals=left) + BODY
    text = text if template else text.replace("CHARSET", "UTF-8")
    for code in sorted({entry.code for entry in known_languages().values()}):
        got = answered(text.replace("#, fuzzy, c-format\n#| msgid \"%d old\"\n", "#, c-format\n")
                       .replace('"%d x"', '""').replace('"%d y"', '""'), code)  # fmt: skip
        assert msgfmt(got, tmp_path, "-c") == "", code
        count = of_language(code).count
        sent = [message for message in parse(got)[1:] if message.plural and message.forms[0].value]
        assert {len(message.forms) for message in sent} == {count}


def test_translations_that_are_there_say_how_many_forms_there_are() -> None:
    body = 'msgid "%d a"\nmsgid_plural "%d b"\nmsgstr[0] "x"\nmsgstr[1] "y"\n\n'
    text = HEADER + body + 'msgid "%d c"\nmsgid_plural "%d d"\nmsgstr[0] ""\nmsgstr[1] ""\n'
    got = answered(text, "uig")
    assert '"Plural-Forms: nplurals=2; plural=(n != 1);\\n"' in got
    assert '[1] "ئا %d d"' in got
    with pytest.raises(TrimixError, match="3 plural forms"):
        answered(text.replace('"y"\n', '"y"\nmsgstr[2] "z"\n'), "uig")


@given(st.integers(1, 9), st.integers(0, 12))
def test_a_rule_that_gives_a_form_that_is_not_there_is_refused(count: int, form: int) -> None:
    header = Plurals(count, str(form)).header
    if form < count:
        assert of_header(header) == Plurals(count, str(form))
    else:
        with pytest.raises(ValueError, match="no form"):
            of_header(header)


@pytest.mark.parametrize(
    ("source", "asked", "note"),
    [
        ("_: a button\nOpen", "Open", False),  # KDE 3
        ("noun|Print", "Print", True),  # glib
        ("Stock label|_Open", "_Open", True),
        ("yes | no", "yes | no", False),
        ("a|b|c", "a|b|c", False),
        ("|x", "|x", False),
        ("Open", "Open", False),
    ],
)
def test_a_context_within_a_msgid_is_not_translated(source: str, asked: str, note: bool) -> None:
    quoted = source.replace("\n", "\\n")
    document = open_document(f'{HEADER}msgid "{quoted}"\nmsgstr ""\n'.encode(), "m.po")
    (segment,) = document.segments
    assert segment.text == asked
    assert bool(segment.notes) == note


@pytest.mark.parametrize(
    "unit", ['msgid "a"\nmsgstr ""\n', "#| ", "# c\n", '"', 'msgid "" ""', "#, a, b\n"]
)
def test_long_files_take_time_in_proportion(unit: str) -> None:
    def work(text: str) -> None:
        try:
            document = open_document((HEADER + text).encode(), "m.po")
        except TrimixError:
            return
        document.render({s.key: Result("ئا") for s in document.segments})

    assert_linear(work, unit, 400)
