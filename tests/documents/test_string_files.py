"""Strings of programs and subtitles: each format against a reader that is not ours."""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import javaproperties
import pysubs2
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from trimix_cpp.documents.opening import Document, format_of, open_document
from trimix_cpp.documents.plurals import CATEGORIES
from trimix_cpp.documents.segments import FormatOptions, Result
from trimix_cpp.errors import TrimixError

from ..support.growth import assert_linear
from ..support.refusals import taken
from .test_mangled import edits, mangled

I18NEXT = """{
  "title": "Open file",
  "nested": {"file_one": "{{count}} file", "file_other": "{{count}} files", "n": 1.50},
  "list": ["a \\u00e9", null, true],
  "refers": "See $t(title)",
  "place_ordinal_one": "{{count}}st", "place_ordinal_other": "{{count}}th",
  "icu": "Delete {n, plural, one {# file} other {# files}}?"
}
"""
CHROME = """{
  // the name
  "name": {"message": "Open $FILE$", "description": "A button",
           "placeholders": {"file": {"content": "$1"}}}
}
"""
ARB = """{
    "@@locale": "en_US",
    "hello": "Hello {name}",
    "@hello": {"description": "A greeting", "placeholders": {"name": {}}},
    "files": "{n, plural, =0{No files} one{One file} other{{n} files}}"
}
"""
XCSTRINGS = """{
  "sourceLanguage" : "en",
  "strings" : {
    "" : {

    },
    "%lld files" : {
      "comment" : "How many",
      "localizations" : {
        "en" : {
          "variations" : {
            "plural" : {
              "one" : {
                "stringUnit" : {
                  "state" : "translated",
                  "value" : "%lld file"
                }
              },
              "other" : {
                "stringUnit" : {
                  "state" : "translated",
                  "value" : "%lld files"
                }
              }
            }
          }
        }
      }
    },
    "Close" : {
      "localizations" : {
        "de" : {
          "stringUnit" : {
            "state" : "translated",
            "value" : "Zu"
          }
        },
        "ug" : {
          "stringUnit" : {
            "state" : "needs_review",
            "value" : "تاقا"
          }
        }
      }
    },
    "Name" : {
      "shouldTranslate" : false
    },
    "Old" : {
      "extractionState" : "stale"
    },
    "Open" : {

    }
  },
  "version" : "1.0"
}
"""
STRINGS = """/* A button */
"open" = "Open \\"%@\\"";
// two lines
key.two = "a\\nb \\U00e9";
"Alone";
plain = words;
"""
PROPERTIES = """# A menu
open = Open file
! more
long : one \\
    two
quoted=It''s {0}
cafe=caf\\u00e9
empty=
key\\ two  value
"""
YAML_TEXT = """# head
en:
  hello: "Hello, %{name}!" # said first
  plain: &x Plain text
  same: *x
  'no': 'it''s'
  really: yes
  day: 2020-01-01
  days: [Sunday, Monday]
  items:
    one: One item
    other: "%{count} items"
  lines: |
    first
    second

  folded: >-
    some long
    text
  tagged: !ruby/object words
  symbol: :foo
"""
ASS = """[Script Info]
Title: Not this
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname
Style: D,Arial

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:05.00,D,,0,0,0,,Nor this
Dialogue: 0,0:00:01.00,0:00:03.50,D,,0,0,0,,{\\an8}Hello, {\\i1}you{\\i0}\\Nand all, all of you
Dialogue: 0,0:00:04.00,0:00:05.00,D,,0,0,0,,{\\i1}New folder{\\i0}
Dialogue: 0,0:00:04.00,0:00:05.00,D,,0,0,0,,{\\p1}m 0 0 l 1 1{\\p0}
Dialogue: 0,0:00:04.00,0:00:05.00,D,,0,0,0,,{\\k20}la{\\k30}la
"""
FILES = {
    "a.json": I18NEXT,
    "_locales/en/messages.json": CHROME,
    "app_en.arb": ARB,
    "a.xcstrings": XCSTRINGS,
    "a.strings": STRINGS,
    "a.properties": PROPERTIES,
    "en.yml": YAML_TEXT,
    "a.ass": ASS,
}
TARGETS = ["uig", "bod", "rus", "arb"]
ANSWER = "ئاچ «%s» ཀ་ཁ 'a' \"b\" \\ c: # {d}"
texts = st.text(
    st.characters(exclude_categories=["Cs", "Cn", "Co"], exclude_characters="\0\r"),
    min_size=1, max_size=30,
)  # fmt: skip
answers = st.one_of(st.sampled_from([ANSWER, "yes", "5", " a ", "- a", "a: b", "a\nb"]), texts)


def opened(name: str, text: str | bytes, target: str | None = "uig", **more: Any) -> Document:
    data = text.encode() if isinstance(text, str) else text
    return open_document(data, name, None, FormatOptions(target=target, source="eng", **more))


def translated(document: Document, change: Callable[[str], str], flagged: bool = False) -> str:
    results = {s.key: Result(change(s.text), flagged, ("why",)) for s in document.segments}
    return document.render(results).decode(document.codec)


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    out = {}
    for name, each in items:
        inner = f"{path}.{name}" if path else str(name)
        out |= leaves(each, inner) if isinstance(each, Mapping | list) else {inner: each}
    return out


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("target", [None, *TARGETS])
def test_a_file_comes_back(name: str, target: str | None) -> None:
    for text in (FILES[name], FILES[name].replace("\n", "\r\n"), "\ufeff" + FILES[name]):
        document = opened(name, text, target)
        assert document.render({}) == text.encode()
        assert document.segments
        assert [s.key for s in document.segments] == sorted({s.key for s in document.segments})
        lines = text.split("\n")
        for segment in document.segments:
            where, _, line = segment.where.rpartition(":")
            assert where == name
            assert lines[int(line) - 1].strip()


@pytest.mark.parametrize("name", sorted(set(FILES) - {"a.xcstrings"}))
def test_own_texts_change_nothing(name: str) -> None:
    document = opened(name, FILES[name], "eng")
    assert translated(document, lambda text: text) == FILES[name]


@pytest.mark.parametrize("name", FILES)
@given(answer=answers)
def test_what_is_written_can_be_opened_again(name: str, answer: str) -> None:
    document = opened(name, FILES[name])
    data = document.render({s.key: Result(answer) for s in document.segments})
    assert opened(name, data).render({}) == data


# JSON


@given(answer=answers)
def test_i18next_by_json(answer: str) -> None:
    got = leaves(json.loads(translated(opened("a.json", I18NEXT), lambda _: answer)))
    assert got["title"] == got["nested.file_one"] == got["list.0"] == answer
    assert (got["nested.n"], got["list.1"], got["list.2"]) == (1.5, None, True)
    assert got["icu"] == f"{{n, plural, one{{{answer}}} other{{{answer}}}}}".replace("{n}", "#")


@pytest.mark.parametrize(
    ("target", "forms"),
    [
        ("bod", {"other"}),
        ("rus", {"one", "few", "many", "other"}),
        ("arb", {"zero", "one", "two", "few", "many", "other"}),
        ("uig", {"one", "other"}),
    ],
)
def test_plural_forms_are_the_target_s(target: str, forms: set[str]) -> None:
    from babel import Locale

    tag = {"bod": "bo", "rus": "ru", "arb": "ar", "uig": "ug"}[target]
    assert {*Locale.parse(tag).plural_form.tags, "other"} == forms
    nested = json.loads(translated(opened("a.json", I18NEXT, target), str.upper))["nested"]
    assert set(nested) == {f"file_{form}" for form in forms} | {"n"}
    assert nested["file_other"] == "{{COUNT}} FILES"
    items = by_ruamel(translated(opened("en.yml", YAML_TEXT, target), str.upper))
    (texts,) = items.values()
    assert set(texts["items"]) == forms
    arb = json.loads(translated(opened("a.arb", ARB, target), str.lower))["files"]
    assert set(re.findall(r"(=?\w+)\{", arb[1:])) == {"=0", *forms} - {"zero"}
    catalogue = json.loads(translated(opened("a.xcstrings", XCSTRINGS, target), str.lower))
    own = catalogue["strings"]["%lld files"]["localizations"]
    assert set(own[tag]["variations"]["plural"]) == forms


def test_a_form_without_its_number_serves_where_one_is_one_alone() -> None:
    text = '{"file_one": "One file", "file_other": "{{count}} files"}'
    sent = {s.name: s.text for s in opened("a.json", text, "uig").segments}
    assert sent["file_one"] == "One file"
    sent = {s.name: s.text for s in opened("a.json", text, "rus").segments}
    assert sent["file_one"] == "{{count}} files"
    # 0 has a form of its own in i18next, whatever the language.
    text = text.replace("{", '{"file_zero": "none", ', 1)
    assert set(json.loads(translated(opened("a.json", text, "bod"), str.upper))) == {
        "file_zero", "file_other"
    }  # fmt: skip


def test_json_keeps_its_spelling() -> None:
    text = '{"a":"caf\\u00E9","b":"x\\/y","n":1e5,"a2" : [ "z" ]}'
    got = translated(opened("a.json", text), lambda text: text + "é/")
    assert (
        got == '{"a":"caf\\u00E9\\u00E9\\/","b":"x\\/y\\u00E9\\/","n":1e5,"a2" : [ "z\\u00E9\\/" ]}'
    )


def test_chrome_by_json() -> None:
    document = opened("_locales/en/messages.json", CHROME)
    assert [(s.text, s.name, s.comment) for s in document.segments] == [
        ("Open $FILE$", "name", "A button")
    ]
    got = translated(document, lambda _: "ئاچ $FILE$")
    assert got == CHROME.replace("Open $FILE$", "ئاچ $FILE$")
    assert format_of("x/_locales/en/messages.json") == "chrome"
    assert format_of("messages.json") == "i18next"
    with pytest.raises(TrimixError, match="--format chrome"):
        opened("messages.json", CHROME.replace("// the name", ""))


def test_arb() -> None:
    document = opened("a.arb", ARB, None)
    assert document.source == "eng"
    assert open_document(ARB.encode(), "a.arb").source == "en_US"
    document = opened("a.arb", ARB)
    assert document.segments[0].comment == "A greeting"
    got = json.loads(translated(document, str.upper))
    assert got["@@locale"] == "ug"
    assert got["@hello"]["description"] == "A greeting"
    assert got["files"] == "{n, plural, =0{NO FILES} one{ONE FILE} other{{N} FILES}}"


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("{n, plural, one{# a} other{# b}}", ["{n} a", "{n} b"]),
        ("x {n, plural, one{a} other{b}} y", ["x a y", "x b y"]),
        ("{g, select, m{he} other{they}} {n, plural, other{#}}",
         ["he {n}", "he {n}", "they {n}", "they {n}"]),
        ("{n, selectordinal, one{#st} other{#th}}", ["{n}st", "{n}th"]),
        # "=1" is what "one" would be.
        ("{n, plural, =1{a} other{b}}", ["a", "b"]),
        # What cannot be taken apart is one text.
        ("{n, plural, offset:1 one{{n} #} other{#}}", None),
        ("{n, plural, one{a}}", None),
        ("{n, plural, one{a} other{b}", None),
        ("{a, select, other{" * 50 + "x" + "}}" * 50, None),
        ("{a, select, " + " ".join(f"k{i}{{x}}" for i in range(40)) + " other{y}}", None),
    ],
)  # fmt: skip
def test_icu_cases_are_texts(text: str, sent: list[str] | None) -> None:
    document = opened("a.arb", json.dumps({"a": text}))
    assert [s.text for s in document.segments] == (sent or [text])
    assert json.loads(translated(document, lambda text: text))["a"] == text
    if sent is not None:
        from trimix_cpp.markup import icu

        new = json.loads(translated(document, lambda text: f"«{text}»"))["a"]
        told = [(each.name, each.type) for each in icu.arguments(text)]
        assert {(each.name, each.type) for each in icu.arguments(new)} == set(told)
        assert not list(icu.wrong(text, new)) or len(told) > 1


# Xcode


def test_xcstrings() -> None:
    document = opened("a.xcstrings", XCSTRINGS)
    assert document.source == "eng"
    assert [(s.name, s.text, s.form) for s in document.segments] == [
        ("%lld files", "%lld file", 0), ("%lld files", "%lld files", 1), ("Open", "Open", None)
    ]  # fmt: skip
    assert [(p.segment.text, p.translation, p.fuzzy) for p in document.pairs or ()] == [
        ("Close", "تاقا", True)
    ]
    got = translated(document, lambda _: "ئاچ", flagged=True)
    strings, before = json.loads(got)["strings"], json.loads(XCSTRINGS)["strings"]
    unit = {"stringUnit": {"state": "needs_review", "value": "ئاچ"}}
    assert strings["Open"]["localizations"] == {"ug": unit}
    for name in ("", "Close", "Name", "Old"):
        assert strings[name] == before[name]
    # As Xcode lays it out: its own order, indents and colons.
    xcode = json.dumps(json.loads(got), indent=2, ensure_ascii=False, separators=(",", " : "))
    assert got == xcode.replace("{}", "{\n\n    }") + "\n"
    assert [s.text for s in opened("a.xcstrings", XCSTRINGS, fuzzy=True).segments][2] == "Close"
    # Nothing is left to do in what comes out.
    assert not opened("a.xcstrings", got).segments


def test_xcstrings_devices_and_substitutions() -> None:
    unit = {"stringUnit": {"state": "translated", "value": "Tap %#@n@"}}
    forms = {"one": "%arg file", "other": "%arg files"}
    plural = {
        "plural": {
            name: {"stringUnit": {"state": "new", "value": text}} for name, text in forms.items()
        }
    }
    source = {
        "variations": {
            "device": {"mac": {"stringUnit": {"state": "x", "value": "Click"}}, "other": unit}
        },
        "substitutions": {"n": {"argNum": 1, "formatSpecifier": "lld", "variations": plural}},
    }
    text = json.dumps({"sourceLanguage": "en", "strings": {"k": {"localizations": {"en": source}}}})
    got = json.loads(translated(opened("a.xcstrings", text, "bod"), str.lower))
    new = got["strings"]["k"]["localizations"]["bo"]
    assert new["variations"]["device"]["mac"]["stringUnit"]["value"] == "click"
    assert new["substitutions"]["n"]["argNum"] == 1
    assert set(new["substitutions"]["n"]["variations"]["plural"]) == {"other"}


def test_what_somebody_translated_into_other_forms_stays() -> None:
    unit = '{"stringUnit" : {"state" : "translated", "value" : "x"}}'
    text = XCSTRINGS.replace('{\n        "en"', '{\n        "ug" : ' + unit + ',\n        "en"')
    document = opened("a.xcstrings", text)
    assert [s.text for s in document.segments] == ["Open"]


# Apple's .strings, Java's .properties


def strings_by_plist(text: str) -> dict[str, str]:
    """Read as an old property list, character by character, by the rules of CFOldStylePList.c."""
    out, at, found = {}, 0, list[str]()
    while at < len(text):
        if text.startswith("/*", at):
            at = text.index("*/", at) + 2
        elif text.startswith("//", at):
            at = text.index("\n", at)
        elif text[at] == '"':
            value, at = "", at + 1
            while text[at] != '"':
                if text[at] != "\\":
                    value, at = value + text[at], at + 1
                elif text[at + 1] in "Uu":
                    value, at = value + chr(int(text[at + 2 : at + 6], 16)), at + 6
                else:
                    value, at = (
                        value + {"n": "\n", "t": "\t"}.get(text[at + 1], text[at + 1]),
                        at + 2,
                    )
            found, at = [*found, value], at + 1
        elif text[at] == ";":
            out[found[0]], found, at = found[-1], [], at + 1
        elif text[at].isalnum():
            word = re.compile(r"[\w.]+").match(text, at)
            assert word
            found, at = [*found, word[0]], word.end()
        else:
            at += 1
    return out


@given(answer=answers)
def test_strings_by_plist(answer: str) -> None:
    document = opened("a.strings", STRINGS)
    assert {s.name: s.text for s in document.segments} == strings_by_plist(STRINGS)
    assert [s.comment for s in document.segments][:2] == ["A button", "two lines"]
    got = strings_by_plist(translated(document, lambda _: answer))
    assert got == dict.fromkeys(["open", "key.two", "Alone", "plain"], answer)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-8"])
def test_strings_keep_their_encoding(codec: str) -> None:
    mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(codec, b"")
    data = mark + STRINGS.encode(codec)
    document = opened("a.strings", data)
    assert document.render({}) == data
    got = document.render({0: Result("ئاچ")})
    assert got == data.replace('Open \\"%@\\"'.encode(codec), "ئاچ".encode(codec))


@given(answer=answers)
@example(answer=" a\t\\u0041\x01\n#!=: ")
def test_properties_by_javaproperties(answer: str) -> None:
    document = opened("a.properties", PROPERTIES)
    own = javaproperties.loads(PROPERTIES)
    sent = {s.name: s.text.replace("'", "''") for s in document.segments}
    assert sent == {name: text for name, text in own.items() if text}
    data = document.render({s.key: Result(answer) for s in document.segments})
    assert data.isascii()
    got = javaproperties.loads(data.decode())
    assert got.pop("quoted") == answer.replace("'", "''")
    assert got.pop("empty") == ""
    assert set(got.values()) == {answer}


def test_properties_in_utf_8_and_latin_1() -> None:
    utf8 = opened("a.properties", "a=é\n")
    assert utf8.render({0: Result("ئاچ")}) == "a=ئاچ\n".encode()
    latin = opened("a.properties", b"# \xe9\na=x\xe9\n")
    assert latin.segments[0].text == "xé"
    assert latin.render({0: Result("ىé😀")}) == b"# \xe9\na=\\u0649\xe9\\uD83D\\uDE00\n"


# YAML


def by_ruamel(text: str) -> Any:
    load = YAML(typ="safe")
    load.constructor.add_constructor("!ruby/object", lambda _, node: node.value)
    return load.load(text)


@given(answer=answers)
@example(answer="a\n  b\n\nc")
@example(answer="No")
@example(answer="a #b")
def test_yaml_by_ruamel(answer: str) -> None:
    own = by_ruamel(YAML_TEXT)["en"]
    document = opened("en.yml", YAML_TEXT)
    text = translated(document, lambda _: answer)
    assert text.startswith("# head\nug:\n")
    assert " # said first" in text
    got = by_ruamel(text)["ug"]
    assert got.pop("lines").rstrip("\n") == answer.rstrip("\n")
    assert got["items"] == {"one": answer, "other": answer}
    for name in ("hello", "plain", "same", "no", "folded"):
        assert got[name] == answer
    assert got["days"] == [answer, answer]
    for name in ("really", "day", "tagged", "symbol"):
        assert got[name] == own[name]


def test_yaml_without_a_language_at_its_root() -> None:
    text = "a: Open\nb: Close\n"
    assert translated(opened("messages.en.yaml", text), str.upper) == "a: OPEN\nb: CLOSE\n"
    assert open_document(text.encode(), "a.yml").source is None
    assert open_document(b"en-GB:\n  a: b\n", "a.yml").source == "en-GB"


# SubStation


def by_pysubs2(text: str) -> pysubs2.SSAFile:
    return pysubs2.SSAFile.from_string(text, format_="ass")


def test_ass_by_pysubs2() -> None:
    document = opened("a.ass", ASS)
    assert [s.text for s in document.segments] == [
        "Hello, {\\i1}you{\\i0} and all, all of you",
        "New folder",
    ]
    assert document.segments[0].seconds == 2.5
    answers = iter(["ئاچ {\\i1}سىز{\\i0} ۋە ھەممىڭلار {word}", "يېڭى قىسقۇچ"])
    got = translated(document, lambda _: next(answers))
    before, after = by_pysubs2(ASS), by_pysubs2(got)
    assert after[1].text == "{\\an8}ئاچ {\\i1}سىز{\\i0} ۋە\\Nھەممىڭلار (word)"
    assert [(e.start, e.end, e.type) for e in after] == [(e.start, e.end, e.type) for e in before]
    assert after[2].text == "{\\i1}يېڭى قىسقۇچ{\\i0}"
    assert [e.text for e in after][3:] == [e.text for e in before][3:]
    assert got.replace(after[1].text, before[1].text).replace("يېڭى قىسقۇچ", "New folder") == ASS


# What is no such file


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "[1]", "line 1: a JSON object"),
        ("a.json", '{"a": "b"', "line 1: not JSON: it ends too early"),
        ("a.json", '{"a": "b",\n}', "line 2: not JSON: a name"),
        ("a.json", '{"a"\n: "\\x"}', "line 2: not JSON: an escape"),
        ("a.json", '{"a": "\\ud800"}', "line 1: the text holds half of a surrogate pair"),
        ("a.json", '{"a": ' + "[" * 100_000, "line 1: JSON nested too deeply"),
        ("a.json", '{"a": 01}', "line 1: not JSON"),
        ("_locales/en/messages.json", '{"a": "b"}', "line 1: 'a' has no string \"message\""),
        ("a.xcstrings", "{}", "line 1: no string catalogue"),
        ("a.strings", '"a" = "b"', "line 1: no .strings file: a semicolon is missing"),
        ("a.strings", '"a" = "b";\n"c', "line 2: no .strings file: a string or comment"),
        ("a.strings", "/* a", "line 1: no .strings file: a string or comment"),
        ("a.strings", '"a" = "\\Ud800";', "line 1: no .strings file: the text holds half"),
        ("a.strings", "{" * 1000, "line 1: no .strings file: a key is missing"),
        ("a.strings", '<?xml version="1.0"?><plist/>', "line 1: a property list in XML"),
        ("a.properties", "a=\\u12", "line 1: \\\\u without four"),
        ("a.properties", "a=\\ud800", "line 1: the text holds half"),
        ("a.yml", "a: [b", "line 1: not YAML"),
        ("a.yml", "a: b\n c: d", "line 2: not YAML"),
        ("a.yml", "a: " + "[" * 10_000, "line 1: YAML nested too deeply"),
        ("a.yml", "a: *b", None),
        ("a.yml", 'a: "\\ud800"', "half of a surrogate pair"),
        ("a.yml", "a: \x01b", "not YAML"),
        ("a.ass", "Dialogue: a", "line 1: not SubStation: no \\[Events\\]"),
        ("a.ass", "[Events]\nDialogue: 0,a", "line 2: not SubStation: Dialogue has 2 of 10"),
        ("a.ass", "[Events]\nFormat: Text, Start", "line 2: not SubStation: the last field"),
    ],
)
def test_what_is_no_such_file_is_one_line(name: str, text: str, said: str | None) -> None:
    if said is None:
        assert not opened(name, text).segments
        return
    with pytest.raises(TrimixError, match=said) as error:
        opened(name, text)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(name)


def test_aliases_expand_to_nothing() -> None:
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 30))
    document = opened("bomb.yml", f"l0: &l0 [lol, lol]\n{levels}\n")
    assert len(document.segments) == 2


@pytest.mark.parametrize("name", FILES)
@given(cut=st.integers(0, 2000))
def test_half_a_file_is_refused_in_one_line_or_read(name: str, cut: int) -> None:
    data = FILES[name].encode()[:cut]
    document = taken(lambda: opened(name, data))
    assert document is None or document.render({}) == data


@pytest.mark.parametrize("name", FILES)
def test_equal_names_do_no_harm(name: str) -> None:
    text = FILES[name]
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if "Open" in line or "hello" in line.lower():
            doubled = "\n".join([*lines[: i + 1], line, *lines[i + 1 :]])
            data = doubled.encode()
            document = taken(partial(opened, name, data))
            if document is not None:
                assert document.render({}) == data
                got = document.render({s.key: Result("x") for s in document.segments})
                assert opened(name, got).render({}) == got


@given(st.sampled_from(sorted(FILES)), edits, answers)
def test_mangled_files(name: str, edits: list[tuple[str, int, int, str]], answer: str) -> None:
    data = mangled(FILES[name], edits).encode()
    document = taken(lambda: opened(name, data))
    if document is not None:
        assert document.render({}) == data
        got = document.render({s.key: Result(answer, True, ("why",)) for s in document.segments})
        opened(name, got)


@pytest.mark.parametrize(
    ("name", "head", "unit", "tail"),
    [
        ("a.json", "{", '"k@_one": "a", "k@_other": "b {{count}}",', '"z": "z"}'),
        ("a.json", '{"a": "', "\\u00e9\\\\ ", '"}'),
        ("a.arb", "{", '"k@": "{n, plural, one{# a} other{# b}}",', '"z": "z"}'),
        ("a.arb", '{"a": "', "{n, plural, one{# a} other{# b}}", '"}'),
        ("a.xcstrings", '{"sourceLanguage": "en", "strings": {', '"k@": {},', '"z": {}}}'),
        ("a.strings", "", '/* a */ "k@" = "v";\n', ""),
        ("a.strings", "", "/* * ", ""),
        ("a.properties", "", "k@ = v \\\n  w\n", ""),
        ("a.properties", "", "\\", ""),
        ("a.yml", "en:\n", "  k@: Open it\n", ""),
        ("a.yml", "a: '", "it''s ", "'"),
        ("a.ass", "[Events]\n", "Dialogue: 0,1,2,D,,0,0,0,,{\\i1}a{\\i0}b\n", ""),
        ("a.ass", "[Events]\nDialogue: 0,1,2,D,,0,0,0,,", "x{a}\\N", ""),
    ],
)
def test_the_work_is_linear(name: str, head: str, unit: str, tail: str) -> None:
    def work(text: str) -> None:
        numbers = iter(range(text.count("@")))
        whole = head + re.sub("@", lambda _: str(next(numbers)), text) + tail
        with suppress(TrimixError):
            translated(opened(name, whole, "rus"), str.upper)

    assert_linear(work, unit, 60)


keys = st.from_regex(r"[a-z]{4,6}", fullmatch=True).filter(lambda key: key not in CATEGORIES)
trees = st.recursive(
    texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(keys, trees, min_size=1, max_size=4),
    st.sampled_from(["", '"', "'", "|", ">"]),
    st.sampled_from([False, True]),
    st.sampled_from([20, 200]),
    answers,
)
def test_yaml_in_every_style(
    tree: dict[str, Any], style: str, flow: bool, width: int, answer: str
) -> None:
    dump = YAML(typ="safe", pure=True)
    dump.default_style, dump.default_flow_style, dump.width = style or None, flow, width
    dump.allow_unicode = True
    out = io.StringIO()
    dump.dump(tree, out)
    try:
        before = leaves(by_ruamel(out.getvalue()))
    except YAMLError:
        assume(False)  # the dumper writes control characters that no reader takes
    document = opened("a.yml", out.getvalue(), "eng")
    assert document.render({}).decode() == out.getvalue()
    after = leaves(by_ruamel(translated(document, lambda _: answer)))
    assert list(after) == list(before)
    sent = {s.name for s in document.segments}
    for name, text in before.items():
        new = after[name]
        assert new == (answer if name in sent else text) or new.rstrip("\n") == answer.rstrip("\n")
        assert name in sent or not text.strip() or not isinstance(text, str) or text == new


@given(st.dictionaries(texts, trees, max_size=4), st.sampled_from([None, 2, "\t"]), st.booleans())
def test_json_of_any_shape(tree: dict[str, Any], indent: Any, ascii: bool) -> None:
    text = json.dumps(tree, indent=indent, ensure_ascii=ascii)
    document = opened("a.json", text, "eng")
    assert translated(document, lambda text: text) == text
    got = json.loads(translated(document, lambda text: text + "é"))

    def changed(value: Any) -> Any:
        if isinstance(value, str):
            return value + "é" if value.strip() else value
        if isinstance(value, list):
            return [changed(each) for each in value]
        return {name: changed(each) for name, each in value.items()}

    assert got == changed(tree)
