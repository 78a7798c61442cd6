"""Whether a translation has the terms of a glossary, in a form that its language may give them."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import regex

from ..prompts import Language
from .context import Context
from .words import words

# Languages whose words take endings behind a stem that stays: Turkic, Mongolic, Dravidian, and
# others of the kind.
_SUFFIXING = frozenset({
    "uig", "kaz", "kir", "uzn", "tuk", "tat", "bak", "tyv", "sah", "aze", "tur", "khk", "mon",
    "mvf", "bua", "tam", "tel", "kan", "mal", "kor", "eus", "est", "kat", "hye", "gaz",
})  # fmt: skip
# Languages that write articles, prepositions or prefixes together with the word.
_PREFIXING = frozenset({
    "arb", "ary", "arz", "heb", "amh", "tir", "swh", "zul", "xho", "kin", "sna", "nya", "sot",
    "tsn", "ind", "zsm", "jav", "sun", "tgl", "ceb", "ilo", "war", "min", "plt",
})  # fmt: skip
# Texts without spaces between words; Tibetan has a mark between syllables.
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Myanmar}\p{Khmer}]")
_TIBETAN = regex.compile(r"\p{Tibetan}")
# Tibetan particles that are written onto a syllable.
_WRITTEN_ON = frozenset({"འི", "འིས", "འོ", "འང", "འམ", "འུ", "ས", "ར"})
# Letters that change into one another at the end of a stem before an ending begins: Uyghur
# ھۆججەت and ھۆججىتى, Kazakh кітап and кітабы, Turkish kitap and kitabı.
_CHANGING = ("اەېى", "كگ", "قغ", "پب", "пб", "кг", "қғ", "тд", "pb", "çc", "kgğ", "td")
_CLASSES = str.maketrans({char: group[0] for group in _CHANGING for char in group})
_TAIL = 3  # letters at the end of a stem that may change
_ENDING = 2  # letters at the end of a word that another ending may replace


def unused(source: str, translation: str, context: Context) -> list[str]:
    """Terms of the glossary that are in the source, but not their translations."""
    return [
        f"has not the term {' or '.join(term.translations)} ({term.text})"
        for term in context.terms
        if not any(used(wanted, translation, context.target) for wanted in term.translations)
    ]


def used(term: str, text: str, language: Language | None) -> bool:
    """Whether `text`, of the language, has `term`, inflected perhaps.

    Tibetan: its syllables in a row, the last with what is written onto it. Scripts without spaces:
    its letters. Suffixing languages: words that begin with the words of the term, whose last
    letters may be those that they become before a suffix. Languages that prefix: its letters too.
    Others: words that begin alike but for two letters. Case does not count.
    """
    term, text = _plain(term), _plain(text)
    parts, there = ([word.text for word in words(each)] for each in (term, text))
    if not parts or _UNSPACED.search(term):
        return term.strip() in text
    code = language.code if language else ""
    if _TIBETAN.search(term):
        return _in_a_row(parts, there, _syllable)
    if code in _PREFIXING:
        return " ".join(parts) in " ".join(there)
    return _in_a_row(parts, there, _suffixed if code in _SUFFIXING else _inflected)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())


def _in_a_row(parts: list[str], there: list[str], same: Callable[[str, str, bool], bool]) -> bool:
    """Whether words that are the same, as `same` (wanted, found, is the last) has it, follow."""
    last = len(parts) - 1
    return any(
        all(same(part, there[at + i], i == last) for i, part in enumerate(parts))
        for at in range(len(there) - last)
    )


def _syllable(wanted: str, found: str, last: bool) -> bool:
    return found == wanted or (last and found.removeprefix(wanted) in _WRITTEN_ON)


def _suffixed(wanted: str, found: str, last: bool) -> bool:
    stem = max(len(wanted) - _TAIL, 1)
    tail, other = (word[stem : len(wanted)].translate(_CLASSES) for word in (wanted, found))
    return found[:stem] == wanted[:stem] and tail == other


def _inflected(wanted: str, found: str, last: bool) -> bool:
    stem = len(wanted) - _ENDING if len(wanted) >= 3 + _ENDING else len(wanted)
    return found.startswith(wanted[:stem])
