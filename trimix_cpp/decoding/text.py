"""One text in the making, and what a step says of it. No model is touched here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..errors import TrimixError
from ..fusion import Ids, Plausibility, Rows, Sampler, Scored, Weights
from .stream import TextStream

if TYPE_CHECKING:
    from ..fusion import Observer
    from .lanes import Lanes

Control = Literal["fused", "large"]
Stop = Literal["end", "stop", "length", "context", "cancelled", "error"]


@dataclass
class Timings:
    """Tokens, and the seconds that they took; of a decoder, or of one text among others.

    Attributes:
        prompt_tokens: fed to the widest role, more than one at a time.
        prompt_seconds: of steps that evaluated prompts; a decoder's step that also generated is
            divided by tokens.
        generated_tokens: all that came.
        first_tokens: of these, what came with the end of a prompt's evaluation.
        generation_seconds: what the others took.
        models, fusion, sampling: seconds of all steps by what they were spent on (a decoder's).
    """

    prompt_tokens: int = 0
    prompt_seconds: float = 0.0
    generated_tokens: int = 0
    first_tokens: int = 0
    generation_seconds: float = 0.0
    models: float = 0.0
    fusion: float = 0.0
    sampling: float = 0.0

    @property
    def prompt_speed(self) -> float:
        """Prompt tokens a second; 0 without any."""
        return self.prompt_tokens / self.prompt_seconds if self.prompt_seconds else 0.0

    @property
    def speed(self) -> float:
        """Generated tokens a second, the first ones left out; 0 without any."""
        stepped = self.generated_tokens - self.first_tokens
        return stepped / self.generation_seconds if self.generation_seconds else 0.0


@dataclass(eq=False)
class Text:
    """One text in the making.

    Attributes:
        tokens: ids so far, the prompt first.
        weights: of this text; its roles follow from them.
        sampler: of this text.
        control: whose probabilities control tokens have; "large" ends chats, "fused" is the paper.
        max_tokens: most tokens to generate, 0 only looks; None for as many as the context holds.
        stops: strings that end the text; they are not part of it.
        chooser: an observer that gives `weights` at the prompt's end; None keeps them.
        plausibility: contrastive decoding's mask, None for none.
        observers: what else looks at the prompt's rows.
        prompts: what a role reads in the prompt's place, in its own tokens; for roles whose
            vocabularies differ.
        ignore_ends: end-of-generation tokens do not end it.
        n_top: with every token comes how likely it was, and so many of the likeliest; None: not.
        by_role: what each role gave them comes too.
        tag: the caller's.
        stop: why it ended, None while it runs: "end" an end-of-generation token, "stop" a stop
            string, "length" `max_tokens`, "context" the context is full, "cancelled", "error".
        error: what ended it, where that was an error.
        submitted: a decoder has it, or had it.
        cancelled: it shall end; `Decoder.cancel` sets it.
        n_prompt: length of the prompt in tokens.
        n_cached: how many of them the caches had from other texts.
        pieces: its text as it became certain, a piece a token.
        scores: of the generated tokens, where `n_top` asks for them.
        lanes: the roles' ways through it, while it has a place.
        roles: those that the next step needs.
        wants: the position of the first row that the next step should give.
        timings: of the steps that it took part in.

    Raises:
        TrimixError: the prompt is empty.
    """

    tokens: list[int]
    weights: Weights
    sampler: Sampler = field(default_factory=Sampler)
    control: Control = "fused"
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    chooser: Observer | None = None
    plausibility: Plausibility | None = None
    observers: tuple[Observer, ...] = ()
    prompts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    ignore_ends: bool = False
    n_top: int | None = None
    by_role: bool = False
    tag: object = None
    stop: Stop | None = field(default=None, init=False)
    error: TrimixError | None = field(default=None, init=False)
    submitted: bool = field(default=False, init=False)
    cancelled: bool = field(default=False, init=False)
    n_prompt: int = field(default=0, init=False)
    n_cached: int = field(default=0, init=False)
    pieces: list[str] = field(default_factory=list, init=False)
    scores: list[Scored] = field(default_factory=list, init=False)
    stream: TextStream = field(init=False)
    lanes: Lanes | None = field(default=None, init=False)
    roles: tuple[str, ...] = field(default=(), init=False)
    wants: int = field(default=0, init=False)
    timings: Timings = field(default_factory=Timings, init=False)
    _looking: tuple[Observer, ...] = field(default=(), init=False)
    _streamed: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not self.tokens:
            raise TrimixError("the prompt is empty")
        self.tokens = list(self.tokens)
        self.n_prompt = len(self.tokens)
        self.stream = TextStream(self.stops)
        self._looking = (*((self.chooser,) if self.chooser else ()), *self.observers)
        last = self.n_prompt - 1
        if self._looking:
            self.wants = min(last, *(each.first(self.n_prompt) for each in self._looking))
        else:
            self.wants = last if self.max_tokens != 0 else self.n_prompt
        self._find_roles()

    def _find_roles(self) -> None:
        needed = [role for each in self._looking for role in each.roles]
        choosing = bool(self._looking) and self.chooser is not None
        if not choosing and (self.max_tokens != 0 or not needed):
            needed += self.weights.roles
        if self.plausibility and self.max_tokens != 0:
            needed.append(self.plausibility.role)
        self.roles = tuple(dict.fromkeys(needed))

    @property
    def is_looking(self) -> bool:
        """Whether observers have not seen the end of the prompt yet."""
        return bool(self._looking)

    def show(self, at: int, rows: Mapping[str, Rows], lacked: Ids) -> None:
        """Show the prompt's rows from position `at` on to the observers; at its end, choose.

        Of the tokens that a role lacks no role thinks anything, and they are no targets.
        """
        n_rows = len(next(iter(rows.values())))
        ends = at + n_rows == self.n_prompt
        n_scored = n_rows - ends
        targets = np.asarray(self.tokens[at + 1 : at + 1 + n_scored], np.int32)
        if len(lacked):
            rows = _without(rows, lacked)
            targets[np.isin(targets, lacked)] = -1
        for each in self._looking:
            skip = max(each.first(self.n_prompt) - at, 0)
            if skip < n_scored:
                shown = {role: rows[role][skip:n_scored] for role in each.roles}
                each.add(at + skip, shown, targets[skip:])
            if ends:
                chosen = each.end({role: rows[role][-1] for role in each.roles})
                if each is self.chooser and chosen:
                    self.weights = chosen
        self.wants = at + n_rows
        if ends:
            self._looking = ()
            if self.max_tokens != 0:
                self.wants = self.n_prompt - 1
                self._find_roles()

    def lacks(self, role: str) -> int:
        """How many of the tokens are not in the cache of `role`."""
        return len(self.tokens) - (self.lanes.cached(role) if self.lanes else 0)

    def take(self) -> Iterator[str]:
        """The pieces that nobody has taken yet, empty ones left out."""
        while self._streamed < len(self.pieces):
            piece = self.pieces[self._streamed]
            self._streamed += 1
            if piece:
                yield piece

    def raise_error(self) -> None:
        """Raise the error that ended it, if one did."""
        if self.error:
            raise self.error

    @property
    def generated(self) -> list[int]:
        """The ids after the prompt, an end-of-generation token included."""
        return self.tokens[self.n_prompt :]

    @property
    def text(self) -> str:
        """The text generated so far, whole characters only."""
        return self.stream.text


def _without(rows: Mapping[str, Rows], lacked: Ids) -> dict[str, Rows]:
    """The rows with one low logit for `lacked`: coefficients add up to 1, so the fused one is it.

    It is finite, as observers want it, and below every logit of every role.
    """
    least = min(float(own.min()) for own in rows.values())
    out = {role: own.copy() for role, own in rows.items()}
    for own in out.values():
        own[:, lacked] = least
    return out


@dataclass(frozen=True)
class Event:
    """What happened to a text: tokens that came, and the piece of its text that is now certain.

    The last one has no tokens where the text was cancelled or failed. There is a score for each
    token if the text asks for them.
    """

    text: Text
    tokens: tuple[int, ...]
    piece: str
    scores: tuple[Scored, ...] = ()
