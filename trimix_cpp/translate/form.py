"""How a translation looks beside its source: its ends, its script, its length.

Each check takes (source, translation, context) and gives phrases, none if all is well.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import cache

import regex

from ..characters import characters
from ..markup import find, without
from .context import Context

# What a text ends in, in any script. A Tibetan shad ends a sentence of any kind, a clause, and a
# heading; other scripts' marks say more.
_ENDS = {
    **dict.fromkeys(".۔܀܁܂։।॥።។៕။᠃᠉᙮。｡．⳹꘎꛳", "full stop"),
    **dict.fromkeys("?؟？፧⁇՞\u037e꛷", "question mark"),
    **dict.fromkeys("!！՜‼", "exclamation mark"),
    **dict.fromkeys("…᠁", "ellipsis"),
    **dict.fromkeys(":：᠄፡፦", "colon"),
}
_ANY = "།༎༏༐༑༔༈་"  # Tibetan
_DOTS = re.compile(r"\.{2,}$|…+$|。{2,}$|⋯+$")
# "etc.", "e.g.", "No.": a full stop after these ends no sentence.
_ABBREVIATED = re.compile(
    r"(?:\b\w|\b(?:etc|approx|incl|max|min|vs|[ap]\.m|no|inc|ltd|jr|sr))\.$", re.I
)
_CLOSING = (
    "\"'“”‘’«»‹›)]}）」』】〉》* \t\n\u200b\u200c\u200d\u200e\u200f\u202a-\u202e\u2066-\u2069"
)
_STRIPPED = re.compile(rf"(?:[{re.escape(_CLOSING)}]|\([&_~]\w\))+$")
# Languages whose sentences may well end in nothing, or in a space.
_UNSTOPPED = frozenset({"Thai", "Laoo", "Khmr", "Mymr", "Tibt"})
_WORDS = re.compile(r"[^\W\d_]+")
_SCRIPTS = {
    "Hans": r"\p{Han}", "Hant": r"\p{Han}", "Jpan": r"\p{Han}\p{Hiragana}\p{Katakana}",
    "Kore": r"\p{Hangul}\p{Han}",
}  # fmt: skip
_MOST = 0.5  # of the letters in another script than the language's: names, units, commands
_LEAST = 4  # letters, to speak of a script at all


def spaces(source: str, translation: str, context: Context) -> Iterator[str]:
    """White space at both ends; programs put texts together, and msgfmt refuses other line ends."""
    if not source.strip() or not translation.strip():
        return
    for word, ours, theirs in (
        ("begins", _before(source), _before(translation)),
        ("ends", _before(source[::-1])[::-1], _before(translation[::-1])[::-1]),
    ):
        if ours != theirs:
            yield f"{word} {_spaced(theirs)}, the source {_spaced(ours)}"


def _before(text: str) -> str:
    space = text[: len(text) - len(text.lstrip())]
    return re.sub(r"[^\S\n\t]", " ", space)  # a no-break space is a space


def _spaced(space: str) -> str:
    if not space:
        return "without white space"
    names = {" ": "space", "\n": "line break", "\t": "tab"}
    counts = Counter(names.get(char, "space") for char in space)
    return "with " + " and ".join(f"{n} {name}{'s' * (n > 1)}" for name, n in counts.items())


def ends(source: str, translation: str, context: Context) -> Iterator[str]:
    """The mark that ends it: a question stays one, a label does not get a full stop."""
    if not source.strip() or not translation.strip():
        return
    ours, theirs = _end(source, context), _end(translation, context)
    scripts = context.target.scripts if context.target else ()
    if "any" in (ours, theirs) or ours == theirs:
        return
    if {ours, theirs} == {"", "full stop"} and not _UNSTOPPED.isdisjoint(scripts):
        return
    if theirs and ours:
        yield f"ends in {_a(theirs)}, the source in {_a(ours)}"
    elif ours:
        yield f"ends without {_a(ours)}"
    else:
        yield f"ends in {_a(theirs)}, the source does not"


def _a(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _end(text: str, context: Context) -> str:
    """The kind of the mark that ends `text`; "" if none does."""
    pieces = _without_markup(text, context.syntax)
    bare = _STRIPPED.sub("", pieces)
    if _DOTS.search(bare):
        return "ellipsis"
    if bare[-1:] in _ANY and bare:
        return "any"
    if _ABBREVIATED.search(bare):
        return "any"
    return _ENDS.get(bare[-1:], "")


def _without_markup(text: str, syntax: frozenset[str]) -> str:
    """`text` without tags and the structure of ICU; U+FFFC for what stands for a value."""
    parts, at = [], 0
    for item in find(text, syntax):
        kept = "" if item.kind in ("tag", "icu", "markdown", "break") else "\ufffc"
        parts += [text[at : item.start], kept]
        at = item.end
    return "".join([*parts, text[at:]])


def script(source: str, translation: str, context: Context) -> Iterator[str]:
    """The letters are the target language's; what the source spells in others may stay so."""
    if context.target is None:
        return
    known = frozenset(word.casefold() for word in _WORDS.findall(source))
    own = _letters_of(context.target.scripts[0])  # another one is said: uz-Cyrl
    counts: Counter[str] = Counter()
    for word in _WORDS.findall(without(translation, context.syntax)):
        foreign = own.split(word)  # a suffix may follow a name at once
        counts["own"] += len(word) - sum(map(len, foreign))
        for run in foreign:
            if run.casefold() not in known:
                counts.update(map(_script_of, run))
    total = counts.total()
    own_count = counts.pop("own", 0)
    if total >= _LEAST and total - own_count > _MOST * total:
        name = counts.most_common(1)[0][0]
        yield f"is in {name} letters, not in those of {context.target.name}"
        return
    theirs = {_script_of(char) for word in _WORDS.findall(source) for char in word}
    strange = sorted(name for name in counts if name not in theirs | {"Latin", "Greek", "other"})
    if strange:
        yield f"has {' and '.join(strange)} letters"


@cache
def _letters_of(script: str) -> regex.Pattern[str]:
    # Common and inherited: marks, and letters such as the micro sign.
    names = _SCRIPTS.get(script, rf"\p{{Script={script}}}")
    return regex.compile(rf"[{names}\p{{Script=Common}}\p{{Script=Inherited}}]+")


def _script_of(char: str) -> str:
    """The name of its script, as Unicode names its characters: "Cyrillic", "Cjk"."""
    name = unicodedata.name(char, "other").split(" ")[0].split("-")[0]
    return "Chinese" if name == "CJK" else name.title() if name != "other" else name


def length(source: str, translation: str, context: Context) -> Iterator[str]:
    """No more characters than there is room for, or time to read them (subtitles)."""
    if not context.longest and not (context.seconds and context.speed):
        return
    shown = _shown(translation, context)
    if context.longest and shown > context.longest:
        yield f"has {shown} characters, {context.longest} at most"
    if context.seconds > 0 and context.speed:
        fast, was = shown / context.seconds, _shown(source, context) / context.seconds
        if fast > max(context.speed, was):
            yield f"is to be read at {fast:.0f} characters a second, {context.speed:g} at most"


def _shown(text: str, context: Context) -> int:
    """Its characters as readers see them, without markup and line breaks."""
    return len(characters(_without_markup(text, context.syntax).strip()))
