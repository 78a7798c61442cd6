"""TSV and CSV: one column is translated, into a column of its own or in place.

Cells are found and replaced in the text of the file itself: Python's csv module does not tell
which cells were quoted, so that what it writes differs where nothing was to change.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import TrimixError, UsageError
from .lines import one_line, split_lines
from .segments import FormatOptions, Pair, Result, Segment

NEW_COLUMN = "translation"
_HEADER = 1 << 16  # characters in which the first row ends


@dataclass(frozen=True)
class _Row:
    cells: list[str]  # as they stand in the file, quotes and all
    end: str
    line: int

    @property
    def blank(self) -> bool:
        return len(self.cells) == 1 and not self.cells[0].strip()


class _Table:
    """Rows, of which one column is read and one is written.

    The translation goes into the column `into`: an existing one, whose filled cells are left
    alone and not translated again; the text's own, which is then replaced; or a new one, which
    every row gets at its end.
    """

    delimiter = "\t"

    def __init__(self, text: str, name: str, options: FormatOptions) -> None:
        # Excel reads and writes which separator follows, before the header.
        declared = re.match(r'"?sep=([^"\r\n])"?[ \t]*(?:\r\n|\n|\r)', text, re.IGNORECASE)
        self._head = declared[0] if declared else ""
        body = text[len(self._head) :]
        self.delimiter = declared[1] if declared else self._delimiter(body)
        self._rows = self._parse(body, name, 2 if declared else 1)
        self._name = name
        rows = [row for row in self._rows if not row.blank]
        self.segments: list[Segment] = []
        self.pairs: list[Pair] = []
        self.names: list[str] = []
        if not rows:
            return
        self._header = rows[0] if _has_header(options) else None
        self.names = names = [self._value(cell) for cell in rows[0].cells]
        self._column = _source_column(options, names, bool(self._header), name)
        self._into, self._new_name = self._into_column(options, names)
        self._check_widths(rows)
        self._collect()

    def _into_column(self, options: FormatOptions, names: list[str]) -> tuple[int, str | None]:
        """The column of the translation, and its name if it is a new one."""
        wanted = options.into or NEW_COLUMN
        if wanted.isdecimal():
            index = _index(wanted)
            if index > len(names):
                raise UsageError(f"--into {wanted}: the table has {len(names)} columns")
            return index, (NEW_COLUMN if index == len(names) else None)
        if self._header and wanted in names:
            return names.index(wanted), None
        if options.into and not self._header:
            raise UsageError(f"--into {wanted}: a column is named, so say --header, or a number")
        return len(names), wanted

    def _check_widths(self, rows: list[_Row]) -> None:
        width = len(rows[0].cells)
        for row in rows:
            if self._new_name is not None and len(row.cells) > width:
                raise TrimixError(
                    f"{self._name}: line {row.line}: {len(row.cells)} cells, the first row has "
                    f"{width}; a new column would not line up (name an existing one with --into)"
                )

    def _collect(self) -> None:
        in_place = self._into == self._column
        for key, row in enumerate(self._rows):
            if row.blank or row is self._header or self._column >= len(row.cells):
                continue
            text = _meant(self._value(row.cells[self._column]))
            if not text.strip():
                continue
            segment = Segment(key, text, f"{self._name}:{row.line}")
            done = self._value(row.cells[self._into]) if self._into < len(row.cells) else ""
            if in_place or not done.strip():
                self.segments.append(segment)
            else:
                self.pairs.append(Pair(segment, _meant(done)))

    def render(self, results: Mapping[int, Result]) -> str:
        """The table with the results in their column."""
        known = [*self.segments, *(pair.segment for pair in self.pairs)]
        sent = {segment.key: segment.text for segment in known}
        results = {key: result for key, result in results.items() if key in sent}
        if not results:
            return self._head + "".join(self._join(row) for row in self._rows)
        return self._head + "".join(
            self._join(self._filled(row, sent.get(key), results.get(key)))
            for key, row in enumerate(self._rows)
        )

    def _filled(self, row: _Row, source: str | None, result: Result | None) -> _Row:
        if row.blank or (result is None and self._new_name is None):
            return row
        if result is not None and result.text == source and self._into == self._column:
            return row
        like = row.cells[self._column] if self._column < len(row.cells) else ""
        text = result.text if result is not None else ""
        if row is self._header and self._new_name is not None:
            text = self._new_name
        cells = row.cells + [""] * (self._into + 1 - len(row.cells))
        cells[self._into] = self._cell(text, like)
        return _Row(cells, row.end, row.line)

    # What differs between the two.

    def _delimiter(self, text: str) -> str:
        raise NotImplementedError

    def _parse(self, text: str, name: str, line: int) -> list[_Row]:
        raise NotImplementedError

    def _value(self, cell: str) -> str:
        raise NotImplementedError

    def _cell(self, value: str, like: str) -> str:
        raise NotImplementedError

    def _join(self, row: _Row) -> str:
        return self.delimiter.join(row.cells) + row.end


def _meant(text: str) -> str:
    """The text of a cell, whose lines may end as the file's do."""
    return "\n".join(body for body, _ in split_lines(text + "\n"))


def open_tsv(text: str, name: str, options: FormatOptions) -> _Table:
    """Tab-separated values: with quoted cells if a spreadsheet wrote them, else without quoting.

    Raises:
        TrimixError: it cannot be told which.
    """
    return (_QuotedTsv if _is_quoted(text, name) else TsvTable)(text, name, options)


def first_row(text: str, name: str, format: str) -> list[str]:
    """The cells of the first row of a table that is not blank; [] if all are."""
    opener = open_tsv if format == "tsv" else CsvTable
    return opener(text, name, FormatOptions(column="1", into="1")).names


def _is_quoted(text: str, name: str) -> bool:
    """Whether quotation marks stand around cells, as Excel writes those that need it.

    A file whose rows have equal lengths without quoting is taken to have none, unless marks are
    doubled in quotes; one whose rows have equal lengths only with quoting has it.
    """
    plain = [body.split("\t") for body, _ in split_lines(text) if body.strip()]
    if not any(cell.startswith('"') for row in plain for cell in row):
        return False
    try:
        quoted = [row.cells for row in _csv_rows(text, "\t", name, 1) if not row.blank]
    except TrimixError:
        quoted = []
    cells = [cell for row in quoted for cell in row if cell.startswith('"')]
    sound = bool(quoted) and all(re.fullmatch(r'"(?:[^"]|"")*"', cell) for cell in cells)
    if sound and any('""' in cell[1:-1] for cell in cells):
        return True
    if len(set(map(len, plain))) == 1:
        return False
    if sound and len(set(map(len, quoted))) == 1:
        return True
    for number, (body, _) in enumerate(split_lines(text), 1):
        row = body.split("\t")
        if len(row) < len(plain[0]) and row[-1].startswith('"') and row[-1].count('"') == 1:
            raise TrimixError(
                f"{name}: line {number}: a quotation mark opens a cell, and where it ends cannot "
                f"be told; save the table as CSV"
            )
    return False


class TsvTable(_Table):
    """Tab-separated values as IANA registers them: no quoting, quotation marks are characters.

    A tab or line break in a translation, which no cell can hold, becomes a space.
    """

    def _delimiter(self, text: str) -> str:
        return "\t"

    def _parse(self, text: str, name: str, line: int) -> list[_Row]:
        return [
            _Row(body.split(self.delimiter), end, i)
            for i, (body, end) in enumerate(split_lines(text), line)
        ]

    def _value(self, cell: str) -> str:
        return cell

    def _cell(self, value: str, like: str) -> str:
        return re.sub(r"[\t\r\n]+", " ", value)


class CsvTable(_Table):
    """Comma-separated values, RFC 4180; separated by `;` or tabs if the first row has more.

    Cells may be quoted and then hold separators, line breaks and doubled quotation marks. New
    cells are quoted where they must be, or where the text's cell is.
    """

    def _delimiter(self, text: str) -> str:
        bare = re.sub(r'"[^"]*"', "", text)
        first = Counter(next(iter(split_lines(bare[:_HEADER])), ("", ""))[0])
        return max(",;\t", key=lambda char: first[char])

    def _parse(self, text: str, name: str, line: int) -> list[_Row]:
        return list(_csv_rows(text, self.delimiter, name, line))

    def _value(self, cell: str) -> str:
        if not cell.startswith('"'):
            return cell
        quoted, rest = cell[1 : (end := _closing(cell))], cell[end + 1 :]
        return quoted.replace('""', '"') + rest

    def _cell(self, value: str, like: str) -> str:
        if "\r\n" in like:
            value = value.replace("\n", "\r\n")
        special = any(char in value for char in (self.delimiter, '"', "\r", "\n"))
        if special or like.startswith('"'):
            return '"' + value.replace('"', '""') + '"'
        return value


class _QuotedTsv(CsvTable):
    """Tab-separated values with cells in quotation marks, as spreadsheets write them."""

    def _delimiter(self, text: str) -> str:
        return "\t"


def _csv_rows(text: str, delimiter: str, name: str, line: int) -> list[_Row]:
    """The rows of CSV text. A quotation mark inside an unquoted cell is a character."""
    stop = re.escape(delimiter) + r"\r\n"
    cell = re.compile(rf'"[^"]*(?:""[^"]*)*"[^{stop}]*|(?!")[^{stop}]*')
    rows: list[_Row] = []
    at = 0
    while at < len(text):
        cells, start = [], at
        while True:
            match = cell.match(text, at)
            if match is None:
                raise TrimixError(
                    f"{name}: line {line + text.count(chr(10), start, at)}: "
                    f"a quotation mark opens a cell and none closes it"
                )
            cells.append(match[0])
            at = match.end()
            if not text.startswith(delimiter, at):
                break
            at += 1
        end = "\r\n" if text.startswith("\r\n", at) else text[at : at + 1]
        at += len(end)
        rows.append(_Row(cells, end, line))
        line += len(split_lines(text[start:at])) if end else 0
    return rows


def _closing(cell: str) -> int:
    """Where the quotation mark is that closes a quoted cell."""
    match = re.match(r'"[^"]*(?:""[^"]*)*"', cell)
    assert match is not None
    return match.end() - 1


def _has_header(options: FormatOptions) -> bool:
    if options.header is not None:
        return options.header
    return options.column is not None and not options.column.isdecimal()


def _index(column: str) -> int:
    """That of a column's number, from 1; one that no table has where it is no such number."""
    number = int(column) if len(column) < 10 else 0  # int() refuses thousands of digits
    return number - 1 if number else sys.maxsize


def _source_column(options: FormatOptions, names: list[str], header: bool, name: str) -> int:
    wanted = options.column
    shown = ", ".join(one_line(column)[:40] for column in names[:8])
    if wanted is None:
        if len(names) == 1:
            return 0
        raise UsageError(
            f"{name}: the table has {len(names)} columns ({shown}); "
            f"say which holds the text with --column NAME or NUMBER"
        )
    if wanted.isdecimal():
        if (index := _index(wanted)) >= len(names):
            raise UsageError(f"--column {wanted}: the table has {len(names)} columns ({shown})")
        return index
    if not header or wanted not in names:
        raise UsageError(f"--column {wanted}: the first row has no such name ({shown})")
    return names.index(wanted)
