"""A memory: equal texts byte for byte, similar ones in an order that nothing but texts decides."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz

from trimix_cpp.documents.opening import open_document
from trimix_cpp.documents.segments import Pair, Segment
from trimix_cpp.errors import TrimixError, UsageError
from trimix_cpp.prompts.languages import language
from trimix_cpp.translate.aids import Aids
from trimix_cpp.translate.job import results_of
from trimix_cpp.translate.memory import Memory
from trimix_cpp.translate.pair_files import add_files
from trimix_cpp.translate.recipe import MAX_SHOTS
from trimix_cpp.translate.units import lay_out

from ..support.growth import assert_linear

ENG, UIG, BOD = language("eng"), language("uig"), language("bod")
UYGHUR = {
    "Open file": "ھۆججەتنى ئاچ", "Open the file": "ھۆججەتنى ئېچىڭ", "Save file": "ھۆججەتنى ساقلا",
    "Save the file as": "ھۆججەتنى باشقا ئاتتا ساقلا", "Close": "تاقا",
    "Close file": "ھۆججەتنى تاقا",
    "Print page": "بەتنى باس", "Print the page": "بەتنى بېسىڭ",
}  # fmt: skip
TIBETAN = {"ཡིག་ཆ་ཁ་ཕྱེ།": "Open the file.", "ཡིག་ཆ་ཉར་ཚགས།": "Save the file.", "སྒོ་རྒྱག": "Close"}
TEXTS = st.text(
    st.sampled_from("ab .%_&\n\t1ئاچཡིག་ᠮ你") | st.characters(codec="utf-8"), min_size=1, max_size=30
).filter(str.strip)

# What PO and polib can both hold.
WRITTEN = st.text(
    st.sampled_from("ab .%_&ئاچཡིག་ᠮ你")
    | st.characters(codec="utf-8", exclude_categories=["C", "Z"]),
    min_size=1,
    max_size=9,
).filter(str.strip)

TMX = (
    '<tmx version="1.4"><header srclang="en" datatype="plaintext"/><body><tu>'
    '<tuv xml:lang="en"><seg>Open</seg></tuv><tuv xml:lang="ug"><seg>ئاچ</seg></tuv>'
    "</tu></body></tmx>"
)
XLIFF = (
    '<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2"><file original="a" '
    'source-language="en" target-language="ug" datatype="plaintext"><body><trans-unit id="1" '
    'approved="yes"><source>Open</source><target state="final">ئاچ</target></trans-unit>'
    '<trans-unit id="2"><source>Close</source></trans-unit></body></file></xliff>'
)
ENTITIES = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 9 if i else "ha" * 9}">' for i in range(9))
BOMB = f"<!DOCTYPE tmx [{ENTITIES}]><tmx>&e8;</tmx>"


def memory_of(pairs: dict[str, str], **how: bool) -> Memory:
    memory = Memory(**how)
    memory.add([pair(text, translation) for text, translation in pairs.items()])
    return memory


def pair(text: str, translation: str, **more: object) -> Pair:
    return Pair(Segment(0, text, "f:1", **more), translation)  # type: ignore[arg-type]


@given(st.dictionaries(TEXTS, TEXTS, min_size=1, max_size=6), st.booleans(), st.integers(0, 9))
def test_an_equal_segment_is_taken_over_byte_for_byte(
    pairs: dict[str, str], labels: bool, cut: int
) -> None:
    segments = [Segment(i, text, f"f:{i}") for i, text in enumerate(pairs)]
    layouts = lay_out(segments, cut=cut, labels=labels, aids=Aids(memory_of(pairs)))
    for layout, translation in zip(layouts, pairs.values(), strict=True):
        result = layout.result({})
        assert not layout.asked
        assert result is not None
        assert result.remembered
        assert result.text == translation


@given(st.dictionaries(TEXTS, TEXTS, max_size=20), TEXTS)
def test_what_is_shown_are_pairs_of_lines_and_the_most_similar_is_last(
    pairs: dict[str, str], text: str
) -> None:
    shots = memory_of(pairs).similar(text)
    assert len(shots) <= MAX_SHOTS
    assert len({shot for shot, _ in shots}) == len(shots)
    for shot, answer in shots:
        assert "\n" not in shot + answer
        assert any(shot in known and answer in pairs[known] for known in pairs)
    scores = [fuzz.ratio(text.casefold(), shot.casefold()) for shot, _ in shots]
    assert scores == pytest.approx(sorted(scores), abs=1e-3)


@pytest.mark.parametrize("pairs", [UYGHUR, TIBETAN])
def test_similar_ones_of_real_texts(pairs: dict[str, str]) -> None:
    memory = memory_of(pairs)
    for text, translation in pairs.items():
        assert memory.similar(text)[-1] == (text, translation)
    assert memory.similar("ᠮᠣᠩᠭᠣᠯ") == ()
    if pairs is UYGHUR:
        assert [shot for shot, _ in memory.similar("Opening a file")][-2:] == [
            "Open the file",
            "Open file",
        ]


def test_an_order_of_hashes_changes_nothing() -> None:
    script = (
        "from tests.translate.test_memory import *\n"
        "memory = memory_of({f'{a} {b} {c}': 'x' for a in 'abcd' for b in 'fghi' for c in 'kl'})\n"
        "print([memory.similar(f'{a} z {b} q') for a in 'abc' for b in 'klf'])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2], capture_output=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(said) == 1


def test_the_same_form_context_and_the_first_file_decide() -> None:
    memory = Memory()
    memory.add([pair("Open", "ئاچ", context="verb"), pair("Open", "ئوچۇق", context="state")])
    memory.add([pair("Open", "x"), pair("%d files", "%d ھۆججەت", form=0)])

    def found(**more: object) -> tuple[str, tuple[str, ...]]:
        taken = memory.taken(Segment(0, "Open", "f:1", **more))  # type: ignore[arg-type]
        assert taken
        return taken.text, taken.reasons

    assert found(context="verb") == ("ئاچ", ())
    assert found(context="state") == ("ئوچۇق", ())
    assert found() == ("x", ())
    text, reasons = found(context="noun")
    assert text == "ئاچ"
    assert "2 translations" in reasons[0]
    assert "another context: verb" in reasons[1]
    assert memory.taken(Segment(0, "%d files", "f", form=1)) is None
    assert memory.taken(Segment(0, "%d files", "f", form=0)) is not None


def test_with_contexts_another_context_is_another_text() -> None:
    memory = Memory(contexts=True)
    memory.add([pair("Open", "ئاچ", context="verb")])
    assert memory.taken(Segment(0, "Open", "f", context="noun")) is None
    assert memory.taken(Segment(0, "Open", "f")) is None
    assert memory.taken(Segment(0, "Open", "f", context="verb")) is not None
    assert memory.similar("Open") == (("Open", "ئاچ"),)


def test_what_loses_a_placeholder_is_taken_and_told() -> None:
    taken = memory_of({"Save %s": "ساقلا"}).taken(Segment(0, "Save %s", "f"))
    assert taken
    assert taken.text == "ساقلا"
    assert "loses %s" in taken.reasons


def test_fuzzy_and_long_ones_are_not_shown() -> None:
    memory = Memory()
    memory.add([Pair(Segment(0, "Open file", "f"), "x", fuzzy=True), pair("Open " * 100, "y")])
    memory.add([pair("Open a\nSave b", "1\n2"), pair("Open c\nd", "3")])
    assert set(memory.similar("Open")) == {("Open a", "1")}
    assert memory.taken(Segment(0, "Open file", "f")) is None


def test_models_are_shown_labels_without_accelerators() -> None:
    memory = Memory()
    memory.add([pair("_Open", "ئاچ(_O)"), pair("E&xit", "&چېكىن")], labels=True)
    assert memory.similar("Open") == (("Open", "ئاچ"),)
    assert memory.similar("Exit") == (("Exit", "چېكىن"),)
    taken = memory.taken(Segment(0, "_Open", "f"))
    assert taken
    assert taken.text == "ئاچ(_O)"


@given(st.lists(st.tuples(WRITTEN, WRITTEN | st.just("")), min_size=1, max_size=6))
def test_what_a_file_holds_translated_stays_as_it_is(rows: list[tuple[str, str]]) -> None:
    catalog = polib.POFile()
    catalog.metadata = {"Content-Type": "text/plain; charset=UTF-8"}
    for i, (text, done) in enumerate(rows):
        catalog.append(polib.POEntry(msgctxt=str(i), msgid=text, msgstr=done))
    document = open_document(str(catalog).encode(), "m.po")
    memory = Memory()
    memory.add(document.pairs or ())
    layouts = lay_out(document.segments, cut=0, labels=True, aids=Aids(memory))
    known = {pair.segment.text: pair.translation for pair in reversed(document.pairs or ())}
    results = results_of([layout for layout in layouts if layout.taken], {})
    for old, new in zip(catalog, polib.pofile(document.render(results).decode()), strict=True):
        assert new.msgid == old.msgid
        assert new.msgstr == (old.msgstr or known.get(old.msgid, ""))


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("m.tsv", "Open\tئاچ\nClose\t\nCut\tكەس\n", {"Open": "ئاچ", "Cut": "كەس"}),
        ("m.tsv", "id\ten\tug\n1\tOpen\tئاچ\n", {"Open": "ئاچ"}),
        ("m.csv", 'ug,en\n"ئاچ, ياپ","Open, close"\n', {"Open, close": "ئاچ, ياپ"}),
        ("m.jsonl", '{"text": "Open", "translation": "ئاچ"}\n', {"Open": "ئاچ"}),
        ("m.po", 'msgid "Open"\nmsgstr "ئاچ"\n', {"Open": "ئاچ"}),
        ("m.tmx", TMX, {"Open": "ئاچ"}),
        ("m.xlf", XLIFF, {"Open": "ئاچ"}),
    ],
)
def test_files_of_pairs(name: str, text: str, found: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    memory = Memory()
    add_files(memory, [tmp_path / name], ENG, UIG)
    assert dict(memory.sample(9)) == found


@pytest.mark.parametrize(
    ("name", "text", "words", "error"),
    [
        ("m.tsv", "1\tOpen\tئاچ\n", "3 columns.*en and ug", TrimixError),
        ("m.tsv", "Open\n", "1 column", TrimixError),
        ("m.tsv", "", "nothing", TrimixError),
        ("m.csv", "Open,\n", "nothing", TrimixError),
        ("m.po", 'msgid "Open"\nmsgstr ""\n', "nothing", TrimixError),
        ("m.po", 'msgid "Open\n', "line 1", TrimixError),
        ("m.tmx", BOMB, "made of others", TrimixError),
        ("m.tmx", TMX.replace('"ug"', '"kk"'), "nothing", TrimixError),
        ("m.tmx", TMX[:-9], "not well-formed", TrimixError),
        (
            "m.po",
            'msgid ""\nmsgstr "Language: kk\\n"\n\nmsgid "Open"\nmsgstr "Ашу"\n',
            "says kk .Kazakh",
            TrimixError,
        ),
        ("m.txt", "Open\n", "text holds no translations", UsageError),
        ("m.xyz", "Open\n", "its ending is none", UsageError),
        ("m.tsv", "Open\t\0\n", "zero byte", TrimixError),
    ],
)
def test_files_that_are_none(
    name: str, text: str, words: str, error: type[Exception], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(error, match=words):
        add_files(Memory(), [tmp_path / name], ENG, UIG)


def test_one_text_of_many_translations_is_looked_up_in_linear_time() -> None:
    def work(lines: str) -> None:
        memory, count = Memory(), lines.count("\n")
        memory.add([pair("Open", f"{i}", context=f"{i % 99}") for i in range(count)])
        for i in range(count):
            assert memory.taken(Segment(0, "Open", "f", context=f"{i}"))

    assert_linear(work, "Open\n", 500)


def test_a_memory_is_made_and_searched_in_linear_time() -> None:
    def work(lines: str) -> None:
        texts = lines.split("\n")[:-1]
        memory = memory_of({f"{text} {i} of {i % 7}": "ئاچ" for i, text in enumerate(texts)})
        for i in range(10):
            memory.similar(f"Open file {i}")

    assert_linear(work, "Open the file\n", 500)
