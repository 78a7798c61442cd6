r"""Apple's .strings: `"key" = "value";` with comments, as the old property lists have them.

Values change in their places. Keys and values may stand without quotation marks, a key may stand
alone (`"Open";`, which is its own value), and all may be in braces.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import TrimixError
from .lines import edited
from .segments import FormatOptions, Result, Segment

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n\f\v\u2028\u2029]+) | (?P<comment>//[^\r\n]*|/\*(?:[^*]|\*(?!/))*\*/)
    | (?P<text>"[^"\\]*(?:\\.[^"\\]*)*" | '[^'\\]*(?:\\.[^'\\]*)*'
        | (?!/[/*])[A-Za-z0-9_.$:/](?:[A-Za-z0-9_.$:-]|/(?![/*]))*)
    | (?P<mark>[={};])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|[Uu]([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "a": "\a"}
_SYNTAX = frozenset({"objc-format"})
# Beyond ASCII an octal escape is NeXT's, whose table nobody uses any more: it is kept as it is.
_ASCII = 0o177
_HALF = re.compile("[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]")


@dataclass(frozen=True)
class _Token:
    kind: str
    start: int
    end: int
    text: str


class AppleStrings:
    """A .strings file, in UTF-8 or in UTF-16 with its mark."""

    def __init__(self, text: str, name: str, options: FormatOptions) -> None:
        self._text, self._name = text, name
        self._breaks = [match.start() for match in re.finditer(r"\r\n|\n|\r", text)]
        self.segments: list[Segment] = []
        self._places: list[tuple[_Token, bool]] = []  # of values, and whether a key stands for it
        if re.match(r"\s*<(?:\?xml|!DOCTYPE|plist)\b", text):
            raise TrimixError(f"{name}: line 1: a property list in XML: say --format stringsdict")
        self._read(self._tokens())

    def _tokens(self) -> list[_Token]:
        tokens, at = [], 0
        while at < len(self._text):
            match = _TOKEN.match(self._text, at)
            if match is None:
                char = self._text[at]
                raise self._error(
                    at,
                    "a string or comment that nothing ends"
                    if char in "\"'" or self._text.startswith("/*", at)
                    else f"{char!r} stands there",
                )
            if match.lastgroup != "space":
                tokens.append(_Token(str(match.lastgroup), at, match.end(), match[0]))
            at = match.end()
        return [*tokens, _Token("end", at, at, "")]

    def _read(self, tokens: list[_Token]) -> None:
        comment, at, depth = "", 0, 0
        marks = [i for i, token in enumerate(tokens) if token.kind != "comment"]
        following = dict(zip(marks, [*marks[1:], marks[-1]], strict=True))
        while tokens[at].kind != "end":
            token = tokens[at]
            if token.kind == "comment":
                comment, at = _said(token.text), at + 1
                continue
            if token.text in ("{", "}") and depth == (token.text == "}"):
                depth, at = 1 - depth, at + 1
                continue
            if token.kind != "text":
                raise self._error(token.start, f"a key is missing before {token.text!r}")
            sign = following[at]
            value, alone = token, True
            if tokens[sign].text == "=":
                sign = following[sign]
                value, alone = tokens[sign], False
                if value.kind != "text":
                    raise self._error(value.start, "a value is missing")
                sign = following[sign]
            if tokens[sign].text != ";":
                raise self._error(tokens[sign].start, "a semicolon is missing")
            self._collect(token, value, alone, comment)
            comment, at = "", sign + 1
        if depth:
            raise self._error(len(self._text), "a closing brace is missing")

    def _collect(self, key: _Token, value: _Token, alone: bool, comment: str) -> None:
        line = self._line(value.start)
        text = _meant(value.text).replace("\r\n", "\n").replace("\r", "\n")
        if _HALF.search(text):
            raise self._error(value.start, "the text holds half of a surrogate pair")
        if text.strip():
            number = len(self.segments)
            name = _meant(key.text).encode("utf-8", "replace").decode()
            self.segments.append(
                Segment(number, text, f"{self._name}:{line}", _SYNTAX, name=name, comment=comment)
            )
            self._places.append((value, alone))

    def _line(self, at: int) -> int:
        return bisect_right(self._breaks, at - 1) + 1

    def _error(self, at: int, what: str) -> TrimixError:
        return TrimixError(f"{self._name}: line {self._line(at)}: no .strings file: {what}")

    def render(self, results: Mapping[int, Result]) -> str:
        """The file with the results in the places of their values."""
        edits = []
        for segment, (token, alone) in zip(self.segments, self._places, strict=True):
            result = results.get(segment.key)
            if result is None or result.text == segment.text:
                continue
            new = _spelled(result.text, token.text)
            if alone:
                edits.append((token.end, token.end, f" = {new}"))
            else:
                edits.append((token.start, token.end, new))
        return edited(self._text, edits)


def _said(comment: str) -> str:
    body = comment[2:-2] if comment.startswith("/*") else comment[2:]
    return " ".join(body.split())


def _meant(token: str) -> str:
    if token[0] not in "\"'":
        return token

    def char(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], 8)) if int(match[1], 8) <= _ASCII else match[0]
        if match[2]:
            return chr(int(match[2], 16))
        return _ESCAPES.get(match[3], match[3])

    text = _ESCAPE.sub(char, token[1:-1])
    # Two escapes may be the halves of one character.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _spelled(text: str, like: str) -> str:
    r"""A value. Line breaks are `\n`, unless the old one had them as they are."""
    raw = "\n" in like and "\\n" not in like
    kept = re.findall(r"\\[2-3][0-7]{2}", like)
    out = text.replace("\\", "\\\\").replace('"', '\\"')
    for escape in set(kept):
        out = out.replace("\\" + escape, escape)
    if not raw:
        out = out.replace("\n", "\\n")
    out = out.replace("\t", "\\t") if "\\t" in like else out
    return '"' + "".join(
        f"\\U{ord(char):04x}" if (char < " " and char not in "\n\t") or char == "\x7f" else char
        for char in out
    ) + '"'  # fmt: skip
