"""Words of a text in any script, for looking things up: not for cutting what is shown."""

from __future__ import annotations

from typing import NamedTuple

import regex

# Scripts without spaces between words, where every letter with its marks counts as one. Tibetan has
# its tsheg between syllables.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Myanmar}\p{Khmer}"
_WORD = regex.compile(
    rf"[{_UNSPACED}][\p{{M}}\u200d]*|[\w--[{_UNSPACED}]][\w\p{{M}}\u200c\u200d--[{_UNSPACED}]]*",
    regex.VERSION1,
)


class Word(NamedTuple):
    """A word, and where it stands."""

    text: str
    start: int
    end: int


def words(text: str) -> list[Word]:
    """The words of `text`: runs of letters, marks and digits.

    A syllable of Tibetan is one, and a letter of the scripts that put no space between words.
    """
    return [Word(match[0], *match.span()) for match in _WORD.finditer(text)]
