"""The one loop: `Decoder` steps sequences through a `Trio`, many at a time.

Every role keeps count of what it has cached of each sequence. A step feeds each role what it
lacks, as far as the batch has room; a sequence whose roles have all arrived at its end gets its
next token. A prompt, a chat's new turn, a role that joins late, and a roll-back are then all the
same thing: tokens that a cache lacks. `n_logits` of a feed leaves room for a speculative decoder.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .errors import TrimixError
from .fusion import Row, Weights, control_from_large, fuse
from .sampling import Sampler
from .text import TextStream
from .trio import Feed, Rows, Trio

Control = Literal["fused", "large"]
Stop = Literal["end", "stop", "length", "context"]


@dataclass(eq=False)
class Sequence:
    """One text in the making.

    Attributes:
        tokens: ids so far, the prompt first.
        weights: of this sequence; its roles follow from them.
        sampler: of this sequence.
        control: whose probabilities control tokens have; "large" ends chats, "fused" is the paper.
        max_tokens: most tokens to generate; None for as many as the context holds.
        stops: strings that end the text; they are not part of it.
        stop: why it ended, None while it runs: "end" an end-of-generation token, "stop" a stop
            string, "length" `max_tokens`, "context" the context is full.
        n_prompt: length of the prompt in tokens.
        cached: role -> how many of `tokens` are in its cache.
    """

    tokens: list[int]
    weights: Weights
    sampler: Sampler = field(default_factory=Sampler)
    control: Control = "fused"
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    stop: Stop | None = field(default=None, init=False)
    n_prompt: int = field(default=0, init=False)
    stream: TextStream = field(default_factory=TextStream, init=False)
    cached: dict[str, int] = field(default_factory=dict, init=False)
    slot: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.restart(self.tokens)

    def restart(self, tokens: list[int]) -> None:
        """Take `tokens` as a new prompt; what the caches share with it stays cached.

        The decoder's `rewind` must have cut the caches back to the common beginning.
        """
        if not tokens:
            raise TrimixError("the prompt is empty")
        self.tokens = list(tokens)
        self.n_prompt = len(tokens)
        self.stream = TextStream(self.stops)
        self.stop = None

    @property
    def generated(self) -> list[int]:
        """The ids after the prompt, an end-of-generation token included."""
        return self.tokens[self.n_prompt :]

    @property
    def text(self) -> str:
        """The text generated so far, whole characters only."""
        return self.stream.text


@dataclass(frozen=True)
class Event:
    """What one step did to one sequence: its new token and the text that is now certain."""

    sequence: Sequence
    token: int
    text: str


@dataclass
class Timings:
    """Seconds spent, by kind; tokens fed to the widest role."""

    prompt_seconds: float = 0.0
    prompt_tokens: int = 0
    generation_seconds: float = 0.0
    generated_tokens: int = 0

    @property
    def prompt_speed(self) -> float:
        """Tokens a second of the steps that evaluated a prompt; 0 without any."""
        return self.prompt_tokens / self.prompt_seconds if self.prompt_seconds else 0.0

    @property
    def speed(self) -> float:
        """Tokens a second of the steps that only generated; 0 without any."""
        return self.generated_tokens / self.generation_seconds if self.generation_seconds else 0.0


class Decoder:
    """Steps up to `trio.n_parallel` sequences; one that is removed leaves its place to another."""

    def __init__(self, trio: Trio) -> None:
        self.trio = trio
        self.sequences: list[Sequence] = []
        self.timings = Timings()
        self._free = list(range(trio.n_parallel))[::-1]
        self._row: Row = np.empty(0, np.float32)

    def add(self, sequence: Sequence) -> None:
        """Give a sequence a place.

        Raises:
            ContextFullError: its prompt does not fit.
            TrimixError: all places are taken, or its weights need a role that has no file.
        """
        if not self._free:
            raise TrimixError(f"all {self.trio.n_parallel} places are taken")
        self.trio.require(sequence.weights.roles)
        self.trio.check_length(len(sequence.tokens))
        sequence.slot = self._free.pop()
        sequence.cached = {}
        self.sequences.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out and empty its place."""
        self.rewind(sequence, 0)
        self.sequences.remove(sequence)
        if sequence.slot is not None:
            self._free.append(sequence.slot)
        sequence.slot = None

    def rewind(self, sequence: Sequence, length: int) -> None:
        """Cut the caches of a sequence back to at most `length` tokens, alike in every role.

        It also clears what an interrupted step left behind.
        """
        assert sequence.slot is not None, "the sequence has no place"
        # Every loaded role: one whose first batch was interrupted is not in `cached` yet.
        for role in self.trio.roles:
            cached = min(sequence.cached.get(role, 0), length)
            sequence.cached[role] = self.trio.rewind(role, sequence.slot, cached)

    def continue_with(self, sequence: Sequence, tokens: list[int]) -> int:
        """Make `tokens` the prompt of a sequence that has a place; only what is new is evaluated.

        Returns how many tokens the caches already hold.
        """
        self.trio.check_length(len(tokens))
        # The last token is always fed anew: its logits are wanted.
        common = min(_common_prefix(sequence.tokens, tokens), len(tokens) - 1)
        self.rewind(sequence, common)
        sequence.restart(tokens)
        return min((sequence.cached.get(role, 0) for role in sequence.weights.roles), default=0)

    def step(self) -> list[Event]:
        """One batch for every role; events of the sequences that got a token."""
        running = [sequence for sequence in self.sequences if sequence.stop is None]
        if not running:
            return []
        began = time.perf_counter()
        feeds, ready = self._plan(running)
        rows = self.trio.decode(feeds)
        by_slot = {sequence.slot: sequence for sequence in running}
        for role, role_feeds in feeds.items():
            for feed in role_feeds:
                by_slot[feed.slot].cached[role] = feed.start + len(feed.tokens)
        at = dict.fromkeys(feeds, 0)
        events = []
        for sequence in ready:
            row = {role: rows[role][at[role]] for role in sequence.weights.roles}
            for role in row:
                at[role] += 1
            events.append(self._accept(sequence, self._choose(sequence, row)))
        self._count(feeds, events, time.perf_counter() - began)
        return events

    def run(self, sequences: Iterable[Sequence]) -> Iterator[Sequence]:
        """Decode any number of sequences, as many at a time as there are places, as they end."""
        waiting = iter(sequences)
        pending = next(waiting, None)
        while pending is not None or self.sequences:
            while pending is not None and self._free:
                self.add(pending)
                pending = next(waiting, None)
            self.step()
            for sequence in [s for s in self.sequences if s.stop is not None]:
                self.remove(sequence)
                yield sequence

    def stream(self, sequence: Sequence) -> Iterator[str]:
        """Step until `sequence`, which has a place, ends; its text as it becomes certain."""
        while sequence.stop is None:
            for event in self.step():
                if event.sequence is sequence and event.text:
                    yield event.text

    def _plan(self, running: list[Sequence]) -> tuple[dict[str, list[Feed]], list[Sequence]]:
        """What each role is fed in this step, and which sequences then stand at their end."""
        room = dict.fromkeys(self.trio.roles, self.trio.n_batch)
        feeds: dict[str, list[Feed]] = {}
        ready = []
        # Who lacks least goes first, so that a long prompt does not hold up the others.
        for sequence in sorted(running, key=_lacking):
            roles, length = sequence.weights.roles, len(sequence.tokens)
            fits = all(length - sequence.cached.get(role, 0) <= room[role] for role in roles)
            if fits:
                ready.append(sequence)
            for role in roles:
                start = sequence.cached.get(role, 0)
                # The last token waits until every role can take it: its logits are fused at once.
                end = length if fits else min(start + room[role], length - 1)
                if end > start:
                    feeds.setdefault(role, []).append(_feed(sequence, start, end, int(fits)))
                    room[role] -= end - start
        return feeds, ready

    def _choose(self, sequence: Sequence, rows: dict[str, Rows]) -> int:
        if len(self._row) != self.trio.n_tokens:
            self._row = np.empty(self.trio.n_tokens, np.float32)
        row = fuse(rows, sequence.weights.coefficients, self._row)
        if sequence.control == "large" and "large" in rows and len(rows) > 1:
            control_from_large(row, rows["large"], self.trio.alignment.control, out=row)
        return sequence.sampler.pick(row, sequence.tokens, len(sequence.tokens))

    def _accept(self, sequence: Sequence, token: int) -> Event:
        sequence.tokens.append(token)
        text = ""
        if token in self.trio.alignment.end_of_generation:
            sequence.stop = "end"
        else:
            text = sequence.stream.push(self.trio.piece(token))
            if sequence.stream.stopped:
                sequence.stop = "stop"
            elif len(sequence.tokens) - sequence.n_prompt == sequence.max_tokens:
                sequence.stop = "length"
            elif len(sequence.tokens) >= self.trio.n_ctx:
                sequence.stop = "context"
        if sequence.stop is not None:
            text += sequence.stream.finish()
        return Event(sequence, token, text)

    def _count(self, feeds: dict[str, list[Feed]], events: list[Event], seconds: float) -> None:
        """A step that fed more than one token to a sequence counts as prompt evaluation."""
        widest = max((sum(len(f.tokens) for f in fs) for fs in feeds.values()), default=0)
        if any(len(feed.tokens) > 1 for fs in feeds.values() for feed in fs):
            self.timings.prompt_seconds += seconds
            self.timings.prompt_tokens += widest
        else:
            self.timings.generation_seconds += seconds
            self.timings.generated_tokens += len(events)


def _lacking(sequence: Sequence) -> int:
    length = len(sequence.tokens)
    return max(length - sequence.cached.get(role, 0) for role in sequence.weights.roles)


def _feed(sequence: Sequence, start: int, end: int, n_logits: int) -> Feed:
    assert sequence.slot is not None, "the sequence has no place"
    return Feed(sequence.slot, np.asarray(sequence.tokens[start:end], np.int32), start, n_logits)


def _common_prefix(left: list[int], right: list[int]) -> int:
    limit = min(len(left), len(right))
    return next((i for i in range(limit) if left[i] != right[i]), limit)
