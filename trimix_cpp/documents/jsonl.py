"""JSON lines: one string field of every object is translated.

Only the characters of the one value change: order and spelling of everything else stay.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import TrimixError
from .json_text import Json, Spelling, lines_of
from .segments import FormatOptions, Pair, Result, Segment

FIELD, NEW_FIELD = "text", "translation"


class JsonLines:
    """Lines of JSON objects. Blank lines are kept, and lines whose field is null or blank.

    The translation goes into the field `into`: a new one right after the text's; an existing one,
    whose line is not translated again if it holds text; or the text's own, which is replaced.
    """

    def __init__(self, text: str, name: str, options: FormatOptions) -> None:
        self._lines = text.split("\n")
        self._field = options.field or FIELD
        self._into = options.into or NEW_FIELD
        self._spelling = Spelling.like(text)
        self.segments: list[Segment] = []
        self.pairs: list[Pair] = []
        for key, line in enumerate(self._lines):
            if line.strip(" \t\r"):
                self._collect(key, line, f"{name}: line {key + 1}", f"{name}:{key + 1}")

    def _collect(self, key: int, line: str, place: str, where: str) -> None:
        document = _object(line, place)
        value = document.root.get(self._field)
        if value is None:
            raise TrimixError(
                f"{place}: the object has no field {self._field!r}; name it with --field"
            )
        done = document.root.get(self._into) if self._into != self._field else None
        filled = done is not None and done.kind != "string" and not document.is_null(done)
        if document.is_null(value) or filled:
            return
        if value.kind != "string":
            raise TrimixError(f"{place}: the field {self._field!r} holds no string")
        text = document.meaning(value, place)
        if not text.strip():
            return
        segment = Segment(key, text, where)
        if done is not None and done.text:
            self.pairs.append(Pair(segment, lines_of(done.text)))
        else:
            self.segments.append(segment)

    def render(self, results: Mapping[int, Result]) -> str:
        """The lines with the results in their field."""
        lines = list(self._lines)
        for segment in [*self.segments, *(pair.segment for pair in self.pairs)]:
            result = results.get(segment.key)
            unchanged = result is not None and result.text == segment.text
            if result is not None and not (unchanged and self._into == self._field):
                lines[segment.key] = self._filled(lines[segment.key], result.text)
        return "\n".join(lines)

    def _filled(self, line: str, text: str) -> str:
        root, value = _object(line, "").root, self._spelling.of(text)
        if (place := root.get(self._into)) is not None:
            return line[: place.start] + value + line[place.end :]
        source = root.member(self._field)
        assert source is not None
        colon = line[source.end : source.value.start]
        comma = ", " if colon.endswith(" ") else ","
        new = comma + self._spelling.of(self._into) + colon + value
        return line[: source.value.end] + new + line[source.value.end :]


def _object(line: str, place: str) -> Json:
    """The object that `line` holds.

    Raises:
        TrimixError: it holds none.
    """
    document = Json(line, place, lines=False)
    if document.root.kind != "object":
        raise TrimixError(f"{place}: a JSON object is needed, {{...}}")
    return document
