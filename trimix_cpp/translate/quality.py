"""What is suspicious in a generated translation, placeholders apart."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from itertools import accumulate

from ..markup import without
from .context import Context

_TOKEN = re.compile(r"[^\s་]+")  # words; in Tibetan, syllables
_AROUND = "\"'‘’“”«»‹›()[]{}.,;:!?…،؛؟۔།-–—"
# A unit of 2 to 40 characters with a letter in it, several times in a row.
_RUN = re.compile(r"(.{2,40}?)\1{3,}", re.DOTALL)
# A loop of longer phrases is seen by how few they are; to look for any length takes n^2.
_LONGEST_PHRASE = 40
_SAME_LETTER = re.compile(r"([^\W\d_])\1{9,}")


def empty(source: str, translation: str, context: Context) -> list[str]:
    """There is nothing."""
    return ["is empty"] if source.strip() and not translation.strip() else []


def damaged(source: str, translation: str, context: Context) -> list[str]:
    """Bytes that were no text came out as replacement characters."""
    more = translation.count("\ufffd") > source.count("\ufffd")
    return ["holds replacement characters"] if more else []


def looped(source: str, translation: str, context: Context) -> list[str]:
    """It repeats itself (`repeats`) where the source does not."""
    return ["repeats itself"] if repeats(translation) and not repeats(source) else []


def unchanged(source: str, translation: str, context: Context) -> list[str]:
    """It is the source, of three words or more besides placeholders: a name may stay."""
    if translation.strip() != source.strip():
        return []
    words = without(source, context.syntax).split()
    many = sum(any(char.isalpha() for char in word) for word in words) >= 3
    return ["is the source unchanged"] if many else []


def flags(
    source: str, translation: str, hit_limit: bool = False, off: Container[str] = ()
) -> tuple[str, ...]:
    """What speaks against a text that a model generated, whatever it was to carry over."""
    found = ["ran into the token limit"] if hit_limit else []
    for name, check in ONCE.items():
        found += [] if name in off else check(source, translation, Context())
    return tuple(found)


# Checks of a generated text that are no reason to try again, by name.
ONCE = {"empty": empty, "damaged": damaged, "repeats": looped, "unchanged": unchanged}


def repeats(text: str) -> bool:
    """`text` is caught in a loop, as generations are that do not find their end.

    That is: 2 to 40 words (6 characters or more) three times in a row; a word, or anything
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
    return _loops(words) or _few_phrases(words)


def _plain(word: str) -> str:
    bare = word.strip(_AROUND)
    return "0" if bare.isnumeric() else bare


def _has_letter(unit: str) -> bool:
    return any(char.isalpha() for char in unit)


def _loops(words: list[str]) -> bool:
    """A word four times in a row, or a phrase three times."""
    # Of the first i words: how many characters they have, and how many of them have a letter.
    sizes = list(accumulate(map(len, words), initial=0))
    lettered = list(accumulate(map(_has_letter, words), initial=0))
    phrases = range(2, min(len(words) // 3, _LONGEST_PHRASE) + 1)
    return any(
        lettered[end] > lettered[end - length] and sizes[end] - sizes[end - length] >= least
        for length, times, least in ((1, 4, 2), *((length, 3, 6) for length in phrases))
        for end in _in_a_row(words, length, times)
    )


def _in_a_row(words: list[str], length: int, times: int) -> Iterator[int]:
    """Where phrases of `length` words end that stand so often in a row."""
    same = 0
    for i in range(len(words) - length):
        same = same + 1 if words[i] == words[i + length] else 0
        if same >= (times - 1) * length:
            yield i + 1


def _few_phrases(words: list[str]) -> bool:
    if len(words) < 30:
        return False
    phrases = list(zip(words, words[1:], words[2:], strict=False))
    return len(set(phrases)) < len(phrases) / 2
