"""Plural forms of messages: how many a language has, and which is for one thing.

gettext's rules are those of translation projects (the GNU gettext manual, "Plural forms"; the
catalogues of GNOME and KDE), which differ from CLDR's for some Turkic languages: Uyghur and Kazakh
catalogues have one form. A catalogue's own header always goes first. Other formats name the
categories of CLDR.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from gettext import c2py

from ..markup import placeholders

_NO_PLURAL = (
    "uig bod dzo kaz kir tat sah uzn mya khm lao tha vie ind zsm jav zho jpn kor ibo yor sat"
)
_ZERO_IS_ONE = "fra amh tir tgl pes hye por tgk"
_SLAVIC = "n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2"
_ARABIC = "n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : n%100>=3 && n%100<=10 ? 3 : n%100>=11 ? 4 : 5"
_HEADER = re.compile(r"nplurals\s*=\s*(\d+)\s*;\s*plural\s*=\s*([^;]+)")


@dataclass(frozen=True)
class Plurals:
    """The plural forms of a catalogue.

    Attributes:
        count: how many there are (nplurals).
        rule: the C expression in n that gives the form's index.
    """

    count: int
    rule: str

    @property
    def header(self) -> str:
        """The value of the header field Plural-Forms."""
        return f"nplurals={self.count}; plural={self.rule};"

    def for_one_only(self) -> int | None:
        """The form that n = 1 takes and no other number does, if there is one."""
        choose: Callable[[int], int] = c2py(self.rule)
        index = choose(1)
        others = {choose(n) for n in range(201) if n != 1}
        return None if index in others else index

    def for_one(self) -> int:
        """The form that n = 1 takes."""
        return int(c2py(self.rule)(1))


def of_header(value: str) -> Plurals | None:
    """The forms that a Plural-Forms header names; None if it is a template's, or names none.

    Raises:
        ValueError: the expression is broken, or there are no or more than 9 forms.
    """
    match = _HEADER.search(value)
    if match is None:
        return None
    plurals = Plurals(int(match[1]), " ".join(match[2].split()))
    if not 1 <= plurals.count <= 9:
        raise ValueError(f"nplurals={plurals.count}")
    choose: Callable[[int], int] = c2py(plurals.rule)
    for n in range(1001):
        try:
            form = choose(n)
        except ZeroDivisionError:
            raise ValueError(f"n = {n} divides by zero") from None
        if not 0 <= form < plurals.count:
            raise ValueError(f"there is no form {form}, which n = {n} takes")
    return plurals


def of_language(code: str) -> Plurals:
    """The forms of a language, by its ISO 639-3 code; two, one and more, where nothing is known."""
    if code in _NO_PLURAL.split():
        return Plurals(1, "0")
    if code in ("rus", "ukr"):
        return Plurals(3, f"({_SLAVIC})")
    if code == "arb":
        return Plurals(6, f"({_ARABIC})")
    return Plurals(2, "(n > 1)" if code in _ZERO_IS_ONE.split() else "(n != 1)")


# CLDR's categories of whole numbers, as Android, Apple's systems, ICU and i18next name forms, by
# language; one that is not listed has "other" alone (CLDR 42; checked against Babel in the tests).
_CATEGORIES = {
    "one other": "eng uig kaz khk mon tam tel ory mal mar npi snd urd div kir uzn tuk aze tur pbt "
    "ckb kat swh hau xho som deu eus glg est sna nya gaz sot tsn afr "
    "ben asm guj hin kan pan sin pes hye amh tir zul plt tgl ceb",
    "one two other": "sat heb",
    "one few many other": "rus ukr",
    "one many other": "fra por spa ita",
    "zero one two few many other": "arb",
}
# Those whose "one" is for other numbers too.
_ONE_IS_MORE = "ben asm guj hin kan pan sin pes hye amh tir zul plt tgl ceb rus ukr fra por"


CATEGORIES = ("zero", "one", "two", "few", "many", "other")  # in CLDR's order


def categories(code: str) -> tuple[str, ...]:
    """The categories of CLDR that whole numbers have in a language, by its ISO 639-3 code."""
    for names, codes in _CATEGORIES.items():
        if code in codes.split():
            return tuple(names.split())
    return ("other",)


def spelled_out(code: str) -> dict[str, str]:
    """The categories that are for one number alone, each with how ICU names that number."""
    own = categories(code)
    alone = {"zero": "=0", "two": "=2"}
    if code not in _ONE_IS_MORE.split():
        alone["one"] = "=1"
    return {name: number for name, number in alone.items() if name in own}


def category_sources(given: Mapping[str, str], code: str) -> dict[str, str]:
    """For each category of the language `code`, which of the texts `given` it is made from.

    `given` holds the texts of a message by category. That for "one" is taken where the language's
    "one" is for 1 alone, or the text shows its number as "other" does; else it is "other".
    """
    sources = {}
    for name in categories(code):
        fits = name in given and (
            name != "one"
            or code not in _ONE_IS_MORE.split()
            or placeholders(given["one"]) == placeholders(given.get("other", ""))
        )
        sources[name] = name if fits else "other" if "other" in given else next(iter(given))
    return sources
