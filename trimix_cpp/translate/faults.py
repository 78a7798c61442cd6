"""What is wrong with a translation: named checks, each a pure function, that can be switched off.

A check is a row of `CHECKS`. It takes (source, translation, context), two texts and what is known
of them, and gives phrases, none if all is well. It takes time in proportion to their length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..documents import Segment, categories, of_language
from ..errors import UsageError
from ..markup import icu, lost_or_invented, wrong_accelerator
from . import checks, form, quality, terms
from .context import Context

if TYPE_CHECKING:
    from ..prompts import Language
    from .glossary import Glossary

READING_SPEED = 20.0  # characters a second that viewers can follow
Run = Callable[[str, str, Context], Iterable[str]]


@dataclass(frozen=True)
class Check:
    """A check.

    Attributes:
        name: by which it is switched off.
        about: what it looks at, for lists of checks.
        run: gives phrases for (source, translation, context).
        again: a translation that fails is tried once more.
        late: it looks at a whole segment when all is there, and decides no text.
    """

    name: str
    about: str
    run: Run
    again: bool = False
    late: bool = False


@dataclass(frozen=True)
class Fault:
    """What a check found."""

    check: str
    reason: str


def _of(*kinds: str) -> Run:
    """Of the placeholders, those of these kinds."""
    wanted = frozenset(kinds)

    def run(source: str, translation: str, context: Context) -> Iterable[str]:
        own = _categories(context.target.code) if context.target else None
        return lost_or_invented(source, translation, context.syntax, wanted, own)

    return run


def _categories(code: str) -> frozenset[str] | None:
    """Those that ICU's plurals may have; None where CLDR knows nothing of the language."""
    found = frozenset(categories(code))
    return found if len(found) > 1 or of_language(code).count == 1 else None


def _markup(source: str, translation: str, context: Context) -> Iterable[str]:
    found = list(_of("tag", "entity", "markdown")(source, translation, context))
    return found or checks.nesting(source, translation, context)


_VALUES = ("printf", "percent", "named", "colon", "count", "brace", "dollar", "template", "icu")
CHECKS = {
    check.name: check
    for check in (
        Check("placeholders", "what stands for a value, and ICU's cases", _of(*_VALUES), True),
        Check("markup", "tags, entities, Markdown", _markup, True),
        Check("addresses", "URLs and e-mail", _of("address"), True),
        Check("breaks", "line breaks, tabs, escapes",
              _of("break", "tab", "control", "escape"), True),
        Check("accelerators", "keyboard accelerators (&Open)",
              lambda source, translation, _: wrong_accelerator(source, translation), True),
        Check("options", "options of commands (-k, --keep)", checks.options, True),
        Check("answers", "what a program reads ([y/n], a :)", checks.answers, True),
        Check("keys", "combinations of keys (Ctrl+S)", checks.keys, True),
        Check("labels", "labels of links that the file defines", checks.labels, True),
        Check("brackets", "pairs of brackets, in Markdown", checks.brackets, True),
        Check("numbers", "numbers, in any digits", checks.numbers, True),
        Check("terms", "terms of --glossary", terms.unused, True),
        Check("spaces", "white space at both ends", form.spaces, late=True),
        Check("ends", "the mark at the end (. ? ! : …)", form.ends, late=True),
        Check("script", "letters of the language", form.script, late=True),
        Check("length", "--max-length, reading speed of subtitles", form.length, late=True),
        Check("empty", "nothing at all", quality.ONCE["empty"]),
        Check("damaged", "replacement characters (U+FFFD)", quality.ONCE["damaged"]),
        Check("repeats", "loops of words", quality.ONCE["repeats"]),
        Check("unchanged", "the source copied", quality.ONCE["unchanged"]),
    )
}  # fmt: skip


def faults(
    source: str, translation: str, context: Context, chosen: Iterable[Check] = CHECKS.values()
) -> tuple[Fault, ...]:
    """What the chosen checks find, in their order."""
    return tuple(
        Fault(check.name, reason)
        for check in chosen
        for reason in check.run(source, translation, context)
    )


@dataclass(frozen=True)
class Checking:
    """Which checks are made of the segments of a file, and what they hold them against.

    Attributes:
        source, target: the languages; None: not known.
        off: names of checks that are switched off.
        longest: characters that a segment may have at most (a line of a subtitle); 0: any.
        speed: characters of a subtitle that can be read in a second; 0: any.
        glossary: whose terms must be there; None for none.
    """

    source: Language | None = None
    target: Language | None = None
    off: frozenset[str] = frozenset()
    longest: int = 0
    speed: float = READING_SPEED
    glossary: Glossary | None = None

    def context(self, segment: Segment) -> Context:
        """What a translation of `segment` is held against."""
        limits = [limit for limit in (self.longest * segment.lines, segment.longest) if limit]
        return Context(
            segment.syntax,
            self.source,
            self.target,
            segment.seconds,
            min(limits, default=0),
            self.speed,
            self.glossary.found(segment.text, segment.syntax) if self.glossary else (),
        )

    def faults(
        self, segment: Segment, translation: str, *, late: bool = False
    ) -> tuple[Fault, ...]:
        """What is wrong with a translation; `late`: only what generation does not look at."""
        # An ICU message is translated case by case; whether all is in order shows in the whole.
        message = bool(icu.arguments(segment.text))
        chosen = [
            check
            for check in CHECKS.values()
            if check.name not in self.off
            and (check.late or not late or (message and check.name == "placeholders"))
        ]
        return faults(segment.text, translation, self.context(segment), chosen)


def lost(
    source: str,
    translation: str,
    context: Context = Context(),  # noqa: B008
    off: frozenset[str] = frozenset(),
) -> tuple[str, ...]:
    """What is worth a second attempt: what checks with `again` find, but those of `off`."""
    chosen = [check for check in CHECKS.values() if check.again and check.name not in off]
    return tuple(fault.reason for fault in faults(source, translation, context, chosen))


def known_checks(names: Iterable[str]) -> frozenset[str]:
    """The names of checks, if all are known; each may be several with commas between.

    Raises:
        UsageError: there is no check of a name; the line lists them.
    """
    found = {part.strip() for name in names for part in name.split(",") if part.strip()}
    for name in sorted(found - CHECKS.keys()):
        raise UsageError(f"there is no check {name!r}; there are {', '.join(CHECKS)}")
    return frozenset(found)
