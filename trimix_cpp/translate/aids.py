"""What helps with a text besides the models: a memory, a glossary, what stands around it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..characters import characters
from ..documents import Pair, Segment
from ..prompts import Language
from .context import Context
from .glossary import Glossary
from .memory import Memory, Taken
from .recipe import Hints
from .terms import unused

_LONGEST = 160  # characters of a line of context


@dataclass(frozen=True)
class Aids:
    """What is known of the texts of one run.

    Attributes:
        memory: of translations; None for none.
        first: which of its files is the one that is translated; None: it is not among them.
        glossary: of terms; None for none.
        contexts: lines on where a segment stands, by its key.
        target: language of the translations.
    """

    memory: Memory | None = None
    first: int | None = None
    glossary: Glossary | None = None
    contexts: Mapping[int, str] = field(default_factory=dict)
    target: Language | None = None

    @property
    def varied(self) -> bool:
        """Texts have prompts that begin otherwise: with exemplars of their own."""
        return bool(self.memory)

    def taken(self, segment: Segment) -> Taken | None:
        """The translation of an equal segment, if there is one; terms that it has not are told."""
        taken = self.memory.taken(segment, self.first) if self.memory else None
        if taken is None or self.glossary is None:
            return taken
        terms = self.glossary.found(segment.text, segment.syntax)
        context = Context(segment.syntax, target=self.target, terms=terms)
        lacking = unused(segment.text, taken.text, context)
        return replace(taken, reasons=(*taken.reasons, *lacking))

    def hints(self, text: str, segment: Segment) -> Hints:
        """What goes into the prompt of `text`, a part of the segment."""
        return Hints(
            self.memory.similar(text) if self.memory else (),
            self.glossary.found(text, segment.syntax) if self.glossary else (),
            self.contexts.get(segment.key, ""),
        )


def contexts(segments: Iterable[Segment], pairs: Iterable[Pair]) -> dict[int, str]:
    """What stands around each of the segments of a file, and what the file says of it.

    By key: lines with the context, the comment, and the texts before and after it.
    """
    segments = list(segments)
    every = {each.key: each for each in (*segments, *(pair.segment for pair in pairs))}
    keys = sorted(every)
    places = {key: i for i, key in enumerate(keys)}

    def text(i: int) -> str:
        return every[keys[i]].text if 0 <= i < len(keys) else ""

    found = {}
    for segment in segments:
        i = places[segment.key]
        told = {
            "Context": segment.context, "Note": segment.comment,
            "Before": text(i - 1), "After": text(i + 1),
        }  # fmt: skip
        lines = [f"{name}: {_short(what)}\n" for name, what in told.items() if what.strip()]
        found[segment.key] = "".join(lines)
    return found


def _short(text: str) -> str:
    """`text` on one line, cut between characters where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else "".join(characters(line[:_LONGEST])[:-1]) + "…"
