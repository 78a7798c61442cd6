"""One text in the making, and what a step says of it. No model is touched here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ..errors import TrimixError
from ..fusion import Plausibility, Sampler, Weights
from .stream import TextStream

if TYPE_CHECKING:
    from ..fusion import Chooser

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
        chooser: makes what chooses `weights` from the logits of each new prompt; None keeps them.
        plausibility: contrastive decoding's mask, None for none.
        stop: why it ended, None while it runs: "end" an end-of-generation token, "stop" a stop
            string, "length" `max_tokens`, "context" the context is full.
        n_prompt: length of the prompt in tokens.
        cached: role -> how many of `tokens` are in its cache.
        choosing: what is choosing the weights; None once they are chosen.
        score_from: tokens of the prompt that were cached when the choice began: no part of it.
    """

    tokens: list[int]
    weights: Weights
    sampler: Sampler = field(default_factory=Sampler)
    control: Control = "fused"
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    chooser: Callable[[], Chooser] | None = None
    plausibility: Plausibility | None = None
    stop: Stop | None = field(default=None, init=False)
    n_prompt: int = field(default=0, init=False)
    stream: TextStream = field(default_factory=TextStream, init=False)
    cached: dict[str, int] = field(default_factory=dict, init=False)
    slot: int | None = field(default=None, init=False)
    choosing: Chooser | None = field(default=None, init=False)
    score_from: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.restart(self.tokens)

    def restart(self, tokens: list[int], cached: int = 0) -> None:
        """Take `tokens` as a new prompt; the first `cached` of them stay in the caches.

        The decoder's `rewind` must have cut the caches back to the common beginning. New weights
        """
        if not tokens:
            raise TrimixError("the prompt is empty")
        self.tokens = list(tokens)
        self.n_prompt = len(tokens)
        self.stream = TextStream(self.stops)
        self.stop = None
        self.score_from = cached
        self.choosing = self.chooser() if self.chooser else None
        if self.choosing and self.choosing.every_position and len(tokens) - cached < 2:
            self.choosing = None

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that the next step needs."""
        roles = self.choosing.roles if self.choosing else self.weights.roles
        if self.plausibility is None or self.plausibility.role in roles:
            return roles
        return (*roles, self.plausibility.role)

    def lacks(self, role: str) -> int:
        """How many of the tokens are not in the cache of `role`."""
        return len(self.tokens) - self.cached.get(role, 0)

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

    def note_generation(self, tokens: int, seconds: float) -> None:
        """A step that only generated gave `tokens` tokens."""
        self.generation_seconds += seconds
        self.generated_tokens += tokens

    @property
    def prompt_speed(self) -> float:
        """Tokens a second of the steps that evaluated a prompt; 0 without any."""
        return self.prompt_tokens / self.prompt_seconds if self.prompt_seconds else 0.0

    @property
    def speed(self) -> float:
        """Tokens a second of the steps that only generated; 0 without any."""
        return self.generated_tokens / self.generation_seconds if self.generation_seconds else 0.0
