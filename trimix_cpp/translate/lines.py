"""Lines and the breaks between them: kept, joined where a sentence runs on, and broken again."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

_BREAK = re.compile(r"(\r\n|\n|\r)")
# Scripts that put no space between words, where joined lines get none: Thai, Lao, Burmese, Khmer,
# Chinese and Japanese.
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\uffef]")
TSHEG = "་"  # Tibetan: between syllables; a line may break after it


def split_lines(text: str) -> list[tuple[str, str]]:
    r"""The lines of `text`, each with its own ending (`\n`, `\r\n`, `\r`, or none at the end).

    Other line separators of Unicode are characters like any other. Joined again, it is `text`.
    """
    parts = _BREAK.split(text)
    if parts[-1] == "":
        parts.pop()
    else:
        parts.append("")
    return list(zip(parts[::2], parts[1::2], strict=True))


def one_line(text: str) -> str:
    """`text` with a space for each run of line breaks, for places that hold one line."""
    return re.sub(r"[\r\n]+", " ", text)


def unwrap(lines: Sequence[str]) -> str:
    """Lines that belong together, as one: a space between them, where the script has spaces.

    No space follows a tsheg or a hyphen inside a word.
    """
    text = ""
    for line in lines:
        part = line.strip() if text else line.rstrip()
        if not text or not part:
            text += part
            continue
        unspaced = UNSPACED.match(text[-1]) and UNSPACED.match(part[0])
        hyphenated = text[-1] == "-" and text[-2:-1].isalpha()
        text += part if unspaced or hyphenated or text[-1] == TSHEG else " " + part
    return text


def rewrap(text: str, like: Sequence[str]) -> list[str]:
    """`text` in lines no longer than the longest of `like`, indented as they are.

    Broken at spaces only. Lines of one are one line.
    """
    text = one_line(text)
    if len(like) < 2:
        return [text]
    indent = like[1][: len(like[1]) - len(like[1].lstrip())]
    return textwrap.wrap(
        text,
        width=max(map(len, like)),
        subsequent_indent=indent,
        expand_tabs=False,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [text]


def rebreak(text: str, count: int, keep: Sequence[tuple[int, int]] = ()) -> list[str]:
    """`text` in `count` lines of about one length; in fewer, where it has too few places.

    Lines break at a space or after a tsheg, never inside the ranges of `keep` (markup), which do
    not count for the length.
    """

    def shown(place: int) -> int:
        return place - sum(min(place, end) - start for start, end in keep if start < place)

    places = [
        i
        for i in range(1, len(text))
        if (text[i] == " " or text[i - 1] == TSHEG)
        and not any(start < i < end for start, end in keep)
    ]
    cuts: list[int] = []
    for k in range(1, count):
        left = [place for place in places if not cuts or place > cuts[-1]]
        if not left:
            break
        cuts.append(min(left, key=lambda place: abs(shown(place) - shown(len(text)) * k / count)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    return [piece.strip(" ") for piece in pieces]
