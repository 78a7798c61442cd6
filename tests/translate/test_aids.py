"""What a prompt holds besides its text, and that all of it decides which texts are the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.documents.opening import Document, open_document
from trimix_cpp.documents.segments import FormatOptions, Segment
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.prompts.languages import language
from trimix_cpp.translate.aids import Aids, contexts
from trimix_cpp.translate.glossary import Glossary
from trimix_cpp.translate.job import units_of
from trimix_cpp.translate.journal import Journal
from trimix_cpp.translate.recipe import NO_HINTS, Hints, Recipe, Term
from trimix_cpp.translate.shelf import aids_of
from trimix_cpp.translate.units import Unit, lay_out

ENG, UIG = language("eng"), language("uig")
PO = """msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\\n"

msgid "Close"
msgstr "تاقا"

#. a verb
msgctxt "menu"
msgid "Open"
msgstr ""

msgctxt "state"
msgid "Open"
msgstr ""
"""


def opened(text: str = PO, name: str = "m.po") -> Document:
    options = FormatOptions(source="eng", target="uig")
    return open_document(text.encode(), name, options=options)


def units(**how: bool) -> list[Unit]:
    document = opened()
    (aids,) = aids_of([document], **how)
    return units_of(lay_out(document.segments, cut=0, labels=True, aids=aids))


def test_one_text_under_two_contexts_is_two_texts_where_contexts_count() -> None:
    (one,) = units()
    assert one.hints == Hints((("Close", "تاقا"),)) or one.hints == NO_HINTS
    first, second = units(context=True)
    assert (first.text, second.text) == ("Open", "Open")
    assert first.hints.context == "Context: menu\nNote: a verb\nBefore: Close\nAfter: Open\n"
    assert second.hints.context == "Context: state\nBefore: Open\n"


def test_the_prompt_has_exemplars_then_terms_then_the_context() -> None:
    recipe = Recipe(ENG, UIG, Weights(1, 0), shots=(("a", "1"), ("b", "2")))
    terms = tuple(Term(f"t{i}", (f"T{i}", "other")) for i in range(12))
    hints = Hints((("c", "3"), ("d", "4"), ("e", "5"), ("f", "6")), terms, "Note: x\n")
    asked = "Please translate the following English text into Uyghur.\n"
    shown = [("a", "1"), *hints.shots, *((f"t{i}", f"T{i}") for i in range(10))]
    expected = "".join(f"{asked}English: {a}\nUyghur: {b}\n\n" for a, b in shown)
    whole = recipe.prompt("Open", len(recipe.exemplars(hints)), hints)
    assert whole == f"{expected}{asked}Note: x\nEnglish: Open\nUyghur: "
    assert recipe.prompt("Open", 0, hints) == f"{asked}Note: x\nEnglish: Open\nUyghur: "
    assert recipe.exemplars() == recipe.shots


@given(st.lists(st.text(max_size=400), min_size=1, max_size=4), st.text(), st.text())
def test_every_line_of_context_is_one_line(texts: list[str], context: str, comment: str) -> None:
    segments = [Segment(i, t, "f", context=context, comment=comment) for i, t in enumerate(texts)]
    for told in contexts(segments, ()).values():
        lines = told.split("\n")
        assert lines.pop() == ""
        assert len(lines) <= 4
        for line in lines:
            assert line.split(": ")[0] in ("Context", "Note", "Before", "After")
            assert len(line) <= 180


def test_tibetan_is_cut_between_characters() -> None:
    (first, _) = contexts([Segment(0, "x", "f"), Segment(1, "ཀྵྲུཾ་" * 90, "f")], ()).values()
    assert first.removeprefix("After: ").rstrip("…\n").removesuffix("་").endswith("ཀྵྲུཾ")


def test_a_journal_knows_texts_by_all_that_their_prompts_hold(tmp_path: Path) -> None:
    shot = (("Close", "تاقا"),)
    kinds = [
        NO_HINTS, Hints(shot), Hints((("Close", "ياپ"),)), Hints(context="Note: x\n"),
        Hints(terms=(Term("a", ("b",)),)), Hints(terms=(Term("a", ("b", "c")),)),
    ]  # fmt: skip
    with Journal(tmp_path / "j", {}, seed=1) as journal:
        keys = {journal.key(Unit("Open", hints=hints)) for hints in kinds}
        assert len(keys) == len(kinds)
        assert journal.key(Unit("Open")) == journal.key(Unit("Open", hints=Hints()))


def test_terms_in_markup_and_addresses_are_none() -> None:
    aids = Aids(glossary=Glossary([("code", "كود"), ("file", "ھۆججەت")], ENG))
    segment = Segment(0, "", "f", frozenset({"markdown"}))
    assert aids.hints("the `code` of a **file**", segment).terms == (Term("file", ("ھۆججەت",)),)


def test_what_is_taken_over_is_held_against_the_glossary() -> None:
    (plain,) = aids_of([opened()])
    aids = replace(plain, glossary=Glossary([("close", "ياپ")], ENG), target=UIG)
    taken = aids.taken(Segment(0, "Close", "f"))
    assert taken
    assert (taken.text, taken.reasons) == ("تاقا", ("has not the term ياپ (close)",))


def test_what_one_file_holds_helps_another_and_its_own_goes_first() -> None:
    other = PO.replace("تاقا", "ياپ").replace('msgid "Open"', 'msgid "Close"')
    both = [opened(), opened(other)]
    first, second = aids_of(both)
    assert first.memory is second.memory
    for aids, translation in ((first, "تاقا"), (second, "ياپ")):
        taken = aids.taken(Segment(0, "Close", "f"))
        assert taken
        assert (taken.text, taken.reasons) == (translation, ())
    (none,) = aids_of([opened()], own=False)
    assert not none.memory
