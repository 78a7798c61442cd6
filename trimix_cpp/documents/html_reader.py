"""Which parts of HTML are texts, and where: read as browsers do, token by token."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html.entities import html5

from .html_tokens import SPACE, Attribute, Token, unescaped
from .inline import Inline, Piece, Tag, inline

# Elements that stand within a text, as in the standard's "phrasing content".
_WITHIN = re.compile(
    "a|abbr|acronym|b|bd[io]|big|br|cite|code|data|del|dfn|em|font|i|img|ins|kbd|label|mark|math|"
    "meter|nobr|output|progress|q|r[bpt]|ruby|s|samp|small|span|strike|strong|su[bp]|svg|time|tt|u|"
    "var|wbr"
)
_VOID = re.compile("area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr")
# What is in these is no text for people, or is meant literally.
_KEPT = re.compile(
    "code|iframe|listing|math|noembed|noframes|object|plaintext|pre|script|style|svg|template|"
    "textarea|xmp"
)
# Elements whose end tag may be missing: what opens then ends them, but not within one of these.
_ENDED_BY = {
    "li": ("li", "ol ul menu"), "dt": ("dt|dd", "dl"), "dd": ("dt|dd", "dl"),
    "td": ("t[dhr]|tbody|tfoot", "table"), "th": ("t[dhr]|tbody|tfoot", "table"),
    "tr": ("tr|tbody|tfoot", "table"), "option": ("option|optgroup", "select"),
    "p": ("address|article|aside|blockquote|details|div|dl|fieldset|fig.*|footer|form|h[1-6r]|"
          "header|hgroup|main|menu|nav|ol|p|pre|section|table|ul", "button object"),
}  # fmt: skip
# Attributes that people read, and the elements that have them; "" for any.
_READ = {
    "alt": "", "title": "", "placeholder": "", "label": "option optgroup track",
    "abbr": "th", "summary": "table", "aria-label": "", "aria-description": "",
    "aria-placeholder": "", "aria-roledescription": "", "aria-valuetext": "",
}  # fmt: skip
_META = re.compile("(?:og:|twitter:)?(?:description|title|image:alt)")
_BUTTON = re.compile("button|reset|submit")
REFERENCE = re.compile(r"&(?:#[xX]?[0-9A-Fa-f]+|[A-Za-z][\w.-]*);")
_SPACE = re.compile(r"[ \t\r\n\f]+")


@dataclass(frozen=True)
class Text:
    """A text: where it is, its pieces with their places, and all of it."""

    start: int
    end: int
    pieces: Sequence[tuple[Piece, int, int]]
    inline: Inline


@dataclass(frozen=True)
class Value:
    """The value of an attribute; `start` and `end` are without white space around it."""

    start: int
    end: int
    quote: str
    text: str


class Reader:
    """Finds the texts of a page, token by token; `flush` ends it.

    Attributes:
        texts: what stands between blocks.
        values: of attributes that people read.
    """

    def __init__(self, text: str, xml: bool) -> None:
        self._text, self._xml = text, xml
        self._run: list[tuple[Piece, int, int]] = []
        self._open: dict[str, list[object]] = {}  # keys of tags that are open in the run, by name
        self._kept: tuple[str, int] | None = None  # its name, and where it began
        self._inside: Counter[str] = Counter()  # elements open in it, by name
        self._blocks: Counter[str] = Counter()  # elements open around it, by name
        self.texts: list[Text] = []
        self.values: list[Value] = []

    def take(self, token: Token) -> None:
        """The next token."""
        if self._kept is not None and not self._ends(token):
            return
        if token.kind == "open":
            self._opens(token)
        elif token.kind == "close":
            self._closes(token)
        else:
            raw = self._text[token.start : token.end]
            if token.kind == "other":
                self._run.append((Tag(raw), token.start, token.end))
            elif token.kind == "literal":
                self._run.append((raw[9:-3], token.start, token.end))
            elif self._xml:
                self._run += _with_references(raw, token.start)
            else:
                self._run.append((unescaped(raw), token.start, token.end))

    def _opens(self, token: Token) -> None:
        values = {attribute.name: attribute for attribute in reversed(token.attributes)}
        classes = self._raw(values["class"]).split() if "class" in values else ()
        off = "translate" in values and self._raw(values["translate"]).strip().lower() == "no"
        off = off or "notranslate" in classes
        void = bool(_VOID.fullmatch(token.name)) or (self._xml and token.closed)
        within = bool(_WITHIN.fullmatch(token.name))
        if not within:
            self.flush(token.start)
        if not void and (off or _KEPT.fullmatch(token.name)):
            self._kept, self._inside = (token.name, token.start), Counter()
            return
        if not off:
            self._read(token, values)
        if not within:
            self._blocks[token.name] += not void
        elif void:
            self._tag(token)
        else:
            key = object()
            self._open.setdefault(token.name, []).append(key)
            self._tag(token, "open", key)

    def _closes(self, token: Token) -> None:
        if not _WITHIN.fullmatch(token.name):
            self.flush(token.start)
            self._blocks[token.name] -= self._blocks[token.name] > 0
            return
        keys = self._open.get(token.name)
        self._tag(token, "close", keys.pop() if keys else object())

    def _ends(self, token: Token) -> bool:
        """Whether what is kept ends before a token; one that closes it ends it too."""
        assert self._kept is not None
        name, start = self._kept
        if token.kind == "open":
            ended, unless = _ENDED_BY.get(name, ("", ""))
            if re.fullmatch(ended, token.name) and not any(
                self._inside[one] for one in unless.split()
            ):
                self._keep(name, start, token.start)
                return True
            void = _VOID.fullmatch(token.name) or (self._xml and token.closed)
            self._inside[token.name] += not void
        elif token.kind == "close":
            if self._inside[token.name]:
                self._inside[token.name] -= 1
            elif token.name == name:
                self._keep(name, start, token.end)
            elif self._blocks[token.name]:  # its own end tag is missing
                self._keep(name, start, token.start)
                return True
        return False

    def _keep(self, name: str, start: int, end: int) -> None:
        self._kept = None
        if _WITHIN.fullmatch(name):
            self._run.append((Tag(self._text[start:end]), start, end))

    def _raw(self, attribute: Attribute) -> str:
        return self._text[attribute.start : attribute.end]

    def _tag(self, token: Token, kind: str = "whole", key: object = None) -> None:
        raw = self._text[token.start : token.end]
        self._run.append((Tag(raw, kind, key), token.start, token.end))  # type: ignore[arg-type]

    def _read(self, token: Token, values: Mapping[str, Attribute]) -> None:
        """The attributes of a tag that people read."""

        def has(name: str, pattern: re.Pattern[str]) -> bool:
            value = self._raw(values[name]).strip().lower() if name in values else ""
            return bool(pattern.fullmatch(value))

        for name, attribute in values.items():
            text = name in _READ and token.name in (_READ[name].split() or [token.name])
            if name == "value" and token.name == "input":
                text = has("type", _BUTTON)
            elif name == "content" and token.name == "meta":
                text = has("name", _META) or has("property", _META)
            raw = self._raw(attribute)
            value = REFERENCE.sub(lambda match: unescaped(match[0]), raw.strip(SPACE))
            value = _SPACE.sub(" ", value)
            if text and any(map(str.isalpha, value)):
                start = attribute.start + len(raw) - len(raw.lstrip(SPACE))
                end = start + len(raw.strip(SPACE))
                self.values.append(Value(start, end, attribute.quote, value))

    def flush(self, end: int) -> None:
        """End a text: it is one if it has letters."""
        if self._kept is not None:
            name, start = self._kept
            self._keep(name, start, end)
        run, self._run, self._open = self._run, [], {}
        if not any(any(map(str.isalpha, piece)) for piece, _, _ in run if isinstance(piece, str)):
            return
        first, last = 0, len(run)
        while _is_edge(run[first][0]):
            first += 1
        while _is_edge(run[last - 1][0]):
            last -= 1
        run = run[first:last]
        start, end = run[0][1], run[-1][2]
        raw = self._text[start:end]
        if isinstance(run[0][0], str):
            start += len(raw) - len(raw.lstrip(SPACE))
        if isinstance(run[-1][0], str):
            end -= len(raw) - len(raw.rstrip(SPACE))
        found = inline(_SPACE.sub(" ", p) if isinstance(p, str) else p for p, _, _ in run)
        if found.text.strip(SPACE):
            stripped = Inline(found.text.strip(SPACE), found.tags)
            self.texts.append(Text(start, end, run, stripped))


def _is_edge(piece: Piece) -> bool:
    """White space, or what stands alone at the edge of a text and says nothing."""
    if isinstance(piece, str):
        return not piece.strip(SPACE)
    return piece.kind == "whole" and bool(re.match(r"<(?:[!?/]|(?:br|img|wbr)\b)", piece.raw))


def _with_references(raw: str, start: int) -> Iterator[tuple[Piece, int, int]]:
    """Text of XML; what only the file itself can explain is kept as a tag is."""
    at = 0
    for match in REFERENCE.finditer(raw):
        if match[0][1] == "#" or match[0][1:] in html5:
            continue
        yield unescaped(raw[at : match.start()]), start + at, start + match.start()
        yield Tag(match[0]), start + match.start(), start + match.end()
        at = match.end()
    yield unescaped(raw[at:]), start + at, start + len(raw)
