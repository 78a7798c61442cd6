"""JSON with the place of every part, so that one string can change and nothing else does."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import TrimixError
from .lines import Edit

_TOKEN = re.compile(
    r"""(?P<string>"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*")
    | (?P<other>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null
        |-?Infinity|NaN)                                    # Python's
    | (?P<mark>[{}\[\]:,])""",
    re.VERBOSE | re.ASCII,
)
_SPACE = re.compile(r"[ \t\r\n]*")
_COMMENTS = re.compile(r"(?:[ \t\r\n]|//[^\r\n]*|/\*(?:[^*]|\*(?!/))*\*/)*")
_DEEPEST = 200
_ASCII = 0x7F
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class Value:
    """A value, and where it stands.

    Attributes:
        kind: what it is; numbers, true, false and null are "other".
        start, end: its place.
        text: a string's meaning.
        members: an object's, in their order; of equal names all.
        items: an array's.
    """

    kind: Literal["object", "array", "string", "other"]
    start: int
    end: int = 0
    text: str = ""
    members: list[Member] = field(default_factory=list)
    items: list[Value] = field(default_factory=list)

    def member(self, name: str) -> Member | None:
        """The member of that name; of equal names the last counts, as for Python."""
        return next((each for each in reversed(self.members) if each.name == name), None)

    def get(self, name: str) -> Value | None:
        """The value of the member of that name."""
        found = self.member(name)
        return found.value if found is not None else None

    def string(self, name: str) -> str:
        """The string of that name; "" where there is none."""
        found = self.get(name)
        return found.text if found is not None and found.kind == "string" else ""


@dataclass(slots=True)
class Member:
    """A member of an object: its name, where that stands, and its value."""

    name: str
    start: int
    end: int
    value: Value


@dataclass(frozen=True)
class Spelling:
    r"""How a document spells its strings.

    Attributes:
        ascii: all that is not ASCII as escapes, `\u0626`.
        upper: those in capitals, `\u00E9`.
        slashes: slashes as `\/`.
    """

    ascii: bool
    upper: bool
    slashes: bool

    @classmethod
    def like(cls, text: str) -> Spelling:
        """That of a document."""
        escapes = set(re.findall(r"\\u([0-9a-fA-F]{4})", text))
        beyond = any(int(escape, 16) > _ASCII for escape in escapes)
        letters = "".join(escapes)
        upper = re.search("[A-F]", letters) is not None and re.search("[a-f]", letters) is None
        slashes = "\\/" in text and re.search(r"(?<!\\)/", text) is None
        return cls(text.isascii() and beyond, upper, slashes)

    def of(self, text: str) -> str:
        """A string, with its quotation marks."""
        out = json.dumps(text, ensure_ascii=self.ascii)
        if self.upper:
            out = re.sub(r"(?<!\\)((?:\\\\)*\\u)([0-9a-f]{4})",
                         lambda match: match[1] + match[2].upper(), out)  # fmt: skip
        return out.replace("/", "\\/") if self.slashes else out


def lines_of(text: str) -> str:
    r"""`text` with `\n` for line breaks of any kind."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


class Json:
    """A JSON document.

    Args:
        text: the document.
        place: what is said before "line 3: not JSON"; `lines` False: the text is one line of
            a file, which `place` names.
        comments: `//` and `/* */` are read as spaces.

    Attributes:
        root: its value.

    Raises:
        TrimixError: it is no JSON, or nested deeper than 200.
    """

    def __init__(
        self, text: str, place: str, *, lines: bool = True, comments: bool = False
    ) -> None:
        self.text, self._place, self._lines = text, place, lines
        self._space = _COMMENTS if comments else _SPACE
        self._breaks = [match.start() for match in re.finditer("\n", text)] if lines else []
        self._at = 0
        self.root = self._document()
        self._spelling = Spelling.like(text)

    def line(self, at: int) -> int:
        """The line of a place, from 1."""
        return bisect_right(self._breaks, at - 1) + 1

    def spelled(self, text: str) -> str:
        """A string as the document would spell it."""
        return self._spelling.of(text)

    def is_null(self, value: Value) -> bool:
        """Whether it is null."""
        return self.text[value.start : value.end] == "null"

    def meaning(self, value: Value, where: str) -> str:
        r"""A string that is to be translated, with its line breaks as `\n`.

        Raises:
            TrimixError: it holds half of a surrogate pair.
        """
        if _SURROGATE.search(value.text):
            raise TrimixError(f"{where}: the text holds half of a surrogate pair (\\ud800-\\udfff)")
        return lines_of(value.text)

    def _document(self) -> Value:
        top = Value("array", 0)
        self._skip()
        if self._lines and self._at == len(self.text):
            return Value("object", self._at, self._at)  # an empty file holds nothing
        inner, above = top, list[Value]()
        while inner is not top or not top.items:
            if inner is not top and self._closes(inner):
                inner = above.pop()
                continue
            name = self._name() if inner.kind == "object" else None
            value = self._value()
            if name is not None:
                inner.members.append(Member(*name, value))
            else:
                inner.items.append(value)
            if value.kind in ("object", "array"):
                above.append(inner)
                inner = value
                if len(above) > _DEEPEST:
                    raise self._error("JSON nested too deeply", value.start, bare=True)
        self._skip()
        if self._at < len(self.text):
            raise self._error("something stands after its end")
        return top.items[0]

    def _closes(self, inner: Value) -> bool:
        """Whether an object or array ends here; else the comma before what follows is read."""
        self._skip()
        close = "}" if inner.kind == "object" else "]"
        if self.text.startswith(close, self._at):
            self._at += 1
            inner.end = self._at
            return True
        if inner.members or inner.items:
            start, _, token = self._token()
            if token != ",":
                raise self._error(f"a comma or {close} is missing", start)
        return False

    def _name(self) -> tuple[str, int, int]:
        start, kind, token = self._token()
        if kind != "string":
            raise self._error("a name in quotation marks is missing", start)
        name, end = self._string(start, token), self._at
        at, _, colon = self._token()
        if colon != ":":
            raise self._error("a colon is missing", at)
        return name, start, end

    def _value(self) -> Value:
        """A value; of objects and arrays only their beginning is read."""
        start, kind, token = self._token()
        if token in ("{", "["):
            return Value("object" if token == "{" else "array", start)
        if kind == "string":
            return Value("string", start, self._at, self._string(start, token))
        if kind != "other":
            raise self._error("a value is missing", start)
        return Value("other", start, self._at)

    def _token(self) -> tuple[int, str, str]:
        self._skip()
        match = _TOKEN.match(self.text, self._at)
        if match is None:
            ended = self._at >= len(self.text)
            raise self._error("it ends too early" if ended else f"{self.text[self._at]!r}")
        self._at = match.end()
        return match.start(), str(match.lastgroup), match[0]

    def _skip(self) -> None:
        match = self._space.match(self.text, self._at)
        assert match is not None
        self._at = match.end()

    def _string(self, start: int, token: str) -> str:
        try:
            return str(json.loads(token)) if "\\" in token else token[1:-1]
        except ValueError:
            raise self._error("an escape that there is not", start) from None

    def _error(self, what: str, at: int | None = None, bare: bool = False) -> TrimixError:
        at = self._at if at is None else at
        place = self._place
        if self._lines:
            place += f": line {self.line(at)}"
        elif not bare:
            what += f", column {at + 1}"
        return TrimixError(f"{place}: {what if bare else f'not JSON: {what}'}")


def added(document: Json, after: Member, name: str, value: str) -> Edit:
    """A new member right after another one, with the spaces that this one has."""
    text = document.text
    before = re.search(r"[ \t\r\n]*$", text[max(0, after.start - 200) : after.start])
    space = before[0] if before else ""
    colon = text[after.end : after.value.start]
    end = after.value.end
    return end, end, f",{space}{document.spelled(name)}{colon}{value}"


def removed(owner: Value, names: Sequence[Member]) -> Iterator[Edit]:
    """Members of an object taken out, with a comma each."""
    gone = {id(member) for member in names}
    members = owner.members
    i = 0
    while i < len(members):
        j = i
        while j < len(members) and id(members[j]) in gone:
            j += 1
        if j > i:
            if i:
                yield members[i - 1].value.end, members[j - 1].value.end, ""
            elif j < len(members):
                yield members[0].start, members[j].start, ""
            else:
                yield members[0].start, members[-1].value.end, ""
        i = j + 1


@dataclass(frozen=True)
class Style:
    """How a document is laid out: its line end and indent ("" for one line), and its colons."""

    end: str
    indent: str
    colon: str


def style_of(document: Json) -> Style:
    """The style of the first member of a document."""
    text = document.text
    first = next(iter(document.root.members), None)
    if first is None:
        return Style("\n", "  ", ": ")
    space = text[document.root.start + 1 : first.start]
    end = "\r\n" if "\r\n" in space else "\n" if "\n" in space else ""
    return Style(end, space.rpartition("\n")[2] if end else "", text[first.end : first.value.start])


def dumped(document: Json, value: Any, style: Style, depth: int) -> str:
    """`value`, of dicts, strings, integers and spans of the document itself, in its style."""
    if isinstance(value, Value):
        return document.text[value.start : value.end]
    if isinstance(value, str):
        return document.spelled(value)
    if not isinstance(value, Mapping):
        return json.dumps(value)
    inner = style.end + style.indent * (depth + 1)
    parts = [
        f"{inner}{document.spelled(name)}{style.colon}{dumped(document, each, style, depth + 1)}"
        for name, each in value.items()
    ]
    return "{" + ",".join(parts) + style.end + style.indent * depth + "}"
