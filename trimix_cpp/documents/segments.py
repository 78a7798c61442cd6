"""What every file format speaks of: segments to be translated, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

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
        name: what the file calls it (a key of JSON, an `id`); "" where it has only a place. By it a
            text finds its translation in another file.
        seconds: how long it is shown, of subtitles; 0: for good.
        lines: that it is shown in (subtitles).
        longest: characters that a translation may have at most, where the file says so; 0: any.
        context: what tells it from equal texts, in the file's words: msgctxt and its like.
        comment: what the file tells those who translate it, in one line.
        form: the plural form of the target language that it is for, from 0; None: it has none.
    """

    key: int
    text: str
    where: str
    syntax: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    name: str = ""
    seconds: float = 0.0
    lines: int = 1
    longest: int = 0
    context: str = ""
    comment: str = ""
    form: int | None = None


@dataclass(frozen=True)
class Pair:
    """A segment that its file holds a translation of already.

    Attributes:
        segment: as it would be sent, with the key that `Body.render` knows it by.
        translation: as the file means it, like `Segment.text`.
        fuzzy: the file says that somebody has to look at it (PO's fuzzy, Qt's unfinished, an XLIFF
            state that needs a review): it is no model for others, and is not shipped.
    """

    segment: Segment
    translation: str
    fuzzy: bool = False


@dataclass(frozen=True)
class Result:
    """What became of a segment.

    Attributes:
        text: the translation, or the text itself where there is nothing to translate.
        flagged: somebody should look at it. Where a format has a mark for that, its file says so.
        reasons: why, each a short phrase.
        remembered: it is the translation of an equal text, from a memory.
    """

    text: str
    flagged: bool = False
    reasons: tuple[str, ...] = ()
    remembered: bool = False


@dataclass(frozen=True)
class FormatOptions:
    """What a user may say about a file. An option that its format does not know is refused.

    Attributes:
        paragraphs: text: a segment is what stands between blank lines, not a line.
        column: TSV, CSV: the text's column, by name (the first row is a header) or number from 1.
        into: TSV, CSV, JSONL: the column or field of the translation; "translation" if None.
        header: TSV, CSV: the first row names the columns; None: it does if a name is asked for.
        field: JSONL: the text's field; "text" if None.
        fuzzy: PO, XLIFF, Qt: what is marked to be looked at is translated anew.
        target: tag of the target language; None: the one that the file names.
        source: tag of the text's language; tells the code page of a file that is not UTF-8.
        encoding: of the file, "windows-1251"; with the output's if that is another,
            "windows-1252:utf-8".
    """

    paragraphs: bool = False
    column: str | None = None
    into: str | None = None
    header: bool | None = None
    field: str | None = None
    fuzzy: bool = False
    target: str | None = None
    source: str | None = None
    encoding: str | None = None


@dataclass(frozen=True)
class Languages:
    """The languages that a file names, as it spells them: "ug_CN"; None where it names none."""

    source: str | None = None
    target: str | None = None


class Body(Protocol):
    """A parsed file, as the module of a format makes it; `documents.Document` wraps it.

    One whose file names languages has them as `languages: Languages`, set by its constructor; what
    somebody must know beforehand is in its `notices`, a line each.
    """

    @property
    def segments(self) -> Sequence[Segment]:
        """What is to be translated, in the order of the file."""

    def render(self, results: Mapping[int, Result]) -> str | bytes:
        """The file with the results, by key of their segments, in their places.

        Text, or bytes where the format is binary. Without results it is the file as it was. So is
        every part whose result is its own text.
        """


@runtime_checkable
class Bilingual(Protocol):
    """A `Body` whose file holds translations beside their texts; `render` knows their keys too."""

    @property
    def pairs(self) -> Sequence[Pair]:
        """What is translated already, in the order of the file, fuzzy ones among them."""
