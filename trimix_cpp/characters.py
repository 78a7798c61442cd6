"""Characters as readers see them: where text may be cut, and what may still grow at its end.

Extended grapheme clusters of Unicode (UAX #29), by the `regex` library, joined where readers see
one character and the annex two: what follows a zero width joiner, a letter after a virama that
stacks, in every script that has one, and all marks (Burmese vowels). Any room may import it; it
imports nothing of the house.
"""

from __future__ import annotations

from itertools import accumulate

import regex

# Viramas that show no sign of their own but join the letters around them. Tamil's and Sinhala's
# are seen (Sinhala joins with a zero width joiner), and so are the killers of Burmese and Tibetan.
_STACKER = r"[[\p{InSC=Virama}\p{InSC=Invisible_Stacker}]--[\u0BCD\u0DCA]]"
# White space and control characters join nothing.
_JOINS = (
    rf"(?:(?<={_STACKER}[\p{{M}}\u200D]*)(?=\p{{L}})"
    r"|(?<=\u200D)(?![\s\p{C}])(?=.)"
    r"|(?<=[^\s\p{C}])(?=\p{M}))"
)
# `\X` counts the halves of flags from the first one on, anew for each: a run would take n^2.
_CLUSTER = r"(?:\p{RI}{2}[\p{GCB=Extend}\p{GCB=ZWJ}\p{GCB=SpacingMark}]*|\X)"
_CHARACTER = regex.compile(rf"{_CLUSTER}(?:{_JOINS}{_CLUSTER})*", regex.VERSION1)
_BREAKS_ALWAYS = regex.compile(r"[\p{GCB=LF}\p{GCB=Control}]", regex.VERSION1)


def characters(text: str) -> list[str]:
    """The characters of `text`; joined, they are `text`. Linear in its length."""
    return list(_CHARACTER.findall(text))


def starts(text: str) -> list[int]:
    """Where the characters of `text` begin, in ascending order, and where the text ends."""
    return list(accumulate(map(len, characters(text)), initial=0))


def settled(text: str) -> int:
    """How much of `text`, the beginning of more, nothing that follows can change.

    The last character is left out, for a sign, a joiner or the other half of a flag may follow;
    but a line feed and control characters are complete.
    """
    if not text or _BREAKS_ALWAYS.match(text[-1]):
        return len(text)
    return starts(text)[-2]
