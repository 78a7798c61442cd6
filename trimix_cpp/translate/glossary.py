"""A glossary: which of its terms stand in a text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from itertools import pairwise

import regex

from ..markup import without
from ..prompts import Language
from .recipe import Shot, Term
from .words import Word, words

# What may stand between the words of a term: spaces, hyphens, an apostrophe, a tsheg; nothing
# between letters of scripts without spaces.
_BETWEEN = regex.compile(r"[\s\-\u2010\u2011'’་]*")
# A term of more words is a sentence.
MAX_WORDS = 20


class Glossary:
    """Terms with their translations. A term that has several may be translated by any of them.

    Args:
        terms: (term, translation) in the order of the file; repeated ones count once.
        source: their language; plurals of English are found under their singulars.
    """

    def __init__(self, terms: Iterable[Shot], source: Language) -> None:
        self._plurals = source.code == "eng"
        translations: dict[str, dict[str, None]] = {}
        for term, translation in terms:
            translations.setdefault(term, {})[translation] = None
        # By the keys of their words; under one key may be several, "US" and "us".
        self._terms: dict[tuple[str, ...], list[Term]] = {}
        # How many words the terms have that begin with this one, the longest first.
        self._lengths: dict[str, list[int]] = {}
        for term, found in translations.items():
            key = tuple(self._key(word) for word in words(term))
            if not 0 < len(key) <= MAX_WORDS:
                continue
            self._terms.setdefault(key, []).append(Term(term, tuple(found)))
            self._lengths.setdefault(key[0], []).append(len(key))
        for first, lengths in self._lengths.items():
            self._lengths[first] = sorted(set(lengths), reverse=True)

    def __len__(self) -> int:
        return sum(map(len, self._terms.values()))

    def found(self, text: str, syntax: frozenset[str] = frozenset()) -> tuple[Term, ...]:
        """The terms in `text`, each once, in its order: whole words, the longer of two at a place.

        Case does not count, but in words with a capital behind their first letter ("USB", "iOS").
        Placeholders hold none.
        """
        plain = without(text, syntax)
        all_words = words(plain)
        keys = [self._key(word) for word in all_words]
        found: dict[Term, None] = {}
        at = 0
        while at < len(keys):
            for length in self._lengths.get(keys[at], ()):
                term = self._at(plain, all_words[at : at + length], tuple(keys[at : at + length]))
                if term:
                    found[term] = None
                    at += length
                    break
            else:
                at += 1
        return tuple(found)

    def _at(self, text: str, run: list[Word], key: tuple[str, ...]) -> Term | None:
        if not all(_BETWEEN.fullmatch(text, a.end, b.start) for a, b in pairwise(run)):
            return None
        return next((term for term in self._terms.get(key, ()) if _spelled(term.text, run)), None)

    def _key(self, word: Word) -> str:
        folded = unicodedata.normalize("NFC", word.text.casefold())
        return _singular(folded) if self._plurals else folded


def _spelled(term: str, run: list[Word]) -> bool:
    """Whether the words have the capitals that the term must have."""
    return all(
        there.text.startswith(word.text) or not any(char.isupper() for char in word.text[1:])
        for word, there in zip(words(term), run, strict=True)
    )


def _singular(word: str) -> str:
    """The singular of an English noun, by its ending alone: what matters is that two are alike."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes", "zzes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
