"""Text with tags in it: the models see numbers for the tags, and each comes back once.

`<b>Warning:</b> see <x id="7"/>` is `<1>Warning:</1> see <2/>` to the models. Numbers are short,
and say which of two equal tags is meant; none is taken that the text itself holds so.
A translation is written with every tag of its source, well nested, whatever a model made of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from itertools import count
from typing import Literal

from .xml_file import Element, escape

# A numbered tag: its slash, number, and the slash of one that stands alone.
_NUMBERED = re.compile(r"<(/?)(\d{1,6})\s*(/?)>")
# What stands between elements besides text.
_MARKUP = re.compile(
    r"<!\[CDATA\[(?P<cdata>.*?)\]\]>|(?P<kept><!--.*?-->|<\?.*?\?>)|&(?P<entity>[^;]+);", re.DOTALL
)
_PREDEFINED = frozenset({"amp", "lt", "gt", "quot", "apos"})


@dataclass(frozen=True)
class Tag:
    """A tag, or markup that is kept as it is with all that it holds.

    Attributes:
        raw: as the file spells it.
        kind: "open" and "close" enclose text; a "whole" one stands alone.
        key: the same for an open tag and its close.
    """

    raw: str
    kind: Literal["open", "close", "whole"] = "whole"
    key: object = None


class Section(str):
    """The text of a CDATA section."""


Piece = str | Tag
# What an element within a text is: its tags around text ("pair"), kept with its content ("whole"),
# no more than that ("through"), or itself one half of a pair, with that pair's key.
Role = Literal["pair", "whole", "through"] | tuple[Literal["open", "close"], object]


@dataclass(frozen=True)
class Inline:
    """A text with numbers for its tags.

    Attributes:
        text: to be translated.
        tags: by number: one spelling, or those of the opening and the closing tag.
    """

    text: str
    tags: Mapping[int, tuple[str, ...]]

    def write(self, translation: str, spell: Callable[[str], str] = escape) -> str:
        """The translation with its tags; `spell` says how the text between them is written.

        Each tag comes once: a second one is left out, one that is missing stands at the end, and
        what is closed too early closes what is open within it.
        """
        out: list[str] = []
        opened: dict[int, None] = {}  # the last one opened stands last
        left, at = dict(self.tags), 0
        for match in _NUMBERED.finditer(translation):
            number = int(match[2])
            if number not in self.tags:
                continue
            out.append(spell(translation[at : match.start()]))
            at = match.end()
            if match[1]:
                while number in opened:
                    out.append(self.tags[opened.popitem()[0]][1])
                continue
            tag = left.pop(number, ())
            out += tag[:1] if not match[3] else tag
            if len(tag) == 2 and not match[3]:
                opened[number] = None
        out.append(spell(translation[at:]))
        out += [self.tags[number][1] for number in reversed(opened)]
        out += ["".join(tag) for tag in left.values()]
        return "".join(out)

    def numbered_as(self, other: Inline) -> str:
        """The text with the numbers that `other`, its source, has for the same tags."""
        same: dict[tuple[str, ...], list[int]] = {}
        for number, tag in reversed([*other.tags.items()]):
            same.setdefault(tag, []).append(number)
        new = count(max(other.tags, default=0) + 1)
        names = {
            number: same[tag].pop() if same.get(tag) else next(new)
            for number, tag in self.tags.items()
        }

        def renamed(match: re.Match[str]) -> str:
            number = names.get(int(match[2]))
            return f"<{match[1]}{number}{match[3]}>" if number else match[0]

        return _NUMBERED.sub(renamed, self.text)


def inline(pieces: Iterable[Piece]) -> Inline:
    """The text that these pieces are, in their order.

    An open tag and its close get one number where they nest; each of two pairs that overlap, and
    a tag without its other half, gets one of its own.
    """
    pieces = list(pieces)
    bare = "".join(piece if isinstance(piece, str) else "\ufffc" for piece in pieces)
    taken = {int(match[2]) for match in _NUMBERED.finditer(bare)}
    numbers = (number for number in count(1) if number not in taken)
    pairs = _pairs(pieces)
    closes = dict.fromkeys(pairs.values(), 0)
    tags: dict[int, tuple[str, ...]] = {}
    out = []
    for i, piece in enumerate(pieces):
        if isinstance(piece, str):
            out.append(piece)
        elif i in closes:
            tags[closes[i]] += (piece.raw,)
            out.append(f"</{closes[i]}>")
        else:
            number = next(numbers)
            tags[number] = (piece.raw,)
            out.append(f"<{number}>" if i in pairs else f"<{number}/>")
            if i in pairs:
                closes[pairs[i]] = number
    return Inline("".join(out), tags)


def _pairs(pieces: list[Piece]) -> dict[int, int]:
    """Where the tags are that open, and where the one is that closes each."""
    pairs: dict[int, int] = {}
    stack: list[int] = []
    known: dict[object, int] = {}  # open ones, by key
    for i, piece in enumerate(pieces):
        if isinstance(piece, str) or piece.kind == "whole":
            continue
        if piece.kind == "open":
            stack.append(i)
            known[piece.key] = i
            continue
        begun = known.pop(piece.key, None)
        while stack and begun is not None and known.get(_key(pieces[stack[-1]])) != stack[-1]:
            if stack.pop() == begun:
                pairs[begun] = i
                break
    return pairs


def _key(piece: Piece) -> object:
    assert isinstance(piece, Tag)
    return piece.key


def pieces_of(
    text: str,
    element: Element,
    role: Callable[[Element], Role],
    raw: Callable[[int, int], str] | None = None,
) -> Iterator[Piece]:
    r"""The content of `element`, of the file `text`; its line breaks are `\n`.

    Comments, processing instructions and entities that the file declares are kept as tags are.
    An element without content, of the role "pair", stands alone. `raw` says how the markup between
    two places is written, if not as in the file.
    """
    raw = raw or (lambda start, end: text[start:end])
    at = element.inner
    for child in element.children:
        yield from _between(text, at, child.start)
        at = child.end
        what = role(child)
        if what == "whole" or (what == "pair" and child.inner == child.inner_end):
            yield Tag(raw(child.start, child.end))
        elif what == "pair":
            yield Tag(text[child.start : child.inner], "open", child)
            yield from pieces_of(text, child, role, raw)
            yield Tag(text[child.inner_end : child.end], "close", child)
        elif what == "through":
            yield from pieces_of(text, child, role, raw)
        else:
            yield Tag(raw(child.start, child.end), *what)
    yield from _between(text, at, element.inner_end)


def _between(text: str, at: int, end: int) -> Iterator[Piece]:
    """What stands where no elements are."""
    for match in _MARKUP.finditer(text, at, end):
        yield _broken(text[at : match.start()])
        at = match.end()
        if match["cdata"] is not None:
            yield Section(_broken(match["cdata"]))
        elif match["kept"] or not (match["entity"] in _PREDEFINED or match["entity"][0] == "#"):
            yield Tag(match[0])
        else:
            yield chr(_code(match["entity"])) if match["entity"][0] == "#" else unescape(match[0])
    yield _broken(text[at:end])


def _code(reference: str) -> int:
    return int(reference[2:], 16) if reference[1] == "x" else int(reference[1:])


def _broken(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
