"""Terms: found as whole words, the longest first; held against forms that a language gives them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.errors import TrimixError
from trimix_cpp.prompts.languages import language
from trimix_cpp.translate.context import Context
from trimix_cpp.translate.faults import CHECKS, faults
from trimix_cpp.translate.glossary import Glossary
from trimix_cpp.translate.glossary_files import read_glossary
from trimix_cpp.translate.recipe import Term
from trimix_cpp.translate.terms import used
from trimix_cpp.translate.words import words

from ..support.growth import assert_linear

ENG, UIG, BOD = language("eng"), language("uig"), language("bod")
TERMS = [
    ("file", "ھۆججەت"), ("file manager", "ھۆججەت باشقۇرغۇ"), ("drop-down list", "تاللاش تىزىمى"),
    ("US", "ئامېرىكا"), ("query", "سۈرۈشتۈرۈش"), ("box", "رامكا"), ("class", "تۈر"),
]  # fmt: skip
LETTERS = st.text(st.sampled_from("abئاཡིག་ᠮ你 -'s"), max_size=18)


def found(text: str, terms: list[tuple[str, str]] = TERMS, code: str = "eng") -> list[str]:
    return [term.text for term in Glossary(terms, language(code)).found(text)]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Open the file", ["file"]),
        ("Open FILES in the File Manager, not the file", ["file", "file manager"]),
        ("profile, filename, file-less", ["file"]),
        ("a drop down list of Queries and boxes", ["drop-down list", "query", "box"]),
        ("tell us of the US", ["US"]),
        ("the classes, the class", ["class"]),
        ("{file} %(file)s &file; https://x.org/file", []),
        ("file. Manager", ["file"]),
    ],
)
def test_terms_of_english(text: str, terms: list[str]) -> None:
    assert found(text) == terms


def test_terms_of_tibetan_and_chinese_are_syllables_and_letters() -> None:
    terms = [("ཡིག", "letter"), ("ཡིག་ཆ", "file"), ("文件", "file"), ("文", "text")]
    assert found("ཡིག་ཆ་ཁ་ཕྱེ། བོད་ཡིག", terms, "bod") == ["ཡིག་ཆ", "ཡིག"]
    assert found("ཡིགས", terms, "bod") == []
    assert found("打开文件和文", terms, "zho") == ["文件", "文"]


@given(LETTERS, st.lists(LETTERS.filter(lambda text: bool(words(text))), max_size=6))
def test_what_is_found_stands_in_the_text(text: str, names: list[str]) -> None:
    glossary = Glossary([(name, "x") for name in names], UIG)
    for term in glossary.found(text):
        assert words(term.text)[0].text in text
    for name in names:
        assert glossary.found(name), name


def test_a_term_of_several_translations_may_be_any_of_them() -> None:
    (term,) = Glossary([("file", "a"), ("file", "b"), ("file", "a")], ENG).found("file")
    assert term == Term("file", ("a", "b"))


@pytest.mark.parametrize(
    ("code", "term", "text", "is_used"),
    [
        ("uig", "ھۆججەت", "ھۆججەتلەرنى ئاچ", True),
        ("uig", "ھۆججەت", "ھۆججىتى ئېچىلدى", True),
        ("uig", "ھۆججەت", "قىسقۇچنى ئاچ", False),
        ("uig", "ھۆججەت باشقۇرغۇ", "ھۆججەت باشقۇرغۇنى ئاچ", True),
        ("uig", "ھۆججەت باشقۇرغۇ", "باشقۇرغۇ ھۆججەت", False),
        ("kaz", "кітап", "кітабын ашу", True),
        ("tur", "kitap", "Kitabı aç", True),
        ("khk", "файл", "файлуудыг нээх", True),
        ("mvf", "ᠹᠠᠶᠢᠯ", "ᠹᠠᠶᠢᠯ ᠢ ᠨᠡᠭᠡᠭᠡ", True),
        ("bod", "ཡིག་ཆ", "ཡིག་ཆའི་མིང་།", True),
        ("bod", "ཡིག་ཆ", "བོད་ཡིག་ཆེན་པོ།", False),
        ("bod", "ཡིག་ཆ།", "ཡིག་ཆ་ཁ་ཕྱེ།", True),
        ("bod", "ཆ", "ཡིག་ཆེ", False),
        ("zho", "文件", "打开文件夹", True),
        ("tha", "ไฟล์", "เปิดไฟล์นี้", True),
        ("rus", "папка", "в папке", True),
        ("rus", "файл", "открыть папку", False),
        ("deu", "Datei", "alle Dateien", True),
        ("arb", "ملف", "فتح الملفات", True),
        ("swh", "faili", "fungua mafaili", True),
        ("uig", "C++", "C++ ھۆججىتى", True),
    ],
)  # fmt: skip
def test_forms_that_languages_give_a_term(code: str, term: str, text: str, is_used: bool) -> None:
    assert used(term, text, language(code)) == is_used


@given(LETTERS, LETTERS, st.sampled_from(["uig", "bod", "eng", "arb", "zho", "mvf"]))
def test_a_term_by_itself_is_used(before: str, term: str, code: str) -> None:
    assert used(term, f"{before} {term} {before}", language(code))


def test_the_check_tells_what_is_missing() -> None:
    context = Context(target=UIG, terms=Glossary(TERMS, ENG).found("Open the file"))
    (fault,) = faults("Open the file", "قىسقۇچنى ئاچ", context, [CHECKS["terms"]])
    assert fault.reason == "has not the term ھۆججەت (file)"
    assert not faults("Open the file", "ھۆججەتنى ئاچ", context, [CHECKS["terms"]])
    assert not faults("Open the file", "x", Context(target=UIG), [CHECKS["terms"]])


TBX = (
    '<?xml version="1.0"?><!DOCTYPE martif SYSTEM "TBXcoreStructV02.dtd"><martif xml:lang="en">'
    "<text><body><termEntry><langSet xml:lang='en-US'><tig><term>file</term></tig></langSet>"
    "<langSet xml:lang='ug'><ntig><termGrp><term>ھۆججەت<!-- x --> &amp; <hi>b</hi></term>"
    "</termGrp></ntig></langSet><langSet xml:lang='kk'><tig><term>файл</term></tig></langSet>"
    "</termEntry></body></text></martif>"
)
TBX3 = (
    '<tbx xmlns="urn:iso:std:iso:30042:ed-2" type="TBX-Basic"><text><body><conceptEntry id="c1">'
    '<langSec xml:lang="en"><termSec><term>file</term></termSec></langSec>'
    '<langSec xml:lang="ug"><termSec><term>ھۆججەت</term></termSec></langSec>'
    "</conceptEntry></body></text></tbx>"
)


@pytest.mark.parametrize(
    ("name", "text", "translation"),
    [
        ("g.tbx", TBX, "ھۆججەت & b"),
        ("g.tbx", TBX3, "ھۆججەت"),
        ("g.tsv", "\ufefffile\tھۆججەت\r\nempty\t\r\n", "ھۆججەت"),
        ("g.csv", 'note;ug;en\n"a;b";ھۆججەت;file\n', "ھۆججەت"),
        ("g.po", 'msgid "file"\nmsgstr "ھۆججەت"\n', "ھۆججەت"),
    ],
)
def test_files_of_terms(name: str, text: str, translation: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    (term,) = read_glossary([tmp_path / name], ENG, UIG).found("the file")
    assert term == Term("file", (translation,))


BOMB = "<!DOCTYPE x [" + "".join(
    f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "ha" * 10}">' for i in range(9)
)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("g.tbx", BOMB + "]><tbx>&e8;</tbx>", "made of others"),
        ("g.tbx", '<!DOCTYPE x [<!ENTITY e SYSTEM "/etc/passwd">]><x>&e;</x>', "is a file"),
        ("g.tbx", "<a>" * 500, "within 100"),
        ("g.tbx", "<tbx><text>", "line 1: not well-formed"),
        ("g.tbx", TBX.replace("'ug'", "'tr'"), "no term in both"),
        ("g.tbx", "", "no term"),
        ("g.tsv", "file\n", "1 column"),
        ("g.tsv", "file\t \n", "no term"),
        ("g.tsv", "file\t" + "word " * 21 + "\n", "is no term.*--memory"),
        ("g.tsv", "a" * 300 + "\tb\n", "is no term"),
        ("g.tsv", "\0\tb\n", "zero byte"),
    ],
)
def test_hostile_files_of_terms(name: str, text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(TrimixError, match=words):
        read_glossary([tmp_path / name], ENG, UIG)


def test_a_concept_of_many_synonyms_does_not_multiply(tmp_path: Path) -> None:
    def side(code: str) -> str:
        terms = "".join(f"<tig><term>{code}{i}</term></tig>" for i in range(2000))
        return f"<langSet xml:lang='{code}'>{terms}</langSet>"

    (tmp_path / "g.tbx").write_text(f"<m><termEntry>{side('en')}{side('ug')}</termEntry></m>")
    assert len(read_glossary([tmp_path / "g.tbx"], ENG, UIG)) == 20


def test_terms_are_found_in_linear_time() -> None:
    terms = [(" ".join(["a"] * n), "x") for n in range(1, 21)] + [
        (f"b{i}", "y") for i in range(999)
    ]
    glossary = Glossary(terms, ENG)
    assert_linear(glossary.found, "a a b7 a. ", 200)
    assert_linear(lambda text: used("a a a b", text, UIG), "a a ", 500)
