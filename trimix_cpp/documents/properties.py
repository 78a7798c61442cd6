r"""Java's .properties: the values, in Latin-1 with `\u` escapes or in UTF-8 (`encodings`).

A value may go on over lines that end in a backslash; its translation is one line. One with
arguments, `{0}`, is a MessageFormat: there `''` means an apostrophe.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..errors import TrimixError
from .lines import edited
from .segments import FormatOptions, Result, Segment

_BLANK = re.compile(r"[ \t\f\r\n]*")
_COMMENT = re.compile(r"[#!][^\r\n]*")
# A line with those that it goes on in.
_LOGICAL = re.compile(r"[^\\\r\n]*(?:\\(?:\r\n|[\s\S])[^\\\r\n]*|\\\Z)*")
_KEY = re.compile(
    r"[^\\=: \t\f\r\n]*(?:\\(?:\r\n[ \t\f]*|[\r\n][ \t\f]*|[\s\S])[^\\=: \t\f\r\n]*)*"
)
_SIGN = re.compile(r"(?:[ \t\f]|\\(?:\r\n|\r|\n))*(?:[=:](?:[ \t\f]|\\(?:\r\n|\r|\n))*)?")
_ESCAPE = re.compile(r"\\(?:u+([0-9A-Fa-f]{4})|(\r\n[ \t\f]*|[\r\n][ \t\f]*)|([\s\S])|\Z)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}
_BAD = re.compile(r"(?<!\\)(?:\\\\)*\\u(?!u*[0-9A-Fa-f]{4})")
_ARGUMENT = re.compile(r"\{\s*\d+\s*[,}]")
_HALF = re.compile("[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]")


@dataclass(frozen=True)
class _Value:
    start: int
    end: int
    quoted: bool  # apostrophes are doubled


class Properties:
    """A .properties file."""

    def __init__(self, text: str, name: str, options: FormatOptions) -> None:
        self._text, self._name = text, name
        self.segments: list[Segment] = []
        self._values: list[_Value] = []
        line, counted, comment = 1, 0, ""
        for kind, start, end in _lines(text):
            line += len(re.findall(r"\r\n|\n|\r", text[counted:start]))
            counted = start
            if kind == "comment":
                comment = " ".join(text[start + 1 : end].split())
            else:
                self._collect(start, end, line, comment)
                comment = ""

    def _collect(self, start: int, end: int, line: int, comment: str) -> None:
        body = self._text[start:end]
        if _BAD.search(body):
            raise TrimixError(f"{self._name}: line {line}: \\u without four hexadecimal digits")
        key = _KEY.match(body)
        sign = _SIGN.match(body, key.end() if key else 0)
        at = sign.end() if sign else 0
        text = _meant(body[at:]).replace("\r\n", "\n").replace("\r", "\n")
        if _HALF.search(text):
            raise TrimixError(f"{self._name}: line {line}: the text holds half of a surrogate pair")
        # A single apostrophe quotes braces: such a text is left as it is spelled.
        quoted = _ARGUMENT.search(text) is not None and "'" not in text.replace("''", "")
        text = text.replace("''", "'") if quoted else text
        if text.strip():
            name = _meant(key[0]).encode("utf-8", "replace").decode() if key else ""
            where = f"{self._name}:{line}"
            self.segments.append(
                Segment(len(self.segments), text, where, name=name, comment=comment)
            )
            self._values.append(_Value(start + at, end, quoted))

    def render(self, results: Mapping[int, Result]) -> str:
        """The file with the results in the places of their values."""
        edits = []
        for segment, value in zip(self.segments, self._values, strict=True):
            result = results.get(segment.key)
            if result is not None and result.text != segment.text:
                text = result.text.replace("'", "''") if value.quoted else result.text
                edits.append((value.start, value.end, _spelled(text)))
        return edited(self._text, edits)


def _lines(text: str) -> Iterator[tuple[str, int, int]]:
    """Comments and logical lines, without the spaces before them and the line ends behind."""
    at = 0
    while at < len(text):
        blank = _BLANK.match(text, at)
        at = blank.end() if blank else at
        if at == len(text):
            return
        comment = _COMMENT.match(text, at)
        match = comment or _LOGICAL.match(text, at)
        assert match is not None
        yield "comment" if comment else "line", at, match.end()
        at = match.end()


def _meant(text: str) -> str:
    def char(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        if match[2] or not match[3]:
            return ""
        return _ESCAPES.get(match[3], match[3])

    meant = _ESCAPE.sub(char, text)
    return meant.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _spelled(text: str) -> str:
    """A value on one line; what its encoding has not becomes an escape when it is written."""
    out = text.replace("\\", "\\\\")
    for char, name in {"\n": "n", "\r": "r", "\t": "t", "\f": "f"}.items():
        out = out.replace(char, f"\\{name}")
    out = re.sub(r"[\x00-\x08\x0b\x0e-\x1f\x7f]", lambda match: f"\\u{ord(match[0]):04x}", out)
    return f"\\{out}" if out.startswith(" ") else out
