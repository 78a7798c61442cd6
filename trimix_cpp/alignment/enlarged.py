"""A role that has the alphabet's tokens of text, and more: how it spells them, and how it reads."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate

import numpy as np

from ..errors import AlignmentError
from ..fusion import Ids, Pushforward
from .spelling import Speller
from .vocabulary import Vocabulary

# Kinds of tokenizers whose tokens are bytes of the text, unchanged.
SPELT = ("gpt2", "llama", "gemma4")


class Enlarged:
    """How one role's tokens are strings over the alphabet, and texts its tokens.

    Args:
        speller: of the role.
        strings: the alphabet's letters of each of its ids; empty for what takes no part.
        letters: the bytes of each letter of the alphabet; empty for special tokens.
        spelled: what it is fed for letters that it lacks.

    Attributes:
        pushforward: makes its rows rows over the alphabet.
    """

    def __init__(
        self,
        speller: Speller,
        strings: Sequence[tuple[int, ...]],
        letters: Sequence[bytes],
        spelled: Mapping[int, tuple[int, ...]],
    ) -> None:
        self.pushforward = Pushforward(strings, len(letters))
        self._speller, self._letters, self._lacked = speller, letters, spelled
        self._strings = strings
        self.follows = lru_cache(maxsize=1 << 16)(self._follows)

    def read(self, letters: Sequence[int]) -> tuple[list[int], list[int]]:
        """The role's own tokens of a text, as its tokenizer makes them; special ones stand apart.

        Also for each number of letters, from 0 on, how many of the tokens reach to their end.
        """
        own, needed, start = list[int](), [0], 0
        while start < len(letters):
            end = start
            while end < len(letters) and self._letters[letters[end]]:
                end += 1
            if end > start:
                self._read_text(letters[start:end], own, needed)
                start = end
            else:
                own += self._one(letters[start])
                needed.append(len(own))
                start += 1
        return own, needed

    def _read_text(self, letters: Sequence[int], own: list[int], needed: list[int]) -> None:
        """Append what a text without special tokens is; letters that cut characters as such."""
        ends = list(accumulate(len(self._letters[letter]) for letter in letters))
        raw = b"".join(self._letters[letter] for letter in letters)
        n_whole = len(letters)
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as error:
            n_whole = bisect_left(ends, error.start + 1)
        whole = raw[: ends[n_whole - 1]] if n_whole else b""
        spelled = self._speller.spell(whole)
        if spelled is None:
            n_whole, spelled = 0, ()
        before = len(own)
        own += spelled
        reached = list(accumulate(len(self._speller.piece(token)) for token in spelled))
        needed += [before + bisect_left(reached, end) + 1 for end in ends[:n_whole]]
        for letter in letters[n_whole:]:
            own += self._one(letter)
            needed.append(len(own))

    def _one(self, letter: int) -> tuple[int, ...]:
        column = int(self.pushforward.columns[letter])
        return self._lacked[letter] if column < 0 else (column,)

    def _follows(self, before: int, token: int) -> bool:
        """Whether its tokenizer makes these two tokens of their text.

        Where all neighbours are so, so is the whole text, for byte pairs and nearly for others. Of
        parts of characters nothing is known: they may.
        """
        if not self._is_text(token) or not self._is_text(before):
            return True
        pair = self._speller.piece(before) + self._speller.piece(token)
        return self._speller.spell(pair) in (None, (before, token))

    def _is_text(self, token: int) -> bool:
        string = self._strings[token]
        return bool(string) and all(self._letters[letter] for letter in string)


def strings_of(
    role: Vocabulary, columns: Ids, speller: Speller, reference: Vocabulary, back: Ids
) -> list[tuple[int, ...]]:
    """Each token of a role as letters: those of the alphabet as such, others by their bytes.

    Args:
        role: its vocabulary.
        columns: its id of each letter, [n_tokens], -1 for none.
        speller: of the reference.
        reference: whose vocabulary is the alphabet.
        back: the letter of each id of the reference, -1 for none.

    Raises:
        AlignmentError: the bytes of a token cannot be made of letters.
    """
    strings: list[tuple[int, ...]] = [()] * role.n_vocab
    known = columns >= 0
    for letter, token in zip(np.flatnonzero(known).tolist(), columns[known].tolist(), strict=True):
        strings[token] = (letter,)
    by_bytes: dict[bytes, int] = {}
    for token in np.flatnonzero(reference.is_real & ~reference.is_special).tolist():
        by_bytes.setdefault(reference.bytes_of(token), int(back[token]))
    for token in np.flatnonzero(role.is_real & ~role.is_special).tolist():
        raw = role.bytes_of(token)
        if strings[token] or not raw:
            continue
        spelled = speller.spell(raw)
        letters = None if spelled is None else back[list(spelled)].tolist()
        if letters is None or min(letters) < 0:
            letters = _longest_matches(raw, by_bytes)
        if letters is None:
            raise AlignmentError(
                f"{role.name}: token {token} {role.describe(token)} cannot be made of the tokens "
                f"of {reference.name}; take models of one family"
            )
        strings[token] = tuple(letters)
    return strings


def _longest_matches(raw: bytes, letters: Mapping[bytes, int]) -> list[int] | None:
    """Letters with these bytes, each as long as can be; None where that does not come out even."""
    found, at = list[int](), 0
    while at < len(raw):
        ends = (end for end in range(len(raw), at, -1) if raw[at:end] in letters)
        end = next(ends, None)
        if end is None:
            return None
        found.append(letters[raw[at:end]])
        at = end
    return found
