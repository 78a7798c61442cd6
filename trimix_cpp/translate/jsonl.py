"""JSON lines: one string field of every object is translated.

Only the characters of the one value change: order and spelling of everything else stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..errors import TrimixError
from .segments import FormatOptions, Pair, Result, Segment

FIELD, NEW_FIELD = "text", "translation"

_SPACE = re.compile(r"[ \t\r]*")
# Numbers are skipped, not computed: Python refuses an integer of 5,000 digits.
_DECODER = json.JSONDecoder(parse_int=len, parse_float=len)


@dataclass(frozen=True)
class _Member:
    """A member of an object: its value, and where it and the parts around it stand."""

    value: object
    key_start: int
    key_end: int
    start: int
    end: int


class JsonLines:
    """Lines of JSON objects. Blank lines are kept, and lines whose field is null or blank.

    The translation goes into the field `into`: a new one right after the text's; an existing one,
    whose line is not translated again if it holds text; or the text's own, which is replaced.
    """

    def __init__(self, text: str, name: str, options: FormatOptions) -> None:
        self._lines = text.split("\n")
        self._field = options.field or FIELD
        self._into = options.into or NEW_FIELD
        self._ascii = text.isascii() and re.search(r"\\u[0-9a-fA-F]{4}", text) is not None
        self.segments: list[Segment] = []
        self.pairs: list[Pair] = []
        for key, line in enumerate(self._lines):
            if line.strip(" \t\r"):
                self._collect(key, line, f"{name}: line {key + 1}", f"{name}:{key + 1}")

    def _collect(self, key: int, line: str, place: str, where: str) -> None:
        members = _members(line, place)
        if self._field not in members:
            raise TrimixError(
                f"{place}: the object has no field {self._field!r}; name it with --field"
            )
        value = members[self._field].value
        done = members[self._into].value if self._into in members else None
        done = done if self._into != self._field else None
        if value is None or (done not in (None, "") and not isinstance(done, str)):
            return
        if not isinstance(value, str):
            raise TrimixError(f"{place}: the field {self._field!r} holds no string")
        if any(0xD800 <= ord(char) < 0xE000 for char in value):
            raise TrimixError(f"{place}: the text holds half of a surrogate pair (\\ud800-\\udfff)")
        if not value.strip():
            return
        segment = Segment(key, _meant(value), where)
        if done:
            self.pairs.append(Pair(segment, _meant(done)))
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
        members = _members(line, "")
        value = json.dumps(text, ensure_ascii=self._ascii)
        if self._into in members:
            place = members[self._into]
            return line[: place.start] + value + line[place.end :]
        source = members[self._field]
        colon = line[source.key_end : source.start]
        comma = ", " if colon.endswith(" ") else ","
        key = json.dumps(self._into, ensure_ascii=self._ascii)
        return line[: source.end] + comma + key + colon + value + line[source.end :]


def _meant(value: str) -> str:
    return value.replace("\r\n", "\n").replace("\r", "\n")


def _members(line: str, place: str) -> dict[str, _Member]:
    """The members of the object that `line` holds, by name; of equal names, the last counts.

    Raises:
        TrimixError: the line holds no JSON object.
    """
    try:
        whole = _DECODER.decode(line)
    except json.JSONDecodeError as error:
        raise TrimixError(f"{place}: not JSON: {error.msg}, column {error.colno}") from None
    except RecursionError:
        raise TrimixError(f"{place}: JSON nested too deeply") from None
    if not isinstance(whole, dict):
        raise TrimixError(f"{place}: a JSON object is needed, {{...}}")
    return {str(name): member for name, member in _walk(line)}


def _walk(line: str) -> Iterator[tuple[object, _Member]]:
    """The members of an object that is known to be well-formed."""
    at = line.index("{")
    while True:
        key_start = _skip(line, at + 1)
        if line[key_start] == "}":
            return
        name, key_end = _DECODER.raw_decode(line, key_start)
        start = _skip(line, _skip(line, key_end) + 1)
        value, end = _DECODER.raw_decode(line, start)
        yield name, _Member(value, key_start, key_end, start, end)
        at = _skip(line, end)
        if line[at] == "}":
            return


def _skip(line: str, at: int) -> int:
    match = _SPACE.match(line, at)
    assert match is not None
    return match.end()
