"""A role's way through a text whose alphabet is bytes: its own tokens for the prompt, then a beam.

The prompt is one sequence of llama.cpp. What follows are hypotheses, each with a sequence that
shares the cells of what it has in common with others. A step costs as many tokens as there are
hypotheses that end with its byte: often none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..bytewise import END, N_SYMBOLS, Beam, Stem, Step, common_stem
from ..fusion import Rows
from .byte_trio import ByteTrio
from .feeds import Feed
from .prefixes import common_length


class ByteLane:
    """A role with a vocabulary of its own; a `Lane`. Positions are those of the text's bytes.

    The role's tokens have no place among the bytes of the prompt, so what is cached of it is
    counted in proportion.

    Args:
        trio: its contexts.
        role: loaded.
        slot: whose sequences it has.
    """

    def __init__(self, trio: ByteTrio, role: str, slot: int) -> None:
        self._trio, self._role = trio, role
        self._spelling, self._tokenize = trio.spelling(role), trio.tokenizer(role)
        self._prompt, *self._others = trio.slots(role, slot)
        self.cached = 0
        # The text's first `_head` tokens are these of the role's own, of which `_fed` are cached.
        self._own, self._head, self._fed = tuple[int, ...](), 0, 0
        # By position, the last two: an interrupted step goes one back. Which sequence a stem has.
        self._beams: dict[int, Beam] = {}
        self._places: dict[Stem, int] = {}
        # What is under way.
        self._step: Step | None = None
        self._upto, self._asked = 0, dict[Stem, int]()

    def begin(self, tokens: Sequence[int], start: int, own: Sequence[int] | None = None) -> None:
        """See `Lane`."""
        head = start + 1
        own = own or self._trio.prompt(self._role, tokens[:head])
        known = min(common_length(self._own[: self._fed], tuple(own)), len(own) - 1)
        self._forget()
        self._fed = self._trio.rewind(self._role, self._prompt, known)
        self._own, self._head = tuple(own), head
        self.cached = min(self._reached(self._fed), head - 1) if self._fed else 0

    def _needed(self, length: int) -> int:
        """How many of its own tokens stand for the first `length` of the head."""
        return length * len(self._own) // self._head if self._head else 0

    def _reached(self, fed: int) -> int:
        """How much of the head so many of its own tokens are."""
        if fed >= len(self._own):
            return self._head
        return ((fed + 1) * self._head - 1) // len(self._own)

    def reach(self, tokens: Sequence[int], room: int) -> int:
        """See `Lane`; one byte at a time after the head, for what it takes is not known before."""
        if room <= 0 or self.cached == len(tokens):
            return self.cached
        if self.cached >= self._head:
            return self.cached + 1
        fed = max(self._fed, self._needed(self.cached)) + room
        return max(min(self._reached(fed), self._head), self.cached + 1)

    def feeds(self, tokens: Sequence[int], end: int, n_rows: int) -> list[Feed]:
        """See `Lane`; what follows the head needs logits whether a row is wanted or not."""
        if self.cached < self._head:
            self._upto = self._needed(end)
            fed = self._own[self._fed : self._upto]
            return [Feed(self._prompt, fed, self._fed, int(end == self._head))] if fed else []
        self._step, self._asked = None, {}
        if (byte := tokens[self.cached]) == END:  # the text goes on after its end
            return []
        self._step = self._beams[self.cached].push(byte, self._tokenize)
        feeds = [self._ask(stem) for stem in self._step.wanted]
        return [feed for feed in feeds if feed]

    def _ask(self, stem: Stem) -> Feed | None:
        """What is fed for the logits after a stem; None where no sequence is left for it."""
        if (sequence := self._free()) is None and len(self._beams) > 1:
            self._keep({self.cached: self._beams[self.cached]})  # a step back will take longer
            sequence = self._free()
        if sequence is None:
            return None
        # The end of the prompt may be far away: it is looked at where there is nothing else.
        places = {known: at for known, at in self._places.items() if known.length} or self._places
        shared = [(common_stem((stem, known)), place) for known, place in places.items()]
        common, place = max(shared, key=lambda each: each[0].length)
        start = len(self._own) + common.length
        self._trio.branch(self._role, place, sequence, start)
        self._asked[stem] = sequence
        return Feed(sequence, stem.tokens(common), start, 1)

    def _free(self) -> int | None:
        taken = {*self._places.values(), *self._asked.values()}
        return next((sequence for sequence in self._others if sequence not in taken), None)

    def rows(self, logits: Rows) -> Rows:
        """See `Lane`: one row, where the head is done."""
        if self.cached < self._head:
            self._fed = self._upto
            if not len(logits):
                return np.empty((0, N_SYMBOLS), np.float32)
            start = Stem()
            start.after = self._spelling.read(logits[-1])
            self._beams = {self._head: Beam(self._spelling, self._trio.pruning, start)}
            self._places = {start: self._prompt}
            return self._beams[self._head].log_probabilities()[None]
        for stem, row in zip(self._asked, logits, strict=True):
            stem.after = self._spelling.read(row)
        before = self._beams[self.cached]
        beam = self._step.finish() if self._step else before
        self._places.update(self._asked)
        self._step, self._asked = None, {}
        self._keep({self.cached: before, self.cached + 1: beam})
        return beam.log_probabilities()[None]

    def rewind(self, length: int) -> int:
        """See `Lane`. Further than one byte back it begins again after the prompt."""
        self._leave()
        length = min(length, self.cached)
        if length in self._beams:
            self._keep({at: beam for at, beam in self._beams.items() if at <= length})
        else:
            self._forget()
            length = max(min(length, self._head - 1), 0)
            needed = min(self._fed, self._needed(length))
            self._fed = self._trio.rewind(self._role, self._prompt, needed)
            length = length if self._fed == needed else 0
        self.cached = length
        return length

    def settle(self) -> None:
        """The text is left: what is likeliest stays cached as one row of tokens."""
        if self._beams:
            stem = self._beams[max(self._beams)].best
            start = common_stem(self._places)
            if self._places[stem] != self._prompt:
                begin = len(self._own)
                self._trio.branch(self._role, self._places[stem], self._prompt, None, begin)
            self._own += tuple(stem.tokens(start))
            self._fed, self._head = len(self._own), self.cached
        self._forget()

    def length(self, tokens: Sequence[int]) -> int:
        """How many tokens of its own the text has; bytes that it did not see count one each."""
        if not self._beams:
            return len(self._own) + len(tokens) - self._head
        return len(self._own) + self._beams[max(self._beams)].best.length + 1

    def copy(self, other: ByteLane, length: int) -> None:
        """Share what `other` has cached of a prompt; this lane is empty, and `begin` comes next."""
        self._trio.copy(self._role, other._prompt, self._prompt)
        self._own, self._fed = other._own[: other._fed], other._fed
        self.cached = self._head = min(length, other.cached)

    def _keep(self, beams: dict[int, Beam]) -> None:
        """Keep these beams, and the sequences that they need."""
        self._beams = beams
        needed = {hypothesis.stem for beam in beams.values() for hypothesis in beam.live}
        for stem in [stem for stem in self._places if stem.length and stem not in needed]:
            self._trio.rewind(self._role, self._places.pop(stem), 0)

    def _forget(self) -> None:
        self._leave()
        self._keep({})
        self._places = {}

    def _leave(self) -> None:
        """Of a batch that was left nothing stays."""
        for sequence in self._asked.values():
            self._trio.rewind(self._role, sequence, 0)
        self._step, self._asked = None, {}
