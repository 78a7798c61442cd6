"""The syntax of gettext PO files, read as GNU gettext reads it, with the place of every part.

polib and its like refuse much that msgfmt takes: comments without a space after their mark, several
strings or messages on a line, `msgid"x"`, previous texts of obsolete messages, octal escapes.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import TrimixError

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f\v]+) | (?P<line>\n)
    | (?P<obsolete>\#~\|?) | (?P<previous>\#\|) | (?P<comment>\#[^\n]*)
    | (?P<string>"(?:[^"\\\n]|\\[^\n])*")
    | (?P<word>[A-Za-z_$][A-Za-z0-9_$]*) | (?P<index>\[[ \t\r\f\v]*\d+[ \t\r\f\v]*\])""",
    re.VERBOSE,
)
_PREVIOUS = re.compile("(?:msgctxt s+)?msgid s+(?:msgid_plural s+)?")
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]+)|(.))", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "b": "\b", "r": "\r", "f": "\f", "v": "\v", "a": "\a"} | {
    char: char for char in '\\"'
}
_SPELLED = {value: "\\" + char for char, value in _ESCAPES.items()}


class PoSyntaxError(TrimixError):
    """The text is no PO file; `line` says where."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line}: not gettext PO ({what})")


@dataclass(frozen=True)
class Span:
    """A part of the file, and its text."""

    start: int
    end: int
    text: str


@dataclass
class Strings:
    """A keyword and its strings.

    Attributes:
        start: where the keyword begins.
        tokens: the strings as they stand in the file, quotes and all.
    """

    start: int
    tokens: list[Span] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Where the last string ends."""
        return self.tokens[-1].end

    @property
    def value(self) -> str:
        r"""What they mean. A byte that is no UTF-8 is its octal escape, `\377`."""
        data = b"".join(_bytes(token.text[1:-1]) for token in self.tokens)
        text = data.decode("utf-8", "surrogateescape")
        return re.sub("[\udc80-\udcff]", lambda byte: f"\\{ord(byte[0]) - 0xDC00:o}", text)


@dataclass
class Message:
    """A message, with the comments before it.

    Attributes:
        line: of its msgid, from 1.
        start: where it begins, comments apart.
        comments: from `#` to the end of their lines; marks of previous texts are none.
        previous: lines of previous texts, from `#|` to their ends.
        context, id, plural: its texts; None where it has none.
        forms: its translations, by index; None is that of a message without plural forms.
        obsolete: it is commented out.
    """

    line: int = 0
    start: int = 0
    comments: list[Span] = field(default_factory=list)
    previous: list[Span] = field(default_factory=list)
    context: Strings | None = None
    id: Strings | None = None
    plural: Strings | None = None
    forms: dict[int | None, Strings] = field(default_factory=dict)
    obsolete: bool = False

    @property
    def flags(self) -> list[str]:
        """What its `#,` comments say."""
        lines = [comment.text[2:] for comment in self.comments if comment.text.startswith("#,")]
        return [flag.strip() for line in lines for flag in line.split(",")]


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int
    line: int
    obsolete: bool
    previous: bool


def parse(text: str) -> list[Message]:
    """The messages of a PO file in their order.

    Raises:
        PoSyntaxError: msgfmt would not take it either.
    """
    return list(_Parser(text).messages())


class _Parser:
    """Reads `message: comments previous? (msgctxt)? msgid (msgid_plural msgstr[i]+ | msgstr)`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._at = 0

    def messages(self) -> Iterator[Message]:
        """The messages; comments after the last one belong to none."""
        while True:
            message = Message()
            while self._kind() == "comment":
                token = self._next()
                message.comments.append(Span(token.start, token.end, token.text))
            if self._kind() == "end":
                return
            self._previous(message)
            self._message(message)
            yield message

    def _previous(self, message: Message) -> None:
        first, kinds = self._tokens[self._at], ""
        while self._tokens[self._at].previous:
            token = self._next()
            kinds += "s" if token.kind == "string" else f"{token.text} "
            start = self._text.rindex("#", 0, token.start)
            stop = self._text.find("\n", token.end)
            line = Span(start, stop if stop >= 0 else len(self._text), "")
            if not message.previous or message.previous[-1] != line:
                message.previous.append(line)
        if kinds and not _PREVIOUS.fullmatch(kinds):
            raise PoSyntaxError(first.line, "a previous text is no text")
        if kinds and first.obsolete != self._tokens[self._at].obsolete:
            raise PoSyntaxError(first.line, "a message is obsolete in part")

    def _message(self, message: Message) -> None:
        first = self._tokens[self._at]
        message.start, message.obsolete = first.start, first.obsolete
        message.context = self._strings("msgctxt", message, optional=True)
        message.line = self._tokens[self._at].line
        message.id = self._strings("msgid", message)
        message.plural = self._strings("msgid_plural", message, optional=True)
        if message.plural is None:
            message.forms[None] = self._strings("msgstr", message) or Strings(0)
            return
        while (found := self._strings("msgstr", message, optional=bool(message.forms))) is not None:
            message.forms[len(message.forms)] = found

    def _strings(self, keyword: str, message: Message, optional: bool = False) -> Strings | None:
        token = self._tokens[self._at]
        if token.kind != "word" or token.text != keyword or token.previous:
            if optional:
                return None
            line = token.line if token.kind != "end" else message.line or token.line
            raise PoSyntaxError(line, f"{keyword} is missing")
        self._next()
        if keyword == "msgstr":
            self._index(message)
        strings = Strings(token.start)
        while self._kind() == "string" and not self._tokens[self._at].previous:
            part = self._next()
            strings.tokens.append(Span(part.start, part.end, part.text))
            if part.obsolete != message.obsolete:
                raise PoSyntaxError(part.line, "a message is obsolete in part")
            _bytes(part.text[1:-1], part.line)
        if not strings.tokens or token.obsolete != message.obsolete:
            raise PoSyntaxError(token.line, f"{keyword} without a string")
        return strings

    def _index(self, message: Message) -> None:
        token = self._tokens[self._at]
        if (token.kind == "index") != (message.plural is not None):
            raise PoSyntaxError(token.line, "msgstr[N] and msgid_plural go together")
        if token.kind == "index":
            self._next()
            if token.text[1:-1].strip().lstrip("0") != (str(len(message.forms)).lstrip("0")):
                raise PoSyntaxError(token.line, f"msgstr[{len(message.forms)}] is missing")

    def _kind(self) -> str:
        return self._tokens[self._at].kind

    def _next(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]


def _tokens(text: str) -> Iterator[_Token]:
    at, line = 0, 1
    obsolete = previous = False
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            what = "a string must end there" if text[at] == '"' else f"{text[at]!r} stands there"
            raise PoSyntaxError(line, what)
        kind, at = str(match.lastgroup), match.end()
        if kind == "line":
            line, obsolete, previous = line + 1, False, False
        elif kind in ("obsolete", "previous"):
            obsolete = obsolete or kind == "obsolete"
            previous = previous or match[0].endswith("|")
        elif kind != "space":
            yield _Token(kind, match[0], match.start(), at, line, obsolete, previous)
    yield _Token("end", "", at, at, line, False, False)


def _bytes(text: str, line: int = 0) -> bytes:
    """What an escaped string means: octal and hexadecimal escapes are bytes, as in C."""

    def byte(match: re.Match[str]) -> str:
        if match[3]:
            if match[3] not in _ESCAPES:
                raise PoSyntaxError(line, f"\\{match[3]} is no escape")
            return _ESCAPES[match[3]]
        value = int(match[1], 8) if match[1] else int(match[2][-2:], 16)
        return chr(value & 0xFF) if value & 0xFF < 0x80 else chr(0xDC00 + (value & 0xFF))

    return _ESCAPE.sub(byte, text).encode("utf-8", "surrogateescape")


def spellings(strings: Strings) -> dict[str, str]:
    r"""How control characters are spelled in the file, where it is otherwise than here: `\x1b`."""
    out = {}
    for token in strings.tokens:
        for match in _ESCAPE.finditer(token.text):
            value = match[1] or match[2]
            if value and (code := int(value, 8 if match[1] else 16)) < 0x80:
                out[chr(code)] = match[0]
    return out


def literal(text: str, keyword: str, width: int, spelled: dict[str, str]) -> list[str]:
    r"""The strings that stand for `text` after `keyword`, a line each.

    Broken after line breaks; without any, at spaces where one line would go beyond `width` (0: not
    there). `spelled` are control characters that are written in a way of their own.
    """
    parts = [_escaped(part, spelled) for part in re.findall(r"[^\n]*\n|[^\n]+", text)] or [""]
    # As polib has it: an escape counts for nothing.
    shown = len(keyword) + 3 + len(text) - sum(text.count(char) for char in _SPELLED)
    if len(parts) == 1 and width and shown > width:
        parts = textwrap.wrap(parts[0], width - 2, drop_whitespace=False, break_long_words=False)
        return ['""', *(f'"{part}"' for part in parts)]
    lines = [f'"{part}"' for part in parts]
    return lines if len(lines) == 1 else ['""', *lines]


def _escaped(text: str, spelled: dict[str, str]) -> str:
    out = []
    for char, following in zip(text, [*text[1:], ""], strict=True):
        spelling = spelled.get(char) or _SPELLED.get(char)
        if spelling is None:
            control = char < " " or char == "\x7f"
            out.append(f"\\{ord(char):03o}" if control else char)
        elif spelling[1:2] == "x" and following in "0123456789abcdefABCDEF" and following:
            out.append(f"\\{ord(char):03o}")  # gettext would take the letter for a digit
        elif spelling[1:].isdecimal() and following.isdecimal():
            out.append(f"\\{ord(char):03o}")
        else:
            out.append(spelling)
    return "".join(out)
