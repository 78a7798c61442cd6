"""What is sent to the models: each different line, or part of a long one, of all segments, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..fusion import Weights
from .accelerators import accelerator, append_accelerator
from .context import Context
from .faults import lost
from .placeholders import passes_through
from .recipe import size
from .segments import Result, Segment
from .sentences import Part, join, split


@dataclass(frozen=True)
class Unit:
    """A text that one generation translates.

    Attributes:
        text: one line, without white space around it.
        syntax: what its segment says of placeholders (`Segment.syntax`).
        label: it may have a keyboard accelerator, which is kept from the models.
    """

    text: str
    syntax: frozenset[str] = frozenset()
    label: bool = False

    @property
    def asked(self) -> str:
        """The text as the models get it."""
        found = accelerator(self.text) if self.label else None
        return found.plain if found else self.text

    def answered(self, answer: str) -> str:
        """The translation, given the models' answer."""
        found = accelerator(self.text) if self.label else None
        if found is None or not answer or accelerator(answer):
            return answer
        return append_accelerator(answer, found)

    def broken(
        self, translation: str, context: Context | None = None, off: frozenset[str] = frozenset()
    ) -> tuple[str, ...]:
        """What a translation loses or invents, by checks that are not `off`."""
        return lost(self.text, translation, replace(context or Context(), syntax=self.syntax), off)


@dataclass(frozen=True)
class Outcome:
    """What became of a unit.

    Attributes:
        text: its translation; None: it could not be translated at all.
        reasons: why somebody should look at it.
        tokens: tokens generated, of both attempts.
        weights: of the attempt that was taken; None without one.
        retried: there was a second attempt.
        shots: exemplars in its prompt.
    """

    text: str | None
    reasons: tuple[str, ...] = ()
    tokens: int = 0
    weights: Weights | None = None
    retried: bool = False
    shots: int = 0


@dataclass(frozen=True)
class Layout:
    """A segment and how it is put together: its parts, and the unit of each that has one."""

    segment: Segment
    parts: tuple[Part, ...]
    units: tuple[Unit | None, ...]

    @property
    def asked(self) -> list[Unit]:
        """The units in it."""
        return [unit for unit in self.units if unit]

    def result(self, outcomes: Mapping[Unit, Outcome]) -> Result | None:
        """The segment's result from those of its units; None where nothing could be translated.

        A part that could not be translated stays as it is.
        """
        found = [outcomes[unit] for unit in self.asked]
        if found and all(outcome.text is None for outcome in found):
            return None
        texts = []
        for part, unit in zip(self.parts, self.units, strict=True):
            translated = outcomes[unit].text if unit else None
            texts.append(part.text if translated is None else translated)
        reasons = (*self.segment.notes, *reasons_of(found))
        return Result(join(self.parts, texts), bool(reasons), reasons)


def reasons_of(outcomes: Iterable[Outcome]) -> tuple[str, ...]:
    """The reasons of several outcomes, each once."""
    return tuple(dict.fromkeys(reason for outcome in outcomes for reason in outcome.reasons))


def lay_out(segments: Iterable[Segment], *, cut: int, labels: bool) -> list[Layout]:
    """The segments in parts, a line each; those beyond `cut` characters in several (0: never).

    `labels`: they are strings of programs, whose accelerators come back appended.
    """
    layouts = []
    for segment in segments:
        limit = cut or max(size(segment.text), 1)
        parts = tuple(split(segment.text, limit, size))
        units = tuple(
            None
            if passes_through(part.text, segment.syntax)
            else Unit(part.text, segment.syntax, labels)
            for part in parts
        )
        layouts.append(Layout(segment, parts, units))
    return layouts
