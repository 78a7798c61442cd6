"""HTML as a file of segments: what stands between blocks is one, with numbers for its tags."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape, unescape
from html.parser import HTMLParser

from .inline import Inline, Piece, Tag, inline
from .segments import Result, Segment

# Elements that stand within a text, as in the standard's "phrasing content".
_WITHIN = re.compile(
    "a|abbr|acronym|b|bd[io]|big|br|cite|code|data|del|dfn|em|font|i|img|ins|kbd|label|mark|math|"
    "meter|nobr|output|progress|q|r[bpt]|ruby|s|samp|small|span|strike|strong|su[bp]|svg|time|tt|u|"
    "var|wbr"
)
_VOID = re.compile("area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr")
# What is in these is no text for people, or is meant literally.
_KEPT = re.compile("code|iframe|math|noscript|object|script|style|svg|template|textarea")
_SPACE = re.compile(r"[ \t\r\n\f]+")
_EDGE = re.compile(r"([ \t\r\n\f]*)(.*?)([ \t\r\n\f]*)", re.DOTALL)


class Html:
    """A page, or a part of one, as a `Body`.

    What is no text stays as it is. A text's tags come back well nested; runs of white space in it
    are one space, as readers see them, and characters are references only where they must be.

    Attributes:
        segments: the texts.
    """

    def __init__(self, text: str, name: str = "html") -> None:
        self._parts: list[str | Inline] = _Parser(text).parts()
        texts = [part for part in self._parts if isinstance(part, Inline)]
        self.segments: Sequence[Segment] = [
            Segment(key, part.text, f"{name}, text {key + 1}") for key, part in enumerate(texts)
        ]

    def render(self, results: Mapping[int, Result]) -> str:
        """See `Body`."""
        out, key = list[str](), 0
        for part in self._parts:
            if isinstance(part, str):
                out.append(part)
                continue
            result = results.get(key)
            written = part.text if result is None else result.text
            out.append(part.write(written, lambda text: escape(text, quote=False)))
            key += 1
        return "".join(out)


class _Parser(HTMLParser):
    """Cuts a page into what stays and what is text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=False)
        self._text, self._lines = text, [0]
        for match in re.finditer("\n", text):
            self._lines.append(match.end())
        self._parts: list[str | Inline] = []
        self._run: list[Piece] = []
        self._open: list[tuple[str, object]] = []
        self._at = 0
        self._kept: tuple[str, int, int] | None = None  # name, depth, where it began

    def parts(self) -> list[str | Inline]:
        """All of the text, in its order."""
        self.feed(self._text)
        self.close()
        if self._kept is not None:
            self._run.append(Tag(self._text[self._kept[2] :]))
        self._flush()
        return self._parts

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag that opens; within what is kept only its depth counts."""
        raw = self.get_starttag_text() or ""
        if self._kept is not None:
            name, depth, start = self._kept
            self._kept = (name, depth + (name == tag), start)
            return
        values = dict(attrs)
        kept = bool(_KEPT.fullmatch(tag)) or values.get("translate") == "no"
        kept = kept or "notranslate" in (values.get("class") or "").split()
        if kept and not _VOID.fullmatch(tag):
            if not _WITHIN.fullmatch(tag):
                self._flush()
            self._kept = (tag, 1, self._start())
        elif not _WITHIN.fullmatch(tag):
            self._flush()
            self._parts.append(raw)
        elif _VOID.fullmatch(tag) or raw.endswith("/>"):
            self._run.append(Tag(raw))
        else:
            key = object()
            self._open.append((tag, key))
            self._run.append(Tag(raw, "open", key))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag that is closed at once."""
        raw = self.get_starttag_text() or ""
        if self._kept is not None:
            return
        if _WITHIN.fullmatch(tag):
            self._run.append(Tag(raw))
        else:
            self._flush()
            self._parts.append(raw)

    def handle_endtag(self, tag: str) -> None:
        """A tag that closes."""
        start = self._start()
        end = self._text.find(">", start) + 1 or len(self._text)
        raw = self._text[start:end]
        if self._kept is not None:
            name, depth, began = self._kept
            depth -= name == tag
            self._kept = (name, depth, began) if depth else None
            if not depth:
                self._keep(name, self._text[began:end])
        elif _WITHIN.fullmatch(tag):
            key: object = None
            for at in range(len(self._open) - 1, max(len(self._open) - 64, 0) - 1, -1):
                if self._open[at][0] == tag:
                    key = self._open.pop(at)[1]
                    break
            self._run.append(Tag(raw, "close", key if key is not None else object()))
        else:
            self._flush()
            self._parts.append(raw)

    def handle_data(self, data: str) -> None:
        """Text, references apart."""
        if self._kept is None:
            self._run.append(data)

    def handle_entityref(self, name: str) -> None:
        """A reference by name, with its semicolon or without it."""
        if self._kept is None:
            self._run.append(unescape(self._reference(f"&{name}")))

    def handle_charref(self, name: str) -> None:
        """A reference by number."""
        if self._kept is None:
            self._run.append(unescape(self._reference(f"&#{name}")))

    def handle_comment(self, data: str) -> None:
        """A comment stays where it is in its text."""
        self._whole(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        """The document's type."""
        self._whole(f"<!{decl}>")

    def unknown_decl(self, data: str) -> None:
        """CDATA and its like."""
        self._whole(f"<![{data}]>")

    def handle_pi(self, data: str) -> None:
        """A processing instruction."""
        self._whole(f"<?{data}>")

    def _whole(self, raw: str) -> None:
        if self._kept is None:
            self._run.append(Tag(raw))

    def _keep(self, name: str, raw: str) -> None:
        if _WITHIN.fullmatch(name):
            self._run.append(Tag(raw))
        else:
            self._parts.append(raw)

    def _reference(self, begun: str) -> str:
        start = self._start()
        return begun + ";" * (self._text[start + len(begun) : start + len(begun) + 1] == ";")

    def _start(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column

    def _flush(self) -> None:
        """End a text: it is a segment if it has letters, and stays as it is otherwise."""
        run, self._run, self._open = self._run, [], []
        words = "".join(piece for piece in run if isinstance(piece, str))
        if not any(map(str.isalpha, words)):
            self._parts += [escape(p, quote=False) if isinstance(p, str) else p.raw for p in run]
            return
        start, end = 0, len(run)
        while _is_blank(run[start]):
            start += 1
        while _is_blank(run[end - 1]):
            end -= 1
        within = run[start:end]
        found = inline(_SPACE.sub(" ", p) if isinstance(p, str) else p for p in within)
        match = _EDGE.fullmatch(found.text)
        assert match is not None
        self._raw(run[:start])
        self._parts += [match[1], Inline(match[2], found.tags), match[3]]
        self._raw(run[end:])

    def _raw(self, pieces: list[Piece]) -> None:
        self._parts += [piece if isinstance(piece, str) else piece.raw for piece in pieces]


def _is_blank(piece: Piece) -> bool:
    """White space, or something that stands alone at the edge of a text."""
    return not piece.strip() if isinstance(piece, str) else piece.kind == "whole"
