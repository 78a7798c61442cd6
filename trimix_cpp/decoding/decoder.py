"""The one loop: `Decoder` steps texts through a `Trio`, many at a time.

Every role keeps count of what it has cached of each text. A step feeds each role what it lacks, as
far as the batch has room; a text whose roles have all arrived at its end gets its next token. A
prompt, a chat's new turn, a role that joins late, and a roll-back are then all the same thing:
tokens that a cache lacks. Rows of a prompt that somebody looks at come on the way.

Texts are submitted and cancelled by any thread; one thread at a time steps. What goes wrong with a
text ends that text alone. What a text had in the caches is kept when it leaves, for others that
begin alike.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from ..errors import AbortedError, FullError, TrimixError
from ..files import Closing
from ..fusion import Row
from ..llama import interrupts_deferred
from .engine import Engine
from .parts import Part, lanes_of, shared_out
from .placing import pin, place, prepare
from .prefixes import Held
from .rounds import Rounds
from .speculation import MOST_TOGETHER, Speculator
from .text import Event, Stop, Text, Timings
from .trio import Trio


class Decoder(Closing):
    """Steps up to `trio.n_parallel` texts; others wait for a place. A context manager.

    Several decoders may share a trio, and its places.

    Args:
        trio: the roles; further ones are loaded as weights need them.
        speculator: drafts tokens ahead while few texts run; None steps plainly. The trio's
            `n_outputs` bounds the drafts.
        keep: what texts had in the caches is kept for later ones when they leave.

    Attributes:
        running: the texts that have a place.
    """

    def __init__(
        self, trio: Trio, speculator: Speculator | None = None, *, keep: bool = True
    ) -> None:
        self.trio, self.speculator, self.keep = trio, speculator, keep
        if speculator and speculator.draft_role:
            trio.require((speculator.draft_role,))
        self.running: list[Text] = []
        self._waiting: deque[Text] = deque()
        self._inbox = threading.Lock()
        self._events: list[Event] = []
        self._engine = Engine(trio)
        self._unsettled = self._is_stepping = self._closed = self._looks = False

    @property
    def timings(self) -> Timings:
        """Of all steps so far."""
        return self._engine.timings

    def submit(self, text: Text) -> None:
        """Let a text wait for a place; from any thread.

        What is wrong with it ends it when its turn comes: `stop` is then "error".

        Raises:
            ValueError: it was submitted before, or a token is none, or the decoder is closed.
        """
        n_tokens = self.trio.n_tokens
        if not all(0 <= token < n_tokens for token in text.tokens):
            raise ValueError(f"a token is not among the {n_tokens} shared ones")
        with self._inbox:
            if self._closed:
                raise ValueError("the decoder is closed")
            if text.submitted:
                raise ValueError("the text was submitted before")
            text.submitted = True
            self._waiting.append(text)

    def cancel(self, text: Text) -> None:
        """End a text before the next step; from any thread, or a signal's handler.

        The batch that is evaluated is left, where no other text is in it.
        """
        text.cancelled = True
        feeding = self._engine.feeding
        if feeding and all(other.cancelled for other in feeding):
            self.trio.abort()

    def fork(self, text: Text, tokens: Sequence[int], **changes: Any) -> Text:
        """Submit another text of the kind of `text`, which shares what both begin with."""
        fresh: dict[str, Any] = {"tokens": list(tokens), "chooser": None, "observers": ()}
        forked = replace(text, **{**fresh, **changes})
        self.submit(forked)
        return forked

    def step(self) -> list[Event]:
        """One batch for every role, or one round of drafting and checking; what came of it.

        Only what is nobody's fault is raised, such as Ctrl-C: the next step goes on from there, and
        gives what this one would have.
        """
        with self.trio.lock:
            self._settle()
            self._end_cancelled()
            self._part()
            self._is_stepping = True
            try:
                if self._waiting:
                    self._admit()
                if self.running:
                    self._advance()
            finally:
                self._is_stepping = False
            self._part()
            events, self._events = self._events, []
            return events

    def run(self, texts: Iterable[Text]) -> Iterator[Text]:
        """Decode any number of texts, as many at a time as there are places, as they end.

        Those that fail come too, with their `error`. Whoever stops taking cancels the others.

        Raises:
            FullError: others have all the places.
        """
        coming, own, more = iter(texts), list[Text](), True
        try:
            while own or more:
                while more and len(own) < self.trio.n_parallel:
                    text = next(coming, None)
                    if text is None:
                        more = False
                    else:
                        self.submit(text)
                        own.append(text)
                if own:
                    self._proceed()
                for text in [text for text in own if text.stop]:
                    own.remove(text)
                    yield text
        finally:
            for text in own:
                self.drop(text)

    def stream(self, text: Text) -> Iterator[str]:
        """Step until `text` ends; its text as it becomes certain. Submits it if nobody did.

        Raises:
            FullError: others have all the places.
            TrimixError: what ended the text.
        """
        if not text.submitted:
            self.submit(text)
        while True:
            yield from text.take()
            if text.stop:
                break
            self._proceed()
        text.raise_error()

    def pin(self, tokens: Sequence[int], roles: Iterable[str]) -> Held:
        """Evaluate the beginning of many prompts once, and keep it until `unpin`.

        It takes a place. Where rows are wanted of what follows it, its last token is left out: its
        row predicts the first one.

        Raises:
            ContextFullError: it does not fit.
            TrimixError: no place is free, or a role has no file.
        """
        with self.trio.lock:
            return pin(self._engine, tokens, roles)

    def unpin(self, held: Held) -> None:
        """Give back the place of what `pin` keeps."""
        with self.trio.lock:
            self.trio.prefixes.drop(held).close()

    def close(self) -> None:
        """Cancel the texts, and give back their places; harmless when done twice."""
        with self._inbox:
            self._closed = True
            texts = [*self.running, *self._waiting]
        for text in texts:
            self.cancel(text)
        self._sweep()

    def drop(self, text: Text) -> None:
        """Cancel a text if it has not ended, and give its place back at once."""
        self.cancel(text)
        self._sweep()

    def _sweep(self) -> None:
        with self.trio.lock:
            if not self._is_stepping:  # from within a step, as the collector of garbage calls it
                self._settle()
                self._end_cancelled()
                self._part()

    def _proceed(self) -> None:
        """A step that must get somewhere."""
        if not self.step() and self._waiting and not self.running:
            raise FullError(f"all {self.trio.n_parallel} places are taken")

    def _settle(self) -> None:
        """Bring the caches back to where the texts stand, if a step was interrupted."""
        if self._unsettled:
            for text in self.running:
                lanes_of(text).rewind(text.wants)
            self._unsettled = False

    def _end_cancelled(self) -> None:
        for text in self.running:
            if text.cancelled:
                self._end(text, "cancelled")
        if not self._waiting:
            return
        with self._inbox:
            cancelled = [text for text in self._waiting if text.cancelled]
        for text in cancelled:
            self._end(text, "cancelled")
            self._waiting.remove(text)

    def _admit(self) -> None:
        """Give places to those who wait, in order, as far as there are some."""
        while self._waiting:
            text = self._waiting[0]
            if text.stop:  # it was told already, when something came between
                self._waiting.popleft()
                continue
            try:
                prepare(self.trio, text)
                # Between these no Ctrl-C: a text would be lost, or a place.
                with interrupts_deferred():
                    place(self.trio, text, self.running)
                    self.running.append(self._waiting.popleft())
            except FullError:
                return
            except TrimixError as error:
                self._fail(text, error)

    def _advance(self) -> None:
        """Evaluate one batch, or one round, and take what comes of it."""
        self._unsettled = True
        speculator = self.speculator
        self._engine.costs = speculator.costs if speculator else None
        began, n_texts = time.perf_counter(), len(self.running)
        try:
            drafts = speculator is not None and self._may_draft()
            if not (drafts or n_texts == 1) or not self._are_ready():
                self._batch(began)
            elif not (speculator and drafts):
                self._step(began)
            elif not self._draft(speculator, began):
                self._looks = speculator.looks(n_texts)
                self._step(began)
                speculator.note_step(time.perf_counter() - began, n_texts)
        except AbortedError:
            return  # the next step begins where this one did
        except TrimixError as error:
            for text in self.running:
                self._fail(text, error)
        finally:
            self._looks = False
        self._unsettled = False

    def _are_ready(self) -> bool:
        """Whether all that runs is evaluated but for its last tokens."""
        return all(
            not text.is_looking and text.max_tokens != 0 and {*map(text.lacks, text.roles)} == {1}
            for text in self.running
        )

    def _may_draft(self) -> bool:
        """Whether few enough texts run, and by the same weights."""
        first, *others = self.running
        return len(others) < MOST_TOGETHER and all(text.weights == first.weights for text in others)

    def _draft(self, speculator: Speculator, began: float) -> bool:
        """The next tokens by drafting, where that pays."""
        texts = list(self.running)
        rounds = Rounds(self._engine, speculator, self._accept, self._fail)
        if not (draft := rounds.plan(texts)):
            return False
        before = [len(text.tokens) for text in texts]
        rights = rounds.run(texts, draft)
        seconds = time.perf_counter() - began
        for timings in (self.timings, *(text.timings for text in texts)):
            timings.generation_seconds += seconds
        for text, right, length in zip(texts, rights, before, strict=True):
            speculator.note_round(draft, right, len(text.tokens) - length)
        return True

    def _step(self, began: float) -> None:
        """The next token of every text."""
        if len(self.running) > 1:
            self._batch(began)
            return
        (text,) = self.running
        self._go_on(text, self._engine.step(text, text.roles, text.tokens, len(text.tokens)))
        seconds = time.perf_counter() - began
        for timings in (self.timings, text.timings):
            timings.generation_seconds += seconds

    def _batch(self, began: float) -> None:
        room = dict.fromkeys(self.trio.roles, self.trio.n_batch)
        prefill = self.trio.options.n_prefill
        parts = shared_out(self.running, room, self.trio.n_outputs, prefill)
        for part, rows in zip(parts, self._engine.evaluate(parts), strict=True):
            try:
                self._take(part, rows)
            except TrimixError as error:
                self._fail(part.text, error)
        self._engine.count(parts, time.perf_counter() - began)

    def _take(self, part: Part, rows: dict[str, Any]) -> None:
        """Let the observers of a text see its rows; give it its next token if it is ready."""
        text, looked = part.text, part.text.is_looking
        if looked and part.n_rows:
            with interrupts_deferred():  # each position is shown once
                text.show(part.start, rows, self.trio.alignment.of(text.roles).lacked)
        if text.max_tokens == 0:
            if not text.is_looking and (looked or not any(map(text.lacks, text.roles))):
                self._end(text, "length")
        elif part.is_ready and not rows.keys() >= set(text.roles):
            lanes_of(text).rewind(text.wants)  # it chose weights of roles that were not looked at
        elif part.is_ready:
            self._go_on(text, {role: own[-1] for role, own in rows.items()})

    def _go_on(self, text: Text, rows: dict[str, Row]) -> None:
        """Give a text the token that the rows of its last position give."""
        token = self._engine.pick(text, rows)
        if self._looks and self.speculator and not text.plausibility:
            self.speculator.look(text, rows, self._engine.row, token)
        self._accept(text, token)

    def _accept(self, text: Text, token: int) -> None:
        text.tokens.append(token)
        text.wants = len(text.tokens) - 1
        n_generated = len(text.tokens) - text.n_prompt
        for timings in (self.timings, text.timings):
            timings.generated_tokens += 1
            timings.first_tokens += n_generated == 1
        is_end = token in self.trio.alignment.ends(text.weights.roles)
        piece = "" if is_end else text.stream.push(self.trio.piece(token))
        stop: Stop | None = None
        if is_end and not text.ignore_ends:
            stop = "end"
        elif text.stream.stopped:
            stop = "stop"
        elif n_generated == text.max_tokens:
            stop = "length"
        elif lanes_of(text).length(text.roles, text.tokens) >= self.trio.n_ctx:
            stop = "context"
        if stop:
            piece += text.stream.finish()
        text.pieces.append(piece)
        text.stop = stop
        self._events.append(Event(text, (token,), piece, tuple(text.scores[n_generated - 1 :])))

    def _fail(self, text: Text, error: TrimixError) -> None:
        text.error = error
        self._end(text, "error")

    def _end(self, text: Text, stop: Stop) -> None:
        """End a text by no token."""
        if text.stop is None:
            piece = text.stream.finish()
            text.pieces.append(piece)
            text.stop = stop
            self._events.append(Event(text, (), piece))

    def _part(self) -> None:
        """Take out the texts that ended; what they have in the caches is kept, or emptied."""
        for text in [text for text in self.running if text.stop is not None]:
            with interrupts_deferred():
                self.running.remove(text)
                lanes, text.lanes = lanes_of(text), None
                if self.keep and text.stop != "error" and not self._closed:
                    lanes.settle()
                    self.trio.prefixes.keep(Held(text.tokens, lanes))
                else:
                    lanes.close()
