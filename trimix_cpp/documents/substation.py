r"""SubStation subtitles, ASS and SSA: the text of dialogue lines.

Override tags (`{\i1}`) are placeholders; `\N` is a line break. Drawings and karaoke, whose text is
cut by times, are left alone, and so is every line that is no dialogue.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import TrimixError
from .lines import one_line, split_lines, unwrap
from .segments import FormatOptions, Result, Segment
from .subtitles import broken_as, groups_of

_FIELDS = [
    "layer",
    "start",
    "end",
    "style",
    "name",
    "marginl",
    "marginr",
    "marginv",
    "effect",
    "text",
]
_SECTION = re.compile(r"\s*\[([^\[\]]+)\]\s*")
_BLOCK = re.compile(r"\{[^{}]*\}")
_TIMED = re.compile(r"\\(?:p[1-9]|[kK][fot]?\d)")
_TIME = re.compile(r"\s*(\d{1,9}):(\d{1,9}):(\d{1,9}(?:\.\d+)?)\s*")
_HARD_SPACE = "\u00a0"


@dataclass(frozen=True)
class _Dialogue:
    line: int  # from 0
    head: str  # all before the text
    text: str  # as the file has it
    tail: str  # all behind it
    groups: list[range]  # of its lines, that one sentence runs through


class SubStation:
    """An .ass or .ssa file."""

    def __init__(self, text: str, name: str, options: FormatOptions) -> None:
        self._lines, self._name = split_lines(text), name
        self.segments: list[Segment] = []
        self._dialogues: list[_Dialogue] = []
        section, fields, events = "", _FIELDS, False
        for i, (body, _) in enumerate(self._lines):
            if match := _SECTION.fullmatch(body):
                section = match[1].strip().lower()
                events = events or section == "events"
                continue
            kind, colon, rest = body.partition(":")
            kind = kind.strip().lower()
            if section != "events" or not colon:
                continue
            if kind == "format":
                fields = [field.strip().lower() for field in rest.split(",")]
                if fields[-1] != "text":
                    raise self._error(i, "the last field of Format is not Text")
            elif kind == "dialogue":
                self._collect(i, body, fields)
        if not events and any(body.strip() for body, _ in self._lines):
            raise self._error(0, "no [Events] in it")

    def _error(self, line: int, what: str) -> TrimixError:
        return TrimixError(f"{self._name}: line {line + 1}: not SubStation: {what}")

    def _collect(self, line: int, body: str, fields: list[str]) -> None:
        start = body.index(":") + 1
        values = body[start:].split(",", len(fields) - 1)
        if len(values) < len(fields):
            raise self._error(line, f"Dialogue has {len(values)} of {len(fields)} fields")
        text = values[-1]
        if _TIMED.search("".join(_BLOCK.findall(text))) or not _BLOCK.sub("", text).strip():
            return
        told = dict(zip(fields, values, strict=True))
        at, stop = _core(text)
        head, text, tail = body[: len(body) - len(text) + at], text[at:stop], text[stop:]
        bodies = _meant(text).split("\n")
        groups = groups_of(bodies)
        joined = "\n".join(unwrap([bodies[i] for i in group]) for group in groups)
        key = len(self.segments)
        self.segments.append(
            Segment(
                key, joined, f"{self._name}:{line + 1}",
                seconds=max(0.0, _seconds(told.get("end")) - _seconds(told.get("start"))),
            )
        )  # fmt: skip
        self._dialogues.append(_Dialogue(line, head, text, tail, groups))

    def render(self, results: Mapping[int, Result]) -> str:
        """The file with the results in their lines."""
        out = [body + end for body, end in self._lines]
        for segment, dialogue in zip(self.segments, self._dialogues, strict=True):
            result = results.get(segment.key)
            if result is None or result.text == segment.text:
                continue
            lines = broken_as(result.text, dialogue.groups)
            new = _spelled("\n".join(lines), dialogue.text)
            end = dialogue.tail + self._lines[dialogue.line][1]
            out[dialogue.line] = dialogue.head + new + end
        return "".join(out)


def _core(text: str) -> tuple[int, int]:
    """Where a text begins and ends without the tags before and behind it."""
    at, stop = 0, len(text)
    while block := _BLOCK.match(text, at):
        at = block.end()
    while stop > at and text[stop - 1] == "}" and (begin := text.rfind("{", at, stop)) >= 0:
        if not _BLOCK.fullmatch(text, begin, stop):
            break
        stop = begin
    return at, stop


def _meant(text: str) -> str:
    r"""The text with line breaks for its `\N`; `\n` is a space unless a style says otherwise."""
    parts = re.split(r"(\{[^{}]*\})", text)
    parts[::2] = [
        part.replace("\\N", "\n").replace("\\n", " ").replace("\\h", _HARD_SPACE)
        for part in parts[::2]
    ]
    return "".join(parts)


def _spelled(text: str, like: str) -> str:
    """A text of a line. Braces that are none of the source's tags would hide what they hold."""
    known = set(_BLOCK.findall(like))
    parts = re.split(r"(\{[^{}]*\})", text)
    for i, part in enumerate(parts):
        if part not in known:
            parts[i] = part.replace("{", "(").replace("}", ")")
    out = one_line("".join(parts).replace("\n", "\\N"))
    return out.replace(_HARD_SPACE, "\\h") if "\\h" in like else out


def _seconds(time: str | None) -> float:
    match = _TIME.fullmatch(time or "")
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else 0.0
