"""Opens a file of any known format: its encoding, its format, its languages, its segments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import PurePath

from ..errors import UsageError
from ..prompts import Language, language, varieties
from .encodings import Encoding, decode
from .formats import FORMATS, Format
from .segments import Bilingual, Body, FormatOptions, Languages, Pair, Result, Segment


class Document:
    """A file opened for translation.

    Attributes:
        format: one of `formats.FORMATS`.
        segments: what is to be translated, in the order of the file.
        pairs: what is translated in it already; None where its format holds one language.
        name: of the file.
        source, target: tags of its languages: as the options say, else as the file does; None
            where neither does.
        notices: what somebody must know of it before it is translated, a line each.
    """

    def __init__(
        self,
        format: Format,
        name: str,
        body: Body,
        encoding: Encoding | None,
        options: FormatOptions,
        notices: Sequence[str] = (),
    ) -> None:
        self.format, self.name = format, name
        self.source, self.target = options.source, options.target
        self.notices = tuple(notices)
        self._body = body
        self._encoding = encoding

    @property
    def codec(self) -> str:
        """The encoding of `render`'s bytes, as Python names it."""
        return self._encoding.codec if self._encoding else "utf-8"

    @property
    def segments(self) -> Sequence[Segment]:
        """What is to be translated, in the order of the file."""
        return self._body.segments

    @property
    def pairs(self) -> Sequence[Pair] | None:
        """What is translated in it already; None where its format holds one language."""
        if self.format.bilingual and isinstance(self._body, Bilingual):
            return self._body.pairs
        return None

    def render(self, results: Mapping[int, Result]) -> bytes:
        """The file with the results, by key of their segments, in their places.

        Without results it is the file byte for byte; so is every part whose result is its own
        text, and everything that was no segment. Its encoding, a byte order mark and line ends are
        kept.

        Raises:
            TrimixError: the file's code page has not the characters of a result.
        """
        rendered = self._body.render(results)
        if isinstance(rendered, bytes):
            return rendered
        assert self._encoding is not None
        return self._encoding.encode(rendered, self.name)


def open_document(
    data: bytes, name: str, format: str | None = None, options: FormatOptions | None = None
) -> Document:
    """The document that `data`, the bytes of the file `name`, holds.

    `format` is the name of one of `FORMATS`; None: by the extension of `name`; "-" is text.

    Raises:
        UsageError: the format cannot be told, or does not know an option that is given.
        TrimixError: the file is not in its encoding, or not of its format; the line says where.
    """
    options = options or FormatOptions()
    chosen = FORMATS.get(format or format_of(name))
    if chosen is None:
        raise UsageError(f"unknown format {format!r}; known are {', '.join(FORMATS)}")
    _refuse_unknown(options, chosen)
    content: str | bytes = data
    encoding = None
    if not chosen.binary:
        content, encoding = decode(
            data, name, chosen.encodings, wanted=options.encoding, source=options.source
        )
    body = chosen.open(content, name, options)
    # A body may name languages; which they are decides plural forms and what is named in it.
    told = getattr(body, "languages", Languages())
    settled, notices = _settled(told, options, name)
    if settled != options:
        body = chosen.open(content, name, settled)
    if encoding and settled.target and body.segments:
        encoding.check_writes(settled.target, name)
    notices += getattr(body, "notices", ())
    return Document(chosen, name, body, encoding, settled, notices)


def _settled(told: Languages, options: FormatOptions, name: str) -> tuple[FormatOptions, list[str]]:
    """The options with the languages that the file names, and where it contradicts them."""
    source, first = _side(told.source, options.source, "--from", name)
    target, second = _side(told.target, options.target, "--to", name)
    return replace(options, source=source, target=target), first + second


def _side(tag: str | None, given: str | None, flag: str, name: str) -> tuple[str | None, list[str]]:
    named = _known(tag)
    if named is None or given is None:
        return given or (tag if named else None), []
    wanted = language(given)
    if wanted.code in varieties(named.code):
        return given, []
    notice = f"{name}: says {tag} ({named.name}), {flag} says {given} ({wanted.name})"
    return given, [f"{notice}: {wanted.name} is taken"]


def _known(tag: str | None) -> Language | None:
    try:
        return language(tag) if tag else None
    except UsageError:
        return None


def format_of(name: str) -> str:
    """The format that the extension of `name` stands for; "text" for standard input, "-".

    A browser extension's `_locales/en/messages.json` is known by where it is.

    Raises:
        UsageError: no format has this extension.
    """
    if name == "-":
        return "text"
    path = PurePath(name)
    if path.name == "messages.json" and path.parts[-3:-2] == ("_locales",):
        return "chrome"
    extension = path.suffix.lower()
    for format in FORMATS.values():
        if extension in format.extensions:
            return format.name
    known = ", ".join(
        f"{format.name} ({' '.join(format.extensions)})" for format in FORMATS.values()
    )
    raise UsageError(
        f"{name}: no format here has this ending; known are {known}; --format NAME says that it "
        f"is one of these"
    )


def _refuse_unknown(options: FormatOptions, format: Format) -> None:
    known = format.options | {"target", "source"} | (set() if format.binary else {"encoding"})
    default = FormatOptions()
    for field in fields(options):
        value = getattr(options, field.name)
        if isinstance(value, str) and re.search("[\ud800-\udfff]", value):
            raise UsageError(f"--{field.name} {value!r}: is no UTF-8")
        if value != getattr(default, field.name) and field.name not in known:
            raise UsageError(f"--{field.name} has no meaning for the format {format.name}")
