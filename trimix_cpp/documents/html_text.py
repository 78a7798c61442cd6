"""HTML as a file of segments: what stands between blocks is one, with numbers for its tags."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence

from ..errors import TrimixError
from ..prompts import language
from .encodings import same_codec
from .html_reader import REFERENCE, Reader, Text, Value
from .html_tokens import Attribute, Token, tokens, unescaped
from .inline import Tag, inline
from .lines import Edit, edited
from .segments import FormatOptions, Languages, Result, Segment
from .tags import code_of, tag_of
from .xml_file import allowed, parse

_CHARSET = re.compile(r"(charset\s*=\s*[\"']?)([\w.:-]+)", re.IGNORECASE)


class Html:
    """A page, or a part of one, as a `Body`; however broken, what is no text stays as it is.

    A text's tags come back well nested; runs of white space in it are one space, as readers see
    them. Characters that its source writes as references only are written so, and what must be.

    Attributes:
        segments: the texts, among them attributes that people read, and the title.
        languages: that the root names.
        notices: that the direction of the page changes.
    """

    def __init__(
        self,
        text: str,
        name: str = "html",
        options: FormatOptions | None = None,
        xml: bool = False,
    ) -> None:
        self._text, self._options = text, options or FormatOptions()
        self._root: Token | None = None
        self._declared: list[tuple[int, int]] = []
        reader = Reader(text, xml)
        for token in tokens(text, xml):
            self._look_at(token)
            reader.take(token)
        reader.flush(len(text))
        self._xml = xml
        found: list[Text | Value] = [*reader.texts, *reader.values]
        found.sort(key=lambda each: each.start)
        self._found = found
        breaks = [match.start() for match in re.finditer("\n", text)]
        self.segments: Sequence[Segment] = [
            Segment(
                key,
                each.inline.text if isinstance(each, Text) else each.text,
                f"{name}:{bisect_left(breaks, each.start) + 1}",
            )
            for key, each in enumerate(found)
        ]
        values = {attribute.name: attribute for attribute in self._root_attributes()}
        said = values.get("lang") or values.get("xml:lang")
        self.languages = Languages(source=self._value(said) or None if said else None)
        turn = self._direction(values) if found else None
        target = self._options.target
        self.notices = (
            [f'{name}: the page gets dir="{turn}", for {language(target).name}']
            if turn and target
            else []
        )

    def render(self, results: Mapping[int, Result]) -> str:
        """See `Body`."""
        if not results:
            return self._text
        changed = {
            key: result.text
            for key, result in results.items()
            if key < len(self.segments) and result.text != self.segments[key].text
        }
        edits = [*self._root_edits(), *self._charset_edits()]
        edits += (
            _written_value(each, changed[key])
            for key, each in enumerate(self._found)
            if key in changed and isinstance(each, Value)
        )
        edits.sort(key=lambda edit: edit[:2])
        starts = [edit[0] for edit in edits]
        dropped: set[int] = set()
        for key, new in changed.items():
            if isinstance(each := self._found[key], Text):
                within = range(bisect_left(starts, each.start), bisect_left(starts, each.end))
                dropped.update(within)
                content = self._written(each, new, [edits[i] for i in within])
                edits.append((each.start, each.end, content))
        return edited(self._text, (e for i, e in enumerate(edits) if i not in dropped))

    def _written(self, text: Text, translation: str, edits: Sequence[Edit]) -> str:
        """A translation with its tags, in which attributes have been edited."""
        within = text.inline
        if edits:
            starts = [edit[0] for edit in edits]
            pieces = []
            for piece, start, end in text.pieces:
                inner = edits[bisect_left(starts, start) : bisect_right(starts, end)]
                if isinstance(piece, Tag) and inner:
                    raw = edited(piece.raw, ((a - start, b - start, new) for a, b, new in inner))
                    piece = Tag(raw, piece.kind, piece.key)
                pieces.append(piece)
            within = inline(pieces)
        parts = (self._text[a:b] for piece, a, b in text.pieces if isinstance(piece, str))
        table = str.maketrans(_spellings("\0".join(parts), self._xml))
        return within.write(translation, lambda part: allowed(part).translate(table))

    def _look_at(self, token: Token) -> None:
        """The root, and what names the encoding."""
        if token.kind != "open":
            return
        if token.name == "html" and self._root is None:
            self._root = token
        elif token.name == "meta":
            for attribute in token.attributes:
                raw = self._text[attribute.start : attribute.end]
                if attribute.name == "charset":
                    self._declared.append((attribute.start, attribute.end))
                elif attribute.name == "content" and (match := _CHARSET.search(raw)):
                    at = attribute.start
                    self._declared.append((at + match.start(2), at + match.end(2)))

    def _root_attributes(self) -> Sequence[Attribute]:
        return self._root.attributes if self._root else ()

    def _value(self, attribute: Attribute) -> str:
        return self._text[attribute.start : attribute.end].strip()

    def _direction(self, values: Mapping[str, Attribute]) -> str | None:
        """The direction that the root has to get; None where it has it."""
        if self._root is None or not self._options.target:
            return None
        wanted = "rtl" if language(self._options.target).direction == "rtl" else "ltr"
        has = self._value(values["dir"]).lower() if "dir" in values else "ltr"
        return None if has in (wanted, "auto") else wanted

    def _root_edits(self) -> Iterator[Edit]:
        """The root names the target language and its direction."""
        target = self._options.target
        if self._root is None or not target:
            return
        values = {attribute.name: attribute for attribute in self._root_attributes()}
        changes: dict[str, str] = {}
        named: list[str] = [name for name in ("lang", "xml:lang") if name in values]
        for name in named or ["xml:lang" if self._xml else "lang"]:
            if not named or code_of(self._value(values[name])) != language(target).code:
                changes[name] = tag_of(target)
        if turn := self._direction(values):
            changes["dir"] = turn
        if self._root.attributes:
            last = self._root.attributes[-1]
            end = last.end + len(last.quote)
        else:
            end = self._text.index(">", self._root.start)
        for name, value in changes.items():
            if name not in values:
                yield end, end, f' {name}="{value}"'
            else:
                yield _set(self._text, values[name], value)

    def _charset_edits(self) -> Iterator[Edit]:
        _, _, written = (self._options.encoding or "").partition(":")
        for start, end in self._declared if written else ():
            if not same_codec(self._text[start:end], written):
                yield start, end, written


def open_html(text: str, name: str, options: FormatOptions) -> Html:
    """The page `text`; one that begins as XML is read as such if it is well-formed.

    Raises:
        TrimixError: its name says that it is XHTML, and it is not well-formed.
    """
    strict = name.lower().endswith((".xhtml", ".xht"))
    if not strict and not text.startswith("<?xml"):
        return Html(text, name, options)
    try:
        parse(text, name)
    except TrimixError:
        if strict:
            raise
        return Html(text, name, options)
    return Html(text, name, options, xml=True)


def _spellings(raw: str, xml: bool) -> dict[str, str]:
    """How characters are written in a text whose source is `raw`."""
    spelled = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
    bare = REFERENCE.sub("", raw)
    for reference in REFERENCE.findall(raw):
        char = unescaped(reference)
        if len(char) == 1 and char not in bare and char not in spelled:
            spelled[char] = reference
    if not xml and ">" in bare:
        del spelled[">"]
    return spelled


def _written_value(value: Value, translation: str) -> Edit:
    text = allowed(translation).replace("&", "&amp;").replace("<", "&lt;")
    text = text.replace(value.quote or '"', "&#39;" if value.quote == "'" else "&quot;")
    return value.start, value.end, text if value.quote else f'"{text}"'


def _set(text: str, attribute: Attribute, value: str) -> Edit:
    """Give an attribute another value."""
    start, end = attribute.start, attribute.end
    if attribute.quote:
        return start, end, value
    return start, end, f'"{value}"' if "=" in text[start - 2 : start] else f'="{value}"'
