"""What helps with a text besides the models: a memory, a glossary, what stands around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .memory import Memory, Taken
from .recipe import Hints
from .segments import Segment


@dataclass(frozen=True)
class Aids:
    """What is known of the texts of one run.

    Attributes:
        memory: of translations; None for none.
        first: which of its files is the one that is translated; None: it is not among them.
    """

    memory: Memory | None = None
    first: int | None = None

    @property
    def varied(self) -> bool:
        """Texts get exemplars of their own."""
        return bool(self.memory)

    def taken(self, segment: Segment) -> Taken | None:
        """The translation of an equal segment, if there is one."""
        return self.memory.taken(segment, self.first) if self.memory else None

    def hints(self, text: str, context: str) -> Hints:
        """What goes into the prompt of `text`."""
        return Hints(self.memory.similar(text) if self.memory else (), context=context)

    def context_of(self, segments: Sequence[Segment], at: int) -> str:
        """What the prompt of a segment says of where it stands."""
        return ""
