"""What every file format speaks of: segments to be translated, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

# Lines of more characters are cut at sentence ends where nothing else is said.
CUT = 320


@dataclass(frozen=True)
class Segment:
    r"""A piece of text that is to be translated.

    Attributes:
        key: its position in the file; the same whatever else of the file is sent.
        text: as the file means it, escapes of the format resolved. Line breaks in it are `\n`
            (whatever the file ends its lines with), and they are to survive.
        where: file and line, for reports: "messages.po:12".
        syntax: gettext's format flags ("c-format", "no-c-format", ...), and "markdown"; they say
            which placeholders to expect (`placeholders.placeholders`).
        notes: why somebody should look at it, whatever its translation.
    """

    key: int
    text: str
    where: str
    syntax: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What became of a segment.

    Attributes:
        text: the translation, or the text itself where there is nothing to translate.
        flagged: somebody should look at it. PO files say so themselves (fuzzy, with a comment).
        reasons: why, each a short phrase.
    """

    text: str
    flagged: bool = False
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class FormatOptions:
    """What a user may say about a file. An option that its format does not know is refused.

    Attributes:
        paragraphs: text: a segment is what stands between blank lines, not a line.
        column: TSV, CSV: the text's column, by name (the first row is a header) or number from 1.
        into: TSV, CSV, JSONL: the column or field of the translation; "translation" if None.
        header: TSV, CSV: the first row names the columns; None: it does if a name is asked for.
        field: JSONL: the text's field; "text" if None.
        fuzzy: PO: entries marked fuzzy are translated anew.
        target: code of the target language; fills what a PO template leaves open in its header.
        source: code of the text's language; tells the code page of a file that is not UTF-8.
    """

    paragraphs: bool = False
    column: str | None = None
    into: str | None = None
    header: bool | None = None
    field: str | None = None
    fuzzy: bool = False
    target: str | None = None
    source: str | None = None


class Body(Protocol):
    """A parsed file, as the module of a format makes it; `documents.Document` wraps it."""

    @property
    def segments(self) -> Sequence[Segment]:
        """What is to be translated, in the order of the file."""

    def render(self, results: Mapping[int, Result]) -> str:
        """The file with the results, by key of their segments, in their places.

        Without results it is the file as it was. So is every part whose result is its own text.
        """
