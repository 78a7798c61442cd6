"""Where tags, texts and comments of HTML stand, as the standard's tokenizer cuts it.

Any text is HTML, however broken; each character belongs to one token. In XML a tag may close
itself, sections hold text, and no element has a syntax of its own.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

SPACE = " \t\n\r\f"
_MARKUP = re.compile(r"<(?=[/!?]|[A-Za-z])")
_XML_MARKUP = re.compile(r"<(?=[^\s<])")
_NAME = re.compile(r"</?([^ \t\n\r\f/>]*)")
_BETWEEN = re.compile(r"[ \t\n\r\f/]*")
_KEY = re.compile(r"=?[^ \t\n\r\f/>=]*")
_EQUALS = re.compile(r"[ \t\n\r\f]*=[ \t\n\r\f]*")
_BARE = re.compile(r"[^ \t\n\r\f>]*")
_COMMENT = re.compile(r"<!--(?:-?>|.*?(?:--!?>|\Z))", re.DOTALL)
_DOCTYPE = re.compile(r"<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>", re.DOTALL)
_LONG_NUMBER = re.compile(r"&#(\d{8,})")
# What is in these is no markup, and ends with their end tag alone.
_RAW = frozenset({"script", "style", "xmp", "iframe", "noembed", "noframes", "textarea", "title"})


def unescaped(raw: str) -> str:
    """The text that `raw` means, its references resolved; a number beyond Unicode is U+FFFD."""
    return html.unescape(_LONG_NUMBER.sub(_short_number, raw))


def _short_number(match: re.Match[str]) -> str:
    # int() refuses thousands of digits with an error of its own.
    digits = match[1].lstrip("0") or "0"
    return f"&#{digits if len(digits) < 8 else 0xFFFD}"


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute: its name in small letters, where its value stands, and what quotes it."""

    name: str
    start: int
    end: int
    quote: str


@dataclass(frozen=True, slots=True)
class Token:
    """A part of the file.

    Attributes:
        kind: a tag that opens or closes; text; text without references ("literal"); or anything
            else.
        start, end: where it is.
        name: of a tag, in small letters, without a prefix.
        attributes: of an opening tag.
        closed: it is an element by itself.
    """

    kind: Literal["open", "close", "text", "literal", "other"]
    start: int
    end: int
    name: str = ""
    attributes: tuple[Attribute, ...] = ()
    closed: bool = False


def tokens(text: str, xml: bool = False) -> Iterator[Token]:
    """The tokens of `text`, one after the other; `xml` that it is well-formed as such."""
    markup = _XML_MARKUP if xml else _MARKUP
    at = 0
    while at < len(text):
        match = markup.search(text, at)
        start = match.start() if match else len(text)
        if start > at:
            yield Token("text", at, start)
        if not match:
            return
        token = _special(text, start, xml) or _tag(text, start)
        yield token
        at = token.end
        if not xml and token.kind == "open" and (token.name in _RAW or token.name == "plaintext"):
            close = re.compile(rf"</{token.name}(?=[ \t\n\r\f/>])", re.IGNORECASE)
            found = None if token.name == "plaintext" else close.search(text, at)
            end = found.start() if found else len(text)
            if end > at:
                yield Token("text" if token.name == "title" else "other", at, end)
            at = end


def _special(text: str, start: int, xml: bool) -> Token | None:
    """What begins like a tag and is none."""
    if text.startswith("<!--", start):
        match = _COMMENT.match(text, start)
        return Token("other", start, match.end() if match else len(text))
    if xml and text.startswith("<![CDATA[", start):
        return Token("literal", start, text.index("]]>", start) + 3)
    if xml and (match := _DOCTYPE.match(text, start)):
        return Token("other", start, match.end())
    if text[start + 1] in "!?" or (text[start + 1] == "/" and not _letter(text, start + 2)):
        close = text.find("?>" if xml and text[start + 1] == "?" else ">", start)
        return Token("other", start, text.index(">", close) + 1 if close >= 0 else len(text))
    return None


def _letter(text: str, at: int) -> bool:
    char = text[at : at + 1]
    return char.isalpha() or char == "_"


def _tag(text: str, start: int) -> Token:
    match = _NAME.match(text, start)
    assert match is not None
    name = match[1].rpartition(":")[2].lower()
    at, found = match.end(), list[Attribute]()
    while True:
        between = _BETWEEN.match(text, at)
        assert between is not None
        at = between.end()
        if at >= len(text):  # it is never ended: browsers show nothing of it
            return Token("other", start, at)
        if text[at] == ">":
            break
        attribute, at = _attribute(text, at)
        found.append(attribute)
    kind: Literal["open", "close"] = "close" if text[start + 1] == "/" else "open"
    closed = text[at - 1] == "/" and between[0] != ""
    return Token(kind, start, at + 1, name, tuple(found), closed)


def _attribute(text: str, at: int) -> tuple[Attribute, int]:
    """The attribute at a place, and where it ends."""
    match = _KEY.match(text, at)
    assert match is not None
    name, at = match[0].lower(), match.end()
    equals = _EQUALS.match(text, at)
    if not equals:
        return Attribute(name, at, at, ""), at
    start = equals.end()
    quote = text[start : start + 1]
    if quote and quote in "\"'":
        end = text.find(quote, start + 1)
        end = len(text) if end < 0 else end
        return Attribute(name, start + 1, end, quote), end + 1
    bare = _BARE.match(text, start)
    assert bare is not None
    return Attribute(name, start, bare.end(), ""), bare.end()
