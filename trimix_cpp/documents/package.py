"""Documents that are ZIP files of XML: some members hold texts, all others keep their bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from .encodings import Encoding, decode
from .segments import FormatOptions, Languages, Result, Segment
from .zipped import Zip


class Part(Protocol):
    """The text of a member. It is rendered where anything of the document changes."""

    @property
    def segments(self) -> Sequence[Segment]:
        """What is to be translated, with keys from 0."""

    def render(self, results: Mapping[int, Result]) -> str:
        """The text with the results in their places."""


@dataclass(frozen=True)
class _Placed:
    """A part, the member that it is, with its text, and the key of its first segment."""

    member: str
    text: str
    encoding: Encoding
    part: Part
    first: int


class Package:
    """A document in a ZIP file; a subclass says which members hold texts, in `_look_through`.

    Attributes:
        segments: what is to be translated.
        languages: that the document names.
        notices: what somebody must know of it beforehand.
    """

    def __init__(self, data: bytes, name: str, options: FormatOptions) -> None:
        self._name, self._options = name, options
        self._zip = Zip(data, name)
        self._placed: list[_Placed] = []
        self.segments: list[Segment] = []
        self.languages = Languages()
        self.notices: list[str] = []
        if data:
            self._look_through()

    def _look_through(self) -> None:
        """Find the members that hold texts, and `_add` them."""
        raise NotImplementedError

    def _text(self, member: str) -> tuple[str, Encoding]:
        """A member that is XML."""
        return decode(self._zip.read(member), f"{self._name} ({member})", frozenset({"xml"}))

    def _add(self, member: str, text: str, encoding: Encoding, part: Part) -> None:
        first = len(self.segments)
        self._placed.append(_Placed(member, text, encoding, part, first))
        self.segments += (replace(one, key=one.key + first) for one in part.segments)

    def render(self, results: Mapping[int, Result]) -> bytes:
        """See `Body`."""
        changes: dict[str, bytes] = {}
        own = (result.text == self.segments[key].text for key, result in results.items())
        for placed in self._placed if not all(own) else ():
            keys = range(placed.first, placed.first + len(placed.part.segments))
            found = {key - placed.first: results[key] for key in keys if key in results}
            text = placed.part.render(found)
            if text != placed.text:
                changes[placed.member] = placed.encoding.encode(text, self._name)
        return self._zip.with_members(changes)
