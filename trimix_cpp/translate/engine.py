"""Sends units through the Decoder, many at a time, and those that lose placeholders once more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..decoding import Decoder, Text, Trio, common_length
from ..errors import TrimixError
from ..files import Closing
from ..fusion import ByAnswers, GridScore, Weights
from ..prompts import translation_prompt
from .context import Context
from .quality import flags
from .recipe import MAX_SHOTS, NO_HINTS, Hints, Recipe, Shot
from .units import Outcome, Unit

if TYPE_CHECKING:
    from ..decoding import Speculator

# A text may begin with anything; what the prompts of all of these begin with, others do too.
_PROBES = ("a", "Q", "the", "7", "-", "(", "%s", "<b>", "«", "ئا", "བོ", "ᠮ", "你", " ")
# A prompt that leaves less room than this for its answer is too long for the context.
_LEAST_ROOM = 32


@dataclass(frozen=True)
class _Attempt:
    """A unit on its way; `first` is the outcome of the first attempt where this is the second."""

    unit: Unit
    first: Outcome | None = None
    shots: int = 0


class Translator(Closing):
    """Translates units with a loaded trio; a context manager. The trio stays open.

    The beginning that all prompts share (instruction and exemplars) is evaluated once, if the
    trio has a place for it: it takes one of `n_parallel`.

    Args:
        trio: with the roles of the recipe's weights, or of its chooser.
        recipe: what is asked of it.
        speculator: drafts tokens ahead while a single unit is in flight; None does not.
        pins: keep the shared beginning; who steps the texts by another decoder does not.

    Raises:
        TrimixError: the context has no room for any prompt.
    """

    def __init__(
        self,
        trio: Trio,
        recipe: Recipe,
        speculator: Speculator | None = None,
        *,
        pins: bool = True,
    ) -> None:
        self._trio, self._recipe = trio, recipe
        self._decoder = Decoder(trio, speculator)
        self._again: deque[_Attempt] = deque()
        self._running: dict[Text, _Attempt] = {}
        self._done: list[tuple[Unit, Outcome]] = []
        around, least = self._length(self._tokens(Unit(""), 0)), min(trio.n_ctx // 2, _LEAST_ROOM)
        if around + least > trio.n_ctx:
            raise TrimixError(
                f"-c {trio.n_ctx} has no room for a text: the prompt around it takes {around} "
                f"tokens; give {around + 2 * _LEAST_ROOM} or more"
            )
        if isinstance(recipe.chooser, ByAnswers):
            # All texts have the same exemplars, and so the same weights.
            weights = self._by_answers(recipe.chooser)
            self._recipe = recipe = replace(recipe, weights=weights, chooser=None)
        # Who neither pins it nor chooses weights behind it does not need to know it.
        known = pins or recipe.chooser
        self._beginning = self._shared_beginning(NO_HINTS, len(recipe.exemplars())) if known else []
        scored = recipe.chooser and recipe.score_shots
        self._held = None
        # Where texts have exemplars of their own, each begins as the ones that ran before it.
        pins = pins and trio.n_parallel > 1 and not recipe.varied
        if pins and len(self._beginning) > 1 and not scored:
            roles = self._text(_Attempt(Unit("a")), self._tokens(Unit("a"), 0)).roles
            # Its last token is left to each text, for the row that predicts what follows.
            self._held = self._decoder.pin(self._beginning[:-1], roles)

    @property
    def in_flight(self) -> int:
        """How many units are translated at once."""
        return max(1, self._trio.n_parallel - (self._held is not None))

    def close(self) -> None:
        """Free the place of the shared beginning; harmless when done twice."""
        self._decoder.close()
        if self._held:
            self._decoder.unpin(self._held)
            self._held = None

    def run(self, units: Iterable[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Translate units; each with its outcome, in the order in which they end."""
        waiting = iter(units)
        while True:
            for text in self._decoder.run(self._feed(waiting)):
                self._finish(text)
                yield from self.take_done()
            yield from self.take_done()
            # Second attempts of the last ones come up when the decoder has seen its input end.
            if not self._again:
                return

    def live(self, take: Callable[[bool], Unit | None]) -> Iterator[tuple[Unit, Outcome]]:
        """As `run`, of units that come up meanwhile: `take` gives the next one.

        It gives None where there is none now; `take(True)` waits for one, and its None is the end.
        """
        own: set[Text] = set()
        ended = False

        def following() -> Unit | None:
            nonlocal ended
            wait = not own and not self._done
            unit = take(wait)
            ended = unit is None and wait
            return unit

        try:
            while not ended:
                for event in self._decoder.step():
                    if event.text.stop:
                        own.discard(event.text)
                        yield from self.finish(event.text)
                while len(own) < self.in_flight:
                    text = self.next_text(iter(following, None))
                    yield from self.take_done()
                    if text is None:
                        break
                    self._decoder.submit(text)
                    own.add(text)
        finally:
            for text in own:
                self._decoder.cancel(text)

    def next_text(self, units: Iterator[Unit]) -> Text | None:
        """The next text of these units, for who steps it himself; None where there is none now.

        It goes to `finish` when it has ended.
        """
        return next(self._feed(units), None)

    def finish(self, text: Text) -> list[tuple[Unit, Outcome]]:
        """What is known now that a text of `next_text` has ended; it may be tried once more.

        Raises:
            TrimixError: what ended it.
        """
        self._finish(text)
        return self.take_done()

    def take_done(self) -> list[tuple[Unit, Outcome]]:
        """What is known and was not told yet."""
        done, self._done = self._done, []
        return done

    def _feed(self, waiting: Iterator[Unit]) -> Iterator[Text]:
        """Second attempts first, then what is waiting."""
        while True:
            if self._again:
                attempt = self._again.popleft()
            elif (unit := next(waiting, None)) is not None:
                attempt = _Attempt(unit)
            else:
                return
            text = self._begin(attempt)
            if text is not None:
                yield text

    def _begin(self, attempt: _Attempt) -> Text | None:
        """The text of an attempt; None where the unit does not fit into the context."""
        unit = attempt.unit
        fitting = self._fit(unit)
        if fitting is None:
            reason = f"is too long for a context of {self._trio.n_ctx} tokens"
            self._done.append((unit, Outcome(None, (reason,))))
            return None
        tokens, shots = fitting
        placed = replace(attempt, shots=shots)
        text = self._text(placed, tokens)
        self._running[text] = placed
        return text

    def _text(self, attempt: _Attempt, tokens: list[int]) -> Text:
        recipe, text = self._recipe, attempt.unit.asked
        return Text(
            tokens,
            recipe.weights,
            sampler=recipe.sampler_for(text, int(attempt.first is not None)),
            control=recipe.control,
            max_tokens=recipe.answer_limit(text),
            stops=("\n", *recipe.stops),
            chooser=recipe.chooser(self._start(attempt, tokens)) if recipe.chooser else None,
            plausibility=recipe.plausibility,
        )

    def _start(self, attempt: _Attempt, tokens: list[int]) -> int:
        """The position from which on a chooser looks at a prompt: that before the text's own."""
        shared, hints = self._beginning, attempt.unit.hints
        if self._recipe.score_shots:
            return 0
        if tokens[: len(shared)] != shared or hints != NO_HINTS:
            shared = self._shared_beginning(hints, attempt.shots)
        return max(common_length(shared, tokens) - 1, 0)

    def _fit(self, unit: Unit) -> tuple[list[int], int] | None:
        """The prompt, with as many exemplars as leave room for the answer, and how many."""
        # An answer that may be longer than half of the context must not cost the exemplars.
        wanted = min(self._recipe.answer_limit(unit.asked), self._trio.n_ctx // 2)
        for shots in range(len(self._recipe.exemplars(unit.hints)), -1, -1):
            tokens = self._tokens(unit, shots)
            if self._length(tokens) + wanted <= self._trio.n_ctx:
                return tokens, shots
        if unit.hints.context:  # what stands around a text must not keep it from the models
            return self._fit(replace(unit, hints=replace(unit.hints, context="")))
        room = self._trio.n_ctx - self._length(tokens)
        return (tokens, 0) if room >= min(wanted, _LEAST_ROOM) else None

    def _tokens(self, unit: Unit, shots: int) -> list[int]:
        return self._tokenized(self._recipe.prompt(unit.asked, shots, unit.hints))

    def _tokenized(self, prompt: str) -> list[int]:
        # Names of control tokens in somebody's text are text.
        return self._trio.tokenize(prompt, add_special=True)

    def _length(self, tokens: list[int]) -> int:
        """What a prompt takes of the context, by the role that needs most."""
        return self._trio.length(self._trio.roles, tokens)

    def _by_answers(self, choosing: ByAnswers) -> Weights:
        """The weights under which the answers of the exemplars that fit are likeliest."""
        recipe, score = self._recipe, GridScore(choosing.grid)
        shots = recipe.judged or recipe.shots
        weights = recipe.weights
        # One prompt after the other: the sums are the same whatever is in flight.
        size = max(len(recipe.shots), MAX_SHOTS)
        for i in range(0, len(shots), size):
            tokens, spans = self._answered(shots[i : i + size])
            chooser = choosing.of(spans, score)
            looking = Text(tokens, weights, max_tokens=0, chooser=chooser)
            for done in self._decoder.run([looking]):
                done.raise_error()
            weights = looking.weights
        return weights

    def _answered(self, shots: Sequence[Shot]) -> tuple[list[int], list[tuple[int, int]]]:
        """The prompt of as many exemplars as fit, the last ones, and where their answers stand."""
        recipe, room = self._recipe, self._trio.n_ctx - _LEAST_ROOM

        def prompt(text: str, shots: Sequence[Shot]) -> str:
            return translation_prompt(text, recipe.source, recipe.target, shots)

        while self._length(tokens := self._tokenized(prompt("", shots))) > room and shots:
            shots = shots[1:]
        spans = []
        for i, (text, answer) in enumerate(shots):
            asked = prompt(text, shots[:i])
            # A token that both sides of a border are in belongs to what comes after it.
            ends = (asked, f"{asked}{answer}\n")
            start, end = (common_length(self._tokenized(each), tokens) for each in ends)
            spans.append((start, end))
        return tokens, spans

    def _shared_beginning(self, hints: Hints, shots: int) -> list[int]:
        """What the prompts of any text with these hints and exemplars begin with, in tokens.

        Found by comparing prompts: the beginning alone might end in another token than it does
        where a text follows.
        """
        prompts = [self._tokens(Unit(probe, hints=hints), shots) for probe in _PROBES]
        length = 0
        for tokens in zip(*prompts, strict=False):
            if len(set(tokens)) > 1:
                break
            length += 1
        # A prefix that leaves no room to a text helps nobody.
        return prompts[0][: max(0, min(length, self._trio.n_ctx - _LEAST_ROOM))]

    def _finish(self, done: Text) -> None:
        done.raise_error()
        attempt = self._running.pop(done)
        unit, first = attempt.unit, attempt.first
        text = unit.answered(done.text.strip())
        recipe = self._recipe
        context = Context(source=recipe.source, target=recipe.target, terms=unit.hints.terms)
        broken = unit.broken(text, context, recipe.unchecked)
        cut = done.stop in ("length", "context")
        outcome = Outcome(
            text,
            (*broken, *flags(unit.text, text, cut, recipe.unchecked)),
            len(done.generated),
            done.weights,
            shots=attempt.shots,
        )
        if first is None and broken and self._recipe.retry:
            self._again.append(_Attempt(unit, outcome))
            return
        self._done.append((unit, outcome if first is None else _better(first, outcome)))


def _better(first: Outcome, second: Outcome) -> Outcome:
    """Of two attempts the one with less to complain of; the first if they are alike."""
    best = second if len(second.reasons) < len(first.reasons) else first
    tokens = first.tokens + second.tokens
    return Outcome(best.text, best.reasons, tokens, best.weights, retried=True, shots=best.shots)
