"""What is asked of the models: the prompt, and everything else that decides a translation."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from ..decoding import Control
from ..errors import TrimixError
from ..fusion import Plausibility, Sampler, Weights
from ..prompts import Language, translation_prompt

if TYPE_CHECKING:
    from ..fusion import Choosing

MAX_SHOTS = 5
MAX_TERMS = 10
# The paper's limit of an answer. Longer parts may have more: Tibetan costs 1.5 tokens of Qwen2 for
# a character of the English text on average.
MIN_ANSWER = 200
_TOKENS_PER_CHARACTER = 2.5
# Tokens have up to 4.4 bytes on average, in English.
_BYTES_PER_TOKEN = 5
# Where greedy decoding loses a placeholder, the second attempt draws at this temperature.
_SECOND_TEMPERATURE = 0.7
# A Chinese or Japanese character says about as much as three letters.
_DENSE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")

Shot = tuple[str, str]


@dataclass(frozen=True)
class Term:
    """A term of a glossary, and its translations: the first is shown, any is right."""

    text: str
    translations: tuple[str, ...]


@dataclass(frozen=True)
class Hints:
    """What the prompt of one text holds besides it.

    Attributes:
        shots: exemplars of its own, the most similar last; they take the place of the recipe's.
        terms: of a glossary, that are in it; the first ten follow as further exemplars.
        context: lines on where it stands, each with its end; "" for none.
    """

    shots: tuple[Shot, ...] = ()
    terms: tuple[Term, ...] = ()
    context: str = ""


NO_HINTS: Final[Hints] = Hints()


@dataclass(frozen=True)
class Recipe:
    """How texts are translated.

    Attributes:
        source, target: the languages.
        weights: of the fusion; with a chooser those of a text that is too short to choose by.
        shots: exemplars, (text, translation).
        sampler: of every part; its seed is mixed with the text (`sampler_for`).
        max_tokens: most tokens of an answer; None: 200, and more for long parts.
        control, plausibility: as those of `Text`.
        chooser: makes what chooses the weights of one text, None keeps `weights`.
        stops: strings that end an answer, besides the line break.
        retry: try a part that loses placeholders once more.
        unchecked: checks (`faults.CHECKS`) that are not made of a part.
        score_shots: a chooser looks at the exemplars too, not only at the text.
        judged: pairs by whose answers `ppl-answers` chooses the weights; () for the exemplars.
        over_bytes: an answer's tokens are bytes.
        varied: texts come with exemplars of their own (`Hints`): few prompts begin alike.
    """

    source: Language
    target: Language
    weights: Weights
    shots: tuple[Shot, ...] = ()
    sampler: Sampler = field(default_factory=Sampler)
    max_tokens: int | None = None
    control: Control = "fused"
    chooser: Choosing | None = None
    plausibility: Plausibility | None = None
    stops: tuple[str, ...] = ()
    retry: bool = True
    unchecked: frozenset[str] = frozenset()
    score_shots: bool = False
    judged: tuple[Shot, ...] = ()
    varied: bool = False
    over_bytes: bool = False

    def prompt(self, text: str, n_shots: int, hints: Hints = NO_HINTS) -> str:
        """The paper's prompt with the last `n_shots` exemplars, and the context of the text."""
        shots = self.exemplars(hints)
        kept = shots[len(shots) - n_shots :]
        return translation_prompt(text, self.source, self.target, kept, hints.context)

    def exemplars(self, hints: Hints = NO_HINTS) -> tuple[Shot, ...]:
        """All exemplars of a text: its own, filled up with the recipe's to five, then its terms."""
        room = max(MAX_SHOTS - len(hints.shots), 0) if hints.shots else len(self.shots)
        terms = [(term.text, term.translations[0]) for term in hints.terms[:MAX_TERMS]]
        return (*self.shots[:room], *hints.shots, *terms)

    def answer_limit(self, text: str) -> int:
        """Most tokens of the translation of `text`."""
        if self.max_tokens:
            return self.max_tokens
        limit = max(MIN_ANSWER, int(_TOKENS_PER_CHARACTER * size(text)))
        return limit * _BYTES_PER_TOKEN if self.over_bytes else limit

    def sampler_for(self, text: str, attempt: int) -> Sampler:
        """The sampler of an attempt at `text`, 0 or 1; the second leaves the path of the first.

        The noise depends on seed, text and attempt alone: the order of the file, the batch, and
        an interruption change nothing.
        """
        first = self.sampler
        key = f"{first.seed}\0{attempt}\0{text}".encode()
        seed = int.from_bytes(hashlib.sha256(key).digest()[:8], "big")
        temperature = first.temperature
        if attempt:
            temperature = 0.0 if temperature else _SECOND_TEMPERATURE
        return replace(first, temperature=temperature, seed=seed)


def size(text: str) -> int:
    """How much `text` says, in characters of an alphabet."""
    return len(text) + 2 * len(_DENSE.findall(text))


def read_shots(text: str, name: str) -> list[Shot]:
    """The exemplars of a TSV file without a header: a text and its translation a line.

    Raises:
        TrimixError: a line that is not two texts; `name` and the line are told.
    """
    shots = []
    # Not splitlines: U+2028 and its like are characters of a text.
    for number, line in enumerate(text.split("\n"), 1):
        cells = [cell.strip() for cell in line.split("\t")]
        if cells == [""]:
            continue
        if len(cells) != 2 or not all(cells):
            raise TrimixError(
                f"{name}: line {number} is not a text, a tab, and its translation: it has "
                f"{len(cells)} column{'s' * (len(cells) != 1)}{'' if all(cells) else ', one empty'}"
            )
        shots.append((cells[0], cells[1]))
    if not shots:
        raise TrimixError(f"{name}: there is no exemplar in it")
    return shots
