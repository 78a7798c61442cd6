"""The one loop: `Decoder` steps sequences through a `Trio`, many at a time.

Every role keeps count of what it has cached of each sequence. A step feeds each role what it
lacks, as far as the batch has room; a sequence whose roles have all arrived at its end gets its
next token. A prompt, a chat's new turn, a role that joins late, and a roll-back are then all the
same thing: tokens that a cache lacks. A sequence that chooses its weights by its prompt has logits
made of all of it on the way.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import numpy as np

from ..errors import TrimixError
from ..fusion import Row, Rows, Weights, control_from_large, fuse, keep_plausible
from .draft_costs import Costs
from .draft_guesses import Offset
from .sequence import Control, Event, Sequence, Stop, Timings
from .shares import Share, share_of, slot_of
from .speculation import Draft, Speculator
from .trio import Feed, Trio

__all__ = ["Control", "Decoder", "Event", "Sequence", "Stop", "Timings"]


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
        self._costs = Costs()

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
                self.trio.copy(role, slot_of(shared), slot_of(sequence), length)
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
        self._free.append(slot_of(sequence))
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
            sequence.cached[role] = self.trio.rewind(role, slot_of(sequence), cached)

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
        if self._is_alone(running):
            return self._extend(running[0], began)
        shares = self._plan(running)
        events = []
        for share, rows in zip(shares, self._evaluate(shares), strict=True):
            self._weigh(share, rows)
            if share.ready:
                token = self._choose(share.sequence, {role: r[-1] for role, r in rows.items()})
                events.append(self._accept(share.sequence, token))
        self._count(shares, events, time.perf_counter() - began)
        return events

    def _is_alone(self, running: list[Sequence]) -> bool:
        """Whether one sequence runs, evaluated but for its last token."""
        sequence = running[0]
        if len(running) > 1 or sequence.choosing:
            return False
        return all(sequence.lacks(role) == 1 for role in sequence.roles)

    def _extend(self, sequence: Sequence, began: float) -> list[Event]:
        """The next token of a sequence that is alone, or the next ones by drafting."""
        speculator = self.speculator
        draft = speculator and self._draft(sequence, speculator)
        if draft and speculator:
            events, right = self._round(sequence, draft, speculator)
        else:
            rows = self._step_roles(sequence, sequence.roles, sequence.tokens[-1])
            token = self._choose(sequence, rows)
            if speculator and not sequence.plausibility:
                speculator.look(sequence, rows, self._row, token)
            events = [self._accept(sequence, token)]
        seconds = time.perf_counter() - began
        self.timings.note_generation(len(events), seconds)
        if speculator and draft:
            speculator.note_round(draft, right, len(events), seconds)
        elif speculator:
            speculator.note_step(seconds)
        return events

    def _draft(self, sequence: Sequence, speculator: Speculator) -> Draft | None:
        """How the next round is drafted, None for a plain step."""
        limit = self.trio.n_ctx
        if sequence.max_tokens is not None:
            limit = min(limit, sequence.n_prompt + sequence.max_tokens)
        room = limit - len(sequence.tokens)
        most = min(self.trio.n_outputs, self.trio.n_batch, room) - 1
        return speculator.plan(sequence, most, self._costs)

    def _round(
        self, sequence: Sequence, draft: Draft, speculator: Speculator
    ) -> tuple[list[Event], int]:
        """Draft some tokens, check them all in one batch, keep those that plain steps would give.

        Each row is fused and sampled with the tokens that really stand before it, and the noise
        is a function of the position, so nothing shows that the tokens were guessed first.
        Also returns how many drafts were right.
        """
        at, n_rows = len(sequence.tokens) - 1, draft.depth + 1
        offset, learns = speculator.offset(draft.name), not sequence.plausibility
        drafts, kept, drafted = self._guess(sequence, draft, offset)
        spans = {role: (at, at + n_rows) for role in sequence.roles if role not in kept}
        checked: dict[str, Rows] = {}
        if spans:
            (checked,) = self._evaluate([Share(sequence, spans, n_rows, False, drafts)])
        events: list[Event] = []
        right = 0
        while sequence.stop is None and right == len(events):
            if right == draft.depth and not kept.keys().isdisjoint(sequence.roles):
                self._step_drafters(sequence, drafts, kept)  # all were right: one more token comes
            rows = {role: (kept.get(role) or checked[role])[right] for role in sequence.roles}
            token = self._choose(sequence, rows)
            if right < draft.depth:
                token = speculator.settle(token, drafts[right])
                if drafted and learns:
                    offset.note(self._row, drafted[right])
            events.append(self._accept(sequence, token))
            right += right < draft.depth and token == drafts[right]
        self.rewind(sequence, len(sequence.tokens))
        return events, right

    def _guess(
        self, sequence: Sequence, draft: Draft, offset: Offset
    ) -> tuple[list[int], dict[str, list[Row]], list[Row]]:
        """Tokens that may come; the rows of the stepped roles; what each was drafted from.

        The roles are fed all but the last draft; what a token was drafted from is without `offset`.
        """
        drafts, drafted = list(draft.guesses), list[Row]()
        kept: dict[str, list[Row]] = {role: [] for role in draft.steps}
        for role in draft.steps:  # one that takes no part in the fusion lags behind
            self._catch_up(sequence, role, len(sequence.tokens) - 1)
        while len(drafts) < draft.depth:
            last = self._step_drafters(sequence, drafts, kept)
            drafted.append(fuse(last, draft.steps, np.empty_like(self._buffer())))
            before, row = [*sequence.tokens, *drafts], offset.add_to(drafted[-1])
            drafts.append(sequence.sampler.pick(row, before, len(before)))
        return drafts, kept, drafted

    def _step_drafters(
        self, sequence: Sequence, drafts: list[int], kept: dict[str, list[Row]]
    ) -> dict[str, Row]:
        """Step the roles of `kept` by one position; their rows, which `kept` holds from then on."""
        ahead = sequence.cached.get(next(iter(kept)), 0) - len(sequence.tokens)
        token = drafts[ahead] if ahead >= 0 else sequence.tokens[-1]
        rows = self._step_roles(sequence, tuple(kept), token)
        for role, row in rows.items():
            kept[role].append(row.copy())
        return {role: own[-1] for role, own in kept.items()}

    def _step_roles(self, sequence: Sequence, roles: tuple[str, ...], token: int) -> dict[str, Row]:
        """Feed one token to roles that have what stands before it; their rows [n_tokens]."""
        position = sequence.cached.get(roles[0], 0)
        feed = [Feed(slot_of(sequence), (token,), position, 1)]
        rows = self.trio.decode(dict.fromkeys(roles, feed))
        for role in roles:
            sequence.cached[role] = position + 1
            if self.speculator:
                self._costs.note(role, 1, self.trio.seconds[role])
        return {role: own[-1] for role, own in rows.items()}

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
        if len(running) > 1:
            running = sorted(running, key=lambda s: max(map(s.lacks, s.roles)))
        for sequence in running:
            share = share_of(sequence, room, rows_left)
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
        if self.speculator and len(shares) == 1:
            for role, (start, end) in shares[0].spans.items():
                self._costs.note(role, end - start, self.trio.seconds[role])
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


def _common_prefix(left: list[int], right: list[int]) -> int:
    limit = min(len(left), len(right))
    return next((i for i in range(limit) if left[i] != right[i]), limit)
