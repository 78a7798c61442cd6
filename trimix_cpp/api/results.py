"""What the models gave, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..fusion import Weights

if TYPE_CHECKING:
    from ..decoding import Text


@dataclass(frozen=True)
class Completion:
    """A text that was generated; `str()` of it is the text.

    Attributes:
        text: whole characters; a stop string is not part of it.
        token_ids: what was generated, an end-of-generation token included.
        stop: "end" an end-of-generation token, "stop" a stop string, "length" the limit of
            tokens, "context" the context is full, "cancelled" it was left before its end.
        weights: of the fusion; those that the prompt chose, if it did.
        prompt_tokens: length of the prompt in tokens.
        seed: of the sampler; the same seed gives the same text.
        timings: seconds of the prompt and of the generation, and tokens a second of the latter.
        thought: what a model thought before it answered, in a chat with `think`.
    """

    text: str
    token_ids: tuple[int, ...]
    stop: str
    weights: Weights
    prompt_tokens: int
    seed: int
    timings: Mapping[str, float]
    thought: str = ""

    @classmethod
    def of(cls, text: Text, timings: Mapping[str, float]) -> Completion:
        """What became of a text."""
        return cls(
            text.text,
            tuple(text.generated),
            text.stop or "cancelled",
            text.weights,
            text.n_prompt,
            text.sampler.seed,
            timings,
        )

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Score:
    """How likely a continuation is; `float()` of it is the log-likelihood.

    Attributes:
        token_ids: of the continuation.
        logprobs: of each of them, in nats, given all before it.
        greedy: each of them is the likeliest token there: greedy decoding would say just this.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    greedy: bool

    @property
    def logprob(self) -> float:
        """The log-likelihood of the continuation, in nats."""
        return sum(self.logprobs)

    def __float__(self) -> float:
        return self.logprob


class Translation(str):
    """A translated text.

    Attributes:
        flags: why somebody should look at it, each a short phrase; empty where nothing is.
    """

    flags: tuple[str, ...]

    def __new__(cls, text: str, flags: tuple[str, ...] = ()) -> Translation:
        """A text with its flags."""
        made = super().__new__(cls, text)
        made.flags = flags
        return made

    def __getnewargs__(self) -> Any:
        return str(self), self.flags
