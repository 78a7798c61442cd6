"""ROUGE-L over words of any script (csebuetnlp's multilingual scoring, Hasan et al. 2021).

Google's rouge-score drops every character that is no ASCII letter or digit: it scores Uyghur and
Tibetan as empty. Here punctuation parts words and goes; letters, digits and other symbols are words
of their own; so is each Chinese character.
"""

from __future__ import annotations

import unicodedata

import regex

# ASCII symbols count as punctuation, as in BERT's tokenizer, where this comes from.
_PUNCTUATION = regex.compile(r"[\p{P}$+<=>^`|~]")
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002ceaf\U0002f800-\U0002fa1f"
_WORD = regex.compile(
    rf"[{_HAN}]\p{{M}}*|[\p{{L}}--[{_HAN}]][[\p{{L}}\p{{M}}]--[{_HAN}]]*"
    r"|\p{N}[\p{N}\p{M}]*|\S\p{M}*",
    regex.VERSION1,
)


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    lowered = text.lower()
    kept = (
        char
        for char in lowered
        if char in "\t\n\r" or (char != "\ufffd" and not unicodedata.category(char).startswith("C"))
    )
    return _WORD.findall(_PUNCTUATION.sub(" ", "".join(kept)))


def rouge_l(answer: str, reference: str) -> float:
    """F-score of the longest common subsequence of words, 0 to 1; 0 where either has no word."""
    ours, right = words(answer), words(reference)
    if not ours or not right:
        return 0.0
    return 2 * common_subsequence(ours, right) / (len(ours) + len(right))


def common_subsequence(one: list[str], other: list[str]) -> int:
    """Length of the longest common subsequence, a row of the table in the bits of one number.

    Hyyrö, "Bit-parallel LCS-length computation revisited", 2004.
    """
    places: dict[str, int] = {}
    for i, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << i
    full = (1 << len(one)) - 1
    row = full
    for word in other:
        match = row & places.get(word, 0)
        row = ((row + match) | (row - match)) & full
    return len(one) - row.bit_count()
