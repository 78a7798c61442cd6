"""The one loop: `Decoder` steps sequences through a `Trio`, many at a time.

Every role keeps count of what it has cached of each sequence. A step feeds each role what it
lacks, as far as the batch has room; a sequence whose roles have all arrived at its end gets its
next token. A prompt, a chat's new turn, a role that joins late, and a roll-back are then all the
same thing: tokens that a cache lacks. A sequence that chooses its weights by its prompt has logits
made of all of it on the way.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as Ids
from dataclasses import dataclass

import numpy as np

from .errors import TrimixError
from .fusion import Row, Weights, control_from_large, fuse, keep_plausible
from .sequence import Control, Event, Sequence, Stop, Timings
from .speculation import Draft, Speculator
from .trio import Feed, Rows, Trio

__all__ = ["Control", "Decoder", "Event", "Sequence", "Stop", "Timings"]


@dataclass(frozen=True)
class Share:
    """A sequence's part of one step: what its roles are fed, and for how many rows.

    Attributes:
        spans: role -> tokens [start, end) of the sequence; roles that are fed nothing are left out.
        n_rows: logits rows of each span, for its last tokens.
        ready: every role then stands at the end: the sequence gets a token.
        drafts: tokens that may follow those of the sequence; the spans reach into them.
    """

    sequence: Sequence
    spans: dict[str, tuple[int, int]]
    n_rows: int
    ready: bool
    drafts: Ids[int] = ()

    def feed(self, role: str) -> Feed:
        """What `role` is fed."""
        start, end = self.spans[role]
        tokens, length = self.sequence.tokens, len(self.sequence.tokens)
        fed = [*tokens[start:end], *self.drafts[max(start - length, 0) : max(end - length, 0)]]
        return Feed(_slot(self.sequence), np.asarray(fed, np.int32), start, self.n_rows)

    @property
    def start(self) -> int:
        """The position of the first row, the same in every role that gives rows."""
        return next(iter(self.spans.values()))[1] - self.n_rows


class Decoder:
    """Steps up to `trio.n_parallel` sequences; one that is removed leaves its place to another.

    Args:
        trio: the roles; further ones are loaded as weights need them.
        speculator: drafts tokens ahead while a single sequence runs; None steps plainly. The
            trio's `n_outputs` bounds the drafts.
    """

    def __init__(self, trio: Trio, speculator: Speculator | None = None) -> None:
        self.trio, self.speculator = trio, speculator
        if speculator and speculator.draft_role:
            trio.require((speculator.draft_role,))
        self.sequences: list[Sequence] = []
        self.timings = Timings()
        self._free = list(range(trio.n_parallel))[::-1]
        self._shared: Sequence | None = None
        self._row: Row = np.empty(0, np.float32)

    def share(self, tokens: list[int], roles: Iterable[str]) -> None:
        """Evaluate the beginning of many prompts once; sequences that begin with it copy it.

        It takes a place of its own until `unshare`. The last of its tokens is left to each
        sequence: its logits predict what follows, which a sequence that chooses its weights wants.

        Raises:
            ContextFullError: it does not fit.
            TrimixError: no place is free, or a role has no file.
        """
        self.unshare()
        if len(tokens) < 2:
            return
        shared = Sequence(tokens[:-1], Weights(0, 0))
        self.trio.require(roles)
        self._place(shared)
        for role in roles:
            self._catch_up(shared, role, len(shared.tokens))
        self._shared = shared

    def unshare(self) -> None:
        """Free the place of what `share` keeps, if it keeps anything."""
        if self._shared:
            self._leave(self._shared)
            self._shared = None

    def _catch_up(self, sequence: Sequence, role: str, length: int) -> None:
        """Evaluate what `role` lacks of the first `length` tokens, without logits."""
        while (start := sequence.cached.get(role, 0)) < length:
            end = min(start + self.trio.n_batch, length)
            self._evaluate([Share(sequence, {role: (start, end)}, 0, ready=False)])

    def add(self, sequence: Sequence) -> None:
        """Give a sequence a place.

        Raises:
            ContextFullError: its prompt does not fit.
            TrimixError: all places are taken, or its weights need a role that has no file.
        """
        self.trio.require(sequence.roles)
        self._place(sequence)
        shared = self._shared
        if shared and sequence.tokens[: len(shared.tokens)] == shared.tokens:
            for role, length in shared.cached.items():
                self.trio.copy(role, _slot(shared), _slot(sequence), length)
            sequence.restart(sequence.tokens, len(shared.tokens))
            sequence.cached = dict(shared.cached)
        self.sequences.append(sequence)

    def _place(self, sequence: Sequence) -> None:
        if not self._free:
            raise TrimixError(f"all {self.trio.n_parallel} places are taken")
        self.trio.check_length(len(sequence.tokens))
        sequence.slot = self._free.pop()
        sequence.cached = {}

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out and empty its place."""
        self._leave(sequence)
        self.sequences.remove(sequence)

    def _leave(self, sequence: Sequence) -> None:
        self.rewind(sequence, 0)
        self._free.append(_slot(sequence))
        sequence.slot = None

    def rewind(self, sequence: Sequence, length: int) -> None:
        """Cut the caches of a sequence back to at most `length` tokens, alike in every role.

        It also clears what an interrupted step left behind; a choice of weights begins anew.
        """
        if sequence.choosing and sequence.chooser:
            sequence.choosing = sequence.chooser()
            length = min(length, sequence.score_from)
        # The last token is always fed anew: its logits are wanted.
        length = min(length, len(sequence.tokens) - 1)
        # Every loaded role: one whose first batch was interrupted is not in `cached` yet.
        for role in self.trio.roles:
            cached = min(sequence.cached.get(role, 0), length)
            sequence.cached[role] = self.trio.rewind(role, _slot(sequence), cached)

    def continue_with(self, sequence: Sequence, tokens: list[int]) -> int:
        """Make `tokens` the prompt of a sequence that has a place; only what is new is evaluated.

        Returns how many tokens the caches already hold.
        """
        self.trio.check_length(len(tokens))
        self.rewind(sequence, min(_common_prefix(sequence.tokens, tokens), len(tokens) - 1))
        sequence.restart(tokens, max(sequence.cached.values(), default=0))
        return min((sequence.cached.get(role, 0) for role in sequence.roles), default=0)

    def step(self) -> list[Event]:
        """One batch for every role, or one round of drafting and checking; the new tokens."""
        running = [sequence for sequence in self.sequences if sequence.stop is None]
        if not running:
            return []
        began = time.perf_counter()
        draft = self._draft(running)
        if draft and self.speculator:
            events = self._round(running[0], draft)
            seconds = time.perf_counter() - began
            self.speculator.note_round(draft, len(events) - 1, seconds)
            self.timings.note_generation(len(events), seconds)
            return events
        shares = self._plan(running)
        events = []
        for share, rows in zip(shares, self._evaluate(shares), strict=True):
            self._weigh(share, rows)
            if share.ready:
                token = self._choose(share.sequence, {role: r[-1] for role, r in rows.items()})
                events.append(self._accept(share.sequence, token))
        self._count(shares, events, time.perf_counter() - began)
        return events

    def _draft(self, running: list[Sequence]) -> Draft | None:
        """How the next round is drafted, None for a plain step."""
        sequence = running[0]
        if not self.speculator or len(running) > 1 or sequence.choosing:
            return None
        if any(sequence.lacks(role) != 1 for role in sequence.roles):
            return None
        length, limit = len(sequence.tokens), self.trio.n_ctx
        if sequence.max_tokens is not None:
            limit = min(limit, sequence.n_prompt + sequence.max_tokens)
        most = min(self.trio.n_outputs, self.trio.n_batch, limit - length) - 1
        return self.speculator.plan(sequence, most)

    def _round(self, sequence: Sequence, draft: Draft) -> list[Event]:
        """Draft some tokens, check them all in one batch, keep those that plain steps would give.

        Each row is fused and sampled with the tokens that really stand before it, and the noise
        is a function of the position, so nothing shows that the tokens were guessed first.
        """
        at, n_rows, drafts = len(sequence.tokens) - 1, draft.depth + 1, list(draft.guesses)
        kept: dict[str, list[Row]] = {role: [] for role in draft.steps}
        for role in draft.steps:
            self._catch_up(sequence, role, at)  # a drafter that takes no part in the fusion
        for i in range(n_rows if draft.steps else 0):
            spans = dict.fromkeys(draft.steps, (at + i, at + i + 1))
            (rows,) = self._evaluate([Share(sequence, spans, 1, ready=False, drafts=drafts)])
            last = {role: r[-1].copy() for role, r in rows.items()}
            for role, row in last.items():
                kept[role].append(row)
            if i < draft.depth:
                row = fuse(last, draft.steps, self._buffer())
                drafts.append(sequence.sampler.pick(row, [*sequence.tokens, *drafts], at + i + 1))
        spans = {role: (at, at + n_rows) for role in sequence.roles if role not in draft.steps}
        checked: dict[str, Rows] = {}
        if spans:
            (checked,) = self._evaluate([Share(sequence, spans, n_rows, False, drafts)])
        events = []
        for i in range(n_rows):
            row_of = {role: (kept.get(role) or checked[role])[i] for role in sequence.roles}
            token = self._choose(sequence, row_of)
            if i < draft.depth:
                token = self._settle(token, drafts[i])
            events.append(self._accept(sequence, token))
            if sequence.stop is not None or i == draft.depth or token != drafts[i]:
                break
        self.rewind(sequence, len(sequence.tokens))
        return events

    def _settle(self, token: int, draft: int) -> int:
        """What stands where `draft` was guessed and `token` is right; `bench` simulates others."""
        return token

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

    def _plan(self, running: list[Sequence]) -> list[Share]:
        """The next batch of every role, shared out among the sequences."""
        room = dict.fromkeys(self.trio.roles, self.trio.n_batch)
        rows_left = self.trio.n_outputs
        shares = []
        # Who lacks least goes first, so that a long prompt does not hold up the others.
        for sequence in sorted(running, key=lambda s: max(map(s.lacks, s.roles))):
            share = _share(sequence, room, rows_left)
            for role, (start, end) in share.spans.items():
                room[role] -= end - start
            rows_left -= share.n_rows
            shares.append(share)
        return shares

    def _evaluate(self, shares: list[Share]) -> list[dict[str, Rows]]:
        """Decode one batch; for each share its rows, by role: shape [n_rows, n_tokens]."""
        feeds: dict[str, list[Feed]] = {}
        for share in shares:
            for role in share.spans:
                feeds.setdefault(role, []).append(share.feed(role))
        rows = self.trio.decode(feeds)
        at = dict.fromkeys(feeds, 0)
        done: list[dict[str, Rows]] = []
        for share in shares:
            own = {}
            for role, (_, end) in share.spans.items():
                share.sequence.cached[role] = end
                own[role] = rows[role][at[role] : at[role] + share.n_rows]
                at[role] += share.n_rows
            done.append(own)
        return done

    def _weigh(self, share: Share, rows: dict[str, Rows]) -> None:
        """Let a sequence that is choosing its weights see its rows; choose at the prompt's end."""
        sequence, choosing = share.sequence, share.sequence.choosing
        if choosing is None:
            return
        n_scored = share.n_rows - share.ready
        if choosing.every_position and n_scored:
            first = share.start + 1
            targets = np.asarray(sequence.tokens[first : first + n_scored], np.int32)
            choosing.add({role: r[:n_scored] for role, r in rows.items()}, targets)
        if share.ready:
            sequence.weights = choosing.choose({role: r[-1] for role, r in rows.items()})
            sequence.choosing = None

    def _choose(self, sequence: Sequence, rows: dict[str, Row]) -> int:
        """The next token, by the rows of one position."""
        coefficients = sequence.weights.coefficients
        row = fuse(rows, coefficients, self._buffer())
        if sequence.plausibility:
            keep_plausible(row, rows[sequence.plausibility.role], sequence.plausibility.threshold)
        if sequence.control == "large" and "large" in coefficients and len(coefficients) > 1:
            control_from_large(row, rows["large"], self.trio.alignment.control, out=row)
        return sequence.sampler.pick(row, sequence.tokens, len(sequence.tokens))

    def _buffer(self) -> Row:
        """Where a row is fused; its length is known when a role is loaded."""
        if len(self._row) != self.trio.n_tokens:
            self._row = np.empty(self.trio.n_tokens, np.float32)
        return self._row

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

    def _count(self, shares: list[Share], events: list[Event], seconds: float) -> None:
        """A step that fed more than one token to a sequence counts as prompt evaluation."""
        sizes: dict[str, int] = {}
        for share in shares:
            for role, (start, end) in share.spans.items():
                sizes[role] = sizes.get(role, 0) + end - start
        if any(end - start > 1 for share in shares for start, end in share.spans.values()):
            self.timings.prompt_seconds += seconds
            self.timings.prompt_tokens += max(sizes.values())
            return
        self.timings.note_generation(len(events), seconds)
        if self.speculator and len(shares) == 1:
            self.speculator.note_step(seconds, self.trio.seconds)


def _share(sequence: Sequence, room: Mapping[str, int], rows_left: int) -> Share:
    """What one sequence is fed, given each role's `room` in the batch and for logits rows."""
    roles, length = sequence.roles, len(sequence.tokens)
    start = {role: sequence.cached.get(role, 0) for role in roles}
    level = max(start.values())
    if sequence.choosing and sequence.choosing.every_position:
        # Its roles draw level first; then each row comes from all of them in the same step.
        n_rows, end = 0, level
        if min(start.values()) == level:
            n_rows = min(length - level, rows_left, *(room[role] for role in roles))
            end = level + n_rows
        ready = end == length
    else:
        ready = rows_left > 0 and all(length - start[role] <= room[role] for role in roles)
        # The last token waits until every role can take it: its logits are fused at once.
        n_rows, end = int(ready), length if ready else length - 1
    spans = {role: (start[role], min(start[role] + room[role], end)) for role in roles}
    fed = {role: (first, last) for role, (first, last) in spans.items() if last > first}
    return Share(sequence, fed, n_rows, ready)


def _slot(sequence: Sequence) -> int:
    assert sequence.slot is not None, "the sequence has no place"
    return sequence.slot


def _common_prefix(left: list[int], right: list[int]) -> int:
    limit = min(len(left), len(right))
    return next((i for i in range(limit) if left[i] != right[i]), limit)
