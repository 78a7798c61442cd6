"""What a check knows of a segment besides its two texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..prompts import Language
    from .recipe import Term


@dataclass(frozen=True)
class Context:
    """What a translation is held against.

    Attributes:
        syntax: as `Segment.syntax`.
        source, target: the languages; None: not known.
        seconds: how long the segment is shown (subtitles); 0: for good.
        longest: characters that it may have at most; 0: any number.
        speed: characters that can be read in a second, of what is shown for some time; 0: any.
        terms: of a glossary, that are in the source.
    """

    syntax: frozenset[str] = frozenset()
    source: Language | None = None
    target: Language | None = None
    seconds: float = 0.0
    longest: int = 0
    speed: float = 0.0
    terms: tuple[Term, ...] = ()
