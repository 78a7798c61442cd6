"""The tree of a text's tokenizations, and which of them a tokenizer would give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from .spelling import Distribution, Spelling
from .utf8 import unfinished

Tokenize = Callable[[bytes], "Sequence[int] | None"]
"""Ids of a text that stands within another one, as a tokenizer splits it; None if it cannot tell.

It is shown whole characters; the ids must spell them.
"""

# Tokens that are looked at before those in question: where a tokenizer finds these again, what
# stands before them changes nothing.
_CONTEXT = 4


class Stem:
    """A token after others.

    Attributes:
        parent: what it comes after; None for the end of the prompt, which is no token.
        token: its id; -1 for the end of the prompt.
        length: how many tokens it ends, those of the prompt left out.
        after: what comes after it; None where nobody asked the model.
    """

    __slots__ = ("after", "length", "parent", "token")

    def __init__(self, parent: Stem | None = None, token: int = -1) -> None:
        self.parent, self.token = parent, token
        self.length: int = parent.length + 1 if parent else 0
        self.after: Distribution | None = None

    def tokens(self, since: Stem) -> list[int]:
        """The tokens after `since`, one of its ancestors."""
        found, stem = list[int](), self
        while stem is not since:
            found.append(stem.token)
            assert stem.parent is not None, "not an ancestor"
            stem = stem.parent
        return found[::-1]

    def extended(self, tokens: Iterable[int]) -> Stem:
        """More tokens after this one."""
        stem = self
        for token in tokens:
            stem = Stem(stem, token)
        return stem


def common_stem(stems: Iterable[Stem]) -> Stem:
    """The last token that all have in common."""
    pool = set(stems)
    while len(pool) > 1:
        longest = max(pool, key=lambda stem: stem.length)
        pool.remove(longest)
        assert longest.parent is not None, "stems of different texts"
        pool.add(longest.parent)
    return pool.pop()


def canonical(stem: Stem, tail: bytes, spelling: Spelling, tokenize: Tokenize) -> list[int] | None:
    """The tokens after `stem` that a tokenizer makes of `tail`, which ends with a character.

    None where that cannot be told: where it would split what stands before otherwise.
    """
    pieces, context, start = spelling.pieces, list[int](), stem
    while start.parent and len(context) < _CONTEXT:
        context.insert(0, start.token)
        start = start.parent
    # Half a character can be shown to no tokenizer.
    while context and 0x80 <= pieces[context[0]][0] < 0xC0:
        del context[0]
    data = b"".join(pieces[token] for token in context) + tail
    if not data or unfinished(data) or 0x80 <= data[0] < 0xC0:
        return None
    found = tokenize(data)
    if found is None or list(found[: len(context)]) != context:
        return None
    return list(found[len(context) :])


def reread(stem: Stem, tail: bytes, spelling: Spelling, tokenize: Tokenize) -> tuple[Stem, bytes]:
    """Tokens after `stem` that spell `tail`: the tokenizer's, else the longest ones.

    A last character that is unfinished stays behind them, where a token begins so.
    """
    begun = unfinished(tail)
    whole = tail[: len(tail) - len(begun)]
    tokens = canonical(stem, whole, spelling, tokenize) if whole else []
    found, rest = stem.extended(tokens or ()), tail if tokens is None else begun
    while len(rest) > len(begun) or not spelling.find(rest):
        token = spelling.longest(rest)
        found, rest = Stem(found, token), rest[len(spelling.pieces[token]) :]
    return found, rest
