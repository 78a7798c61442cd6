"""What is sent to the models: each different line, or part of a long one, of all segments, once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..documents import Result, Segment
from ..fusion import Weights
from ..markup import accelerator, append_accelerator, passes_through
from .context import Context
from .faults import lost
from .messages import spelled_out
from .recipe import NO_HINTS, Hints, size
from .sentences import Part, join, split

if TYPE_CHECKING:
    from .aids import Aids
    from .memory import Taken


@dataclass(frozen=True)
class Unit:
    """A text that one generation translates.

    Attributes:
        text: one line, without white space around it.
        syntax: what its segment says of placeholders (`Segment.syntax`).
        label: it may have a keyboard accelerator, which is kept from the models.
        hints: what else its prompt holds.
    """

    text: str
    syntax: frozenset[str] = frozenset()
    label: bool = False
    hints: Hints = NO_HINTS

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
    """A segment and how it is put together: its parts, and the unit of each that has one.

    One that was `taken` from a memory has neither.
    """

    segment: Segment
    parts: tuple[Part, ...] = ()
    units: tuple[Unit | None, ...] = ()
    taken: Taken | None = None

    @property
    def asked(self) -> list[Unit]:
        """The units in it."""
        return [unit for unit in self.units if unit]

    def result(self, outcomes: Mapping[Unit, Outcome]) -> Result | None:
        """The segment's result from those of its units; None where nothing could be translated.

        A part that could not be translated stays as it is.
        """
        if self.taken:
            reasons = (*self.segment.notes, *self.taken.reasons)
            return Result(self.taken.text, bool(reasons), reasons, remembered=True)
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


def lay_out(
    segments: Iterable[Segment],
    *,
    cut: int,
    labels: bool,
    aids: Aids | None = None,
    target: str | None = None,
) -> list[Layout]:
    """The segments in parts, a line each; those beyond `cut` characters in several (0: never).

    `labels`: they are strings of programs, whose accelerators come back appended. What the `aids`
    remember is taken over whole; what they know of the others goes into their prompts. ICU messages
    are spelled out for the language with the code `target`; None: as they are.
    """
    layouts = []
    for segment in segments:
        if aids and (taken := aids.taken(segment)):
            layouts.append(Layout(segment, taken=taken))
            continue
        limit = cut or max(size(segment.text), 1)
        message = spelled_out(segment.text, target) if target else None
        syntax = segment.syntax | {"icu-case"} if message else segment.syntax
        parts = tuple(_parts(message or [(segment.text, True)], limit))
        units: list[Unit | None] = []
        for part in parts:
            if passes_through(part.text, syntax):
                units.append(None)
                continue
            unit = Unit(part.text, syntax, labels)
            units.append(replace(unit, hints=aids.hints(unit.asked, segment)) if aids else unit)
        layouts.append(Layout(segment, parts, tuple(units)))
    return layouts


def _parts(pieces: Iterable[tuple[str, bool]], limit: int) -> Iterator[Part]:
    """The parts of texts, and structure between them."""
    for piece, is_text in pieces:
        yield from split(piece, limit, size) if is_text else [Part("", piece)]
