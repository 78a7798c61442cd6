"""Tables of text, for a terminal and for a page."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from .terminal import safe

# A number, its error or unit; "-" and nothing stand among numbers where there is none.
_NUMBER = re.compile(r"~?[+-]?\d[\d.,]*(e[+-]?\d+)?[%*]?( .*)?|inf[ *]?|-|")


@dataclass(frozen=True)
class Table:
    """A table; columns of numbers stand to the right, and cells are made safe for a terminal.

    Attributes:
        head: of the columns; empty for none.
        rows: cells, as many as the columns.
        title: stands above it.
        note: follows it.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    note: str = ""

    def text(self) -> str:
        """Columns aligned by spaces."""
        lines = ["  ".join(cells).rstrip() for cells in self._lines()]
        return "\n".join(filter(None, [safe(self.title), *lines, safe(self.note)]))

    def markdown(self, *, padded: bool = False) -> str:
        """A Markdown table under its title; it has a head. `padded`: for a terminal's eyes too."""
        cells = self._lines(("|", "\\|"), ruler=True)
        if not padded:
            cells = [[cell.strip() for cell in line] for line in cells]
        table = "\n".join(f"| {' | '.join(line)} |" for line in cells)
        title = f"**{safe(self.title)}**" if self.title else ""
        return "\n\n".join(filter(None, [title, table, safe(self.note)]))

    def _lines(
        self, change: tuple[str, str] = ("|", "|"), *, ruler: bool = False
    ) -> list[list[str]]:
        """The cells, padded, with a ruler below the head where it is wanted."""
        lines = [self.head, *self.rows] if self.head else self.rows
        cells = [[safe(cell, keep="").replace(*change) for cell in line] for line in lines]
        columns = [list(column) for column in zip(*cells, strict=True)]
        for column in columns:
            widest = max(map(width, column))
            right = all(map(_NUMBER.fullmatch, column[bool(self.head) :]))
            for i, cell in enumerate(column):
                space = " " * (widest - width(cell))
                column[i] = space + cell if right else cell + space
            if ruler:
                column.insert(1, "-" * max(widest - right, 1) + ":" * right)
        return [list(line) for line in zip(*columns, strict=True)]


def width(text: str) -> int:
    """Columns of a terminal that `text` takes: none for marks that stack, two for wide letters."""
    return sum(
        0 if unicodedata.category(char) in ("Mn", "Me", "Cf")
        else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )  # fmt: skip
