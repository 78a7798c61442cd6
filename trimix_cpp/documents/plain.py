"""Plain text: a line is a segment, or a paragraph is."""

from __future__ import annotations

from collections.abc import Mapping

from ..markup import unbreakable
from .lines import ended, one_line, rewrap, split_lines, unwrap
from .segments import FormatOptions, Result, Segment


class PlainText:
    """Text whose lines, or paragraphs, are translated; blank lines are left as they are.

    A line keeps its own ending. The lines of a paragraph are joined, and its translation is
    broken again at the length that they had.
    """

    def __init__(self, text: str, name: str, options: FormatOptions) -> None:
        self._lines = split_lines(text)
        self._blocks = _paragraphs(self._lines) if options.paragraphs else _single(self._lines)
        self.segments = [
            Segment(
                block.start,
                unwrap([self._lines[i][0] for i in block])
                if len(block) > 1
                else self._lines[block.start][0],
                f"{name}:{block.start + 1}",
            )
            for block in self._blocks
        ]

    def render(self, results: Mapping[int, Result]) -> str:
        """The text with the results in the places of their lines."""
        out = [body + end for body, end in self._lines]
        for block, segment in zip(self._blocks, self.segments, strict=True):
            result = results.get(segment.key)
            if result is None or result.text == segment.text:
                continue
            bodies = [self._lines[i][0] for i in block]
            text = one_line(result.text)
            new = rewrap(text, bodies, unbreakable(text)) if len(block) > 1 else [text]
            out[block.start] = ended(new, [self._lines[i][1] for i in block])
            for i in block[1:]:
                out[i] = ""
        return "".join(out)


def _single(lines: list[tuple[str, str]]) -> list[range]:
    return [range(i, i + 1) for i, (body, _) in enumerate(lines) if body.strip()]


def _paragraphs(lines: list[tuple[str, str]]) -> list[range]:
    """The runs of lines that are not blank."""
    blocks: list[range] = []
    for line in _single(lines):
        if blocks and blocks[-1].stop == line.start:
            blocks[-1] = range(blocks[-1].start, line.stop)
        else:
            blocks.append(line)
    return blocks
