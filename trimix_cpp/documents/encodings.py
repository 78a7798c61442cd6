"""How the bytes of a file are text, and text its bytes again: code pages, UTF-16, marks."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Literal

from ..errors import TrimixError, UsageError
from ..prompts import language

# What a format knows besides UTF-8 and what `--encoding` names: UTF-16 with its mark; what an XML
# declaration says, or a page's `<meta>`; Java's Latin-1, whose other characters are escapes.
Kind = Literal["utf-16", "xml", "html", "java"]

# What Python calls encodings too: of host names, of its own literals, and one that always fails.
_NO_ENCODINGS = frozenset(("idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"))
# Code pages that files are in which are not UTF-8, by script; by language where its own differs.
_CODE_PAGES = {
    "Latn": "WINDOWS-1252", "Cyrl": "WINDOWS-1251", "Arab": "WINDOWS-1256", "Hebr": "WINDOWS-1255",
    "Thai": "CP874", "Hans": "GB18030", "Hant": "BIG5", "Jpan": "SHIFT_JIS", "Kore": "CP949",
    "tur": "WINDOWS-1254", "aze": "WINDOWS-1254", "est": "WINDOWS-1257", "vie": "WINDOWS-1258",
    "kaz": "PT154",
}  # fmt: skip
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    codecs.BOM_UTF8: "utf-8",
}
_DECLARED = re.compile(
    r"""<\?xml\s[^<>]{0,200}?\bencoding\s*=\s*(["'])(?P<name>[A-Za-z][\w.-]*)\1"""
)
# As browsers look for it: in a page's first 1,024 bytes.
_META = re.compile(
    r"""<meta\s[^>]{0,200}?\bcharset\s*=\s*["']?(?P<name>[A-Za-z][\w.:-]*)""", re.IGNORECASE
)


@dataclass(frozen=True)
class Encoding:
    """The encoding of a file.

    Attributes:
        codec: as Python names it.
        mark: the byte order mark before the text.
        escapes: Python's name of what is done with characters that the code page has not.
    """

    codec: str
    mark: bytes = b""
    escapes: str = "strict"

    def encode(self, text: str, name: str) -> bytes:
        """The bytes of the file `name`.

        Raises:
            TrimixError: the code page has not all of its characters.
        """
        try:
            return self.mark + text.encode(self.codec, self.escapes)
        except UnicodeEncodeError as error:
            raise TrimixError(
                f"{name}: {self._lacks(text[error.start])}; write another encoding: "
                f"--encoding {self.codec}:utf-8"
            ) from None

    def check_writes(self, target: str, name: str) -> None:
        """Raises TrimixError where the code page has not the letters of the language `target`."""
        known = language(target)
        try:
            known.own_name.encode(self.codec, self.escapes)
        except UnicodeEncodeError as error:
            raise TrimixError(
                f"{name}: {self._lacks(known.own_name[error.start])} of {known.name}; write "
                f"another encoding: --encoding {self.codec}:utf-8"
            ) from None

    def _lacks(self, char: str) -> str:
        return f"{self.codec} has no {char!r} (U+{ord(char):04X})"


def decode(
    data: bytes,
    name: str,
    kinds: frozenset[Kind] = frozenset(),
    *,
    wanted: str | None = None,
    source: str | None = None,
) -> tuple[str, Encoding]:
    """The text of `data`, and the encoding in which it is to be written again.

    `wanted` is what `--encoding` says, "IN" or "IN:OUT"; else a byte order mark decides where the
    format, `kinds`, knows it, then what the file says, then UTF-8. `source`, the code of its
    language, tells which code page it may be in.

    Raises:
        UsageError: Python knows no encoding `wanted`.
        TrimixError: it is no such text; the line says where, and what to do.
    """
    if wanted:
        return _wanted(data, name, wanted)
    mark = next((mark for mark in _MARKS if data.startswith(mark)), b"")
    if len(mark) in (2, 4):
        if kinds & {"utf-16", "xml"}:
            return _decoded(data, name, Encoding(_MARKS[mark], mark))
        wide = _MARKS[mark][:6].upper()
        raise TrimixError(
            f"{name}: line 1: the file is {wide}; say --encoding {wide.lower()}, or save it as "
            f"UTF-8: iconv -f {wide} -t UTF-8"
        )
    if "xml" in kinds and (declared := _DECLARED.match(data[:300].decode("latin-1"), len(mark))):
        codec = _codec(declared["name"], f"{name}: line 1: its declaration's encoding")
        if codec != "utf-8":
            return _decoded(data, name, Encoding(codec, mark, "xmlcharrefreplace"))
    if "html" in kinds and not mark and (declared := _META.search(data[:1024].decode("latin-1"))):
        codec = _codec(declared["name"], f"{name}: its <meta charset>")
        # What a page calls so is the code page, and what calls itself UTF-16 here is none.
        codec = "cp1252" if codec in ("iso8859-1", "ascii") else codec
        if not codec.startswith("utf-"):
            return _decoded(data, name, Encoding(codec, escapes="xmlcharrefreplace"))
    if "java" in kinds and not mark:
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            return _decoded(data, name, Encoding("latin-1", b"", JAVA))
        if data.isascii():
            return _decoded(data, name, Encoding("ascii", b"", JAVA))
    return _decoded(data, name, Encoding("utf-8", mark), source)


def _wanted(data: bytes, name: str, wanted: str) -> tuple[str, Encoding]:
    """The text in an encoding that the user names, and the one in which it is written."""
    first, _, second = wanted.partition(":")
    codec = _codec(first, "--encoding")
    mark = next((mark for mark, its in _MARKS.items() if data.startswith(mark)
                 and (its == codec or its.startswith(codec))), b"")  # fmt: skip
    if mark:
        codec = _MARKS[mark]
    elif codec in ("utf-16", "utf-32"):
        raise TrimixError(f"{name}: has no byte order mark; say --encoding {codec}-le or -be")
    text, found = _decoded(data, name, Encoding(codec, mark))
    if not second:
        return text, found
    out = _codec(second, "--encoding")
    if out in ("utf-16", "utf-32"):  # Python's has a mark of its own
        mark = codecs.BOM_UTF16_LE if out == "utf-16" else codecs.BOM_UTF32_LE
        return text, Encoding(_MARKS[mark], mark)
    return text, Encoding(out)


def _codec(name: str, what: str) -> str:
    try:
        info = codecs.lookup(name)
        "".encode(name)  # no text encoding: base64, rot13
        if info.name in _NO_ENCODINGS:
            raise LookupError(name)
    except (LookupError, ValueError):
        raise UsageError(
            f"{what} {name!r}: is unknown; known are such as utf-8, utf-16, windows-1251, "
            f"iso-8859-1, gb18030, shift_jis"
        ) from None
    return "utf-8" if info.name == "utf-8-sig" else info.name


def same_codec(first: str, second: str) -> bool:
    """Whether two names are those of one encoding; a name that nobody knows is like none."""
    try:
        return codecs.lookup(first).name == codecs.lookup(second).name
    except LookupError:
        return False


def _decoded(
    data: bytes, name: str, encoding: Encoding, source: str | None = None
) -> tuple[str, Encoding]:
    body = data[len(encoding.mark) :]
    unicode = encoding.codec.startswith("utf-")
    zero = -1 if encoding.codec.startswith(("utf-16", "utf-32")) else data.find(b"\0")
    if zero >= 0:
        raise TrimixError(
            f"{name}: line {_line(data, zero)}: a zero byte; the file is no "
            f"{encoding.codec.upper()} text (UTF-16, perhaps: --encoding utf-16-le)"
        )
    try:
        text = body.decode(encoding.codec)
    except UnicodeDecodeError as error:
        at = error.start + len(encoding.mark)
        known = encoding.codec.upper()
        advice = _advice(data, source) if encoding.codec == "utf-8" else "say another --encoding"
        raise TrimixError(
            f"{name}: line {_line(data, at)}: the byte 0x{data[at]:02X} is no {known}; {advice}"
        ) from None
    except UnicodeError as error:  # codecs that tell no place
        raise TrimixError(f"{name}: no {encoding.codec.upper()} ({error})") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise TrimixError(f"{name}: line {line}: a zero character; the file is no text")
    if not unicode and text.encode(encoding.codec, "replace") != body:
        raise TrimixError(
            f"{name}: {encoding.codec} does not give the same bytes again; save it as UTF-8"
        )
    return text, encoding


def _advice(data: bytes, source: str | None) -> str:
    """How to read a file: in the code page of its language, if it can be in that."""
    known = language(source) if source else None
    script = known.scripts[0] if known else "Latn"
    page = _CODE_PAGES.get(known.code if known else "", _CODE_PAGES.get(script, ""))
    try:
        data.decode(page)
    except (LookupError, UnicodeDecodeError):
        return "save it as UTF-8, or name its code page with --encoding"
    return f"say --encoding {page.lower()}, or convert the file: iconv -f {page} -t UTF-8"


def _line(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1


JAVA = "trimix-cpp.java"  # `\u0626` for what a code page has not


def _java(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = zip(units[::2], units[1::2], strict=True)
    return "".join(f"\\u{high:02X}{low:02X}" for high, low in pairs), error.end


codecs.register_error(JAVA, _java)
