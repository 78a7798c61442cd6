"""Which language a text is in, by its letters: among those that are served, then all known ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import regex

from ..prompts import Language, known_languages

# Scripts of ISO 15924 that Unicode has no property for, as scripts that it has.
_AS_UNICODE = {
    "Hans": ("Hani",),
    "Hant": ("Hani",),
    "Jpan": ("Hira", "Kana", "Hani"),
    "Kore": ("Hang",),
}
# Letters by which languages of one script can be told apart; the first language that has all the
# letters of a text that are none of the script's common ones wins.
_OWN_LETTERS = {
    "uig": "ەېۆۈۇڭۋھ",
    "pes": "پچژگ",
    "urd": "ٹڈڑےں",
    "pbt": "ټډړښځڅ",
    "kaz": "әғқңөұүһі",
    "khk": "өү",
    "tat": "әөүҗңһ",
    "bak": "әөүҙҫғҡңһ",
}
_MOST_CHARS = 10_000


def detect(text: str, served: Sequence[Language]) -> list[tuple[Language, float]]:
    """The languages that a text may be in, with a confidence from 0 to 100, the best one first.

    The share of its letters that are of a script of the language decides; of languages with one
    script, letters of their own, and then the order of `served`.
    """
    letters = [char for char in text[:_MOST_CHARS].lower() if char.isalpha()]
    if not letters:
        return []
    known = dict.fromkeys((*served, *known_languages().values()))
    scores: list[tuple[float, Language]] = []
    bare = "".join(letters)
    shares = {script: _share(bare, script) for entry in known for script in entry.scripts}
    for entry in known:
        share = max(shares[script] for script in entry.scripts)
        own = _OWN_LETTERS.get(entry.code, "")
        bonus = min(sum(map(letters.count, own)) / len(letters), 0.5)
        scores.append((share + bonus + 0.25 * (entry in served), entry))
    best = sorted(scores, key=lambda each: -each[0])[:3]
    return [
        (entry, round(100 * max(shares[script] for script in entry.scripts), 1))
        for score, entry in best
        if score > 0.3
    ]


def _share(text: str, script: str) -> float:
    names = _AS_UNICODE.get(script, (script,))
    return len(_pattern(names).findall(text)) / len(text)


@cache
def _pattern(names: tuple[str, ...]) -> regex.Pattern[str]:
    return regex.compile("[" + "".join(rf"\p{{Script={name}}}" for name in names) + "]")


def code_of(entry: Language) -> str:
    """What LibreTranslate's clients call a language: ISO 639-1 where there is such a code."""
    return next((alias for alias in entry.aliases if len(alias) == 2), entry.code)


def served(codes: Iterable[str]) -> list[Language]:
    """The languages of a trio, English among them; all known ones where it names none."""
    known = known_languages()
    own = [known[code] for code in codes if code in known]
    return list(dict.fromkeys([known["eng"], *own])) if own else list(dict.fromkeys(known.values()))
