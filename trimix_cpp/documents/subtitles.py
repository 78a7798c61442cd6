"""Subtitles, SRT and WebVTT: the text of cues is translated, all else is left as it is.

pysubs2 and its like read both into one model and write that: cue identifiers, settings, NOTE,
STYLE and REGION blocks, unknown tags and the numbering are lost. A file is therefore cut at its
timing lines here, and only the lines of text are replaced. (The tests read with pysubs2.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import TrimixError
from ..markup import unbreakable
from .lines import ended, rebreak, split_lines, unwrap
from .segments import FormatOptions, Result, Segment

# Times as files have them, in the digits of any script; they are kept as they are.
_TIME = r"-?(?:\d{1,4}:)?\d{1,4}:\d{1,2}(?:[.,:;]\d{1,6})?"
_TIMES = rf"\s*{_TIME}\s*--+>\s*{_TIME}"
_TIMING = re.compile(rf"{_TIMES}(?:\s+[\w-]+:\S+)*\s*")  # with coordinates, or settings
# What looks like times and is none that can be told for sure: other arrows, separators, spaces.
_LIKE = r"-?\d{1,4}(?:\s*[:：.;]\s*\d{1,2}){1,2}(?:\s*[.,:;，]\s*\d{1,6})?"
_LIKE_WHOLE = r"-?\d{1,4}(?:\s*[:：]\s*\d{1,2}){2}(?:\s*[.,:;，]\s*\d{1,6})?"
_ARROW = r"(?:[-–—−=~](?:\s?[-–—−=~])*\s*(?:>|&gt;|＞|›|»)|[→⇒➔➜➡⟶])"
_LOOKS = re.compile(
    rf"\s*(?:{_LIKE}\s*{_ARROW}\s*(?:{_LIKE}.*)?|{_ARROW}\s*{_LIKE}.*"
    rf"|{_LIKE_WHOLE}[\s,;|/>–—-]+{_LIKE_WHOLE}(?:\s.*)?|{_TIMES}.*)"
)
_TAG = r"(?:<[^<>]*>|\{\\[^{}]*\})*"
# A line after which a new one begins something new: a sentence, another speaker, a song.
_ENDS = re.compile(rf"[.!?…؟۔܀-܂։।॥។።᠃。！？།-༔♪♫:\])][\"'”’»›)\]」』]*{_TAG}\s*$")
_BEGINS = re.compile(rf"\s*{_TAG}\s*(?:[-–—♪♫\[(>]|<v[ .]|[A-Z][A-Z .]+:)")


@dataclass(frozen=True)
class _Cue:
    start: int  # its lines of text: start to stop
    stop: int
    groups: list[range]  # of lines that one sentence runs through


class _Subtitles:
    """Cues with times. The text of a cue is one segment.

    Lines through which a sentence runs are joined in it, and its translation is broken into as
    many lines of about one length; other line breaks (two speakers) are line breaks in it.
    """

    def __init__(self, text: str, name: str, options: FormatOptions) -> None:
        self._lines = split_lines(text)
        self._name = name
        bodies = [body for body, _ in self._lines]
        self._check(bodies)
        self._cues = [_Cue(a, b, groups_of(bodies[a:b])) for a, b in self._texts(bodies)]
        self.segments = [
            Segment(
                key,
                self._text(cue),
                f"{name}:{cue.start + 1}",
                seconds=_seconds(bodies[cue.start - 1]),
                lines=cue.stop - cue.start,
            )
            for key, cue in enumerate(self._cues)
            if cue.stop > cue.start
        ]

    def _text(self, cue: _Cue) -> str:
        bodies = [body for body, _ in self._lines[cue.start : cue.stop]]
        return "\n".join(
            unwrap(bodies[group.start : group.stop]) if len(group) > 1 else bodies[group.start]
            for group in cue.groups
        )

    def render(self, results: Mapping[int, Result]) -> str:
        """The file with the results in their cues."""
        out: list[str] = [body + end for body, end in self._lines]
        for segment in self.segments:
            result = results.get(segment.key)
            if result is None or result.text == segment.text:
                continue
            cue = self._cues[segment.key]
            new = [self._safe(line) for line in broken_as(result.text, cue.groups)]
            ends = [end for _, end in self._lines[cue.start : cue.stop]]
            out[cue.start : cue.stop] = [""] * (cue.stop - cue.start)
            out[cue.start] = ended(new, ends)
        return "".join(out)

    def _check(self, bodies: Sequence[str]) -> None:
        raise NotImplementedError

    def _texts(self, bodies: Sequence[str]) -> list[tuple[int, int]]:
        raise NotImplementedError

    def _safe(self, line: str) -> str:
        raise NotImplementedError


class SubRip(_Subtitles):
    """SRT. A cue's text ends where the next cue begins, so that blank lines in it do not cut it."""

    def _check(self, bodies: Sequence[str]) -> None:
        for i, body in enumerate(bodies):
            numbered = i > 0 and bodies[i - 1].strip().isdecimal()
            meant = "-->" in body and numbered
            if (meant or _LOOKS.fullmatch(body)) and not _TIMING.fullmatch(body):
                raise TrimixError(
                    f"{self._name}: line {i + 1}: looks like times, but SRT's "
                    f"look like 00:01:02,000 --> 00:01:04,500"
                )
        if any(body.strip() for body in bodies) and not any(map(_TIMING.fullmatch, bodies)):
            raise TrimixError(f"{self._name}: line 1: not SRT: no line has times")

    def _texts(self, bodies: Sequence[str]) -> list[tuple[int, int]]:
        timings = [i for i, body in enumerate(bodies) if _TIMING.fullmatch(body)]
        starts = [i - 1 if i and bodies[i - 1].strip().isdecimal() else i for i in timings]
        ends = [*starts, len(bodies)][1:]
        return [
            (at + 1, _without_stray_numbers(bodies, at + 1, end))
            for at, end in zip(timings, ends, strict=True)
        ]

    def _safe(self, line: str) -> str:
        return f"… {line}" if _LOOKS.fullmatch(line) else line


class WebVtt(_Subtitles):
    """WebVTT (W3C). A blank line ends a cue; only blocks with times are cues."""

    def _check(self, bodies: Sequence[str]) -> None:
        if not bodies or not re.fullmatch(r"WEBVTT(?:[ \t].*)?", bodies[0]):
            raise TrimixError(f"{self._name}: line 1: not WebVTT: it begins with WEBVTT")
        note = False
        for i, body in enumerate(bodies):
            note = bool(body.strip()) and (note or re.match(r"(?:NOTE|STYLE)\b", body) is not None)
            looks = "-->" in body or (not note and _LOOKS.fullmatch(body))
            if looks and not _TIMING.fullmatch(body):
                raise TrimixError(
                    f"{self._name}: line {i + 1}: looks like times, but WebVTT's "
                    f"look like 00:01:02.000 --> 00:01:04.500"
                )

    def _texts(self, bodies: Sequence[str]) -> list[tuple[int, int]]:
        texts = []
        for i, body in enumerate(bodies):
            if _TIMING.fullmatch(body):
                stop = i + 1
                while stop < len(bodies) and bodies[stop] and not _TIMING.fullmatch(bodies[stop]):
                    stop += 1
                texts.append((i + 1, _without_blank_end(bodies, i + 1, stop)))
        return texts

    def _safe(self, line: str) -> str:
        line = line.replace("-->", "--&gt;")
        return f"… {line}" if _LOOKS.fullmatch(line) else line


def _seconds(timing: str) -> float:
    """How long a cue is shown; 0 where that cannot be told."""
    times = [
        sum(float(part) * 60**i for i, part in enumerate(reversed(re.split("[:;]", time))))
        for time in re.findall(_TIME, timing.replace(",", "."))[:2]
    ]
    return max(times[1] - times[0], 0.0) if len(times) == 2 else 0.0


def _without_blank_end(bodies: Sequence[str], start: int, stop: int) -> int:
    while stop > start and not bodies[stop - 1].strip():
        stop -= 1
    return stop


def _without_stray_numbers(bodies: Sequence[str], start: int, stop: int) -> int:
    """The end of a cue's text in SRT: a number after a blank line is that of a cue that is gone."""
    stop = _without_blank_end(bodies, start, stop)
    while (
        stop - 1 > start and bodies[stop - 1].strip().isdecimal() and not bodies[stop - 2].strip()
    ):
        stop = _without_blank_end(bodies, start, stop - 1)
    return stop


def groups_of(bodies: Sequence[str]) -> list[range]:
    """The runs of lines that one sentence goes through."""
    groups: list[range] = []
    for i, body in enumerate(bodies):
        before = bodies[i - 1] if i else ""
        runs_on = before.strip() and body.strip()
        if runs_on and not _ENDS.search(before) and not _BEGINS.match(body):
            groups[-1] = range(groups[-1].start, i + 1)
        else:
            groups.append(range(i, i + 1))
    return groups


def broken_as(text: str, groups: Sequence[range]) -> list[str]:
    """The lines of a translation, as many for each group as it had. Blank ones would end a cue."""
    lines = text.split("\n")
    if len(lines) == len(groups):
        lines = [
            part
            for line, group in zip(lines, groups, strict=True)
            for part in rebreak(line, len(group), unbreakable(line))
        ]
    return [line for line in lines if line.strip()] or [""]
