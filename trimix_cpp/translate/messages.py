"""ICU messages spelled out: a whole sentence for each case, in the cases of the target language.

`{n, plural, one {# file} other {# files}} left` is `{n, plural, one {# file left} other {# files
left}}`: what stands around an argument goes into its texts, and only those are translated, as whole
sentences. Plural cases are the target language's, each made from the source's that means it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..documents import category_sources
from ..markup import icu

_MOST = 256  # pieces of a message; one with more stays as it is
_MOST_ARGUMENTS = 8
_SELECTOR = re.compile(r"\s*(?:=\d+|[^\W\d][\w-]*)\s*\{\Z")
# A number sign would come into another argument, an apostrophe quote what is no longer after it.
_FIXED = re.compile(r"#|'(?:[{}|]|\Z)")


def spelled_out(text: str, target: str) -> list[tuple[str, bool]] | None:
    """The message in pieces, each with whether it is text (else structure), for a language's code.

    Joined they are a message that says the same. None where `text` has no such argument, has too
    many cases, or has a number sign or a quotation around an argument, which cannot be moved.
    """
    if not 0 < len(icu.arguments(text)) <= _MOST_ARGUMENTS:
        return None
    pieces: list[tuple[str, bool]] = []
    for piece in _pieces(text, target):
        if piece is None or len(pieces) > _MOST:
            return None
        pieces.append(piece)
    return pieces


def _pieces(text: str, target: str) -> Iterator[tuple[str, bool] | None]:
    found = icu.arguments(text)
    if not found:
        yield text, True
        return
    argument = found[0]
    before, after = text[: argument.start], text[argument.end :]
    texts = {selector: text[start:end] for selector, start, end in argument.branches}
    if _FIXED.search(before) or _FIXED.search(_outside(after)):
        yield None
        return
    head = _SELECTOR.sub("", text[argument.start : argument.branches[0][1]]).rstrip()
    for selector, source in _cases(argument, texts, target).items():
        yield f"{head} {selector} {{", False
        yield from _pieces(before + texts[source] + after, target)
        head = "}"
    yield "}}", False


def _outside(text: str) -> str:
    """`text` without its arguments."""
    out, at = [], 0
    for argument in icu.arguments(text):
        if argument.start >= at:
            out.append(text[at : argument.start])
            at = argument.end
    return "".join([*out, text[at:]])


def _cases(argument: icu.Argument, texts: dict[str, str], target: str) -> dict[str, str]:
    """The selectors of the translation, and that of the source which each is made from."""
    given = {name: text for name, text in texts.items() if name in icu.CATEGORIES}
    own = {selector: selector for selector in texts}
    if argument.type != "plural" or "other" not in given:
        return own
    # "one file" is for 1 alone; a text that shows its number is for any.
    shown = {name: text.replace("#", "{0}") for name, text in given.items()}
    exact = {selector: selector for selector in texts if selector not in given}
    return exact | category_sources(shown, target)
