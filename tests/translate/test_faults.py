"""Each check finds what it is for, and nothing in good translations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.errors import UsageError
from trimix_cpp.prompts import language
from trimix_cpp.translate.context import Context
from trimix_cpp.translate.faults import CHECKS, faults, known_checks
from trimix_cpp.translate.recipe import Term

from ..support.growth import assert_linear

MARKDOWN = frozenset({"markdown", "label:guide"})
UIG = Context(target=language("uig"))
BOD = Context(target=language("bod"))
MVF = Context(target=language("mvf"))
KAZ = Context(target=language("kaz"))
SHOWN = Context(target=language("uig"), seconds=1.0, speed=20)
TERMS = Context(target=language("uig"), terms=(Term("file", ("ھۆججەت",)),))
SHORT = Context(target=language("uig"), longest=4)
MARKED = Context(MARKDOWN, target=language("uig"))
LARAVEL = Context(frozenset({"laravel-format"}))

# Check, context, source, good translations, faulty ones.
CASES: list[tuple[str, Context, str, list[str], list[str]]] = [
    ("placeholders", UIG, "Open %s", ["%s نى ئاچ", "%1$s ئاچ"], ["ئاچ", "%d ئاچ", "%s %s"]),
    ("placeholders", UIG, "Hi {name}", ["سالام {name}"], ["سالام {ئات}", "سالام"]),
    ("placeholders", UIG, "%S of %S", ["%2$S نىڭ %1$S"], ["%S"]),
    ("placeholders", UIG, "%A, %B %d", ["%d-%B، %A", "%B %d %Y"], ["ئاچ"]),
    ("placeholders", LARAVEL, "Hi :name", ["سالام :name", "سالام :Name"], ["سالام :ئات", "سالام"]),
    ("placeholders", UIG, "Hi :name", ["سالام: ئات"], []),
    ("placeholders", UIG, "{n, plural, one {# file} other {# files}}",
     ["{n, plural, other {# ھۆججەت}}", "{n, plural, one {# ھۆججەت} other {# ھۆججەت}}"],
     ["{n, plural, few {# ھۆججەت} other {# ھۆججەت}}", "# ھۆججەت", "{n, plural, one {#}}"]),
    ("placeholders", BOD, "{n, plural, one {#} other {#}}",
     ["{n, plural, other {#}}"], ["{n, plural, one {#} other {#}}"]),
    ("placeholders", UIG, "See $t(key)", ["$t(key) نى كۆر"], ["$t(ئاچقۇچ)", "كۆر"]),
    ("placeholders", UIG, "Hi $USER$, %{x} <%= y %>", ["%{x} <%= y %> $USER$"], ["%{x} $USER$"]),
    ("markup", UIG, "<0>Open</0> it", ["<0>ئاچ</0>"], ["ئاچ", "<0>ئاچ", "<0>ئاچ<0>"]),
    ("markup", UIG, "<1>a <2>b</2></1>", ["<1><2>ئا</2></1>"],
     ["<1>ئا <2>ب</1></2>"]),
    ("addresses", UIG, "See https://a.org/b or a@b.org",
     ["https://a.org/b ياكى a@b.orgنى كۆر"], ["https://a.org/c ياكى a@b.org", "كۆر"]),
    ("breaks", UIG, "a\nb\t", ["ئا\nب\t"], ["ئا ب\t", "ئا\nب"]),
    ("accelerators", UIG, "&Open", ["ئاچ(&O)", "&ئاچ"], ["ئاچ", "&ئاچ(&O)"]),
    ("options", UIG, "Use -k or --keep", ["-k ياكى --keep"], ["-k1 ياكى --keep"]),
    ("options", UIG, "Use -k", ["-k نى ئىشلەت"], ["ئىشلەت", "-k1 نى ئىشلەت"]),
    ("answers", UIG, "Sure? [y/n]", ["[y/n] راستمۇ؟"], ["راستمۇ؟", "[ھ/ي]"]),
    ("keys", UIG, "Press Ctrl+S or Alt-F4", ["Alt+F4 ياكى Ctrl + S"], ["Ctrl+Z، Alt-F4", "باس"]),
    ("keys", UIG, "Press Enter, pre-A", ["قايتۇر"], []),
    ("labels", MARKED, "See the [guide]", ["[قوللانما][guide]", "[guide]"], ["[قوللانما]"]),
    ("brackets", MARKED, "[a](b)", ["[ئا](b)"], ["[ئا(b)"]),
    ("numbers", UIG, "12,345.6 of 7", ["٧ نىڭ ١٢٣٤٥٫٦"], ["٧", "12345.6 8"]),
    ("numbers", BOD, "Page 120", ["ཤོག་ངོས་༡༢༠"], ["ཤོག་ངོས་༡༢"]),
    ("numbers", MVF, "Page 120", ["ᠨᠢᠭᠤᠷ ᠑᠒᠐"], ["ᠨᠢᠭᠤᠷ"]),
    ("spaces", UIG, "Name: ", ["ئاتى: "], ["ئاتى:", " ئاتى: "]),
    ("spaces", UIG, "\nOpen\n", ["\nئاچ\n"], ["ئاچ\n", "\nئاچ"]),
    ("ends", UIG, "Save it?", ["ساقلامسىز؟", "«ساقلامسىز؟»"], ["ساقلا.", "ساقلا"]),
    ("ends", UIG, "Open…", ["ئاچ...", "ئاچ…", "ئاچ…(&O)", "ئاچ(&O)…"], ["ئاچ", "ئاچ."]),
    ("ends", UIG, "Name:", ["ئاتى:"], ["ئاتى", "ئاتى."]),
    ("ends", UIG, "Done", ["تامام", "تامام %s"], ["تامام.", "تامام؟"]),
    ("ends", UIG, "<b>Done.</b>", ["<b>تامام.</b>", "<b>تامام</b>."], ["<b>تامام</b>"]),
    ("ends", UIG, "Files, etc.", ["ھۆججەت قاتارلىق"], []),
    ("ends", BOD, "It is done.", ["འགྲུབ་སོང་།", "འགྲུབ་སོང"], ["འགྲུབ་སོང་?"]),
    ("ends", MVF, "It is done.", ["ᠳᠠᠭᠤᠰᠪᠠ᠃"], ["ᠳᠠᠭᠤᠰᠪᠠ"]),
    ("script", UIG, "Open it", ["ئۇنى ئاچ"], ["打开文件", "ھۆججەت файл", "Открой файл"]),
    ("script", UIG, "Open Firefox", ["Firefox نى ئاچ", "Firefoxنى ئاچ"], ["Ava el Firefox ya"]),
    ("script", BOD, "Quit Nautilus.", ["Nautilusམཚམས་བཞག"], ["Nautilus ئاچ"]),
    ("script", MVF, "Open the file", ["ᠹᠠᠢᠯ ᠨᠡᠭᠡᠭᠡ"], ["Файл нээх"]),
    ("script", KAZ, "Open the file", ["Файлды ашу"], ["ཡིག་ཆ་ཕྱེ།"]),
    ("length", SHOWN, "Come in, please.", ["كىرىڭ."], ["ئا" * 20]),
    ("length", SHORT, "Open", ["ئاچ", "ئاچ!"], ["ئېچىش"]),
    ("terms", TERMS, "Open files", ["ھۆججەتلەرنى ئاچ", "ھۆججىتىنى ئاچ"], ["قىسقۇچنى ئاچ", ""]),
    ("empty", UIG, "Open", ["ئاچ"], ["", " "]),
    ("damaged", UIG, "Open", ["ئاچ"], ["ئا\ufffd"]),
    ("repeats", UIG, "Open it", ["ئاچ"], ["ئاچ ئاچ ئاچ ئاچ"]),
    ("unchanged", UIG, "Open the file now", ["ئاچ"], ["Open the file now"]),
    ("unchanged", UIG, "Mozilla Firefox %s {name}", ["Mozilla Firefox %s {name}"], []),
]  # fmt: skip


def found(check: str, source: str, translation: str, context: Context) -> list[str]:
    return [fault.reason for fault in faults(source, translation, context, [CHECKS[check]])]


@pytest.mark.parametrize(("check", "context", "source", "good", "faulty"), CASES)
def test_each_check(
    check: str, context: Context, source: str, good: list[str], faulty: list[str]
) -> None:
    for translation in good:
        assert found(check, source, translation, context) == []
    for translation in faulty:
        assert found(check, source, translation, context) != []


def test_every_check_has_a_good_and_a_faulty_example() -> None:
    both = {check for check, _, _, good, faulty in CASES if good and faulty}
    assert both == CHECKS.keys()


PIECES = st.sampled_from(
    ["%s ", "{name} ", "<0>", "</0>", "$t(k) ", "Ctrl+S ", "-k ", " --keep ", "[y/n] ", "120 ",
     "https://a.org/b ", "a@b.org ", "\n", "\t", "${x} ", "$P$ ", "%{y} ", "<%= z %> ", "{{w}} ",
     "{n, plural, one {# a} other {# b}} ", "&amp; "]
)  # fmt: skip
UYGHUR = st.sampled_from(["ھۆججەت ", "ئاچ ", "ۋە ", "ئېلان. "])


@given(st.lists(PIECES, min_size=1, max_size=8).map("".join), st.lists(UYGHUR, max_size=4))
def test_a_copy_of_what_must_survive_is_never_flagged(pieces: str, words: list[str]) -> None:
    context = Context(source=language("eng"), target=language("eng"))
    chosen = [check for check in CHECKS.values() if check.again]
    assert faults(f"x {pieces}y", f"{''.join(words)}x {pieces}y", context, chosen) == ()
    everything = [check for check in CHECKS.values() if check.name != "unchanged"]
    assert faults(f"x {pieces}y", f"x {pieces}y", context, everything) == ()


@given(st.lists(PIECES, min_size=1, max_size=6), st.data())
def test_one_that_is_dropped_is_always_flagged(pieces: list[str], data: st.DataObject) -> None:
    less = list(pieces)
    del less[data.draw(st.integers(0, len(pieces) - 1))]
    chosen = [check for check in CHECKS.values() if check.again]
    source, translation = f"x {''.join(pieces)}y", f"x {''.join(less)}y"
    assert faults(source, translation, Context(), chosen) != ()


@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from([UIG, BOD, MVF, SHOWN, MARKED]))
def test_any_two_texts_are_judged(source: str, translation: str, context: Context) -> None:
    for fault in faults(source, translation, context):
        assert fault.reason
        assert fault.check in CHECKS


def test_names_are_known_or_refused() -> None:
    assert known_checks(["ends, spaces", "script"]) == {"ends", "spaces", "script"}
    with pytest.raises(UsageError, match=r"no check 'typos'; there are placeholders, markup"):
        known_checks(["ends,typos"])


@pytest.mark.parametrize(
    "unit", ["(", ".", " ", "ئا ", "བ་", "Ctrl+", "Ctrl - ", ":a", "a.", "Ω", "…", "\ufffd"]
)
def test_long_texts_take_time_in_proportion(unit: str) -> None:
    for context in (UIG, LARAVEL, SHORT):
        chosen = [check for check in CHECKS.values() if check.name != "repeats"]
        assert_linear(lambda text: faults(text, text[1:], context, chosen), unit, 1_000)  # noqa: B023
