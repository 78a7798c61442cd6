"""What is suspicious in a generated translation, placeholders apart."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"[^\s་]+")  # words; in Tibetan, syllables
_AROUND = "\"'‘’“”«»‹›()[]{}.,;:!?…،؛؟۔།-–—"
# A unit of 2 to 40 characters with a letter in it, several times in a row.
_RUN = re.compile(r"(.{2,40}?)\1{3,}", re.DOTALL)
_SAME_LETTER = re.compile(r"([^\W\d_])\1{9,}")


def flags(source: str, translation: str, hit_limit: bool = False) -> tuple[str, ...]:
    """What speaks against a translation that a model generated, each a phrase; () if nothing.

    It ran into the token limit, is empty, holds replacement characters (U+FFFD), repeats itself
    (`repeats`) where the source does not, or is the source unchanged, if that has three words or
    more (a name may well stay).
    """
    reasons = []
    if hit_limit:
        reasons.append("ran into the token limit")
    if source.strip() and not translation.strip():
        reasons.append("is empty")
    if translation.count("\ufffd") > source.count("\ufffd"):
        reasons.append("holds replacement characters")
    if repeats(translation) and not repeats(source):
        reasons.append("repeats itself")
    words = [word for word in source.split() if any(char.isalpha() for char in word)]
    if len(words) >= 3 and translation.strip() == source.strip():
        reasons.append("is the source unchanged")
    return tuple(reasons)


def repeats(text: str) -> bool:
    """`text` is caught in a loop, as generations are that do not find their end.

    That is: two or more words (6 characters or more) three times in a row; a word, or anything
    else of 2 to 40 characters with a letter in it, four times in a row; a letter ten times; or,
    among 30 words or more, fewer than half of the groups of three words are different ones.
    Numbers count as equal, and punctuation does not count.
    """
    if _SAME_LETTER.search(text):
        return True
    if any(_has_letter(match[1]) for match in _RUN.finditer(text)):
        return True
    words = [_plain(word) for word in _TOKEN.findall(text)]
    words = [word for word in words if word]
    return _in_a_row(words, 1, 4) or _phrase_thrice(words) or _few_phrases(words)


def _plain(word: str) -> str:
    bare = word.strip(_AROUND)
    return "0" if bare.isnumeric() else bare


def _has_letter(unit: str) -> bool:
    return any(char.isalpha() for char in unit)


def _phrase_thrice(words: list[str]) -> bool:
    return any(_in_a_row(words, length, 3) for length in range(2, len(words) // 3 + 1))


def _in_a_row(words: list[str], length: int, times: int) -> bool:
    """Some phrase of `length` words, with letters in it, stands `times` times in a row."""
    same = 0
    for i in range(len(words) - length):
        same = same + 1 if words[i] == words[i + length] else 0
        if same >= (times - 1) * length:
            phrase = "".join(words[i - length + 1 : i + 1])
            if _has_letter(phrase) and len(phrase) >= (2 if length == 1 else 6):
                return True
    return False


def _few_phrases(words: list[str]) -> bool:
    if len(words) < 30:
        return False
    phrases = list(zip(words, words[1:], words[2:], strict=False))
    return len(set(phrases)) < len(phrases) / 2
