"""Opens a file of any known format: its encoding, its format, its segments."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import PurePath

from ..errors import TrimixError, UsageError
from ..prompts import language
from .formats import FORMATS, Format
from .segments import Bilingual, Body, FormatOptions, Pair, Result, Segment

# Code pages that files are in which are not UTF-8, by script; by language where its own differs.
_CODE_PAGES = {
    "Latn": "WINDOWS-1252", "Cyrl": "WINDOWS-1251", "Arab": "WINDOWS-1256", "Hebr": "WINDOWS-1255",
    "Thai": "CP874", "Hans": "GB18030", "Hant": "BIG5", "Jpan": "SHIFT_JIS", "Kore": "CP949",
    "tur": "WINDOWS-1254", "aze": "WINDOWS-1254", "est": "WINDOWS-1257", "vie": "WINDOWS-1258",
    "kaz": "PT154",
}  # fmt: skip
_UTF16_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Document:
    """A file opened for translation.

    Attributes:
        format: one of `formats.FORMATS`.
        segments: what is to be translated, in the order of the file.
        pairs: what is translated in it already; None where its format holds one language.
    """

    def __init__(self, format: Format, body: Body, bom: bool) -> None:
        self.format = format
        self._body = body
        self._bom = bom

    @property
    def segments(self) -> Sequence[Segment]:
        """What is to be translated, in the order of the file."""
        return self._body.segments

    @property
    def pairs(self) -> Sequence[Pair] | None:
        """What is translated in it already; None where its format holds one language."""
        return self._body.pairs if isinstance(self._body, Bilingual) else None

    def render(self, results: Mapping[int, Result]) -> bytes:
        """The file with the results, by key of their segments, in their places, in UTF-8.

        Without results it is the file byte for byte; so is every part whose result is its own
        text, and everything that was no segment. A byte order mark and line ends are kept.
        """
        mark = codecs.BOM_UTF8 if self._bom else b""
        return mark + self._body.render(results).encode("utf-8")


def open_document(
    data: bytes, name: str, format: str | None = None, options: FormatOptions | None = None
) -> Document:
    """The document that `data`, the bytes of the file `name`, holds.

    `format` is the name of one of `FORMATS`; None: by the extension of `name`; "-" is text.

    Raises:
        UsageError: the format cannot be told, or does not know an option that is given.
        TrimixError: the file is not UTF-8, or not of its format; the line says where.
    """
    options = options or FormatOptions()
    chosen = FORMATS.get(format or format_of(name))
    if chosen is None:
        raise UsageError(f"unknown format {format!r}; known are {', '.join(FORMATS)}")
    _refuse_unknown(options, chosen)
    text, bom = decode(data, name, options.source)
    return Document(chosen, chosen.open(text, name, options), bom)


def format_of(name: str) -> str:
    """The format that the extension of `name` stands for; "text" for standard input, "-".

    Raises:
        UsageError: no format has this extension.
    """
    if name == "-":
        return "text"
    extension = PurePath(name).suffix.lower()
    for format in FORMATS.values():
        if extension in format.extensions:
            return format.name
    known = " ".join(extension for format in FORMATS.values() for extension in format.extensions)
    raise UsageError(
        f"{name}: the format cannot be told from the name (known: {known}); "
        f"say it with --format {'|'.join(FORMATS)}"
    )


def decode(data: bytes, name: str, source: str | None = None) -> tuple[str, bool]:
    """The text of `data`, UTF-8, and whether a byte order mark stood before it.

    `source`, the code of its language, tells which code page it may be in.

    Raises:
        TrimixError: it is not UTF-8 text; the line says where, and what to do.
    """
    if data.startswith(_UTF16_32):
        wide = "UTF-32" if data.startswith(_UTF16_32[:2]) else "UTF-16"
        raise TrimixError(
            f"{name}: line 1: the file is {wide}; save it as UTF-8: iconv -f {wide} -t UTF-8"
        )
    zero = data.find(b"\0")
    if zero >= 0:
        raise TrimixError(
            f"{name}: line {_line(data, zero)}: a zero byte; the file is no UTF-8 text "
            f"(UTF-16, perhaps: save it as UTF-8)"
        )
    bom = data.startswith(codecs.BOM_UTF8)
    try:
        return data[len(codecs.BOM_UTF8) if bom else 0 :].decode("utf-8"), bom
    except UnicodeDecodeError as error:
        at = error.start + (len(codecs.BOM_UTF8) if bom else 0)
        raise TrimixError(
            f"{name}: line {_line(data, at)}: the byte 0x{data[at]:02X} is no UTF-8; "
            f"{_advice(data, source)}"
        ) from None


def _advice(data: bytes, source: str | None) -> str:
    """How to convert a file: from the code page of its language, if it can be in that."""
    known = language(source) if source else None
    script = known.scripts[0] if known else "Latn"
    page = _CODE_PAGES.get(known.code if known else "", _CODE_PAGES.get(script, ""))
    try:
        data.decode(page)
    except (LookupError, UnicodeDecodeError):
        return "save it as UTF-8"
    return f"convert the file, e.g. iconv -f {page} -t UTF-8"


def _line(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1


def _refuse_unknown(options: FormatOptions, format: Format) -> None:
    known = format.options | {"target", "source"}
    default = FormatOptions()
    for field in fields(options):
        value = getattr(options, field.name)
        if isinstance(value, str) and re.search("[\ud800-\udfff]", value):
            raise UsageError(f"--{field.name} {value!r}: is no UTF-8")
        if value != getattr(default, field.name) and field.name not in known:
            raise UsageError(f"--{field.name} has no meaning for the format {format.name}")
